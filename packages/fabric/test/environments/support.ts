// What the tests of cluster environments share: variables that a test sets and that are gone after it, programs in a folder of their own.
import { spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach } from "node:test";
import { fileURLToPath } from "node:url";
import type { ClusterEnvironment } from "@fabric-ts/fabric";

const clusterVariable =
  /RANK|WORLD_SIZE|^MASTER_|^SLURM_|^TORCHELASTIC_|^LSB_|^JSM_|^OMPI_|^PMI|^MPI_|^MV2_|^STANDALONE_PORT$/;

/** Takes the variables of all clusters out of the environment for each test of a file, and puts everything back. */
export function isolateVariables(): void {
  const before = { ...process.env };
  beforeEach(() => {
    for (const name of Object.keys(process.env)) if (clusterVariable.test(name)) delete process.env[name];
  });
  afterEach(() => {
    for (const name of Object.keys(process.env)) if (!(name in before)) delete process.env[name];
    Object.assign(process.env, before);
  });
}

/** Sets variables. */
export function set(variables: Record<string, string>): void {
  Object.assign(process.env, variables);
}

/** World size, global rank, local rank, node rank. */
export function ranksOf(environment: ClusterEnvironment): number[] {
  return [environment.worldSize(), environment.globalRank(), environment.localRank(), environment.nodeRank()];
}

/** Gives each test a folder that is gone after it. */
export function temporaryFolder(): { readonly path: string } {
  const folder = { path: "" };
  beforeEach(() => {
    folder.path = mkdtempSync(join(tmpdir(), "fabric-environment-test-"));
  });
  afterEach(() => rmSync(folder.path, { recursive: true }));
  return folder;
}

/** Writes a shell script that can be called by its name in `folder`. */
export function writeProgram(folder: string, name: string, script: string): void {
  writeFileSync(join(folder, name), `#!/bin/sh\n${script}\n`);
  chmodSync(join(folder, name), 0o755);
}

/** Runs an ES module in a process of its own; the built sources are at `dist` in it. */
export function runCode(
  code: string,
  env: Record<string, string>,
  stdio: ("pipe" | number)[] = ["pipe", "pipe", "pipe"],
) {
  const dist = JSON.stringify(new URL("../../dist/", import.meta.url).href);
  const program = `const load = (file) => import(${dist} + file);\n${code}`;
  const { NODE_TEST_CONTEXT: _, ...inherited } = process.env;
  return spawnSync(process.execPath, ["--input-type=module", "-e", program], {
    cwd: fileURLToPath(new URL(".", import.meta.url)),
    env: { ...inherited, ...env },
    encoding: "utf8",
    stdio,
  });
}
