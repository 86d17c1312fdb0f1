// `fabric doctor`, on this machine and where nothing has been built.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { it } from "node:test";
import { fileURLToPath } from "node:url";

interface Finding {
  name: string;
  value: string;
  state: string;
  repair?: string;
}

const fabricRoot = fileURLToPath(new URL("../../", import.meta.url));
const main = join(fabricRoot, "bundle/cli/main.js");

function run(program: string, ...args: string[]): { code: number | null; stdout: string; stderr: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...args], { encoding: "utf8" });
  return { code: status, stdout, stderr };
}

it("finds everything on a machine that is set up", () => {
  const { code, stdout, stderr } = run(main, "doctor", "--json");
  assert.deepEqual([code, stderr], [0, ""]);
  const findings = JSON.parse(stdout) as Finding[];
  const names = [
    "fabric",
    "node",
    "system",
    "cores",
    "LibTorch",
    "libraries",
    "addon",
    "BLAS",
    "threads",
    "Gloo",
    "NCCL",
    "CUDA",
    "launcher",
  ];
  assert.deepEqual(
    findings.map(({ name }) => name),
    names,
  );
  assert.ok(findings.every(({ state }) => state !== "missing"));
  assert.match(findings[4].value, /^\d+\.\d+\.\d+\S* \(\/.*libtorch_cpu\..*\), .*ABI$/);
});

it("prints one line for each finding", () => {
  const { code, stdout } = run(main, "doctor");
  assert.equal(code, 0);
  assert.match(stdout, /^ {2}fabric +\d+\.\d+\.\d+$/m);
  assert.match(stdout, /^[ !] BLAS /m);
});

it("works without the addon, says what to do, and ends with 1", () => {
  const root = mkdtempSync(join(tmpdir(), "fabric-doctor-test-"));
  try {
    const modules = join(root, "node_modules");
    const torchRoot = dirname(createRequire(import.meta.url).resolve("@fabric-ts/torch/package.json"));
    for (const [from, name] of [
      [fabricRoot, "fabric"],
      [torchRoot, "torch"],
    ] as const) {
      for (const part of ["bundle", "package.json"])
        cpSync(join(from, part), join(modules, "@fabric-ts", name, part), { recursive: true });
    }
    mkdirSync(modules, { recursive: true });
    const commander = dirname(createRequire(main).resolve("commander"));
    symlinkSync(commander, join(modules, "commander"));
    const { code, stdout, stderr } = run(join(modules, "@fabric-ts/fabric/bundle/cli/main.js"), "doctor");
    assert.deepEqual([code, stderr], [1, ""]);
    assert.match(stdout, /^x addon +not built$/m);
    assert.match(stdout, /^To be repaired:\n[\s\S]* {2}addon: not built\n {4}npm run setup$/m);
  } finally {
    rmSync(root, { recursive: true });
  }
});
