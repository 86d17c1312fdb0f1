// `torch.compile` without a compiler: everything but the speed.
import assert from "node:assert/strict";
import { test } from "node:test";
import * as torch from "@fabric-ts/torch";
import { nn, OptimizedModule, type Tensor } from "@fabric-ts/torch";

class Net extends nn.Module<[Tensor], Tensor> {
  layer = new nn.Linear(3, 2);
  calls = 0;
  #secret = 7;
  named = (): number => this.#secret;
  forward(x: Tensor) {
    this.calls++;
    return this.layer(x);
  }
  secret() {
    return this.#secret;
  }
}

test("a compiled model computes what the model computes", () => {
  const net = new Net();
  const model = torch.compile(net);
  const x = torch.ones([1, 3]);
  assert.deepEqual([model(x).tolist(), model.forward(x).tolist()], [net(x).tolist(), net(x).tolist()]);
  assert.ok(model instanceof OptimizedModule);
  assert.ok(model instanceof nn.Module);
  assert.equal(model._orig_mod, net);
});

test("attributes and methods are the model's, for reading and writing", () => {
  const net = new Net();
  const model = torch.compile(net);
  assert.equal(model.layer, net.layer);
  assert.equal(model.secret(), 7);
  assert.ok("layer" in model);
  model.calls = 10;
  (model as unknown as { extra: number }).extra = 3;
  assert.deepEqual([net.calls, (net as unknown as { extra: number }).extra], [10, 3]);
  assert.equal(new Set([model.secret, model.secret]).size, 1);
  assert.deepEqual([model.secret.name, model.secret.length, model.named.name], ["secret", 0, "named"]);
  assert.equal(model.named, net.named);
});

test("names in state dicts begin with _orig_mod, as in Python; modes and conversions reach the model", () => {
  const net = new Net();
  const model = torch.compile(net);
  assert.deepEqual(Object.keys(model.stateDict()), ["_orig_mod.layer.weight", "_orig_mod.layer.bias"]);
  assert.deepEqual(model.parameters(), net.parameters());
  model.eval();
  assert.deepEqual([net.training, net.layer.training], [false, false]);
  assert.equal(model.double(), model);
  assert.equal(net.layer.weight.dtype, "float64");
  assert.equal(torch.compile(new Net().eval()).training, false);
  assert.match(String(model), /^OptimizedModule\(\n {2}\(_orig_mod\): Net\(/);
});

test("options are kept, checked and copied", () => {
  const options = { fullgraph: true, dynamic: true, disable: false, options: { a: 1 } };
  const model = torch.compile(new Net(), options);
  assert.ok(model instanceof OptimizedModule);
  assert.deepEqual(model.compileOptions, options);
  options.options.a = 2;
  assert.deepEqual(model.compileOptions.options, { a: 1 });
  assert.throws(() => torch.compile(new Net(), { fullGraph: true } as never), /It is called `fullgraph` here/);
  assert.throws(() => torch.compile(new Net(), { mode: 3 } as never), /Expected `mode` to be a string, but got 3/);
  assert.throws(() => torch.compile(3 as never), /Expected `model` to be a module or a function, but got 3/);
});

test("functions come back as they are, and options alone give a decorator", () => {
  const double = (x: number) => 2 * x;
  assert.equal(torch.compile(double), double);
  assert.equal(torch.compile({ fullgraph: true })(double), double);
  const model = torch.compile({ mode: "max-autotune" })(new Net());
  assert.ok(model instanceof OptimizedModule);
  assert.deepEqual(model.compileOptions, { mode: "max-autotune" });
});
