// The examples of training loops: accumulation, several optimizers and models, validation, data that is made once.
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { find, findAll, run } from "./run-example.js";

describe("accumulation", () => {
  for (const devices of [1, 2]) {
    it(`ends with the weights of large batches, on ${devices}`, async () => {
      const output = await run(`npx tsx examples/accumulation/train.ts --devices ${devices} --epochs 2 --accumulate 4`);
      const [small, large] = findAll(output, /batches of (\d+): (\d+) passes, (\d+) steps, (\d+) exchanges/);
      assert.deepEqual(small, [16 / devices, 256, 64, devices === 1 ? 0 : 64]);
      assert.deepEqual(large, [64 / devices, 64, 64, devices === 1 ? 0 : 64]);
      assert.ok((find(output, /trainings' weights: (\S+)/)[0] ?? 1) < 1e-3, output);
    });
  }
});

it("several optimizers train one model together", async () => {
  for (const devices of [1, 2]) {
    const output = await run(`npx tsx examples/several-optimizers/train.ts --devices ${devices}`);
    assert.ok((find(output, /([\d.]+) % of new points right/)[0] ?? 0) > 90, output);
  }
});

it("an autoencoder of two models, set up in two parts, draws digits better than their mean", async () => {
  for (const devices of [1, 2]) {
    const output = await run(`npx tsx examples/autoencoder/train.ts --devices ${devices} --epochs 3`);
    const errors = findAll(output, /error(?: on new digits)? ([\d.]+)/).flat();
    assert.equal(errors.length, 4);
    assert.ok((errors[3] ?? 1) < 0.6 * (errors[0] ?? 0), output);
  }
});

describe("the GAN", () => {
  for (const devices of [1, 2]) {
    it(`draws more and more like the digits, on ${devices}`, async () => {
      const output = await run(`npx tsx examples/gan/train.ts --devices ${devices} --epochs 2 --batches 40`);
      const distances = findAll(output, /distance to real digits ([\d.]+)/).flat();
      assert.equal(distances.length, 3);
      assert.ok((distances[2] ?? 99) < 0.5 * (distances[0] ?? 0), output);
      assert.match(output, /the same weights on all processes: true/);
      const drawing = output.slice(output.indexOf("processes: true")).split("\n").slice(1, 15);
      assert.ok(
        drawing.some((line) => /[@%#*]/.test(line)),
        output,
      );
    });
  }
});

it("validation counts every held-out digit once, over all processes", async () => {
  for (const devices of [1, 2]) {
    const output = await run(`npx tsx examples/validation/train.ts --devices ${devices} --epochs 2`);
    const epochs = findAll(output, /training loss ([\d.]+), validation loss ([\d.]+), accuracy ([\d.]+) % of (\d+)/);
    assert.equal(epochs.length, 2);
    const [, last = []] = epochs;
    assert.ok((last[2] ?? 0) > 85 && (last[0] ?? 9) < (epochs[0]?.[0] ?? 0), output);
    assert.equal(last[3], 2000);
    const table = [...output.matchAll(/^\d {5}((?: +[\d.]+){10})$/gm)].map((row) => row[1]?.trim().split(/ +/) ?? []);
    assert.equal(table.length, 10);
    const counts = table.flat().map((cell) => (cell === "." ? 0 : Number(cell)));
    assert.equal(
      counts.reduce((sum, count) => sum + count, 0),
      2000,
    );
    const right = table.map((row, digit) => Number(row[digit])).reduce((sum, count) => sum + count, 0);
    assert.ok(Math.abs(right / 20 - (last[2] ?? 0)) < 0.06, output);
  }
});

describe("data preparation", () => {
  const folder = mkdtempSync(join(tmpdir(), "fabric-data-"));
  after(() => rmSync(folder, { recursive: true, force: true }));
  const command = `npx tsx examples/data-preparation/train.ts --folder ${folder} --devices`;
  const path = join(folder, "spirals.pt");

  it("happens on rank 0, and once", async () => {
    const first = await run(`${command} 2`);
    assert.match(first, new RegExp(`^rank 0: wrote ${path}$`, "m"));
    assert.match(first, new RegExp(`^rank 1: ${path} is there$`, "m"));
    for (const rank of [0, 1]) {
      const [right = 0, all] = find(first, new RegExp(`predictions-rank-${rank}\\.json: (\\d+) of (\\d+) new points`));
      assert.equal(all, 500);
      assert.ok(right > 425, first);
    }
    const again = await run(`${command} 2 --local --epochs 1`);
    assert.doesNotMatch(again, /wrote/);
  });
  it("works in one process", async () => {
    rmSync(path);
    assert.match(await run(`${command} 1 --epochs 1`), /^rank 0: wrote/);
    assert.ok(existsSync(path));
  });
});
