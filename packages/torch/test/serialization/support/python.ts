// Runs Python with PyTorch, where there is one: FABRIC_PYTHON, else /usr/bin/python3.
import { spawnSync } from "node:child_process";

const python = process.env.FABRIC_PYTHON ?? "/usr/bin/python3";

/** Why the tests with PyTorch are left out, or false. */
export const noTorch: string | false = (() => {
  const run = spawnSync(python, ["-c", "import torch"], { encoding: "utf8" });
  return run.status === 0 ? false : `${python} cannot import torch`;
})();

/** Why the tests with Python's safetensors are left out, or false. */
export const noSafetensors: string | false = (() => {
  const run = spawnSync(python, ["-c", "import torch, safetensors.torch"], { encoding: "utf8" });
  return run.status === 0 ? false : `${python} cannot import safetensors and torch`;
})();

/** Why the tests with Python are left out, or false. */
export const noPython: string | false = spawnSync(python, ["-c", ""]).status === 0 ? false : `${python} is missing`;

/** Runs a program; `args` are its sys.argv[1:]. Returns what it prints; throws with its error output when it fails. */
export function runPython(program: string, ...args: string[]): string {
  const run = spawnSync(python, ["-c", program, ...args], { encoding: "utf8", maxBuffer: 1 << 28 });
  if (run.status !== 0) throw new Error(`Python failed: ${run.stderr}`);
  return run.stdout;
}
