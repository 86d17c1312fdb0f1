// The examples of how to build around Fabric: callbacks, loggers, models that bring their training along, a trainer, several models.
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { Fabric } from "@fabric-ts/fabric";
import { data, nn, optim, type Tensor, zeros } from "@fabric-ts/torch";
import { Trainer, type TrainerOptions } from "../trainer/trainer.js";
import { find, findAll, run } from "./run-example.js";

const folder = mkdtempSync(join(tmpdir(), "fabric-structure-"));
after(() => rmSync(folder, { recursive: true, force: true }));

/** The rows of a CSV file without commas in its cells, as objects. */
function rowsOf(path: string): Record<string, string>[] {
  const [header = "", ...lines] = readFileSync(path, "utf8").trim().split("\r\n");
  const names = header.split(",");
  return lines.map((line) => Object.fromEntries(line.split(",").map((cell, i) => [names[i], cell])));
}

describe("callbacks", () => {
  for (const devices of [1, 2]) {
    it(`show progress, stop in time, and keep the best checkpoint, on ${devices}`, async () => {
      const at = join(folder, `callbacks-${devices}`);
      const command = `npx tsx examples/callbacks/train.ts --devices ${devices} --patience 1 --epochs 12 --folder ${at}`;
      const output = await run(command);
      const epochs = findAll(output, /^epoch (\d+)\/12 .* val_loss (\S+)$/m);
      const losses = epochs.map(([, loss = 0]) => loss);
      assert.match(output, new RegExp(`^loss by epoch .{${epochs.length}}$`, "m"));
      const [best = 9] = find(output, /best loss ([\d.]+) in /);
      assert.ok(best < 0.5 * (losses[0] ?? 0) && Math.abs(best - Math.min(...losses)) < 1e-3, output);
      // Half of the map is each spiral's.
      const map = output.split("\n").filter((line) => /^[.#]{42}$/.test(line));
      const share = map.join("").replaceAll(".", "").length / (21 * 42);
      assert.ok(map.length === 21 && share > 0.2 && share < 0.8, output);
      const [file, ...others] = readdirSync(at);
      assert.ok(file && others.length === 0 && output.trimEnd().endsWith(file), output);
    });
  }
});

describe("loggers", () => {
  for (const devices of [1, 2]) {
    it(`get losses, speeds and accuracies, several at once, on ${devices}`, async () => {
      const at = join(folder, `logging-${devices}`);
      const output = await run(`npx tsx examples/logging/train.ts --devices ${devices} --epochs 1 --folder ${at}`);
      const version = join(at, "lightning_logs/version_0");
      const files = readdirSync(version).sort();
      assert.ok(files.length >= 2 && files.some((name) => name.startsWith("events.out.tfevents")), files.join());
      assert.deepEqual(readdirSync(join(at, "lightning_logs")), ["version_0"]);
      const rows = rowsOf(join(version, "metrics.csv"));
      const steps = devices === 1 ? 250 : 125;
      const losses = rows.filter(({ loss }) => loss);
      assert.deepEqual(
        losses.map(({ step }) => Number(step)),
        [1, ...Array.from({ length: Math.floor(steps / 10) }, (_, i) => 10 * (i + 1))],
      );
      assert.ok(Number(losses.at(-1)?.loss) < 0.5 * Number(losses[0]?.loss));
      const speeds = rows.filter((row) => row["device/samples_per_sec"]);
      assert.deepEqual(
        speeds.map(({ step }) => Number(step)),
        Array.from({ length: Math.floor(steps / 50) }, (_, i) => 50 * (i + 1)),
      );
      for (const row of speeds) assert.ok(Number(row["device/flops_per_sec"]) > 1e6);
      assert.ok(Number(rows.at(-1)?.["val/accuracy"]) > 0.8);
      assert.match(output, new RegExp(`numbers of ${steps} steps in ${version}/metrics.csv`));
    });
  }
});

describe("a LightningModule", () => {
  for (const devices of [1, 2]) {
    it(`is trained by a loop that knows nothing about it, and logs through Fabric, on ${devices}`, async () => {
      const at = join(folder, `module-${devices}`);
      const output = await run(`npx tsx examples/lightning-module/train.ts --devices ${devices} --folder ${at}`);
      const epochs = findAll(output, /epoch (\d+): ([\d.]+) % right, learning rate ([\d.]+)/);
      assert.deepEqual([epochs.length, epochs[3]?.[2], epochs[4]?.[2]], [10, 0.02, 0.01]);
      assert.ok((epochs.at(-1)?.[1] ?? 0) > 90, output);
      const rows = rowsOf(join(at, "lightning_logs/version_0/metrics.csv"));
      assert.equal(rows.filter(({ val_accuracy }) => val_accuracy).length, 10);
      assert.equal(rows.filter(({ train_loss }) => train_loss).length, devices === 1 ? 64 : 32);
    });
  }
});

describe("the trainer", () => {
  for (const devices of [1, 2]) {
    it(`trains, validates, saves, and goes on from the latest checkpoint, on ${devices}`, async () => {
      const at = join(folder, `trainer-${devices}`);
      const command = `npx tsx examples/trainer/train.ts --devices ${devices} --folder ${at}`;
      const first = await run(`${command} --epochs 1`);
      const steps = devices === 1 ? 125 : 63; // of two batches, the last of one
      const [done, epochs, accuracy = 0] = find(first, /(\d+) steps in (\d) epochs: ([\d.]+) % of held-out digits/);
      assert.deepEqual([done, epochs], [steps, 1]);
      assert.ok(accuracy > 80, first);
      assert.match(first, /^epoch 1\/1 .* loss \S+ {2}val_loss \S+ {2}val_accuracy \S+$/m);
      const second = await run(`${command} --epochs 2 --batches 10`);
      assert.match(second, new RegExp(`^goes on from ${at}/epoch-0001.ckpt$`, "m"));
      assert.deepEqual(find(second, /(\d+) steps in (\d) epochs/), [steps + 5, 2]);
      assert.deepEqual(readdirSync(at).sort(), ["epoch-0001.ckpt", "epoch-0002.ckpt"]);
    });
  }
});

describe("what the trainer is told", () => {
  class Model extends nn.Linear {
    trainingStep = (x: Tensor): Tensor => this(x).square().sum();
    validationStep = (x: Tensor): Record<string, Tensor> => ({ loss: this(x).sum() });
    configureOptimizers(): optim.Optimizer {
      return new optim.SGD(this.parameters(), { lr: 0.1 });
    }
  }
  /** The hooks that it calls, in 12 batches and 6 of validation. */
  async function hooksOf(options: Partial<TrainerOptions>, callback: object = {}): Promise<string[]> {
    const seen: string[] = [];
    const note = (hook: string) => () => void seen.push(hook);
    const hooks = {
      onBeforeOptimizerStep: note("step"),
      onTrainBatchEnd: note("batch"),
      onValidationEnd: note("validation"),
      onTrainEpochEnd: note("epoch"),
    };
    const fabric = new Fabric({ accelerator: "cpu", callbacks: [hooks, callback] });
    const loader = (count: number) => new data.DataLoader(Array.from({ length: count }, () => zeros([1])));
    const checkpointDir = join(folder, `told-${Math.random()}`);
    await new Trainer(fabric, { checkpointDir, ...options }).fit(new Model(1, 1), loader(12), loader(6));
    return seen;
  }

  it("limits batches, accumulates them, and validates after every n-th epoch", async () => {
    const epoch = ["batch", "step", "batch", "step", "batch", "epoch"];
    assert.deepEqual(
      await hooksOf({ maxEpochs: 3, limitTrainBatches: 3, accumulateBatches: 2, validationFrequency: 2 }),
      [...epoch, ...epoch.slice(0, -1), "validation", "epoch", ...epoch],
    );
  });
  it("ends after the step in which somebody says so, or after the last", async () => {
    const stopping = {
      batches: 0,
      shouldStop: false,
      onTrainBatchEnd(): void {
        this.shouldStop = ++this.batches === 2;
      },
    };
    assert.equal((await hooksOf({}, stopping)).filter((hook) => hook === "step").length, 2);
    assert.equal((await hooksOf({ maxSteps: 14 })).filter((hook) => hook === "step").length, 14);
  });
});

it("k-fold cross-validation tests on each fold once, and the models together are better", async () => {
  for (const devices of [1, 2]) {
    const output = await run(`npx tsx examples/k-fold/train.ts --devices ${devices} --folds 3 --epochs 1`);
    const rows = findAll(output, /^ {3}(\d) {2}([\d.]+) %$/m);
    assert.deepEqual(
      rows.map(([fold]) => fold),
      [1, 2, 3],
    );
    const mean = rows.reduce((sum, [, accuracy = 0]) => sum + accuracy, 0) / 3;
    const [told = 0, , together = 0] = find(
      output,
      /mean {2}([\d.]+) %, give or take ([\d.]+) %\nall 3 .*: ([\d.]+) %/,
    );
    assert.ok(Math.abs(told - mean) < 0.11 && mean > 80 && together > mean, output);
  }
});
