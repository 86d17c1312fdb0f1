// Batch normalization over two processes against one process with both batches.
import assert from "node:assert/strict";
import test from "node:test";
import * as torch from "@fabric-ts/torch";
import { nn, optim, type Tensor } from "@fabric-ts/torch";
import { groupValues } from "../support/group.js";

const run = <T>(name: string, args: unknown = {}) =>
  groupValues<T>(import.meta.url, "./ranks/sync-batch-norm.js", name, { args });

interface Seen {
  outputs: number[][];
  gradients: number[][];
  weight: number[] | null;
  bias: number[] | null;
  mean: number[] | null;
  variance: number[] | null;
  batches: number | null;
  evaluated: number[];
}

function assertClose(actual: readonly number[] | null, expected: readonly number[] | null, what: string): void {
  assert.equal(actual?.length, expected?.length, what);
  expected?.forEach((value, i) => {
    const found = actual?.[i] ?? Number.NaN;
    assert.ok(Math.abs(found - value) <= 1e-12 * (1 + Math.abs(value)), `${what} ${i}: ${found}, not ${value}`);
  });
}

const draw = (seed: number, shape: number[]): Tensor => {
  torch.manualSeed(seed);
  return torch.randn(shape, { dtype: "float64" });
};
const plus = (a: number[] | null, b: number[] | null): number[] | null => a && b && a.map((x, i) => x + (b[i] ?? 0));
const flat = (x: Tensor): number[] => x.flatten().tolist() as number[];

const variants: Record<string, { rows: number[]; shape: number[]; options: nn.SyncBatchNormOptions }> = {
  "batches of other sizes": { rows: [2, 5], shape: [3, 2, 2], options: {} },
  "no further dimensions, no momentum": { rows: [4, 3], shape: [2], options: { momentum: null, eps: 1e-3 } },
  "no parameters, no running statistics": {
    rows: [1, 1],
    shape: [2, 3],
    options: { affine: false, trackRunningStats: false },
  },
  "nothing on one process": { rows: [0, 4], shape: [2, 3], options: {} },
};

for (const [title, { rows, shape, options }] of Object.entries(variants)) {
  test(`with ${title}, outputs, gradients and statistics are those of one process`, async () => {
    const ranks = await run<Seen>("layer", { rows, shape, options });
    const [a, b] = ranks as [Seen, Seen];
    const Norm = [nn.BatchNorm1d, nn.BatchNorm1d, nn.BatchNorm1d, nn.BatchNorm2d][shape.length] ?? nn.BatchNorm2d;
    const norm = new Norm(shape[0] as number, options).double();
    if (norm.weight && norm.bias) {
      torch.manualSeed(3);
      torch.nn.init.uniform_(norm.weight, 0.5, 1.5);
      torch.nn.init.uniform_(norm.bias, -1, 1);
    }
    const total = rows.reduce((x, y) => x + y);
    for (const step of [0, 1]) {
      const x = draw(step, [total, ...shape]).requiresGrad_();
      const y = norm(x);
      y.mul(draw(10 + step, [total, ...shape]))
        .sum()
        .backward();
      assertClose([...(a.outputs[step] ?? []), ...(b.outputs[step] ?? [])], flat(y), "output");
      assertClose([...(a.gradients[step] ?? []), ...(b.gradients[step] ?? [])], flat(x.grad as Tensor), "gradient");
    }
    assertClose(plus(a.weight, b.weight), norm.weight && flat(norm.weight.grad as Tensor), "gradient of the weight");
    assertClose(plus(a.bias, b.bias), norm.bias && flat(norm.bias.grad as Tensor), "gradient of the bias");
    for (const seen of [a, b]) {
      assertClose(seen.mean, norm.runningMean && flat(norm.runningMean), "running mean");
      assertClose(seen.variance, norm.runningVar && flat(norm.runningVar), "running variance");
      assert.equal(seen.batches, norm.numBatchesTracked?.item() ?? null);
    }
    if (options.trackRunningStats !== false) {
      assertClose([...a.evaluated, ...b.evaluated], flat(norm.eval()(draw(0, [total, ...shape]))), "evaluated");
    }
  });
}

test("a converted model trains under DDP like the original in one process on all data", async () => {
  const [a, b] = await run<[string, number[]][]>("train");
  assert.deepEqual(a, b);
  class Net extends nn.Module<[Tensor], Tensor> {
    first = new nn.Conv2d(1, 3, 2);
    layers = new nn.Sequential(new nn.BatchNorm2d(3), new nn.ReLU());
    last = new nn.Linear(3, 2);
    forward(x: Tensor) {
      return this.last(this.layers(this.first(x)).mean([2, 3]));
    }
  }
  torch.manualSeed(0);
  const net = new Net().double();
  const optimizer = new optim.SGD(net.parameters(), { lr: 0.1 });
  for (let step = 0; step < 4; step++) {
    optimizer.zeroGrad();
    net(draw(step, [6, 1, 4, 4]))
      .square()
      .mean()
      .backward();
    optimizer.step();
  }
  const state = Object.entries(net.stateDict());
  assert.deepEqual(
    a?.map(([name]) => name),
    state.map(([name]) => name),
  );
  state.forEach(([name, value], i) => {
    const [found, expected] = [a?.[i]?.[1] ?? [], flat(value as Tensor)];
    found.forEach((x, j) => {
      assert.ok(Math.abs(x - (expected[j] ?? Number.NaN)) < 1e-10, `${name}, element ${j}: ${x}, not ${expected[j]}`);
    });
  });
});

test("too few values are an error on every process", async () => {
  const facts = await run<{ message: string } | null>("tooFew");
  for (const fact of facts)
    assert.match(fact?.message ?? "", /needs more than one value per channel to train, but got 0/);
});

test("with one process it is a batch normalization, and conversion keeps everything", () => {
  const model = new nn.Sequential(
    new nn.Conv1d(1, 2, 2),
    new nn.BatchNorm1d(2, { momentum: 0.3 }),
    new nn.BatchNorm1d(2).eval(),
  );
  const [, first] = [...model] as nn.BatchNorm1d[];
  const x = torch.randn([3, 1, 5]);
  torch.noGrad(() => model(x));
  const names = Object.keys(model.stateDict());
  const expected = torch.noGrad(() => model.eval()(x)).tolist();
  const converted = nn.SyncBatchNorm.convertSyncBatchnorm(model);
  assert.equal(converted, model);
  const [, norm, other] = [...converted] as nn.SyncBatchNorm[];
  assert.ok(norm instanceof nn.SyncBatchNorm && other instanceof nn.SyncBatchNorm);
  assert.deepEqual([norm.weight, norm.momentum, norm.training], [first?.weight, 0.3, false]);
  assert.deepEqual(Object.keys(model.stateDict()), names);
  assert.deepEqual(model(x).tolist(), expected);
  model.train();
  assert.equal(model(x).requiresGrad, true);
  assert.equal(String(norm), "SyncBatchNorm(2, eps=1e-05, momentum=0.3, affine=True, track_running_stats=True)");
  assert.ok(nn.SyncBatchNorm.convertSyncBatchnorm(new nn.BatchNorm2d(3)) instanceof nn.SyncBatchNorm);
});
