// Pooling, padding, dropout, distances, embedding bags and the rarer losses against PyTorch, and what they refuse.
import assert from "node:assert/strict";
import { test } from "node:test";
import * as torch from "@fabric-ts/torch";
import { nn, type Tensor } from "@fabric-ts/torch";
import { checkGolden } from "./golden-layers.js";

const signs = torch.tensor([1, -1, 1], { dtype: "float64" });
const classes = torch.tensor([2, 0, 1]);
const several = torch.tensor([
  [1, 0, -1, 2],
  [3, -1, 0, 1],
  [0, 2, 3, -1],
]);
const numbers = torch.arange(12).view(3, 4);
const zeroOne = numbers.remainder(3).eq(0).double();
const counts = numbers.remainder(4).double();
const factors = torch.tensor([0.5, 1, 2, 3], { dtype: "float64" });
const probabilities = torch
  .tensor(
    [
      [0.1, 0.2, 0.3, 0.4],
      [0.4, 0.3, 0.2, 0.1],
      [0.25, 0.25, 0.25, 0.25],
    ],
    // As in Python, where they are made in float32.
    { dtype: "float32" },
  )
  .double();
const { TripletMarginWithDistanceLoss } = nn;

type Call = (module: never, inputs: Tensor[]) => unknown;
interface Case {
  make: () => nn.AnyModule;
  shapes: number[][];
  call?: Call;
}
const layer = (make: () => nn.AnyModule, ...shapes: number[][]): Case => ({ make, shapes });
const calling = <M extends nn.AnyModule>(
  make: () => M,
  shapes: number[][],
  call: (m: M, ...xs: Tensor[]) => unknown,
): Case => ({
  make,
  shapes,
  call: (module, inputs) => call(module, ...inputs),
});
const seeded = (m: nn.AnyModule, x: Tensor): unknown => {
  torch.manualSeed(7);
  return m(x);
};
/** What was pooled, and put back. */
const pooled = (m: nn.ModuleList<nn.AnyModule>, x: Tensor): unknown => {
  const [pool, unpool] = [...m] as [nn.AnyModule, nn.AnyModule];
  const [values, places] = pool(x) as [Tensor, Tensor];
  return [values, unpool(values, places)];
};
const stacked = (...layers: nn.AnyModule[]) => new nn.ModuleList(layers);

const cases: Record<string, Case> = {
  ConvTranspose3d: layer(
    () => new nn.ConvTranspose3d(2, 3, 2, { stride: [1, 2, 1], padding: [0, 1, 0], outputPadding: [0, 1, 0] }),
    [1, 2, 2, 2, 2],
  ),
  MaxPool3d: layer(() => new nn.MaxPool3d(2, { stride: 1, padding: [1, 0, 0] }), [1, 1, 2, 3, 3]),
  MaxUnpool1d: calling(
    () => stacked(new nn.MaxPool1d(2, { returnIndices: true }), new nn.MaxUnpool1d(2)),
    [[1, 2, 6]],
    pooled,
  ),
  MaxUnpool2d: calling(
    () => stacked(new nn.MaxPool2d(2, { stride: 1, returnIndices: true }), new nn.MaxUnpool2d(2, { stride: 1 })),
    [[1, 1, 3, 4]],
    pooled,
  ),
  MaxUnpool3d: calling(
    () => stacked(new nn.MaxPool3d(2, { returnIndices: true }), new nn.MaxUnpool3d(2)),
    [[1, 1, 2, 4, 2]],
    pooled,
  ),
  AvgPool3d: layer(() => new nn.AvgPool3d([2, 1, 2], { padding: [1, 0, 0], divisorOverride: 3 }), [1, 2, 2, 3, 4]),
  LPPool1d: calling(
    () => new nn.LPPool1d(3, 2, { ceilMode: true }),
    [[1, 2, 5]],
    (m, x) => m(x?.abs() as Tensor),
  ),
  LPPool2d: layer(() => new nn.LPPool2d(2, [2, 3], { stride: 1 }), [1, 1, 3, 4]),
  AdaptiveMaxPool1d: layer(() => new nn.AdaptiveMaxPool1d(2), [1, 2, 5]),
  AdaptiveMaxPool2d: layer(() => new nn.AdaptiveMaxPool2d([2, null]), [1, 1, 5, 3]),
  AdaptiveMaxPool3d: layer(() => new nn.AdaptiveMaxPool3d(2), [1, 1, 3, 2, 4]),
  AdaptiveAvgPool3d: layer(() => new nn.AdaptiveAvgPool3d([1, 2, null]), [1, 1, 3, 4, 2]),
  ReflectionPad1d: layer(() => new nn.ReflectionPad1d([2, 1]), [1, 2, 4]),
  ReflectionPad2d: layer(() => new nn.ReflectionPad2d(1), [1, 1, 3, 3]),
  ReflectionPad3d: layer(() => new nn.ReflectionPad3d(1), [1, 1, 2, 2, 2]),
  ReplicationPad1d: layer(() => new nn.ReplicationPad1d([2, 1]), [1, 2, 4]),
  ReplicationPad2d: layer(() => new nn.ReplicationPad2d([0, 1, 2, 0]), [1, 1, 3, 3]),
  ReplicationPad3d: layer(() => new nn.ReplicationPad3d(1), [1, 1, 2, 2, 2]),
  ConstantPad1d: layer(() => new nn.ConstantPad1d(2, 3.5), [1, 2, 3]),
  ConstantPad2d: layer(() => new nn.ConstantPad2d([1, 0, -1, 2], 0.5), [1, 1, 3, 2]),
  ConstantPad3d: layer(() => new nn.ConstantPad3d(1, 1), [1, 1, 1, 2, 1]),
  ZeroPad2d: layer(() => new nn.ZeroPad2d([1, 0, 0, 2]), [1, 1, 2, 2]),
  CosineSimilarity: layer(() => new nn.CosineSimilarity({ dim: -1 }), [2, 3], [2, 3]),
  PairwiseDistance: layer(() => new nn.PairwiseDistance({ p: 3, keepdim: true }), [2, 3], [2, 3]),
  LocalResponseNorm: layer(() => new nn.LocalResponseNorm(3, { alpha: 0.5, k: 2 }), [1, 4, 2, 3]),
  "LocalResponseNorm of sequences": layer(() => new nn.LocalResponseNorm(2), [1, 4, 3]),
  ChannelShuffle: layer(() => new nn.ChannelShuffle(2), [1, 4, 2, 1]),
  RReLU: layer(() => new nn.RReLU().eval(), [2, 3]),
  Softmax2d: layer(() => new nn.Softmax2d(), [1, 3, 2, 2]),
  Dropout1d: calling(() => new nn.Dropout1d(), [[2, 4, 3]], seeded),
  Dropout3d: calling(() => new nn.Dropout3d(0.4), [[1, 4, 1, 2, 2]], seeded),
  AlphaDropout: calling(() => new nn.AlphaDropout(0.3), [[3, 4]], seeded),
  FeatureAlphaDropout: calling(() => new nn.FeatureAlphaDropout(), [[2, 3, 2]], seeded),
  EmbeddingBag: calling(
    () => new nn.EmbeddingBag(5, 3, { paddingIdx: 0 }),
    [],
    (m) =>
      m(
        torch.tensor([
          [0, 1, 2],
          [4, 4, 1],
        ]),
      ),
  ),
  "EmbeddingBag sums": calling(
    () => new nn.EmbeddingBag(5, 3, { mode: "sum" }),
    [[4]],
    (m, perSampleWeights) =>
      m.forward(torch.tensor([1, 3, 3, 0]), {
        offsets: torch.tensor([0, 1, 3]),
        perSampleWeights: perSampleWeights as Tensor,
      }),
  ),
  "EmbeddingBag max": calling(
    () => new nn.EmbeddingBag(5, 3, { mode: "max", includeLastOffset: true }),
    [],
    (m) => m.forward(torch.tensor([1, 3, 3, 0]), { offsets: torch.tensor([0, 3, 4]) }),
  ),
  MarginRankingLoss: calling(
    () => new nn.MarginRankingLoss({ margin: 0.3 }),
    [[3], [3]],
    (m, a, b) => m(a as Tensor, b as Tensor, signs),
  ),
  HingeEmbeddingLoss: calling(
    () => new nn.HingeEmbeddingLoss({ margin: 0.7, reduction: "none" }),
    [[3]],
    (m, a) => m(a as Tensor, signs),
  ),
  CosineEmbeddingLoss: calling(
    () => new nn.CosineEmbeddingLoss({ margin: 0.1 }),
    [
      [3, 4],
      [3, 4],
    ],
    (m, a, b) => m(a as Tensor, b as Tensor, signs),
  ),
  TripletMarginLoss: layer(() => new nn.TripletMarginLoss({ margin: 2, p: 1.5, swap: true }), [3, 4], [3, 4], [3, 4]),
  TripletMarginWithDistanceLoss: layer(
    () =>
      new TripletMarginWithDistanceLoss({
        distanceFunction: (a, b) => a.sub(b).abs().amax(1),
        swap: true,
        reduction: "sum",
      }),
    [3, 4],
    [3, 4],
    [3, 4],
  ),
  SoftMarginLoss: calling(
    () => new nn.SoftMarginLoss(),
    [[3]],
    (m, a) => m(a as Tensor, signs),
  ),
  MultiMarginLoss: calling(
    () => new nn.MultiMarginLoss({ p: 2, margin: 0.5, weight: factors }),
    [[3, 4]],
    (m, a) => m(a as Tensor, classes),
  ),
  MultiLabelMarginLoss: calling(
    () => new nn.MultiLabelMarginLoss({ reduction: "sum" }),
    [[3, 4]],
    (m, a) => m(a as Tensor, several),
  ),
  MultiLabelSoftMarginLoss: calling(
    () => new nn.MultiLabelSoftMarginLoss({ weight: factors }),
    [[3, 4]],
    (m, a) => m(a as Tensor, zeroOne),
  ),
  PoissonNLLLoss: calling(
    () => new nn.PoissonNLLLoss({ full: true }),
    [[3, 4]],
    (m, a) => m(a as Tensor, counts),
  ),
  "PoissonNLLLoss of rates": calling(
    () => new nn.PoissonNLLLoss({ logInput: false, reduction: "none" }),
    [[3, 4]],
    (m, a) => m((a as Tensor).exp(), counts),
  ),
  GaussianNLLLoss: calling(
    () => new nn.GaussianNLLLoss({ full: true }),
    [[3, 4], [3, 4], [3]],
    (m, a, b, v) => m(a as Tensor, b as Tensor, (v as Tensor).exp()),
  ),
  CTCLoss: calling(
    () => new nn.CTCLoss({ blank: 2 }),
    [[5, 2, 4]],
    (m, x) =>
      m(
        (x as Tensor).logSoftmax(2),
        torch.tensor([
          [0, 1, 3],
          [3, 3, 0],
        ]),
        torch.tensor([5, 4]),
        torch.tensor([3, 2]),
      ),
  ),
  "CTCLoss, lists": calling(
    () => new nn.CTCLoss({ reduction: "sum", zeroInfinity: true }),
    [[3, 2, 3]],
    (m, x) => m((x as Tensor).logSoftmax(2), torch.tensor([1, 1, 2]), [3, 3], [2, 1]),
  ),
  Bilinear: layer(() => new nn.Bilinear(2, 3, 2), [4, 2], [4, 3]),
  Conv3d: layer(
    () => new nn.Conv3d(2, 2, [1, 2, 2], { stride: [1, 2, 1], padding: [1, 0, 1], groups: 2 }),
    [1, 2, 2, 3, 2],
  ),
  "Conv3d circular": layer(
    () => new nn.Conv3d(1, 2, 2, { padding: 1, paddingMode: "circular", bias: false }),
    [1, 1, 2, 2, 2],
  ),
  BatchNorm3d: layer(() => new nn.BatchNorm3d(2, { momentum: 0.3 }), [2, 2, 1, 2, 2]),
  AvgPool1d: layer(
    () => new nn.AvgPool1d(3, { stride: 2, padding: 1, ceilMode: true, countIncludePad: false }),
    [1, 2, 6],
  ),
  AdaptiveAvgPool1d: layer(() => new nn.AdaptiveAvgPool1d(3), [1, 2, 5]),
  MaxPool1d: layer(() => new nn.MaxPool1d(3, { stride: 2, padding: 1 }), [1, 2, 6]),
  Dropout2d: calling(() => new nn.Dropout2d(0.4), [[2, 4, 1, 2]], seeded as never),
  Hardshrink: layer(() => new nn.Hardshrink(0.3), [3, 4]),
  Softshrink: layer(() => new nn.Softshrink(0.3), [3, 4]),
  Tanhshrink: layer(() => new nn.Tanhshrink(), [3, 4]),
  Hardsigmoid: calling(
    () => new nn.Hardsigmoid(),
    [[3, 4]],
    (m, x) => m((x as Tensor).mul(3)),
  ),
  Threshold: layer(() => new nn.Threshold(0.1, 20), [3, 4]),
  Softmin: layer(() => new nn.Softmin(1), [3, 4]),
  CrossEntropyLoss: calling(
    () => new nn.CrossEntropyLoss({ weight: factors.float(), ignoreIndex: 0, labelSmoothing: 0.1 }),
    [[3, 4]],
    (m, a) => m(a as Tensor, classes),
  ),
  NLLLoss: calling(
    () => new nn.NLLLoss({ weight: factors.float(), reduction: "sum" }),
    [[3, 4]],
    (m, a) => m((a as Tensor).logSoftmax(1), classes),
  ),
  MSELoss: layer(() => new nn.MSELoss(), [3, 4], [3, 4]),
  L1Loss: layer(() => new nn.L1Loss({ reduction: "sum" }), [3, 4], [3, 4]),
  SmoothL1Loss: layer(() => new nn.SmoothL1Loss({ beta: 0.5 }), [3, 4], [3, 4]),
  HuberLoss: layer(() => new nn.HuberLoss({ delta: 0.7, reduction: "none" }), [3, 4], [3, 4]),
  BCELoss: calling(
    () => new nn.BCELoss({ weight: factors.float() }),
    [[3, 4]],
    (m, a) => m((a as Tensor).sigmoid(), zeroOne),
  ),
  BCEWithLogitsLoss: calling(
    () => new nn.BCEWithLogitsLoss({ weight: factors.float(), posWeight: torch.tensor([3], { dtype: "float32" }) }),
    [[3, 4]],
    (m, a) => m(a as Tensor, zeroOne),
  ),
  KLDivLoss: calling(
    () => new nn.KLDivLoss({ reduction: "batchmean" }),
    [[3, 4]],
    (m, a) => m((a as Tensor).logSoftmax(1), probabilities),
  ),
  "KLDivLoss of logarithms": calling(
    () => new nn.KLDivLoss({ reduction: "sum", logTarget: true }),
    [[3, 4]],
    (m, a) => m((a as Tensor).logSoftmax(1), probabilities.log()),
  ),
};

for (const [name, { make, shapes, call }] of Object.entries(cases)) {
  test(`${name} has PyTorch's values`, () => checkGolden(name, make, shapes, call as never));
}

test("CircularPad and the ZeroPads that PyTorch 1.13 has not", () => {
  const x = torch.tensor([[[1, 2, 3]]], { dtype: "float32" });
  assert.deepEqual(new nn.CircularPad1d([1, 2])(x).tolist(), [[[3, 1, 2, 3, 1, 2]]]);
  assert.deepEqual(new nn.ZeroPad1d([0, 2])(x).tolist(), [[[1, 2, 3, 0, 0]]]);
  assert.deepEqual(new nn.ZeroPad3d(1)(x.view(1, 1, 1, 1, 3)).shape, [1, 1, 3, 3, 5]);
  const row = [3, 1, 2, 3, 1];
  assert.deepEqual(new nn.CircularPad2d(1)(x.view(1, 1, 1, 3)).tolist(), [[[row, row, row]]]);
});

test("RMSNorm divides by the root mean square, with a step that fits the dtype", () => {
  torch.manualSeed(0);
  const norm = new nn.RMSNorm([2, 3]).double();
  const x = torch.randn([4, 2, 3], { dtype: "float64", requiresGrad: true });
  torch.nn.init.uniform_(norm.weight as Tensor, 0.5, 1.5);
  const rms = x
    .square()
    .mean([1, 2], true)
    .add(2 ** -52)
    .sqrt();
  const expected = x.div(rms).mul(norm.weight as Tensor);
  assert.ok(norm(x).allclose(expected));
  assert.ok(torch.autograd.gradcheck((a) => norm(a), x));
  assert.equal(String(norm), "RMSNorm((2, 3), eps=None, elementwise_affine=True)");
  assert.deepEqual(Object.keys(norm.stateDict()), ["weight"]);
  assert.equal(
    new nn.RMSNorm(3, { eps: 1e-6, elementwiseAffine: false })(torch.ones([2, 3]).bfloat16()).dtype,
    "bfloat16",
  );
  assert.throws(() => norm(torch.ones([3, 2])), /its last dimensions have to be \[2, 3\]/i);
});

test("a ParameterDict's parameters are its module's", () => {
  class Net extends nn.Module<[Tensor], Tensor> {
    scales = new nn.ParameterDict({ left: torch.ones([2]), right: new nn.Parameter(torch.zeros([3])) });
    forward(x: Tensor) {
      return x.mul(this.scales.get("left"));
    }
  }
  const net = new Net();
  assert.deepEqual(Object.keys(net.stateDict()), ["scales.left", "scales.right"]);
  net(torch.ones([2]))
    .sum()
    .backward();
  assert.deepEqual(net.scales.get("left").grad?.tolist(), [1, 1]);
  net.double();
  assert.equal(net.scales.get("right").dtype, "float64");
  net.scales.set("up", torch.ones([1]));
  assert.deepEqual([...net.scales.keys()], ["left", "right", "up"]);
  assert.deepEqual([net.scales.size, net.scales.delete("up"), net.scales.has("up")], [3, true, false]);
  assert.equal(
    String(new nn.ParameterDict({ a: torch.ones([2, 3]) })),
    "ParameterDict((a): Parameter containing: [torch.FloatTensor of size 2x3])",
  );
  assert.throws(() => net.scales.get("down"), /no parameter called "down". It has: left, right/);
  assert.throws(() => net.scales.set("a.b", torch.ones([1])), /has no dot/);
  assert.throws(() => new nn.ParameterDict({ a: 3 as never }), /Expected `a` to be a Parameter, but got 3/);
  assert.throws(() => net.scales(), /A ParameterDict cannot be called/);
});

test("what these layers cannot work with is refused with what to type", () => {
  const x = torch.ones([2, 4]);
  assert.throws(() => new nn.ReflectionPad2d([1, 2]), /`padding` has to be a number or a list of 4/);
  assert.throws(() => new nn.ReflectionPad1d("1" as never), /a number or a list of 2, but got "1"/);
  assert.throws(() => new nn.MaxPool2d(2, { returnindices: true } as never), /It is called `returnIndices` here/);
  const [values, places] = new nn.MaxPool2d(2, { returnIndices: true })(torch.ones([1, 1, 4, 4]));
  assert.throws(
    () => new nn.MaxUnpool2d(2)(values, places, [7, 4]),
    /`outputSize` is \[7, 4\].*\n.*\[4, 4\], each number give or take less than the stride/,
  );
  assert.throws(() => new nn.ChannelShuffle(3)(torch.ones([1, 4, 2])), /C divisible by 3/);
  assert.throws(() => new nn.Softmax2d()(x), /It takes \[N, C, H, W\]/);
  assert.throws(() => new nn.LocalResponseNorm(2)(x), /at least one dimension behind the channels/);
  const bag = new nn.EmbeddingBag(5, 3);
  assert.throws(() => bag(torch.tensor([1, 2])), /without offsets/);
  assert.throws(
    () => bag.forward(torch.tensor([1, 2]), { perSampleWeights: x } as never),
    /without offsets|mode: "sum"/,
  );
  assert.throws(() => new nn.EmbeddingBag(5, 3, { mode: "avg" as never }), /`mode` is "avg"/);
  assert.throws(() => new nn.GaussianNLLLoss()(x, x, torch.ones([3])), /a variance of shape \[3\]/);
  assert.throws(() => new nn.GaussianNLLLoss()(x, x, x.neg()), /negative variance/);
  assert.throws(() => new nn.TripletMarginLoss({ reduction: "avg" as never }), /`reduction` is "avg"/);
  assert.throws(() => new nn.MarginRankingLoss(0.3 as never), /named options, but got 0.3/);
});
