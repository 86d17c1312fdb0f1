// Each layer against PyTorch: text, first values, output, gradients and buffers after one step of training.
import assert from "node:assert/strict";
import { test } from "node:test";
import * as torch from "@fabric-ts/torch";
import { nn, type Tensor } from "@fabric-ts/torch";
import { assertClose, numbers } from "./close.js";
import { layers } from "./python-values.js";

type Make = [() => nn.Module<[Tensor], Tensor>, number[]];

const cases: Record<string, Make> = {
  Linear: [() => new nn.Linear(3, 2), [2, 3]],
  "Linear without bias": [() => new nn.Linear(3, 2, { bias: false }), [2, 3]],
  Conv1d: [() => new nn.Conv1d(2, 2, 3, { padding: 1, stride: 2 }), [1, 2, 5]],
  Conv2d: [() => new nn.Conv2d(1, 2, 3, { padding: 1 }), [1, 1, 3, 3]],
  "Conv2d same, dilated": [
    () => new nn.Conv2d(2, 2, 2, { padding: "same", dilation: 2, groups: 2, bias: false }),
    [1, 2, 3, 3],
  ],
  "Conv2d reflect": [() => new nn.Conv2d(1, 1, [3, 2], { padding: [1, 0], paddingMode: "reflect" }), [1, 1, 3, 3]],
  ConvTranspose1d: [() => new nn.ConvTranspose1d(2, 1, 3, { stride: 2 }), [1, 2, 3]],
  ConvTranspose2d: [() => new nn.ConvTranspose2d(1, 1, 2, { stride: 2, outputPadding: 1 }), [1, 1, 2, 2]],
  LayerNorm: [() => new nn.LayerNorm(4), [2, 4]],
  "LayerNorm plain": [() => new nn.LayerNorm([2, 2], { eps: 1e-3, elementwiseAffine: false }), [2, 2, 2]],
  GroupNorm: [() => new nn.GroupNorm(2, 4), [1, 4, 3]],
  BatchNorm1d: [() => new nn.BatchNorm1d(3), [4, 3]],
  BatchNorm2d: [() => new nn.BatchNorm2d(2, { momentum: null }), [2, 2, 2, 2]],
  "BatchNorm2d plain": [() => new nn.BatchNorm2d(2, { affine: false, trackRunningStats: false }), [2, 2, 2, 2]],
  Dropout: [() => new nn.Dropout(0.25), [3, 4]],
  MaxPool2d: [() => new nn.MaxPool2d(2), [1, 1, 4, 4]],
  "MaxPool2d with options": [
    () => new nn.MaxPool2d([3, 2], { stride: 1, padding: [1, 0], ceilMode: true }),
    [1, 1, 3, 3],
  ],
  AvgPool2d: [() => new nn.AvgPool2d(2, { stride: 1 }), [1, 1, 3, 3]],
  AdaptiveAvgPool2d: [() => new nn.AdaptiveAvgPool2d([1, null]), [1, 1, 4, 3]],
  Flatten: [() => new nn.Flatten(), [1, 2, 2]],
  Unflatten: [() => new nn.Unflatten(1, [2, 2]), [1, 4]],
  Identity: [() => new nn.Identity(), [2]],
  ReLU: [() => new nn.ReLU(), [6]],
  ReLU6: [() => new nn.ReLU6(), [6]],
  LeakyReLU: [() => new nn.LeakyReLU(0.2), [6]],
  GELU: [() => new nn.GELU(), [6]],
  "GELU tanh": [() => new nn.GELU({ approximate: "tanh" }), [6]],
  SiLU: [() => new nn.SiLU(), [6]],
  Tanh: [() => new nn.Tanh(), [6]],
  Sigmoid: [() => new nn.Sigmoid(), [6]],
  Softmax: [() => new nn.Softmax(1), [2, 3]],
  LogSoftmax: [() => new nn.LogSoftmax(-1), [2, 3]],
  ELU: [() => new nn.ELU(), [6]],
  SELU: [() => new nn.SELU(), [6]],
  CELU: [() => new nn.CELU(2), [6]],
  Mish: [() => new nn.Mish(), [6]],
  Hardtanh: [() => new nn.Hardtanh(), [6]],
  Hardswish: [() => new nn.Hardswish(), [6]],
  Softplus: [() => new nn.Softplus(), [6]],
  Softsign: [() => new nn.Softsign(), [6]],
  LogSigmoid: [() => new nn.LogSigmoid(), [6]],
  GLU: [() => new nn.GLU(), [2, 4]],
  PReLU: [() => new nn.PReLU({ numParameters: 2 }), [2, 2]],
};

function check(name: string, module: nn.Module<[Tensor], Tensor>, input: Tensor): void {
  const expected = layers[name];
  assert.ok(expected, `no values for ${name}`);
  const first = module.parameters().map(numbers);
  const output = module(input);
  output.mul(output).sum().backward();
  assert.equal(String(module), expected.repr);
  first.forEach((values, i) => void assertClose(values, expected.parameters[i] as number[], `parameter ${i}`));
  assertClose(output, expected.output, "output");
  assertClose(input.grad ? numbers(input.grad) : [], expected.inputGrad, "gradient of the input");
  const grads = module.parameters().map((p) => numbers(p.grad as Tensor));
  assert.equal(grads.length, expected.grads.length);
  grads.forEach((values, i) => void assertClose(values, expected.grads[i] as number[], `gradient ${i}`));
  const buffers = module.namedBuffers();
  assert.deepEqual(
    buffers.map(([key]) => key),
    Object.keys(expected.state),
  );
  for (const [key, buffer] of buffers) assertClose(buffer, expected.state[key] as number[], key);
}

for (const [name, [make, shape]] of Object.entries(cases)) {
  test(`${name} computes what PyTorch computes`, () => {
    torch.manualSeed(1234);
    const module = make();
    check(name, module, torch.randn(shape, { requiresGrad: true }));
  });
}

test("Embedding computes what PyTorch computes", () => {
  torch.manualSeed(1234);
  check("Embedding", new nn.Embedding(3, 2, { paddingIdx: 1 }), torch.tensor([0, 1, 2, 0]));
});

test("first values of Linear are PyTorch's to the last bit", () => {
  torch.manualSeed(1234);
  assert.deepEqual(new nn.Linear(3, 2).parameters().map(numbers), layers.Linear?.parameters);
});

test("every case of the Python file is checked", () => {
  assert.deepEqual([...Object.keys(cases), "Embedding"].sort(), Object.keys(layers).sort());
});

test("evaluation mode turns dropout off and takes running statistics", () => {
  const x = torch.tensor(
    [
      [1, 2],
      [3, 6],
    ],
    { dtype: "float32" },
  );
  assert.deepEqual(new nn.Dropout(0.9).eval()(x).tolist(), x.tolist());
  const norm = new nn.BatchNorm1d(2, { eps: 0 });
  norm(x);
  assertClose(norm.runningMean as Tensor, [0.2, 0.4]);
  assert.equal((norm.numBatchesTracked as Tensor).item(), 1);
  norm.eval();
  norm.runningMean?.fill_(1);
  norm.runningVar?.fill_(4);
  assertClose(norm(x), [0, 0.5, 1, 2.5]);
});

test("a batch of one cannot be normalized in training", () => {
  assert.throws(() => new nn.BatchNorm1d(2)(torch.ones([1, 2])), /more than 1 value per channel.*\n.*model\.eval\(\)/);
});

test("layers take dtype and device, and the defaults otherwise", () => {
  assert.equal(new nn.Linear(2, 2, { dtype: "float64" }).weight.dtype, "float64");
  assert.equal(new nn.BatchNorm2d(2, { dtype: "float64" }).runningMean?.dtype, "float64");
  assert.equal(new nn.Linear(2, 2, { device: "meta" }).weight.device, "meta");
  torch.setDefaultDtype("float64");
  try {
    assert.equal(new nn.Conv1d(1, 1, 1).weight.dtype, "float64");
  } finally {
    torch.setDefaultDtype("float32");
  }
});

test("wrong arguments say what to type", () => {
  const loose = nn as unknown as Record<string, new (...args: unknown[]) => unknown>;
  const make =
    (name: string, ...args: unknown[]) =>
    () =>
      new (loose[name] as new (...args: unknown[]) => unknown)(...args);
  assert.throws(
    make("Linear", 10, 2, false),
    /Expected `options` to be an object of named options, but got false\.\n.*new nn\.Linear\(10, 2, \{ bias: false \}\)/,
  );
  assert.throws(make("Linear", -1, 2), /`inFeatures` has to be at least 0, but is -1/);
  assert.throws(make("Linear", "10", 2), /Expected `inFeatures` to be a whole number, but got "10"/);
  assert.throws(
    make("Conv2d", 1, 16, 3, 2),
    /named options, but got 2\.\n.*new nn\.Conv2d\(1, 16, 3, \{ stride: 2, padding: 1 \}\)/,
  );
  assert.throws(
    make("Conv2d", 1, 16, 3, { padding_mode: "zeros" }),
    /Unknown option `padding_mode`\.\nIt is called `paddingMode` here/,
  );
  assert.throws(make("Conv2d", 3, 16, 3, { groups: 2 }), /cannot be split into 2 groups/);
  assert.throws(make("Conv2d", 1, 1, 3, { stride: 2, padding: "same" }), /works only with a stride of 1/);
  assert.throws(make("Dropout", 1.5), /`p` has to be between 0 and 1, but is 1\.5/);
  assert.throws(make("Embedding", 3, 2, { paddingIdx: 3 }), /`paddingIdx` is 3, but the table has 3 rows/);
  assert.throws(make("GroupNorm", 3, 4), /4 channels cannot be split into 3 groups/);
  assert.throws(make("Softmax"), /new nn\.Softmax\(-1\)/);
  assert.throws(
    make("CrossEntropyLoss", { reduction: "average" }),
    /`reduction` is "average", but has to be one of "mean", "sum", "none"/,
  );
});

test("Embedding.fromPretrained shares and freezes its table", () => {
  const table = torch.tensor(
    [
      [1, 2],
      [3, 4],
    ],
    { dtype: "float32" },
  );
  const embedding = nn.Embedding.fromPretrained(table);
  assert.equal(embedding.weight.requiresGrad, false);
  assert.deepEqual(embedding(torch.tensor([1, 0])).tolist(), [
    [3, 4],
    [1, 2],
  ]);
});
