// Floating-point operations by operator, from shapes.
import assert from "node:assert/strict";
import test from "node:test";
import * as torch from "@fabric-ts/torch";
import { FlopCounter, nn, type Tensor } from "@fabric-ts/torch";

const { scaledDotProductAttention } = nn.functional;

function count(body: () => unknown): Record<string, number> {
  const counter = new FlopCounter();
  try {
    body();
  } finally {
    counter[Symbol.dispose]();
  }
  return counter.byOperator;
}

test("matrix products count two for each multiplication, whatever they are part of", () => {
  const [a, b] = [torch.ones([3, 4]), torch.ones([4, 5])];
  const stack = torch.ones([2, 3, 4]);
  assert.deepEqual(
    count(() => a.mm(b)),
    { "aten::mm": 2 * 3 * 4 * 5 },
  );
  assert.deepEqual(
    count(() => torch.ones([5]).addmm(a, b)),
    { "aten::addmm": 120 },
  );
  assert.deepEqual(
    count(() => stack.bmm(torch.ones([2, 4, 5]))),
    { "aten::bmm": 240 },
  );
  assert.deepEqual(
    count(() => torch.ones([2, 3, 5]).baddbmm(stack, torch.ones([2, 4, 5]))),
    { "aten::baddbmm": 240 },
  );
  assert.deepEqual(
    count(() => torch.einsum("ij,jk->ik", [a, b])),
    { "aten::bmm": 120 },
  );
  const vectors = count(() => [b.mv(torch.ones([5])), torch.ones([4]).dot(torch.ones([4]))]);
  assert.deepEqual(vectors, { "aten::dot": 8, "aten::mv": 40 });
});

test("a backward pass counts, and other operators do not", () => {
  const layer = new nn.Linear(32, 2);
  const x = torch.ones([2, 32], { requiresGrad: true });
  assert.deepEqual(
    count(() => layer(x).relu().sum().backward()),
    { "aten::addmm": 256, "aten::mm": 512 },
  );
});

for (const [name, make, shape, forward] of [
  // Output [2, 4, 4, 5]: batch * places * weights.
  ["Conv2d", () => new nn.Conv2d(6, 4, 3, { stride: 2, padding: 1 }), [2, 6, 8, 10], 2 * 2 * 20 * 216],
  ["Conv1d with dilation", () => new nn.Conv1d(3, 4, 3, { dilation: 2 }), [2, 3, 9], 2 * 2 * 5 * 36],
  ["grouped Conv1d", () => new nn.Conv1d(6, 4, 3, { groups: 2 }), [2, 6, 8], 2 * 2 * 6 * 36],
  ["Conv3d", () => new nn.Conv3d(1, 2, 2), [1, 1, 3, 3, 3], 2 * 8 * 16],
  // Every element of the input meets every weight.
  ["ConvTranspose2d", () => new nn.ConvTranspose2d(6, 4, 3, { stride: 2 }), [2, 6, 8, 10], 2 * 2 * 80 * 216],
] as [string, () => (x: Tensor) => Tensor, number[], number][]) {
  test(`${name}: forward, and the same again for the gradient of the weights and that of the input`, () => {
    const layer = make();
    const run = (requiresGrad: boolean) => () => layer(torch.ones(shape, { requiresGrad })).sum().backward();
    assert.deepEqual(count(run(false)), { "aten::convolution": forward, "aten::convolution_backward": forward });
    assert.deepEqual(count(run(true)), { "aten::convolution": forward, "aten::convolution_backward": 2 * forward });
  });
}

test("attention counts its two products, and their gradients", () => {
  // Batch 2, heads 3, 4 queries, 5 keys of width 6, values of width 7.
  const make = (size: number[]): Tensor => torch.ones(size, { requiresGrad: true });
  const [q, k, v] = [make([2, 3, 4, 6]), make([2, 3, 5, 6]), make([2, 3, 5, 7])];
  const total = (body: () => unknown): number => Object.values(count(body)).reduce((sum, flops) => sum + flops, 0);
  const forward = 2 * 6 * 4 * 5 * (6 + 7);
  assert.equal(
    total(() => torch.noGrad(() => scaledDotProductAttention(q, k, v))),
    forward,
  );
  const both = total(() => scaledDotProductAttention(q, k, v).sum().backward());
  // Fused kernels compute the scores once more.
  assert.ok([3 * forward, 3 * forward + 2 * 6 * 4 * 5 * 6].includes(both), String(both));
});

test("counters may be nested, and each counts from its beginning to its end", () => {
  const a = torch.ones([2, 2]);
  const outer = new FlopCounter();
  a.mm(a);
  const inner = count(() => a.mm(a));
  assert.deepEqual(outer.byOperator, { "aten::mm": 32 });
  outer[Symbol.dispose]();
  outer[Symbol.dispose]();
  a.mm(a);
  assert.deepEqual([inner, outer.byOperator, outer.total], [{ "aten::mm": 16 }, { "aten::mm": 32 }, 32]);
});

test("shapes are enough: the meta device computes nothing", () => {
  const size = 2 ** 20;
  const x = torch.empty([size, size], { device: "meta" });
  assert.deepEqual(
    count(() => x.mm(x)),
    { "aten::mm": 2 * size ** 3 },
  );
});

for (const [name, make, shape] of [
  ["convolutions", () => new nn.Conv2d(6, 4, 3, { stride: 2, padding: 1, groups: 2 }), [2, 6, 8, 10]],
  ["transposed convolutions", () => new nn.ConvTranspose2d(6, 4, 3, { stride: 2, outputPadding: 1 }), [2, 6, 8, 10]],
  ["a small image network", () => imageNet(), [2, 3, 8, 8]],
  ["a Transformer's layer", () => new nn.TransformerEncoderLayer(8, 2), [3, 2, 8]],
  ["in place", () => new nn.Sequential(new nn.Linear(2, 2), new nn.ReLU({ inplace: true })), [2, 2]],
] as [string, () => (x: Tensor) => Tensor | [Tensor, unknown], number[]][]) {
  test(`a model on the meta device counts like one with memory: ${name}`, () => {
    const onDevice = (device: "cpu" | "meta"): Record<string, number> =>
      torch.withDevice(device, () => {
        const model = make();
        return count(() => {
          const output = model(torch.ones(shape));
          const first = Array.isArray(output) ? output[0] : output;
          assert.equal(first.device, device);
          first.sum().backward();
        });
      });
    const counted = onDevice("cpu");
    assert.ok(Object.keys(counted).length > 1, JSON.stringify(counted));
    assert.deepEqual(onDevice("meta"), counted);
  });
}

test("recurrent layers count alike in one kernel and in many", () => {
  const total = (device: "cpu" | "meta"): number =>
    torch.withDevice(device, () => {
      const lstm = new nn.LSTM(4, 5);
      const counted = count(() => torch.noGrad(() => lstm(torch.ones([3, 2, 4]))));
      return Object.values(counted).reduce((sum, flops) => sum + flops, 0);
    });
  // Three steps of two sequences meet matrices of 20 by 4 and 20 by 5.
  assert.deepEqual([total("cpu"), total("meta")], [2 * 6 * 180, 2 * 6 * 180]);
});

function imageNet(): nn.Sequential<[Tensor], Tensor> {
  return new nn.Sequential(
    new nn.Conv2d(3, 4, 3),
    new nn.BatchNorm2d(4),
    new nn.ReLU(),
    new nn.MaxPool2d(2),
    new nn.Dropout(),
    new nn.Flatten(),
    new nn.Linear(36, 5),
    new nn.LayerNorm([5]),
  );
}

test("values stay unknown on the meta device, and what works there for a counter works no longer", () => {
  const x = torch.ones([2], { device: "meta" });
  const inside = count(() => {
    assert.equal(x.relu().device, "meta");
    assert.throws(() => x.sum().item(), /no values/);
    assert.throws(() => x.nonzero(), /Meta/);
  });
  assert.deepEqual(inside, {});
  assert.throws(() => x.relu(), /Meta/);
});

test("the precision of float32 matrix products is a setting", () => {
  assert.equal(torch.getFloat32MatmulPrecision(), "highest");
  torch.setFloat32MatmulPrecision("high");
  assert.equal(torch.getFloat32MatmulPrecision(), "high");
  torch.setFloat32MatmulPrecision("highest");
  assert.throws(
    () => torch.setFloat32MatmulPrecision("low" as never),
    /Expected `precision` to be "highest", "high" or "medium", but got "low"/,
  );
});
