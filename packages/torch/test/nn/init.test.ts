// Initializations and gradient clipping against PyTorch, bit for bit where no kernel of the processor's own is involved.
import assert from "node:assert/strict";
import { test } from "node:test";
import * as torch from "@fabric-ts/torch";
import { nn, type Tensor } from "@fabric-ts/torch";
import { assertClose, numbers } from "./close.js";
import { clips, inits } from "./python-values.js";

const cases: Record<string, [call: (t: Tensor) => Tensor, shape: number[]]> = {
  uniform_: [(t) => nn.init.uniform_(t, -1, 2), [5]],
  normal_: [(t) => nn.init.normal_(t, 1, 0.5), [20]],
  truncNormal_: [(t) => nn.init.truncNormal_(t), [8]],
  "truncNormal_ with options": [(t) => nn.init.truncNormal_(t, { mean: 0.1, std: 0.02, a: -0.03, b: 0.13 }), [8]],
  constant_: [(t) => nn.init.constant_(t, 0.3), [2]],
  ones_: [nn.init.ones_, [2]],
  zeros_: [nn.init.zeros_, [2]],
  eye_: [nn.init.eye_, [2, 3]],
  dirac_: [(t) => nn.init.dirac_(t, 2), [4, 2, 3]],
  xavierUniform_: [(t) => nn.init.xavierUniform_(t, nn.init.calculateGain("relu")), [3, 4]],
  xavierNormal_: [(t) => nn.init.xavierNormal_(t), [3, 4]],
  kaimingUniform_: [(t) => nn.init.kaimingUniform_(t, { mode: "fan_out", nonlinearity: "relu" }), [2, 2, 3]],
  kaimingNormal_: [(t) => nn.init.kaimingNormal_(t), [3, 4]],
  orthogonal_: [(t) => nn.init.orthogonal_(t, 2), [3, 2]],
  "orthogonal_ wide": [(t) => nn.init.orthogonal_(t), [2, 2, 2]],
};

for (const [name, [call, shape]] of Object.entries(cases)) {
  test(`${name} draws what PyTorch draws`, () => {
    torch.manualSeed(1234);
    const tensor = torch.empty(shape);
    assert.equal(call(tensor), tensor);
    if (/uniform|constant|ones|zeros|eye|dirac/i.test(name)) assert.deepEqual(numbers(tensor), inits[name]);
    else assertClose(tensor, inits[name] as number[]);
  });
}

test("initializing records no gradients", () => {
  const parameter = new nn.Parameter(torch.zeros([2]));
  nn.init.normal_(parameter);
  assert.equal(parameter.isLeaf, true);
  assert.equal(parameter.requiresGrad, true);
});

test("skipInit leaves values and the random state alone", () => {
  torch.manualSeed(1);
  const before = torch.getRngState().tolist();
  const layer = nn.init.skipInit(() => new nn.Linear(4, 4));
  assert.deepEqual(layer.weight.shape, [4, 4]);
  {
    using _ = nn.init.skipInit();
    assert.equal(nn.init.isSkippingInit(), true);
    assert.deepEqual(nn.init.ones_(torch.zeros([2])).tolist(), [0, 0]);
  }
  assert.equal(nn.init.isSkippingInit(), false);
  assert.deepEqual(torch.getRngState().tolist(), before);
});

test("fans need two dimensions", () => {
  assert.deepEqual(nn.init.calculateFanInAndFanOut(torch.ones([4, 3, 2, 2])), { fanIn: 12, fanOut: 16 });
  assert.throws(
    () => nn.init.xavierUniform_(torch.ones([3])),
    /two dimensions or more, but the tensor has the shape \[3\]/,
  );
});

for (const [kind, expected] of Object.entries(clips)) {
  test(`clipGradNorm_ (${kind}) is PyTorch's`, () => {
    torch.manualSeed(1234);
    const parameters = [3, 5].map((n) => torch.zeros([n], { requiresGrad: true }));
    for (const p of parameters) p.grad = torch.randn(p.shape);
    const [maxNorm, normType] = {
      "2": [1, 2],
      "1": [0.5, 1],
      Infinity: [0.7, Number.POSITIVE_INFINITY],
      large: [100, 2],
    }[kind] as [number, number];
    const total = nn.utils.clipGradNorm_(parameters, maxNorm, { normType });
    assertClose(total, expected.total, "norm");
    parameters.forEach((p, i) => void assertClose(p.grad as Tensor, expected.grads[i] as number[], `gradient ${i}`));
  });
}

test("clipGradNorm_ can refuse a norm that is not finite, and skips parameters without gradients", () => {
  const p = torch.zeros([1], { requiresGrad: true });
  assert.equal(nn.utils.clipGradNorm_([p], 1).item(), 0);
  p.grad = torch.tensor([Number.NaN]);
  assert.throws(
    () => nn.utils.clipGradNorm_(p, 1, { errorIfNonfinite: true }),
    /norm of order 2 .* is non-finite, so they cannot be clipped: it is NaN\./,
  );
});

test("clipGradValue_ cuts single elements off", () => {
  const p = torch.zeros([3], { requiresGrad: true });
  p.grad = torch.tensor([-3, 0.5, 3]);
  nn.utils.clipGradValue_([p], 1);
  assert.deepEqual(p.grad?.tolist(), [-1, 0.5, 1]);
});

test("parameters become a vector and come back", () => {
  const model = new nn.Linear(2, 1);
  const vector = nn.utils.parametersToVector(model.parameters());
  assert.deepEqual(vector.shape, [3]);
  nn.utils.vectorToParameters(torch.tensor([1, 2, 3], { dtype: "float32" }), model.parameters());
  assert.deepEqual(model.weight.tolist(), [[1, 2]]);
  assert.deepEqual(model.bias?.tolist(), [3]);
});
