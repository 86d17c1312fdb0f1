// Parameters that are functions of what is learned.
import assert from "node:assert/strict";
import { test } from "node:test";
import * as torch from "@fabric-ts/torch";
import { nn, optim, type Tensor } from "@fabric-ts/torch";
import { checkGolden } from "./golden-layers.js";

const { registerParametrization, removeParametrizations, isParametrized, cached } = nn.utils.parametrize;
const { weightNorm, spectralNorm } = nn.utils.parametrizations;

class Symmetric extends nn.Module<[Tensor], Tensor> {
  forward(x: Tensor) {
    return x.triu().add(x.triu(1).t());
  }
}

class Exp extends nn.Module<[Tensor], Tensor> {
  calls = 0;
  forward(x: Tensor) {
    this.calls++;
    return x.exp();
  }
  rightInverse(y: Tensor) {
    return y.log();
  }
}

test("reading the parameter computes it, and what is learned is the original", () => {
  const layer = registerParametrization(new nn.Linear(3, 3), "weight", new Symmetric());
  assert.ok(layer.weight.equal(layer.weight.t()));
  assert.deepEqual(Object.keys(layer.stateDict()), ["bias", "parametrizations.weight.original"]);
  assert.deepEqual(
    layer.namedParameters().map(([name]) => name),
    ["bias", "parametrizations.weight.original"],
  );
  assert.equal(isParametrized(layer), true);
  assert.equal(isParametrized(layer, "bias"), false);
  assert.ok(layer instanceof nn.Linear);
  assert.match(
    String(layer),
    /^ParametrizedLinear\(\n {2}in_features=3, out_features=3, bias=True\n {2}\(parametrizations\): ModuleDict\(\n {4}\(weight\): ParametrizationList\(\n {6}\(0\): Symmetric\(\)/,
  );
  const optimizer = new optim.SGD(layer.parameters(), { lr: 0.1 });
  layer(torch.randn([4, 3]))
    .square()
    .sum()
    .backward();
  const before = layer.weight.detach().clone();
  optimizer.step();
  assert.ok(!layer.weight.equal(before));
  assert.ok(layer.weight.equal(layer.weight.t()));
});

test("with an inverse the parameter keeps its value, and can be assigned", () => {
  const layer = new nn.Linear(2, 2);
  torch.noGrad(() => layer.weight.abs_().add_(0.1));
  const before = layer.weight.detach().clone();
  registerParametrization(layer, "weight", new Exp());
  assert.ok(layer.weight.allclose(before));
  layer.weight = torch.full([2, 2], 3) as nn.Parameter;
  assert.ok(layer.weight.allclose(torch.full([2, 2], 3, { dtype: "float32" })));
  registerParametrization(layer, "bias", new Symmetric(), { unsafe: true });
  assert.throws(() => {
    layer.bias = torch.ones([2]) as nn.Parameter;
  }, /`Symmetric` has no `rightInverse`/);
});

test("a second parametrization is applied to the first one's result", () => {
  const layer = registerParametrization(new nn.Linear(2, 2, { bias: false }), "weight", new Symmetric());
  const first = layer.weight.detach().clone();
  registerParametrization(layer, "weight", new Exp());
  assert.ok(layer.weight.allclose(first.exp()));
  assert.deepEqual(Object.keys(layer.stateDict()), ["parametrizations.weight.original"]);
});

test("within cached the parameter is computed once", () => {
  const exp = new Exp();
  const layer = registerParametrization(new nn.Linear(2, 2), "weight", exp, { unsafe: true });
  exp.calls = 0;
  cached(() => {
    for (let i = 0; i < 3; i++) layer(torch.ones([1, 2]));
  });
  assert.equal(exp.calls, 1);
  layer(torch.ones([1, 2]));
  assert.equal(exp.calls, 2);
});

test("buffers, conversions, state dicts and copies", () => {
  class Net extends nn.Module<[], Tensor> {
    constructor() {
      super();
      this.registerBuffer("table", torch.ones([2]));
    }
    forward() {
      return (this as unknown as { table: Tensor }).table;
    }
  }
  const net = registerParametrization(new Net(), "table", new Exp());
  assert.deepEqual(Object.keys(net.stateDict()), ["parametrizations.table.original"]);
  assert.deepEqual([net().tolist(), net.parameters().length], [[1, 1], 0]);
  const layer = registerParametrization(new nn.Linear(2, 2), "weight", new Symmetric()).double();
  assert.equal(layer.weight.dtype, "float64");
  const copy = nn.utils.deepCopy(layer);
  assert.ok(copy.weight.equal(layer.weight));
  for (const parameter of copy.parameters()) torch.noGrad(() => parameter.zero_());
  assert.notEqual(layer.weight.abs().sum().item(), 0);
  copy.loadStateDict(layer.stateDict());
  assert.ok(copy.weight.equal(layer.weight));
});

test("removing leaves the computed value or the learned one, in the same parameter", () => {
  const layer = registerParametrization(new nn.Linear(2, 2), "weight", new Symmetric());
  const [, original] = layer.parameters() as Tensor[] as [Tensor, Tensor];
  const value = layer.weight.detach().clone();
  removeParametrizations(layer, "weight");
  assert.equal(layer.weight, original);
  assert.ok(layer.weight.equal(value));
  assert.deepEqual(Object.keys(layer.stateDict()).sort(), ["bias", "weight"]);
  assert.equal(String(layer), "Linear(in_features=2, out_features=2, bias=True)");
  const other = registerParametrization(new nn.Linear(2, 2), "weight", new Exp(), { unsafe: true });
  const learned = other.parameters()[1]?.detach().clone();
  removeParametrizations(other, "weight", { leaveParametrized: false });
  assert.ok(learned?.nanToNum().equal(other.weight.nanToNum()));
  assert.throws(() => removeParametrizations(other, "weight"), /`weight` of Linear is not parametrized/);
});

test("what cannot be parametrized is explained", () => {
  class Sum extends nn.Module<[Tensor], Tensor> {
    forward(x: Tensor) {
      return x.sum(0);
    }
  }
  class Wide extends nn.Module<[Tensor], Tensor> {
    forward(x: Tensor) {
      return x.double();
    }
  }
  const layer = new nn.Linear(2, 3);
  assert.throws(
    () => registerParametrization(layer, "weigth", new Exp()),
    /no parameter or buffer `weigth`.*\n.*weight, bias/,
  );
  assert.throws(
    () => registerParametrization(layer, "weight", new Sum()),
    /changes its shape from \[3, 2\] to \[2\].*\n.*unsafe/,
  );
  assert.throws(
    () => registerParametrization(layer, "weight", new Wide()),
    /changes its dtype from float32 to float64/,
  );
  assert.throws(() => registerParametrization(layer, "weight", ((x: Tensor) => x) as never), /to be a module/);
  assert.deepEqual(Object.keys(layer.stateDict()), ["weight", "bias"]);
});

test("weightNorm learns lengths and directions", () => {
  torch.manualSeed(0);
  const layer = new nn.Linear(3, 4).double();
  const before = layer.weight.detach().clone();
  weightNorm(layer);
  assert.ok(layer.weight.allclose(before));
  assert.deepEqual(Object.keys(layer.stateDict()), [
    "bias",
    "parametrizations.weight.original0",
    "parametrizations.weight.original1",
  ]);
  const [, length, direction] = layer.parameters() as Tensor[] as [Tensor, Tensor, Tensor];
  assert.deepEqual(
    [length.shape, direction.shape],
    [
      [4, 1],
      [4, 3],
    ],
  );
  torch.noGrad(() => length.fill_(2));
  assert.ok(
    layer.weight
      .square()
      .sum(1)
      .sqrt()
      .allclose(torch.full([4], 2, { dtype: "float64" })),
  );
  const x = torch.randn([2, 3], { dtype: "float64" });
  assert.ok(torch.autograd.gradcheck(() => layer(x), [length, direction]));
  const whole = weightNorm(new nn.Linear(3, 4), { dim: null });
  assert.deepEqual(
    whole.parameters().map((p) => p.shape),
    [[4], [], [4, 3]],
  );
  removeParametrizations(layer, "weight");
  assert.deepEqual(Object.keys(layer.stateDict()).sort(), ["bias", "weight"]);
});

test("spectralNorm has PyTorch's first vectors, values and gradients", () => {
  checkGolden("spectral norm", () => spectralNorm(new nn.Linear(3, 4)), [[2, 3]]);
  checkGolden(
    "spectral norm of a convolution",
    () => spectralNorm(new nn.ConvTranspose2d(2, 3, 2, { bias: false }), { nPowerIterations: 2 }),
    [[1, 2, 3, 3]],
  );
  const layer = spectralNorm(new nn.Linear(6, 5), { nPowerIterations: 30 });
  const [greatest] = (torch.linalgSvdvals(layer.weight) as Tensor).tolist() as number[];
  assert.ok(Math.abs((greatest ?? 0) - 1) < 1e-4);
  assert.throws(() => spectralNorm(new nn.Linear(2, 2), { dim: 2 }), /`dim` is 2, but the weight has 2 dimensions/);
});
