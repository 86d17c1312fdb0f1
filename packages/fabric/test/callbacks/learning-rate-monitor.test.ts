// LearningRateMonitor: names and values of rates, and when they are logged.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { catchWarnings, Fabric, LearningRateMonitor, type LearningRateMonitorOptions } from "@fabric-ts/fabric";
import { nn, ones, optim } from "@fabric-ts/torch";
import { MemoryLogger } from "../support/memory-logger.js";

interface Run {
  fabric: Fabric;
  monitor: LearningRateMonitor;
  rows: MemoryLogger["logged"];
  net: nn.Sequential;
  /** Makes the optimizers' gradients and steps them. */
  step(...optimizers: optim.Optimizer[]): void;
}
function run(options?: LearningRateMonitorOptions): Run {
  const monitor = new LearningRateMonitor(options);
  const logger = new MemoryLogger();
  const fabric = new Fabric({ accelerator: "cpu", callbacks: [monitor], loggers: [logger] });
  const net = new nn.Sequential(new nn.Linear(2, 2), new nn.Linear(2, 1));
  const model = fabric.setup(net);
  const step = (...optimizers: optim.Optimizer[]): void => {
    fabric.backward(model(ones([1, 2])).sum());
    for (const optimizer of optimizers) optimizer.step();
  };
  return { fabric, monitor, rows: logger.logged, net, step };
}

describe("LearningRateMonitor", () => {
  it("logs the rate that the step used, also when the scheduler has gone on since", async () => {
    const { fabric, rows, net, step } = run();
    const adam = fabric.setupOptimizers(new optim.Adam(net.parameters(), { lr: 0.5 }));
    const scheduler = new optim.lrScheduler.StepLR(adam, 1, { gamma: 0.5 });
    for (let n = 1; n <= 3; n++) {
      step(adam);
      scheduler.step();
      await fabric.call("onTrainBatchEnd", { step: n });
    }
    await fabric.call("onTrainEpochEnd", { step: 3 });
    assert.deepEqual(rows, [
      [{ "lr-Adam": 0.5 }, 1],
      [{ "lr-Adam": 0.25 }, 2],
      [{ "lr-Adam": 0.125 }, 3],
    ]);
  });

  it("logs once an epoch with loggingInterval epoch", async () => {
    const { fabric, rows, net, step } = run({ loggingInterval: "epoch" });
    const sgd = fabric.setupOptimizers(new optim.SGD(net.parameters(), { lr: 0.1 }));
    step(sgd);
    await fabric.call("onTrainBatchEnd", { step: 1 });
    await fabric.call("onTrainEpochEnd", { epoch: 0 });
    assert.deepEqual(rows, [[{ "lr-SGD": 0.1 }, undefined]]);
  });

  it("names groups, groups with names, and several optimizers of one class as Lightning does", async () => {
    const { fabric, rows, net, step } = run({ logMomentum: true, logWeightDecay: true });
    const [first, second] = [...net] as [nn.Linear, nn.Linear];
    const optimizers = fabric.setupOptimizers(
      new optim.SGD([{ params: [first.weight], lr: 0.2 }, { params: [first.bias as nn.Parameter] }], {
        lr: 0.1,
        momentum: 0.9,
      }),
      new optim.SGD([second.bias as nn.Parameter], { lr: 0.3, weightDecay: 0.01 }),
      new optim.Adam([{ params: [second.weight], name: "head" }], { lr: 0.4, betas: [0.8, 0.99] }),
    );
    step(...optimizers);
    await fabric.call("onTrainBatchEnd", { step: 1 });
    assert.deepEqual(rows[0]?.[0], {
      "lr-SGD/pg1": 0.2,
      "lr-SGD/pg1-momentum": 0.9,
      "lr-SGD/pg1-weight_decay": 0,
      "lr-SGD/pg2": 0.1,
      "lr-SGD/pg2-momentum": 0.9,
      "lr-SGD/pg2-weight_decay": 0,
      "lr-SGD-1": 0.3,
      "lr-SGD-1-momentum": 0,
      "lr-SGD-1-weight_decay": 0.01,
      "lr-Adam/head": 0.4,
      "lr-Adam/head-momentum": 0.8,
      "lr-Adam/head-weight_decay": 0,
    });
  });

  it("finds a group that is added later, and forgets optimizers when another training starts", async () => {
    const { fabric, monitor, net, step } = run();
    const [first, second] = [...net] as [nn.Linear, nn.Linear];
    const sgd = fabric.setupOptimizers(new optim.SGD(first.parameters(), { lr: 0.1 }));
    step(sgd);
    assert.deepEqual(monitor.rates, { "lr-SGD": 0.1 });
    sgd.addParamGroup({ params: second.parameters(), lr: 0.2 });
    step(sgd);
    assert.deepEqual(monitor.rates, { "lr-SGD/pg1": 0.1, "lr-SGD/pg2": 0.2 });
    await fabric.call("onTrainStart");
    assert.deepEqual(monitor.rates, {});
    step(fabric.setupOptimizers(new optim.SGD(net.parameters(), { lr: 0.3 })));
    assert.deepEqual(monitor.rates, { "lr-SGD": 0.3 });
  });

  it("takes optimizers that were not set up from the facts, with the rates of now", async () => {
    const { fabric, rows, net } = run();
    const sgd = new optim.SGD(net.parameters(), { lr: 0.1 });
    const wrapped = fabric.setupOptimizers(new optim.Adam(net.parameters(), { lr: 1 }));
    for (const lr of [0.1, 0.05]) {
      for (const group of sgd.paramGroups) group.lr = lr;
      await fabric.call("onTrainBatchEnd", { fabric, optimizer: sgd, optimizers: [wrapped] });
    }
    assert.deepEqual(
      rows.map(([row]) => row),
      [
        { "lr-SGD": 0.1, "lr-Adam": 1 },
        { "lr-SGD": 0.05, "lr-Adam": 1 },
      ],
    );
  });

  it("says once that there is no logger", async () => {
    const monitor = new LearningRateMonitor();
    const fabric = new Fabric({ accelerator: "cpu", callbacks: [monitor] });
    const caught = await catchWarnings(async () => {
      await fabric.call("onTrainBatchEnd", { fabric });
      await fabric.call("onTrainBatchEnd", { fabric });
    });
    assert.equal(caught.length, 1);
    assert.match(caught[0]?.message ?? "", /LearningRateMonitor has nowhere to log to.\nGive Fabric a logger/);
  });

  it("refuses another interval, and groups with one name", () => {
    assert.throws(
      () => new LearningRateMonitor({ loggingInterval: "batch" as never }),
      /`loggingInterval` is "batch".\nChoose/,
    );
    assert.throws(
      () => new LearningRateMonitor({ logging_interval: "step" } as never),
      /Did you mean `loggingInterval`/,
    );
    const { fabric, net, step } = run();
    const groups = [...net].map((layer) => ({ params: layer.parameters(), name: "same" }));
    const sgd = fabric.setupOptimizers(new optim.SGD(groups, { lr: 0.1 }));
    assert.throws(() => step(sgd), /Several parameter groups of one SGD have the `name` "same"/);
  });
});
