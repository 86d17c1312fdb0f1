// How many batches make a step, by epoch, and that accumulating gives what one large batch gives.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Fabric, GradientAccumulationScheduler } from "@fabric-ts/fabric";
import * as torch from "@fabric-ts/torch";
import { nn, optim } from "@fabric-ts/torch";

describe("GradientAccumulationScheduler", () => {
  it("has a factor for every epoch: the last that was set, 1 before the first", () => {
    const schedule = new GradientAccumulationScheduler({ 2: 3, 5: 4 });
    assert.deepEqual(
      [0, 1, 2, 4, 5, 100].map((epoch) => schedule.accumulateGradBatches(epoch)),
      [1, 1, 3, 3, 4, 4],
    );
    assert.deepEqual(
      [...schedule.scheduling],
      [
        [0, 1],
        [2, 3],
        [5, 4],
      ],
    );
    assert.deepEqual(
      [
        ...new GradientAccumulationScheduler(
          new Map([
            [9, 2],
            [0, 8],
          ]),
        ).scheduling,
      ],
      [
        [0, 8],
        [9, 2],
      ],
    );
    assert.equal(schedule.goingToAccumulateGradBatches(), true);
    assert.equal(new GradientAccumulationScheduler({ 3: 1 }).goingToAccumulateGradBatches(), false);
  });

  it("follows onTrainEpochStart", async () => {
    const schedule = new GradientAccumulationScheduler({ 1: 2 });
    const fabric = new Fabric({ accelerator: "cpu", callbacks: [schedule] });
    const seen: number[] = [];
    for (let epoch = 0; epoch < 3; epoch++) {
      await fabric.call("onTrainEpochStart", { epoch });
      seen.push(schedule.accumulateGradBatches());
    }
    assert.deepEqual(seen, [1, 2, 2]);
    assert.throws(
      () => void fabric.call("onTrainEpochStart", {}),
      /to be given `epoch`, a whole number from 0, but got undefined/,
    );
  });

  it("says after which batches no step follows, and how many batches each step has", () => {
    const schedule = new GradientAccumulationScheduler({ 0: 3 });
    const batches = [0, 1, 2, 3, 4, 5, 6, 7];
    assert.deepEqual(
      batches.map((i) => schedule.isAccumulating(i)),
      [true, true, false, true, true, false, true, true],
    );
    // The last step of the epoch has two.
    assert.deepEqual(
      batches.map((i) => schedule.isAccumulating(i, 8)),
      [true, true, false, true, true, false, true, false],
    );
    assert.deepEqual(
      batches.map((i) => schedule.batchesInStep(i, 8)),
      [3, 3, 3, 3, 3, 3, 2, 2],
    );
    assert.deepEqual([schedule.batchesInStep(7), schedule.batchesInStep(0, 1)], [3, 1]);
  });

  it("accumulated batches give the step of one large batch, also the incomplete last one", () => {
    const train = (schedule: GradientAccumulationScheduler, size: number): unknown => {
      const fabric = new Fabric({ accelerator: "cpu" });
      torch.manualSeed(1);
      const net = new nn.Linear(3, 1, { dtype: "float64" });
      const [model, optimizer] = fabric.setup(net, new optim.SGD(net.parameters(), { lr: 0.1 }));
      const rows = torch.randn([10, 3], { dtype: "float64" });
      const batches = 10 / size;
      let steps = 0;
      for (let i = 0; i < batches; i++) {
        const isAccumulating = schedule.isAccumulating(i, batches);
        fabric.noBackwardSync(model, { enabled: isAccumulating }, () => {
          const loss = model(rows.narrow(0, i * size, size))
            .pow(2)
            .mean();
          fabric.backward(loss.div(schedule.batchesInStep(i, batches)));
        });
        if (isAccumulating) continue;
        optimizer.step();
        optimizer.zeroGrad();
        steps++;
      }
      return [steps, (net.weight.tolist() as number[][]).flat().map((w) => w.toFixed(12))];
    };
    // Five batches of two in steps of two, two and one; the same rows in steps of four, four and two.
    const small = train(new GradientAccumulationScheduler({ 0: 4 }), 1);
    const large = train(new GradientAccumulationScheduler({ 0: 2 }), 2);
    assert.deepEqual(small, large);
    assert.equal((small as [number])[0], 3);
  });

  it("refuses schedules that cannot work", () => {
    const refused: [unknown, RegExp][] = [
      [{}, /Expected a schedule with at least one epoch, but got/],
      [undefined, /Expected a schedule with at least one epoch, but got undefined/],
      [4, /but got 4.\nType `new GradientAccumulationScheduler\(\{ 0: 8, 5: 4 \}\)`/],
      [{ "-1": 2 }, /Epoch should be a whole number from 0. Got: "-1"/],
      [{ "1.5": 2 }, /Epoch should be a whole number from 0. Got: "1.5"/],
      [{ "": 2 }, /Epoch should be a whole number from 0. Got: ""/],
      [{ 1: 0 }, /Accumulation factor should be a whole number above 0. Got: 0/],
      [{ 1: 1.5 }, /Accumulation factor should be a whole number above 0. Got: 1.5/],
      [{ 1: "2" }, /Accumulation factor should be a whole number above 0. Got: "2"/],
    ];
    for (const [schedule, message] of refused) {
      assert.throws(() => new GradientAccumulationScheduler(schedule as never), { message });
    }
  });
});
