// Datasets in TypeScript that nobody has compiled: workers import them as the main thread does.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

// What the name of the package means to programs.
const torch = JSON.stringify(new URL("../../bundle/index.js", import.meta.url).href);
const dataset = `
import { data } from ${torch};
import { squared } from "./arithmetic.ENDING";
export class Squares extends data.Dataset<number> {
  readonly #count: number;
  constructor(count: number) { super(); this.#count = count; }
  get length(): number { return this.#count; }
  get(index: number): number { return squared(index); }
}`;
const arithmetic = "export const squared = (x: number): number => x * x;";
const program = `
import { data } from ${torch};
import { Squares } from "./squares.ENDING";
const dataset = data.workerDataset(new URL("./squares.js", import.meta.url), Squares, 4);
for (const batch of new data.DataLoader(dataset, { batchSize: 2, numWorkers: 2 })) console.log(String(batch.tolist()));`;

/** Runs the program with Node's flags; its imports end in `.ending`. */
function run(flags: string[], ending: string): string {
  const folder = mkdtempSync(join(tmpdir(), "fabric-typescript-"));
  try {
    const files = {
      "train.ts": program,
      "squares.ts": dataset,
      "arithmetic.ts": arithmetic,
      "package.json": '{"type":"module"}',
    };
    for (const [name, text] of Object.entries(files))
      writeFileSync(join(folder, name), text.replaceAll(".ENDING", `.${ending}`));
    const args = ["--no-warnings", ...flags, join(folder, "train.ts")];
    const { stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8", timeout: 60_000 });
    return `${stdout}${stderr}`;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test("under tsx, with files named as they are compiled", () => {
  assert.equal(run(["--import", import.meta.resolve("tsx")], "js"), "0,1\n4,9\n");
});

test("with Node's own type stripping, where it has that", {
  skip: !(process.features as { typescript?: unknown }).typescript && "this version of Node has no type stripping",
}, () => {
  assert.equal(run([], "ts"), "0,1\n4,9\n");
});
