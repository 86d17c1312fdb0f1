// Functions and losses against PyTorch.
import assert from "node:assert/strict";
import { test } from "node:test";
import * as torch from "@fabric-ts/torch";
import { nn, type Tensor } from "@fabric-ts/torch";
import { assertClose } from "./close.js";
import { functions, losses } from "./python-values.js";

const F = nn.functional;

type LossCase = [call: (x: Tensor, target: Tensor) => Tensor, kind?: "integer" | "positive"];

const weight4 = () => torch.tensor([0.5, 1, 2, 0.25]);
const lossCases: Record<string, LossCase> = {
  crossEntropy: [(x, t) => F.crossEntropy(x, t), "integer"],
  "crossEntropy with options": [
    (x, t) => F.crossEntropy(x, t, { weight: weight4(), reduction: "sum", ignoreIndex: 3, labelSmoothing: 0.1 }),
    "integer",
  ],
  "crossEntropy of probabilities": [(x, t) => F.crossEntropy(x, t)],
  nllLoss: [(x, t) => F.nllLoss(F.logSoftmax(x, 1), t, { reduction: "none" }), "integer"],
  mseLoss: [(x, t) => F.mseLoss(x, t)],
  l1Loss: [(x, t) => F.l1Loss(x, t, { reduction: "sum" })],
  smoothL1Loss: [(x, t) => F.smoothL1Loss(x, t, { beta: 0.5 })],
  huberLoss: [(x, t) => F.huberLoss(x, t, { delta: 0.5 })],
  binaryCrossEntropy: [(x, t) => F.binaryCrossEntropy(x, t, { weight: weight4() }), "positive"],
  binaryCrossEntropyWithLogits: [(x, t) => F.binaryCrossEntropyWithLogits(x, t, { posWeight: weight4() })],
  klDiv: [(x, t) => F.klDiv(F.logSoftmax(x, 1), t, { reduction: "batchmean" })],
};

for (const [name, [call, kind]] of Object.entries(lossCases)) {
  test(`${name} is PyTorch's`, () => {
    torch.manualSeed(1234);
    let x = torch.randn([3, 4]);
    if (kind === "positive") x = x.sigmoid();
    x.requiresGrad = true;
    const target = kind === "integer" ? torch.tensor([1, 3, 0]) : torch.rand([3, 4]);
    const value = call(x, target);
    value.sum().backward();
    assertClose(value, losses[name]?.value as number[], "value");
    assertClose(x.grad as Tensor, losses[name]?.grad as number[], "gradient");
  });
}

const grid = () => torch.linspace(-1.2, 1.1, 8).view([1, 2, 2, 2]);
const functionCases: Record<string, [call: (x: Tensor) => Tensor, shape: number[]]> = {
  "pad constant": [(x) => F.pad(x, [1, 0, 0, 1], { value: 2 }), [2, 2]],
  "pad reflect": [(x) => F.pad(x, [1, 1], { mode: "reflect" }), [1, 2, 3]],
  "pad replicate": [(x) => F.pad(x, [1, 2, 1, 0], { mode: "replicate" }), [1, 1, 2, 2]],
  "pad circular": [(x) => F.pad(x, [1, 1], { mode: "circular" }), [1, 1, 3]],
  normalize: [(x) => F.normalize(x), [2, 3]],
  "normalize p 1": [(x) => F.normalize(x, { p: 1, dim: 0 }), [2, 3]],
  cosineSimilarity: [(x) => F.cosineSimilarity(x.narrow(0, 0, 2), x.narrow(0, 2, 2)), [4, 3]],
  pairwiseDistance: [(x) => F.pairwiseDistance(x.narrow(0, 0, 2), x.narrow(0, 2, 2)), [4, 3]],
  "interpolate nearest": [(x) => F.interpolate(x, { scaleFactor: 2 }), [1, 1, 2, 2]],
  "interpolate bilinear": [(x) => F.interpolate(x, { size: [3, 4], mode: "bilinear" }), [1, 1, 2, 2]],
  "interpolate bicubic": [
    (x) => F.interpolate(x, { scaleFactor: 1.5, mode: "bicubic", alignCorners: true }),
    [1, 1, 2, 2],
  ],
  "interpolate linear": [(x) => F.interpolate(x, { size: 5, mode: "linear" }), [1, 1, 3]],
  gridSample: [(x) => F.gridSample(x, grid()), [1, 2, 3, 3]],
  "gridSample with options": [
    (x) => F.gridSample(x, grid(), { mode: "bicubic", paddingMode: "reflection", alignCorners: true }),
    [1, 2, 3, 3],
  ],
  "gridSample nearest": [
    (x) => F.gridSample(x, grid().mul(2), { mode: "nearest", paddingMode: "border" }),
    [1, 1, 2, 3],
  ],
  affineGrid: [(x) => F.affineGrid(x, [1, 1, 2, 3]), [1, 2, 3]],
  "affineGrid of volumes": [(x) => F.affineGrid(x, [1, 1, 2, 1, 2], { alignCorners: true }), [1, 3, 4]],
  gumbelSoftmax: [(x) => F.gumbelSoftmax(x, { tau: 0.5 }), [2, 4]],
  "gumbelSoftmax hard": [(x) => F.gumbelSoftmax(x, { hard: true, dim: 0 }), [3, 2]],
  "interpolate area": [(x) => F.interpolate(x, { scaleFactor: 0.5, mode: "area" }), [1, 1, 4, 4]],
  attention: [(x) => F.scaledDotProductAttention(x, x, x), [2, 3, 4]],
  "attention causal": [(x) => F.scaledDotProductAttention(x, x, x, { isCausal: true }), [2, 3, 4]],
};

for (const [name, [call, shape]] of Object.entries(functionCases)) {
  test(`${name} is PyTorch's`, () => {
    torch.manualSeed(1234);
    assertClose(call(torch.randn(shape)), functions[name] as number[]);
  });
}

test("attention takes boolean and additive masks", () => {
  torch.manualSeed(1234);
  const x = torch.randn([2, 3, 4]);
  const seen = torch.ones([3, 3], { dtype: "bool" }).tril();
  const additive = torch.zeros([3, 3]).maskedFill(seen.logicalNot(), -Infinity);
  assertClose(F.scaledDotProductAttention(x, x, x, { attnMask: seen }), functions["attention causal"] as number[]);
  assertClose(F.scaledDotProductAttention(x, x, x, { attnMask: additive }), functions["attention causal"] as number[]);
  assert.throws(() => F.scaledDotProductAttention(x, x, x, { attnMask: seen, isCausal: true }), /exclude each other/);
});

test("a hard gumbelSoftmax has the gradient of the soft one; wrong options and shapes are explained", () => {
  const gradient = (hard: boolean): unknown => {
    torch.manualSeed(3);
    const x = torch.randn([2, 3]).requiresGrad_();
    F.gumbelSoftmax(x, { hard })
      .mul(torch.tensor([1, 2, 4]))
      .sum()
      .backward();
    return x.grad?.tolist();
  };
  assert.deepEqual(gradient(true), gradient(false));
  assert.throws(() => F.gumbelSoftmax(torch.ones([2]), { tau: 0 }), /`tau` is 0.*\nGive a temperature above 0/);
  assert.throws(() => F.gridSample(torch.ones([1, 1, 2, 2]), grid(), { mode: "linear" as never }), /`mode`.*bilinear/s);
  assert.throws(() => F.affineGrid(torch.ones([1, 3, 3]), [1, 1, 2, 2]), /do not go together.*\ntheta \[N, 2, 3\]/);
});

test("oneHot and embedding look up by number", () => {
  assert.deepEqual(F.oneHot(torch.tensor([0, 2]), 3).tolist(), [
    [1, 0, 0],
    [0, 0, 1],
  ]);
  const table = torch.tensor(
    [
      [3, 4],
      [0, 1],
    ],
    { dtype: "float32" },
  );
  assertClose(F.embedding(torch.tensor([0]), table, { maxNorm: 1 }), [0.6, 0.8]);
});

test("inplace activations write over their input", () => {
  const x = torch.tensor([-1, 2], { dtype: "float32" });
  assert.equal(F.relu(x, { inplace: true }), x);
  assert.deepEqual(x.tolist(), [0, 2]);
});

test("losses of different shapes are refused or warned of", async () => {
  const warning = new Promise<Error>((resolve) => process.once("warning", resolve));
  F.mseLoss(torch.ones([3, 1]), torch.ones([3]));
  assert.match((await warning).message, /mseLoss got a target of shape \[3\] and an input of shape \[3, 1\]/);
  assert.throws(
    () => F.binaryCrossEntropy(torch.ones([3, 1]), torch.ones([3])),
    /target of shape \[3\] for an input of shape \[3, 1\]/,
  );
});

test("softmax without a dimension says what to type", () => {
  const softmax = F.softmax as (x: Tensor) => Tensor;
  assert.throws(() => softmax(torch.ones([2])), /nn\.functional\.softmax\(x, -1\)/);
});

test("helpers are not part of the namespace", () => {
  assert.ok(!("paddingRow" in nn.functional));
});
