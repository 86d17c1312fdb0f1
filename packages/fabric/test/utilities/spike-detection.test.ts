// Stopping when the loss jumps. On several ranks: see utilities-on-ranks.test.ts.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { Fabric, SpikeDetection, type SpikeDetectionOptions, TrainingSpikeException } from "@fabric-ts/fabric";
import * as torch from "@fabric-ts/torch";

const folder = mkdtempSync(join(tmpdir(), "fabric-spike-"));
after(() => rmSync(folder, { recursive: true }));
const fabric = new Fabric({ accelerator: "cpu" });

/** The number of the batch at which training stops; null when it does not. */
async function stopsAt(losses: (number | torch.Tensor)[], options: SpikeDetectionOptions = {}): Promise<number | null> {
  const spike = new SpikeDetection({ excludeBatchesPath: folder, ...options });
  for (const [batchIdx, loss] of losses.entries()) {
    try {
      await spike.onTrainBatchEnd({ fabric, loss, batchIdx });
    } catch (error) {
      assert.ok(error instanceof TrainingSpikeException, String(error));
      return error.batchIdx;
    }
  }
  return null;
}

describe("SpikeDetection", () => {
  it("stops at a loss that is worse and two means away from the mean, not at better ones", async () => {
    assert.equal(await stopsAt([1, 0.9, 0.8, 3, 0.7]), 3);
    assert.equal(await stopsAt([1, 0.9, 0.8, 1.5, 0.001, 0.0005]), null);
    assert.equal(await stopsAt([torch.tensor(1.5), torch.tensor([9.5])]), 1);
  });
  it("turns around with the mode", async () => {
    assert.equal(await stopsAt([1, 5, 9], { mode: "max" }), null);
    assert.equal(await stopsAt([1, 1, -5], { mode: "max" }), 2);
  });
  it("asks for both distances, the absolute and the relative one", async () => {
    assert.equal(await stopsAt([1, 4], { atol: 5 }), null);
    assert.equal(await stopsAt([1, 7], { atol: 5 }), 1);
    assert.equal(await stopsAt([1, 7], { atol: 5, rtol: 10 }), null);
    assert.equal(await stopsAt([1, 1.1], { rtol: null }), 1);
    assert.equal(await stopsAt([1, 1.1], { atol: 0.2, rtol: null }), null);
  });
  it("waits for the warm-up, and takes the mean of the last losses only", async () => {
    assert.equal(await stopsAt([1, 9, 9, 9], { warmup: 4 }), null);
    // The mean of all is 2.8: 8 is less than two means away from it, but more from that of the last two.
    assert.equal(await stopsAt([9, 1, 1, 1, 2, 8], { window: 2 }), 5);
    assert.equal(await stopsAt([9, 1, 1, 1, 2, 8], { window: 5 }), null);
  });
  it("takes losses that are not finite for spikes, unless told not to, and never for a mean", async () => {
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      assert.equal(await stopsAt([1, 0.9, bad]), 2);
      assert.equal(
        await stopsAt([1, 0.9, bad, 0.8, 9], { finiteOnly: false }),
        bad === Number.POSITIVE_INFINITY ? 2 : 4,
      );
      assert.equal(await stopsAt([bad, 1, 0.9, 9], { warmup: 2 }), 3);
    }
  });
  it("lists the batch and the one before in a JSON file, in folders that it makes", async () => {
    const path = join(folder, "deep", "down", "bad.json");
    const spike = new SpikeDetection({ excludeBatchesPath: path });
    const step = (loss: number, batchIdx: number): Promise<void> => spike.onTrainBatchEnd({ fabric, loss, batchIdx });
    await step(1, 0);
    await assert.rejects(step(9, 5), {
      name: "TrainingSpikeException",
      message: "Training spike detected in batch 5!",
    });
    await assert.rejects(step(9, 8));
    assert.equal(readFileSync(path, "utf8"), "[\n    4,\n    5,\n    7,\n    8\n]");
    assert.equal(new SpikeDetection().excludeBatchesPath, join(process.cwd(), "skip_batches.json"));
    assert.equal(
      new SpikeDetection({ excludeBatchesPath: "runs" }).excludeBatchesPath,
      join("runs", "skip_batches.json"),
    );
  });
  it("stops as well when the list cannot be written, and says why", async () => {
    const file = join(folder, "file");
    writeFileSync(file, "");
    const spike = new SpikeDetection({ excludeBatchesPath: join(file, "bad.json"), warmup: 0 });
    await assert.rejects(spike.onTrainBatchEnd({ fabric, loss: Number.NaN, batchIdx: 0 }), (error) => {
      return error instanceof TrainingSpikeException && /ENOTDIR|EEXIST/.test(String(error.cause));
    });
    assert.deepEqual(spike.badBatches, [0]);
  });
  it("goes on from its state", async () => {
    const first = new SpikeDetection({ excludeBatchesPath: folder, window: 2, atol: 1 });
    for (const [batchIdx, loss] of [4, 2, 1].entries()) await first.onTrainBatchEnd({ fabric, loss, batchIdx });
    const state = JSON.parse(JSON.stringify(first.stateDict())) as Record<string, unknown>;
    assert.deepEqual(state, {
      last_val: 1,
      mode: "min",
      warmup: 1,
      atol: 1,
      rtol: 2,
      bad_batches: [],
      bad_batches_path: join(folder, "skip_batches.json"),
      running: [2, 1],
      mean: 1.5,
    });
    const second = new SpikeDetection({ window: 2 });
    second.loadStateDict(state);
    assert.deepEqual(second.stateDict(), first.stateDict());
    await assert.rejects(second.onTrainBatchEnd({ fabric, loss: 4.5, batchIdx: 3 }));
    // Python saves no losses.
    second.loadStateDict({ ...state, running: {}, mean: {} });
    assert.equal(second.lastVal, 1);
  });
  it("refuses options and facts that cannot be", async () => {
    assert.throws(
      () => new SpikeDetection({ mode: "mean" as never }),
      /Invalid mode. Has to be min or max, found "mean"/,
    );
    assert.throws(() => new SpikeDetection({ window: 0 }), /`window` of SpikeDetection is 0/);
    assert.throws(() => new SpikeDetection({ patience: 1 } as never), /no option `patience`/);
    const spike = new SpikeDetection();
    await assert.rejects(spike.onTrainBatchEnd(fabric as never), /Expected `fabric` .*\nType `await fabric.call/);
    await assert.rejects(spike.onTrainBatchEnd({ fabric, loss: 1 } as never), /Expected `batchIdx` of `SpikeDetection/);
    await assert.rejects(
      spike.onTrainBatchEnd({ fabric, loss: torch.ones([2]), batchIdx: 0 }),
      /`loss` of .* to be a number or a Tensor with one/,
    );
  });
});
