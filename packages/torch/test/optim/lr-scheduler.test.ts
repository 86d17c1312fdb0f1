// How schedulers behave in a training loop, and what they say when they are used wrongly.
import assert from "node:assert/strict";
import { test } from "node:test";
import * as torch from "@fabric-ts/torch";
import { optim } from "@fabric-ts/torch";

const { lrScheduler } = optim;

function sgd(lr = 1): optim.SGD {
  return new optim.SGD([torch.zeros([1], { requiresGrad: true })], { lr });
}

/** The warnings that `body` emits. */
async function warningsOf(body: () => void): Promise<string[]> {
  const seen: string[] = [];
  const note = (warning: Error): void => void seen.push(warning.message);
  process.on("warning", note);
  try {
    body();
    // Warnings are emitted in the next tick.
    await new Promise((resolve) => setImmediate(resolve));
  } finally {
    process.off("warning", note);
  }
  return seen;
}

test("schedulers are found under `optim.lrScheduler` and `optim`", () => {
  assert.equal(optim.StepLR, lrScheduler.StepLR);
  assert.equal(optim.ReduceLROnPlateau, lrScheduler.ReduceLROnPlateau);
  assert.ok(new lrScheduler.StepLR(sgd(), 2) instanceof lrScheduler.LRScheduler);
});

test("a scheduler sets the rates of all groups, and adds to what was set by hand", () => {
  const [p, q] = [torch.zeros([1], { requiresGrad: true }), torch.zeros([1], { requiresGrad: true })];
  const optimizer = new optim.SGD([{ params: [p], lr: 8 }, { params: [q] }], { lr: 4 });
  const scheduler = new lrScheduler.StepLR(optimizer, 1, { gamma: 0.5 });
  assert.deepEqual(scheduler.getLastLr(), [8, 4]);
  optimizer.step();
  scheduler.step();
  assert.deepEqual(scheduler.getLastLr(), [4, 2]);
  (optimizer.paramGroups[1] as optim.ParamGroup).lr = 100;
  optimizer.step();
  scheduler.step();
  assert.deepEqual([scheduler.getLastLr(), scheduler.lastEpoch, scheduler.baseLrs], [[2, 50], 2, [8, 4]]);
});

test("a step of the scheduler before the optimizer's first is a warning, once", async () => {
  const optimizer = sgd();
  const scheduler = new lrScheduler.ExponentialLR(optimizer, 0.5);
  const seen = await warningsOf(() => {
    scheduler.step();
    scheduler.step();
  });
  assert.equal(seen.length, 1);
  assert.match(seen[0] as string, /`scheduler\.step\(\)` was called before `optimizer\.step\(\)`/);
});

test("the right order warns of nothing, also for two schedulers of one optimizer", async () => {
  const seen = await warningsOf(() => {
    const optimizer = sgd();
    const first = new lrScheduler.ExponentialLR(optimizer, 0.5);
    const second = new lrScheduler.ConstantLR(optimizer, { factor: 0.5, totalIters: 2 });
    for (let i = 0; i < 3; i++) {
      optimizer.step();
      first.step();
      second.step();
    }
    assert.deepEqual(second.getLastLr(), [0.125]);
  });
  assert.deepEqual(seen, []);
});

test("a warm-up before a decay", () => {
  const optimizer = sgd();
  const warmup = new lrScheduler.LinearLR(optimizer, { startFactor: 0.25, totalIters: 3 });
  const decay = new lrScheduler.StepLR(optimizer, 1, { gamma: 0.5 });
  const scheduler = new lrScheduler.SequentialLR(optimizer, [warmup, decay], [3]);
  const rates = [scheduler.getLastLr()[0]];
  for (let i = 0; i < 5; i++) {
    optimizer.step();
    scheduler.step();
    rates.push(scheduler.getLastLr()[0]);
  }
  assert.deepEqual(rates, [0.25, 0.5, 0.75, 1, 0.5, 0.25]);
});

test("ReduceLROnPlateau takes a tensor or a number and reads out", () => {
  const optimizer = sgd();
  const scheduler = new lrScheduler.ReduceLROnPlateau(optimizer, { patience: 0, factor: 0.5 });
  for (const loss of [torch.tensor(2.5), 3, torch.tensor([4])]) scheduler.step(loss);
  assert.deepEqual([optimizer.paramGroups[0]?.lr, scheduler.best, scheduler.lastEpoch], [0.25, 2.5, 3]);
  assert.throws(() => scheduler.step(undefined as never), /Expected `metric` to be a number, or a tensor/);
});

test("resuming with `lastEpoch` needs the `initial_lr` of a loaded optimizer", () => {
  const optimizer = sgd();
  assert.throws(() => new lrScheduler.StepLR(optimizer, 2, { lastEpoch: 3 }), {
    name: "ConfigurationError",
    message: /group 0 has no `initial_lr`.*\nLoad the optimizer's state/,
  });
  (optimizer.paramGroups[0] as optim.ParamGroup).initial_lr = 8;
  const scheduler = new lrScheduler.StepLR(optimizer, 2, { lastEpoch: 3, gamma: 0.5 });
  assert.deepEqual([scheduler.lastEpoch, scheduler.baseLrs, scheduler.getLastLr()], [4, [8], [0.5]]);
});

test("a class of the user's schedules as the ones of the library", () => {
  class Halving extends lrScheduler.LRScheduler {
    constructor(optimizer: optim.Optimizer) {
      super(optimizer);
      this.start();
    }
    protected override getLr(): number[] {
      return this.baseLrs.map((lr) => lr * 0.5 ** this.lastEpoch);
    }
  }
  const optimizer = sgd(4);
  const scheduler = new Halving(optimizer);
  optimizer.step();
  scheduler.step();
  assert.deepEqual(scheduler.getLastLr(), [2]);
  const other = new Halving(sgd(4));
  other.loadStateDict(scheduler.stateDict());
  assert.equal(other.lastEpoch, 1);
});

test("the state of another scheduler, or of other groups, is refused and changes nothing", () => {
  const scheduler = new lrScheduler.StepLR(sgd(), 2);
  const cosine = new lrScheduler.CosineAnnealingLR(sgd(), 2);
  assert.throws(() => cosine.loadStateDict(scheduler.stateDict()), {
    name: "ConfigurationError",
    message:
      /has no `T_max`, `eta_min`, which CosineAnnealingLR needs; it has `step_size`, .*\nLoad a state that was saved/,
  });
  const two = new optim.SGD(
    [1, 2].map(() => ({ params: [torch.zeros([1], { requiresGrad: true })] })),
    { lr: 1 },
  );
  const wide = new lrScheduler.StepLR(two, 3).stateDict();
  assert.throws(() => scheduler.loadStateDict(wide), /is for 2 parameter groups, but the optimizer has 1/);
  assert.throws(() => scheduler.loadStateDict(3 as never), /Expected `stateDict` to be an object, but got 3/);
  assert.equal(scheduler.stepSize, 2);
  const plateau = new lrScheduler.ReduceLROnPlateau(sgd());
  assert.throws(() => plateau.loadStateDict(scheduler.stateDict()), /which ReduceLROnPlateau needs/);
});

test("what a scheduler cannot work with is refused with what to type", () => {
  const optimizer = sgd();
  const fails = (make: () => unknown, text: RegExp): void => assert.throws(make, text);
  fails(
    () => new lrScheduler.StepLR(optimizer, { stepSize: 3 } as never),
    /`stepSize` to be a whole number.*\n.*StepLR\(optimizer, 30/,
  );
  fails(() => new lrScheduler.StepLR([] as never, 3), /Expected `optimizer` to be an Optimizer, but got \[\]/);
  fails(() => new lrScheduler.StepLR(optimizer, 3, { gama: 1 } as never), /Did you mean `gamma`\?/);
  fails(() => new lrScheduler.CosineAnnealingLR(optimizer, 3, { eta_min: 1 } as never), /It is called `etaMin` here/);
  fails(() => new lrScheduler.ConstantLR(optimizer, { factor: 2 }), /`factor` has to be between 0 and 1, but is 2/);
  fails(() => new lrScheduler.LambdaLR(optimizer, 3 as never), /Expected `lrLambda` to be a function/);
  fails(
    () => new lrScheduler.LambdaLR(optimizer, [() => 1, () => 2]),
    /has 2 entries, but the optimizer has 1 parameter group/,
  );
  fails(() => new lrScheduler.OneCycleLR(optimizer, 0.1), /needs `totalSteps`, or `epochs` and `stepsPerEpoch`/);
  fails(
    () => new lrScheduler.CyclicLR(new optim.Adam([torch.zeros([1])]), 0.1, 0.2),
    /Adam has no `momentum` to cycle\.\nPass `\{ cycleMomentum: false \}`/,
  );
  const step = new lrScheduler.StepLR(optimizer, 3);
  fails(() => new lrScheduler.SequentialLR(optimizer, [step], [3]), /0 for 1 schedulers, but got 1/);
  fails(
    () => new lrScheduler.ChainedScheduler([step, new lrScheduler.StepLR(sgd(), 3)]),
    /schedulers of one optimizer/,
  );
  fails(
    () => new lrScheduler.ChainedScheduler([new lrScheduler.ReduceLROnPlateau(optimizer) as never]),
    /takes no metric/,
  );
  fails(() => step.step(-1), /Expected `epoch` to be a number of at least 0/);
});

test("OneCycleLR ends with an error that says how many steps it has", () => {
  const optimizer = sgd();
  const scheduler = new lrScheduler.OneCycleLR(optimizer, 0.1, { totalSteps: 2, cycleMomentum: false });
  const train = (): void => {
    optimizer.step();
    scheduler.step();
  };
  train();
  train();
  assert.throws(train, { name: "UsageError", message: /The schedule has 2 steps, but this is step 4/ });
});
