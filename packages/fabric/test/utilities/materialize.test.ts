// Modules on the meta device get memory and values; classes are replaced for a block.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  hasMetaDeviceParametersOrBuffers,
  materialize,
  materializeMetaTensors,
  replaceClasses,
} from "@fabric-ts/fabric";
import { nn, optim, type Tensor, withDevice } from "@fabric-ts/torch";

const onMeta = <M>(make: () => M): M => withDevice("meta", make);
const devices = (module: nn.AnyModule): string[] => module.parameters().map((parameter) => parameter.device);

describe("materialize", () => {
  it("gives a module's own members memory and initial values, and leaves its children alone", () => {
    class Outer extends nn.Linear {
      inner = new nn.Linear(2, 2);
    }
    const outer = onMeta(() => new Outer(2, 2));
    materialize(outer, "cpu");
    assert.deepEqual([outer.weight.device, outer.inner.weight.device], ["cpu", "meta"]);
    const limit = Math.sqrt(1 / 2);
    for (const value of (outer.weight.tolist() as number[][]).flat()) assert.ok(Math.abs(value) <= limit);
    assert.equal(outer.weight.requiresGrad, true);
  });
  it("does so for every module that has members on the meta device, buffers too", () => {
    const net = onMeta(() => new nn.Sequential(new nn.Linear(2, 3), new nn.ReLU(), new nn.BatchNorm1d(3)));
    materializeMetaTensors(net, "cpu");
    assert.equal(hasMetaDeviceParametersOrBuffers(net), false);
    assert.deepEqual((net.children()[2] as unknown as nn.BatchNorm1d).runningVar?.tolist(), [1, 1, 1]);
  });
  it("keeps what modules share", () => {
    class Tied extends nn.Module<[Tensor], Tensor> {
      embedding = new nn.Embedding(4, 2);
      head = new nn.Linear(2, 4, { bias: false });
      constructor() {
        super();
        this.head.weight = this.embedding.weight;
      }
      forward(x: Tensor): Tensor {
        return this.head(this.embedding(x));
      }
    }
    const tied = onMeta(() => new Tied());
    materializeMetaTensors(tied, "cpu");
    assert.ok(tied.head.weight === tied.embedding.weight);
    assert.deepEqual(devices(tied), ["cpu"]);
  });
  it("changes nothing when a module cannot initialize itself", () => {
    class Bare extends nn.Module<[], void> {
      weight = new nn.Parameter(onMeta(() => new nn.Linear(1, 1)).weight);
      forward(): void {}
    }
    const net = onMeta(() => new nn.ModuleList([new nn.Linear(1, 1), new Bare() as unknown as nn.Linear]));
    const expected = /Materialization requires that the `Bare.resetParameters` method is implemented/;
    assert.throws(() => materializeMetaTensors(net, "cpu"), { name: "TypeError", message: expected });
    assert.deepEqual(devices(net), ["meta", "meta", "meta"]);
  });
});

it("hasMetaDeviceParametersOrBuffers looks at modules, below them when told, and at optimizers", () => {
  const inner = onMeta(() => new nn.Linear(1, 1));
  const net = new nn.Sequential(inner);
  assert.equal(hasMetaDeviceParametersOrBuffers(net), true);
  assert.equal(hasMetaDeviceParametersOrBuffers(net, false), false);
  assert.equal(hasMetaDeviceParametersOrBuffers(new nn.Linear(1, 1)), false);
  const buffers = new nn.BatchNorm1d(2, { affine: false });
  assert.equal(hasMetaDeviceParametersOrBuffers(buffers.toEmpty({ device: "meta" })), true);
  assert.equal(hasMetaDeviceParametersOrBuffers(new optim.SGD(inner.parameters(), { lr: 1 })), true);
  assert.equal(hasMetaDeviceParametersOrBuffers(new optim.SGD(new nn.Linear(1, 1).parameters(), { lr: 1 })), false);
  assert.throws(() => hasMetaDeviceParametersOrBuffers([] as never), {
    name: "TypeError",
    message: /^Expected `nn.Module` or `optim.Optimizer`, got: \[\]/,
  });
});

describe("replaceClasses", () => {
  class Other extends nn.Linear {}

  it("puts other classes into a registry for the time of a block, and of `using`", () => {
    const layers = { ...nn };
    const made = replaceClasses(layers, { Linear: Other }, () => new layers.Linear(1, 1));
    assert.ok(made instanceof Other);
    assert.ok(layers.Linear === nn.Linear);
    {
      using _ = replaceClasses(layers, { Linear: Other });
      assert.ok(layers.Linear === Other);
    }
    assert.ok(layers.Linear === nn.Linear);
  });
  it("restores after errors, and what was inherited is inherited again", () => {
    const layers = Object.create({ Linear: nn.Linear }) as { Linear: typeof nn.Linear };
    const failing = (): void => {
      replaceClasses(layers, { Linear: Other }, () => {
        throw new Error("inside");
      });
    };
    assert.throws(failing, /inside/);
    assert.ok(layers.Linear === nn.Linear && !Object.hasOwn(layers, "Linear"));
  });
  it("explains what cannot be replaced", () => {
    assert.throws(
      () => replaceClasses(nn as object, {}),
      /exports are read-only.\n.*`export const layers = \{ \.\.\.nn \}`/,
    );
    assert.throws(() => replaceClasses({} as { A?: unknown }, { A: Other }), /no class `A`/);
    assert.throws(() => replaceClasses({ A: 1 as unknown }, { A: 2 }), /`A` to be a class, but got Number/);
  });
});
