// Parameters, buffers and children cannot be overwritten by something that parameters() would not see.
import assert from "node:assert/strict";
import { test } from "node:test";
import * as torch from "@fabric-ts/torch";
import { nn, type Tensor } from "@fabric-ts/torch";

class Net extends nn.Module {
  layer: nn.Linear | null = new nn.Linear(2, 2);
  scale: nn.Parameter | null = new nn.Parameter(torch.ones([1]));
  mask = this.registerBuffer("mask", torch.ones([2]));
  forward(x: Tensor): Tensor {
    return x;
  }
}

// biome-ignore lint/suspicious/noExplicitAny: plain JavaScript assigns anything
type Any = any;
const names = (model: nn.AnyModule): string[] => Object.keys(model.stateDict());

test("a parameter of a layer takes a Parameter or null and nothing else", () => {
  const layer: Any = new nn.Linear(2, 2);
  assert.throws(() => (layer.weight = 3), {
    name: "TypeError",
    message:
      /^Cannot assign 3 to Linear\.weight: it is a parameter.*\nType `model\.weight = new nn\.Parameter\(tensor\)`/,
  });
  assert.throws(() => (layer.weight = torch.ones([2, 2])), /Cannot assign a Tensor to Linear\.weight/);
  assert.throws(() => (layer.weight = new nn.Linear(2, 2)), /Cannot assign a Linear to Linear\.weight/);
  const weight = new nn.Parameter(torch.ones([2, 2]));
  layer.weight = weight;
  layer.bias = null;
  assert.deepEqual(layer.parameters(), [weight]);
  assert.deepEqual(layer(torch.ones([2])).tolist(), [2, 2]);
  layer.bias = new nn.Parameter(torch.ones([2]));
  assert.deepEqual(names(layer), ["weight", "bias"]);
});

test("members of a user's module are guarded once it has been walked over", () => {
  const model: Any = new Net();
  assert.deepEqual(names(model), ["scale", "mask", "layer.weight", "layer.bias"]);
  assert.throws(() => (model.scale = [1]), /Cannot assign \[1\] to Net\.scale: it is a parameter/);
  assert.throws(() => (model.mask = 3), /Cannot assign 3 to Net\.mask: it is a buffer/);
  assert.throws(() => (model.layer = 3), /Cannot assign 3 to Net\.layer: it is a module/);
  assert.throws(() => (model.layer.weight = 3), /Linear\.weight/);
  model.layer = new nn.Linear(2, 3);
  model.mask = torch.zeros([2]);
  model.scale = null;
  assert.deepEqual(names(model), ["mask", "layer.weight", "layer.bias"]);
  model.layer = null;
  assert.deepEqual(names(model), ["mask"]);
  assert.deepEqual(Object.keys(model), ["layer", "scale", "mask"]);
});

test("after `delete` the name is free for anything", () => {
  const layer: Any = new nn.Linear(2, 2);
  delete layer.weight;
  layer.weight = torch.ones([2, 2]);
  assert.deepEqual(names(layer), ["bias"]);
  layer.weight = 3;
  delete layer.bias;
  assert.deepEqual(layer.parameters(), []);
  assert.equal(layer.weight, 3);
});

test("a subclass may define a field of the same name anew", () => {
  class Fixed extends nn.Linear {
    override weight = torch.ones([2, 2]) as nn.Parameter;
  }
  const layer = new Fixed(2, 2);
  assert.deepEqual(names(layer), ["bias"]);
  assert.deepEqual(layer.weight.tolist(), [
    [1, 1],
    [1, 1],
  ]);
});

test("moving and loading go through the guard", () => {
  const model = new Net();
  model.to("float64");
  assert.equal(model.layer?.weight.dtype, "float64");
  assert.equal(model.mask.dtype, "float64");
  model.loadStateDict(new Net().double().stateDict(), { assign: true });
  assert.deepEqual(names(model), ["scale", "mask", "layer.weight", "layer.bias"]);
});
