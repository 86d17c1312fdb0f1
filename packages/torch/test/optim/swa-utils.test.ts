// Averages of weights, and the learning rate that goes with them.
import assert from "node:assert/strict";
import { test } from "node:test";
import * as torch from "@fabric-ts/torch";
import { nn, optim, type Tensor } from "@fabric-ts/torch";

const { AveragedModel, getEmaAvgFn, SWALR, updateBn } = optim.swaUtils;

const weightOf = (layer: nn.Linear): number => layer.weight.item();
function set(layer: nn.Linear, value: number): void {
  torch.noGrad(() => layer.weight.fill_(value));
}

test("the mean of all models; the first is copied", () => {
  const net = new nn.Linear(1, 1, { bias: false });
  const average = new AveragedModel(net);
  assert.notEqual(average.module, net);
  for (const value of [1, 2, 6]) {
    set(net, value);
    average.updateParameters(net);
  }
  assert.equal(weightOf(average.module), 3);
  assert.equal(average.numAveraged, 3);
  assert.deepEqual(average(torch.ones([1, 1])).tolist(), [[3]]);
  assert.deepEqual(Object.keys(average.stateDict()).sort(), ["module.weight", "n_averaged"]);
  const copy = new AveragedModel(new nn.Linear(1, 1, { bias: false }));
  copy.loadStateDict(average.stateDict());
  assert.equal(copy.numAveraged, 3);
});

test("an exponential moving average, and one of the user's own", () => {
  const net = new nn.Linear(1, 1, { bias: false }).double();
  const ema = new AveragedModel(net, { avgFn: getEmaAvgFn(0.75) });
  const greatest = new AveragedModel(net, { avgFn: (averaged, parameter) => averaged.maximum(parameter) });
  for (const value of [4, 8, 0]) {
    set(net, value);
    for (const average of [ema, greatest]) average.updateParameters(net);
  }
  assert.equal(weightOf(ema.module), (4 * 0.75 + 8 * 0.25) * 0.75);
  assert.equal(weightOf(greatest.module), 8);
});

test("buffers are copied, or averaged when asked, and counters always copied", () => {
  const norm = new nn.BatchNorm1d(1);
  const [copied, averaged] = [new AveragedModel(norm), new AveragedModel(norm, { useBuffers: true })];
  for (const mean of [1, 3]) {
    norm.runningMean?.fill_(mean);
    norm.numBatchesTracked?.fill_(10 * mean);
    for (const average of [copied, averaged]) average.updateParameters(norm);
  }
  assert.deepEqual([copied.module.runningMean?.item(), averaged.module.runningMean?.item()], [3, 2]);
  assert.equal(averaged.module.numBatchesTracked?.item(), 30);
});

test("updateBn gives every batch normalization the mean statistics of a loader", () => {
  torch.manualSeed(0);
  const norm = new nn.BatchNorm1d(2, { momentum: 0.3 });
  const net = new nn.Sequential(norm, new nn.Dropout(0.5)).eval();
  const batches = [torch.randn([4, 2]), torch.randn([6, 2])];
  updateBn(
    batches.map((x) => [x, "label"]),
    net,
  );
  const mean = (batches[0] as Tensor)
    .mean([0])
    .add((batches[1] as Tensor).mean([0]))
    .div(2);
  assert.ok(norm.runningMean?.allclose(mean));
  assert.deepEqual([norm.momentum, norm.numBatchesTracked?.item(), net.training], [0.3, 2, false]);
  updateBn(batches, new nn.Linear(2, 2));
});

const traces: [strategy: "cos" | "linear", epochs: number, rates: number[][]][] = [
  [
    "cos",
    4,
    [
      [0.1, 0.03],
      [0.09267766952966369, 0.02707106781186547],
      [0.075, 0.019999999999999997],
      [0.046338834764831846, 0.01],
      [0.05, 0.01],
      [0.05, 0.01],
    ],
  ],
  [
    "linear",
    3,
    [
      [0.1, 0.03],
      [0.08333333333333334, 0.023333333333333334],
      [0.06666666666666668, 0.016666666666666666],
      [0.05, 0.01],
      [0.05, 0.01],
    ],
  ],
  [
    "linear",
    0,
    [
      [0.05, 0.01],
      [0.05, 0.01],
    ],
  ],
];

for (const [annealStrategy, annealEpochs, rates] of traces) {
  test(`SWALR ${annealStrategy} over ${annealEpochs} epochs has PyTorch's rates, also when they are changed in between`, () => {
    const groups = [0.1, 0.03].map((lr) => ({ params: [torch.zeros([1], { requiresGrad: true })], lr }));
    const optimizer = new optim.SGD(groups);
    const scheduler = new SWALR(optimizer, { swaLr: [0.05, 0.01], annealEpochs, annealStrategy });
    rates.forEach((expected, epoch) => {
      assert.deepEqual(scheduler.getLastLr(), expected, `epoch ${epoch}`);
      optimizer.step();
      scheduler.step();
      if (epoch === 1) for (const group of optimizer.paramGroups) group.lr *= 0.5;
    });
  });
}

test("what cannot work is explained", () => {
  class Secret extends nn.Module<[Tensor], Tensor> {
    #x = 1;
    forward(x: Tensor) {
      return x.mul(this.#x);
    }
  }
  const net = new nn.Linear(1, 1);
  assert.throws(() => new AveragedModel(new Secret()), /Secret has private members/);
  class Around extends Secret {
    module = new nn.Linear(1, 1);
  }
  assert.throws(() => new AveragedModel(new Around()), /has private members.*\n.*`new AveragedModel\(model\.module, /);
  assert.throws(
    () => new AveragedModel(net).updateParameters(new nn.ReLU()),
    /Pass the model that the average was made of/,
  );
  assert.throws(() => new AveragedModel(net, { avgFn: 3 as never }), /Expected `avgFn` to be a function, but got 3/);
  assert.throws(() => getEmaAvgFn(2), /`decay` has to be between 0 and 1/);
  const optimizer = new optim.SGD(net.parameters(), { lr: 1 });
  assert.throws(() => new SWALR(optimizer, { swaLr: [1, 2] }), /`swaLr` has 2 entries/);
});
