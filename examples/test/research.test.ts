// The larger examples: meta-learning, reinforcement learning, a language model, an image classifier, and collectives without Fabric.
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { find, findAll, run } from "./run-example.js";

const folder = mkdtempSync(join(tmpdir(), "fabric-research-"));
after(() => rmSync(folder, { recursive: true, force: true }));

describe("meta-learning", () => {
  for (const devices of [1, 2]) {
    it(`finds weights from which one step helps more, equal on all processes, on ${devices}`, async () => {
      const output = await run(`npx tsx examples/meta-learning/train.ts --devices ${devices} --steps 120`);
      const reports = findAll(output, /error on new waves ([\d.]+) as it is, ([\d.]+) after one step, ([\d.]+) after/);
      assert.equal(reports.length, 5);
      const [before, after] = [reports[0] ?? [], reports[4] ?? []];
      assert.ok((after[1] ?? 9) < 0.7 * (before[1] ?? 0), output);
      assert.ok((after[1] ?? 9) < 0.85 * (after[0] ?? 0) && (after[2] ?? 9) < (after[1] ?? 0), output);
      assert.match(output, /the same weights on all processes: true/);
    });
  }
});

describe("reinforcement learning", () => {
  const lengths = (output: string) => [
    ...find(output, /before training the pole falls after ([\d.]+) steps/),
    ...find(output, /after training the pole falls after ([\d.]+) steps/),
  ];
  for (const devices of [1, 2]) {
    it(`beats chance when every process plays and trains, on ${devices}`, async () => {
      const output = await run(`npx tsx examples/reinforcement-learning/ppo.ts --devices ${devices} --updates 16`);
      const [before = 0, after = 0] = lengths(output);
      assert.ok(before < 40 && after > 2 * before, output);
    });
  }
  for (const [devices, trainers] of [
    [2, 1],
    [3, 2],
  ]) {
    it(`beats chance when one plays and ${trainers} train`, async () => {
      const script = "examples/reinforcement-learning/decoupled.ts --updates 12";
      const output = await run(`npx fabric run --accelerator cpu --devices ${devices} ${script}`);
      const [before = 0, after = 0] = lengths(output);
      assert.ok(before < 40 && after > 2 * before, output);
      assert.match(output, new RegExp(`${trainers} trainer\\(s\\), with the same weights: true`));
    });
  }
  it("says so when there is nobody to train", async () => {
    const output = await run("npx tsx examples/reinforcement-learning/decoupled.ts", { code: 2 });
    assert.equal(output, "There is nobody to train: start it with `npx fabric run --devices 2` or more.\n");
  });
});

describe("the language model", () => {
  for (const where of ["--devices 1", "--devices 2", "--devices 2 --precision bf16-mixed"]) {
    it(`learns from the documentation and writes, with ${where}`, async () => {
      const output = await run(`npx tsx examples/language-model/train.ts ${where} --steps 40 --context 32`);
      const [before = 0, after = 9] = findAll(output, /held-out loss ([\d.]+)/).flat();
      assert.ok(before > 4 && after < 3.3, output);
      const written = output.slice(output.indexOf("\n\n") + 2);
      assert.match(written, /^Fabric [\s\S]{300}\n$/);
    });
  }
});

it("the image classifier learns digits, and leaves a checkpoint and a report", async () => {
  const output = await run("npm start -- --devices 2 --epochs 1", { cwd: folder });
  assert.ok((find(output, /^ +1 +([\d.]+) %/m)[0] ?? 0) > 90, output);
  assert.ok(existsSync(join(folder, "runs/digits/model.pt")));
  assert.match(
    readFileSync(join(folder, "runs/digits/report.html"), "utf8"),
    /<h1>Handwritten digits: 9[\d.]+ % right/,
  );
});

describe("collectives without Fabric", () => {
  for (const devices of [1, 2, 3]) {
    it(`let ${devices} process(es) play their parts`, async () => {
      const output = await run(`npx fabric run --devices ${devices} examples/collective/train.ts`);
      const rounds = findAll(output, /round (\d+): weights from rank 0, seen by rank (\d): error ([\d.]+)/);
      assert.ok(rounds.every(([, watcher]) => watcher === devices - 1));
      assert.ok((rounds.at(-1)?.[2] ?? 1) < 0.02, output);
      const weights = [...output.matchAll(/rank \d of \d: (\S+)/g)].map((match) => match[1]);
      assert.equal(weights.length, Math.max(1, devices - 1));
      assert.equal(new Set(weights).size, 1);
    });
  }
});
