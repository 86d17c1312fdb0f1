// Runs one of the programs in test/ranks in its own processes and collects what each rank reported.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

/** How a program ended. */
export interface Run {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** Runs test/ranks/NAME.ts to its end; `inside` is a command that runs it, such as `["unshare", "-m"]`. */
export async function runProgram(
  name: string,
  env: Record<string, string> = {},
  inside: readonly string[] = [],
): Promise<Run> {
  const script = fileURLToPath(new URL(`../ranks/${name}.js`, import.meta.url));
  const [command = process.execPath, ...args] = [...inside, process.execPath, script];
  const child = spawn(command, args, {
    env: { ...cleanEnvironment(), ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  const code = await new Promise<number | null>((resolve) => child.on("close", resolve));
  return { code, stdout, stderr };
}

/** Runs a program that has to succeed; returns what each rank passed to `report`, by rank. */
export async function runRanks<T>(
  name: string,
  env: Record<string, string> = {},
  inside: readonly string[] = [],
): Promise<T[]> {
  const { code, stdout, stderr } = await runProgram(name, env, inside);
  assert.equal(code, 0, `ranks/${name} ended with ${code}\n${stdout}\n${stderr}`);
  const reports: T[] = [];
  for (const [, rank, json] of stdout.matchAll(/REPORT (\d+) (.*)$/gm))
    reports[Number(rank)] = JSON.parse(json as string) as T;
  return reports;
}

/** In a rank: hands a value to the test. */
export function report(rank: number, value: unknown): void {
  process.stdout.write(`REPORT ${rank} ${JSON.stringify(value)}\n`);
}

/** In a rank: the message of what `fn` throws, or null. */
export async function messageOf(fn: () => unknown): Promise<string | null> {
  try {
    await fn();
    return null;
  } catch (error) {
    return `${(error as Error).name}: ${(error as Error).message}`;
  }
}

/** The environment without what would make a child a rank or part of this test run. */
export function cleanEnvironment(): Record<string, string | undefined> {
  const env: Record<string, string | undefined> = { ...process.env };
  for (const name of Object.keys(env)) {
    if (/^(LT_|PL_|SLURM_|RANK$|LOCAL_RANK$|NODE_RANK$|WORLD_SIZE$|MASTER_|FABRIC_R|NODE_TEST)/.test(name))
      delete env[name];
  }
  return env;
}
