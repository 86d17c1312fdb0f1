// Runs the commands of the examples' headers as users type them, and reads numbers from what is printed.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { fileURLToPath } from "node:url";

/** The folder of the repository. */
export const root = fileURLToPath(new URL("../../../", import.meta.url));

const folder = mkdtempSync(join(tmpdir(), "fabric-examples-"));
after(() => rmSync(folder, { recursive: true, force: true }));

/** The same program and arguments, without the processes in between that `npx` and `npm` are. */
function programOf(command: string): string[] {
  const words = command.split(/\s+/).map((word) => (word.startsWith("examples/") ? join(root, word) : word));
  const [runner, name, ...args] = words;
  if (runner === "npx") return [join(root, "node_modules/.bin", name ?? ""), ...args];
  assert.equal(`${runner} ${name}`, "npm start", `do not know how to run "${command}"`);
  return [process.execPath, join(root, "scripts/run.mjs"), "examples/dist/digits/train.js", ...args.slice(1)];
}

/** Runs a command such as `npx tsx examples/minimal/train.ts` in an empty folder and returns what it printed. */
export async function run(
  command: string,
  { code = 0, cwd = mkdtempSync(join(folder, "run-")) } = {},
): Promise<string> {
  const [program = "", ...args] = programOf(command);
  // Not a test of the test runner's own, and nobody's rank.
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const child = spawn(program, args, { cwd, env, stdio: ["ignore", "pipe", "pipe"], timeout: 300_000 });
  let output = "";
  let errors = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (output += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (errors += text));
  const ended = await new Promise((resolve, reject) => child.on("error", reject).on("close", resolve));
  assert.equal(ended, code, `${command} ended with ${ended}\n${output}\n${errors}`);
  return code === 0 ? output : errors;
}

/** The numbers that the groups of a pattern find, at its first place. */
export function find(output: string, pattern: RegExp): number[] {
  const found = pattern.exec(output);
  assert.ok(found, `${pattern} is not in:\n${output}`);
  return found.slice(1).map(Number);
}

/** The same at all its places; at least one. */
export function findAll(output: string, pattern: RegExp): number[][] {
  const found = [...output.matchAll(new RegExp(pattern, `${pattern.flags}g`))].map((match) =>
    match.slice(1).map(Number),
  );
  assert.ok(found.length > 0, `${pattern} is not in:\n${output}`);
  return found;
}
