// Running a program to its end, with a deadline, and waiting for what it writes.
import { spawn } from "node:child_process";

// What would make a program a rank, or change what Fabric does, and must not come from outside.
const notInherited =
  /^(LT_|PL_|SLURM_|OMPI_|PMI|MPI_|TORCHELASTIC_|RANK$|LOCAL_RANK$|NODE_RANK$|GROUP_RANK$|WORLD_SIZE$|MASTER_|FABRIC_R|FABRIC_L|NODE_TEST)/;

/** The environment of a program in a cluster: the machine's, and what is given. */
export function environment(extra = {}) {
  const kept = Object.entries(process.env).filter(([name]) => !notInherited.test(name));
  return { ...Object.fromEntries(kept), OMP_NUM_THREADS: "1", POSSIBLE_USER_WARNINGS: "off", ...extra };
}

/** Runs `command` (program and arguments) to its end; kills it after `timeoutMs`. */
export async function run(command, { env = {}, cwd, timeoutMs = 60_000 } = {}) {
  const child = spawn(command[0], command.slice(1), { env: environment(env), cwd, stdio: ["ignore", "pipe", "pipe"] });
  let [stdout, stderr] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (text) => (stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text) => (stderr += text));
  const timer = setTimeout(() => child.kill("SIGKILL"), timeoutMs);
  const code = await new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (status, signal) => resolve(status ?? signal));
  });
  clearTimeout(timer);
  return { code, stdout, stderr };
}

/** The output of a command that has to succeed. */
export async function outputOf(command, options) {
  const { code, stdout, stderr } = await run(command, options);
  if (code === 0) return stdout;
  throw new Error(`${command.join(" ")} ended with ${code}\n${stdout}\n${stderr}`);
}

/** Calls `look` until it returns something true, and returns that; after `timeoutMs` an error with what `describe` says. */
export async function waitFor(look, describe, timeoutMs = 30_000) {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`Waited ${timeoutMs / 1000} s in vain.\n${await describe()}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
