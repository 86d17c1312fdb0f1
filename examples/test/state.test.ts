// The examples of checkpoints, fine-tuning and large models.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { find, findAll, run } from "./run-example.js";

const folder = mkdtempSync(join(tmpdir(), "fabric-state-"));
after(() => rmSync(folder, { recursive: true, force: true }));

describe("checkpoints", () => {
  for (const devices of [1, 2]) {
    it(`make a run go on in the middle of an epoch and end as if it had never stopped, on ${devices}`, async () => {
      const command = `npx tsx examples/checkpoints/train.ts --devices ${devices} --epochs 3 --every 20`;
      const [stopped, whole] = [join(folder, `stopped-${devices}`), join(folder, `whole-${devices}`)];
      const first = await run(`${command} --folder ${stopped} --stop-after 50`);
      assert.deepEqual(findAll(first, /step (\d+) .* saved/).flat(), [20, 40]);
      const second = await run(`${command} --folder ${stopped}`);
      assert.deepEqual(find(second, /^goes on after step (\d+), in epoch (\d+)$/m), [40, devices === 1 ? 1 : 2]);
      const undisturbed = await run(`${command} --folder ${whole}`);
      const end = /^done: loss \S+, norm of the weights \S+$/m;
      assert.equal(end.exec(second)?.[0], end.exec(undisturbed)?.[0]);
      assert.ok(end.test(second), second);
    });
  }
});

describe("fine-tuning", () => {
  for (const devices of [1, 2]) {
    it(`learns with adapters, saves only these, and makes the model again of both files, on ${devices}`, async () => {
      const at = join(folder, `finetune-${devices}`);
      const command = `npx tsx examples/checkpoints/finetune.ts --devices ${devices} --epochs 2 --folder ${at}`;
      const output = await run(command);
      const [upright = 0, rotated = 100] = find(output, /before: ([\d.]+) % of upright .* ([\d.]+) % of rotated/);
      const [last = 0] = find(output, /epoch 2: ([\d.]+) % of rotated/);
      assert.ok(upright > 85 && rotated < 40 && last > 65, output);
      const [adapter = 0, weights = 0] = find(output, /adapter: (\d+) KiB, weights: (\d+) KiB/);
      assert.ok(adapter * 10 < weights, output);
      assert.deepEqual(find(output, /loaded again: ([\d.]+) %/), [last]);
      assert.match(output, /also in the file: {"task":"rotated digits","epochs":2}/);
      assert.match(output, /the same weights on all processes: true/);
    });
  }
});

describe("a large model", () => {
  for (const where of ["--devices 1 --precision 32-true", "--devices 2 --precision bf16-true"]) {
    it(`is planned, made empty, loaded and trained with ${where}`, async () => {
      const file = join(folder, `weights-${where.length}.pt`);
      const sizes = `--width 256 --depth 2 --file ${file}`;
      const output = await run(`npx tsx examples/large-model/train.ts ${where} ${sizes}`);
      assert.match(output, /^1\.1 million parameters, 0\.1 GFLOP/m);
      assert.match(output, where.includes("bf16") ? /weights in bfloat16, 2\.0 MiB/ : /weights in float32, 4\.0 MiB/);
      const [before = 0, after = 9] = find(output, /loss ([\d.]+) before, ([\d.]+) after 20 steps/);
      assert.ok(after < 0.5 * before, output);
    });
  }
});
