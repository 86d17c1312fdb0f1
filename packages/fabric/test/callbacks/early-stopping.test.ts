// EarlyStopping on one process; its decisions on two are in decisions.test.ts.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { catchWarnings, EarlyStopping, type EarlyStoppingOptions, Fabric } from "@fabric-ts/fabric";
import * as torch from "@fabric-ts/torch";

const fabric = new Fabric({ accelerator: "cpu" });

/** The number of the check, from 1, at which values in a row stop training, and why; 0 when they do not. */
async function stopsAt(options: Partial<EarlyStoppingOptions>, values: number[]): Promise<[number, string | null]> {
  const stopping = new EarlyStopping({ monitor: "loss", ...options });
  for (const [i, loss] of values.entries()) {
    if (await stopping.check(fabric, { loss }, i)) return [i + 1, stopping.reason];
  }
  return [0, stopping.reason];
}

describe("EarlyStopping", () => {
  it("stops after `patience` checks in a row without improvement", async () => {
    assert.deepEqual(await stopsAt({ patience: 2 }, [3, 2, 2.5, 1, 1, 1, 0]), [
      6,
      "Monitored metric loss did not improve in the last 2 checks. Best score: 1.",
    ]);
    assert.match((await stopsAt({ patience: 1 }, [1 / 3, 1]))[1] ?? "", /Best score: 0\.333333\.$/);
    assert.equal((await stopsAt({}, [1, 2, 2, 2]))[0], 4);
    assert.equal((await stopsAt({ patience: 0 }, [3, 2, 1, 1]))[0], 4);
    assert.equal((await stopsAt({ patience: 0 }, [3, 2, 1]))[0], 0);
    assert.equal((await stopsAt({ patience: 1, mode: "max" }, [1, 2, 3, 3]))[0], 4);
  });

  it("counts a change of less than `minDelta` as none, in the direction of the mode", async () => {
    assert.equal((await stopsAt({ patience: 1, minDelta: 0.5 }, [3, 2.4, 2]))[0], 3);
    assert.equal((await stopsAt({ patience: 1, minDelta: 0.5, mode: "max" }, [1, 1.6, 2]))[0], 3);
    assert.equal((await stopsAt({ patience: 1, minDelta: 0 }, [3, 2.9, 2.8]))[0], 0);
  });

  it("stops at once beyond the thresholds, and says which", async () => {
    assert.deepEqual(await stopsAt({ stoppingThreshold: 0.5 }, [2, 1, 0.5, 0.4]), [
      4,
      "Stopping threshold reached: loss = 0.4, which is better than 0.5.",
    ]);
    assert.deepEqual(await stopsAt({ divergenceThreshold: 10 }, [2, 10, 11]), [
      3,
      "Divergence threshold reached: loss = 11, which is worse than 10.",
    ]);
    assert.equal((await stopsAt({ mode: "max", stoppingThreshold: 0.9, divergenceThreshold: 0.1 }, [0.5, 0.95]))[0], 2);
    assert.equal((await stopsAt({ mode: "max", stoppingThreshold: 0.9, divergenceThreshold: 0.1 }, [0.5, 0.05]))[0], 2);
  });

  it("stops at NaN and infinity, unless it shall not", async () => {
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      const [check, reason] = await stopsAt({}, [3, bad]);
      assert.equal(check, 2);
      assert.equal(reason, `Monitored metric loss = ${bad} is not finite. Previous best value was 3.`);
    }
    assert.equal(
      (await stopsAt({ checkFinite: false, patience: 2 }, [3, Number.NaN, 2, Number.NaN, Number.NaN]))[0],
      5,
    );
  });

  it("takes tensors, and looks at one hook only", async () => {
    for (const hook of ["onValidationEnd", "onTrainEpochEnd", "onTrainBatchEnd"] as const) {
      const stopping = new EarlyStopping({ monitor: "loss", patience: 1, hook });
      const mine = new Fabric({ accelerator: "cpu", callbacks: [stopping] });
      for (const loss of [1, 2]) {
        for (const called of ["onTrainBatchEnd", "onTrainEpochEnd", "onValidationEnd"] as const) {
          const metrics = called === hook ? { loss: torch.tensor([loss]) } : {};
          await mine.call(called, { fabric: mine, epoch: 7, metrics });
        }
      }
      assert.deepEqual([stopping.shouldStop, stopping.waitCount, stopping.stoppedEpoch], [true, 1, 7]);
    }
  });

  it("knows its Fabric from setup, and says so when it does not", async () => {
    const stopping = new EarlyStopping({ monitor: "loss" });
    const mine = new Fabric({ accelerator: "cpu", callbacks: stopping });
    await assert.rejects(
      async () => mine.call("onValidationEnd", { metrics: { loss: 1 } }),
      /EarlyStopping does not know the Fabric that it works for.\nPass it, `await fabric.call\(hook, \{ fabric/,
    );
    mine.setup(new torch.nn.Linear(1, 1));
    await mine.call("onValidationEnd", { metrics: { loss: 1 } });
    assert.equal(stopping.bestScore, 1);
  });

  it("a metric that is not there is an error that names those that are, or a warning", async () => {
    const mine = new Fabric({ accelerator: "cpu", callbacks: [new EarlyStopping({ monitor: "val_loss" })] });
    await assert.rejects(async () => mine.call("onValidationEnd", { fabric: mine, metrics: { loss: 1, acc: 2 } }), {
      name: "UsageError",
      message:
        /conditioned on the metric `val_loss`, which `onValidationEnd` was not given. It was given: `loss`, `acc`/,
    });
    await assert.rejects(async () => mine.call("onValidationEnd", { fabric: mine }), /It was given: no metrics/);
    await assert.rejects(async () => mine.call("onValidationEnd"), /to be given an object, but got undefined/);
    const lenient = new EarlyStopping({ monitor: "val_loss", strict: false });
    const caught = await catchWarnings(async () => assert.equal(await lenient.check(fabric, {}), false));
    assert.match(caught[0]?.message ?? "", /the metric `val_loss` is not there/);
    await assert.rejects(
      lenient.check(fabric, { val_loss: "low" }),
      /to be a number or a tensor with one element, but got "low"/,
    );
    await assert.rejects(lenient.check(fabric, { val_loss: torch.ones([2]) }), /cannot be converted to a scalar/);
  });

  it("goes on where it was saved, with the patience of now", async () => {
    const first = new EarlyStopping({ monitor: "loss", patience: 5 });
    for (const loss of [3, 2, 4]) await first.check(fabric, { loss });
    const saved = first.stateDict();
    assert.deepEqual(saved, { wait_count: 1, stopped_epoch: 0, best_score: 2, patience: 5 });
    const second = new EarlyStopping({ monitor: "loss", patience: 2 });
    // As Lightning saves it.
    second.loadStateDict({ ...saved, best_score: torch.tensor(2) as unknown as number });
    assert.deepEqual([second.bestScore, second.patience], [2, 2]);
    assert.equal(await second.check(fabric, { loss: 2.5 }), true);
    assert.throws(() => second.loadStateDict({} as never), /to have `wait_count` and `best_score`, but got/);
    second.reset();
    assert.deepEqual([second.shouldStop, second.reason, second.bestScore], [false, null, Number.POSITIVE_INFINITY]);
  });

  it("its state goes through a checkpoint", async () => {
    const { mkdtempSync, rmSync } = await import("node:fs");
    const folder = mkdtempSync("/tmp/fabric-test-");
    try {
      const before = new EarlyStopping({ monitor: "loss" });
      await fabric.save(`${folder}/new.ckpt`, { stopping: before });
      await before.check(fabric, { loss: 0.25 });
      const after = new EarlyStopping({ monitor: "loss" });
      await fabric.save(`${folder}/a.ckpt`, { stopping: before });
      await fabric.load(`${folder}/a.ckpt`, { stopping: after });
      assert.equal(after.bestScore, 0.25);
      await fabric.load(`${folder}/new.ckpt`, { stopping: after });
      assert.equal(after.bestScore, Number.POSITIVE_INFINITY);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it("refuses options that cannot work", () => {
    const refused: [object, RegExp][] = [
      [{}, /Expected `monitor` of EarlyStopping to be the name of a metric, but got undefined/],
      [{ monitor: "a", mode: "auto" }, /`mode` of EarlyStopping is "auto".\nChoose "min"/],
      [{ monitor: "a", patience: -1 }, /`patience` of EarlyStopping is -1/],
      [{ monitor: "a", patience: 1.5 }, /`patience` of EarlyStopping is 1.5/],
      [{ monitor: "a", minDelta: -0.1 }, /`minDelta` of EarlyStopping is -0.1.\nGive a number from 0/],
      [{ monitor: "a", stoppingThreshold: "1" }, /`stoppingThreshold` of EarlyStopping is "1"/],
      [
        { monitor: "a", hook: "onEpochEnd" },
        /`hook` of EarlyStopping is "onEpochEnd".\nChoose one of "onValidationEnd"/,
      ],
      [{ monitor: "a", min_delta: 1 }, /EarlyStopping has no option `min_delta`.\nDid you mean `minDelta`\?/],
    ];
    for (const [options, message] of refused) assert.throws(() => new EarlyStopping(options as never), { message });
    assert.throws(() => new EarlyStopping("val_loss" as never), /options of EarlyStopping to be an object/);
  });
});
