// Methods beside forward, inside a strategy's wrapper: when the guard raises and what it leaves behind, and what marking changes.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Fabric, Precision } from "@fabric-ts/fabric";
import * as torch from "@fabric-ts/torch";
import { nn, type Tensor } from "@fabric-ts/torch";
import { Noting, wrapping } from "../support/wrapping.js";

const x = torch.ones([3]);

class Model extends nn.Module<[Tensor], Tensor> {
  body = new nn.Sequential(new nn.Sequential(new nn.Linear(3, 3)));
  events: string[] = [];
  encode(input: Tensor): Tensor {
    return this.body(input);
  }
  forward(input: Tensor): Tensor {
    return this.encode(input);
  }
  deep(input: Tensor): Tensor {
    this.events.push("before");
    const inner = (this.body.at(0) as nn.Sequential).at(0) as nn.Linear;
    const output = inner(input);
    this.events.push("after");
    return output;
  }
  maybe(runs: boolean): string {
    if (runs) this.body(x);
    return "quiet";
  }
  fails(): never {
    throw new RangeError("own error");
  }
  runs(other: (input: Tensor) => Tensor): Tensor {
    return other(x);
  }
  predictStep(input: Tensor): Tensor {
    return this(input);
  }
}

/** Runs no other module in forward. */
class Scale extends nn.Module<[Tensor], Tensor> {
  weight = new nn.Parameter(torch.full([3], 2.0, { dtype: "float32" }));
  forward(input: Tensor): Tensor {
    return input.mul(this.weight);
  }
  byForward(input: Tensor): Tensor {
    return this.forward(input);
  }
  byCall(input: Tensor): Tensor {
    return this(input);
  }
}

describe("the guard of methods", () => {
  it("raises before the module computes, and names the strategy and what to type", () => {
    const model = wrapping().setup(new Model());
    let computed = 0;
    model.body.registerForwardHook(() => void computed++);
    for (const module of model.body.modules()) module.registerForwardHook(() => void computed++);
    assert.throws(() => model.deep(x), {
      name: "UsageError",
      code: "ERR_FORWARD_METHOD",
      message:
        /`Model\.deep\(\)` from outside the model.*selected strategy \(`Wrapping`\).*\nCall `fabricModel\.markForwardMethod\('deep'\)` after `fabric\.setup\(\)`/,
    });
    assert.deepEqual([model.events, computed], [["before"], 0]);
  });

  it("lets forward call what it needs, and methods call the wrapper", () => {
    const model = wrapping().setup(new Model());
    assert.deepEqual(model(x).shape, [3]);
    assert.deepEqual(model.runs(model).shape, [3]);
    assert.deepEqual(model.runs(model.forward).shape, [3]);
    assert.throws(() => model.runs(model.module), /`Model\.runs\(\)`/);
    const apart = new nn.Linear(3, 3);
    assert.deepEqual(model.runs(apart).shape, [3]);
  });

  it("does not mind forward as a plain function where it runs no other module", () => {
    const model = wrapping().setup(new Scale());
    assert.deepEqual(model.byForward(x).tolist(), [2, 2, 2]);
    assert.throws(() => model.byCall(x), /`Scale\.byCall\(\)`/);
  });

  it("is one for each call: a function that was kept works after an error, and no hooks stay", () => {
    let hooks = 0;
    class Counting extends nn.Linear {
      override registerForwardPreHook(...args: Parameters<nn.Linear["registerForwardPreHook"]>): nn.RemovableHandle {
        const handle = super.registerForwardPreHook(...args);
        hooks++;
        return Object.assign(Object.create(handle) as nn.RemovableHandle, {
          [Symbol.dispose]: () => {
            hooks--;
            handle[Symbol.dispose]();
          },
        });
      }
    }
    const raw = new Model();
    raw.body = new nn.Sequential(new Counting(3, 3));
    const model = wrapping().setup(raw);
    const { maybe, fails } = model;
    assert.throws(() => maybe(true), /`Model\.maybe\(\)`/);
    assert.throws(() => fails(), RangeError);
    assert.equal(maybe(false), "quiet");
    assert.equal(hooks, 0);
    assert.deepEqual([raw(x).shape, model(x).shape], [[3], [3]]);
  });

  it("leaves the four steps alone", () => assert.deepEqual(wrapping().setup(new Model()).predictStep(x).shape, [3]));
});

describe("a marked method", () => {
  class Steps extends Model {
    inner(input: Tensor): string {
      return `inner ${this(input).shape}`;
    }
    outer(input: Tensor): unknown {
      return [this.inner(input), null, 3, { done: true }];
    }
  }

  it("takes the way of forward once for each call, and calls other marked ones directly", () => {
    const precision = new Noting();
    const model = wrapping([precision]).setup(new Steps());
    assert.equal(model.markForwardMethod("outer"), undefined);
    model.markForwardMethod(model.inner);
    for (let call = 0; call < 2; call++) {
      assert.deepEqual(model.outer(x), ["inner 3", null, 3, { done: true }]);
      assert.deepEqual(precision.events.splice(0), ["input", "enter", "leave", "output"]);
      assert.equal(Object.hasOwn(model.module, "forward"), false);
    }
    assert.equal(model.inner(x), "inner 3");
  });

  it("can be marked by the function that the wrapper gives for it, marked or not, and by the model's own", () => {
    for (const fabric of [wrapping(), new Fabric({ accelerator: "cpu" })]) {
      const model = fabric.setup(new Steps());
      const { outer } = model;
      model.markForwardMethod(outer);
      model.markForwardMethod(model.outer);
      model.markForwardMethod(outer);
      model.markForwardMethod(model.module.inner);
      assert.deepEqual([...model._forwardMethods].slice(4), ["outer", "inner"]);
    }
  });

  it("without the method on the model is an error when it is marked, not a function that does nothing", () => {
    const model = wrapping().setup(new Steps());
    assert.throws(() => model.markForwardMethod("missing" as never), {
      name: "UsageError",
      message: /`Steps\.missing` does not exist or is not a method/,
    });
    assert.equal((model as { missing?: unknown }).missing, undefined);
  });
});

describe("`loss.backward()` on the output of a wrapped model", () => {
  const refused = (make: () => Precision, text: RegExp): void => {
    const fabric = new Fabric({ accelerator: "cpu", plugins: make() });
    const model = fabric.setup(new nn.Linear(3, 1));
    assert.throws(() => model(x).sum().backward(), text);
    fabric.backward(model(x).sum());
  };

  it("is refused for a precision that has any of the three steps of its own", () => {
    class Before extends Precision {
      override preBackward(): void {}
    }
    class During extends Precision {
      override backward(...args: Parameters<Precision["backward"]>): void {
        super.backward(...args);
      }
    }
    class After extends Precision {
      override postBackward(): void {}
    }
    for (const kind of [Before, During, After]) {
      refused(
        () => new kind(),
        new RegExp(
          `requires you to call \`fabric.backward\\(loss\\)\`[^]*Replace \`loss.backward\\(\\)\` by.*SingleDeviceStrategy and ${kind.name} have work`,
        ),
      );
    }
  });

  it("is fine under 16-true and under DDP in full precision", async () => {
    const half = new Fabric({ accelerator: "cpu", precision: "16-true" }).setup(new Scale());
    half(x).sum().backward();
    assert.equal(half.weight.grad?.dtype, "float16");

    const fabric = new Fabric({ accelerator: "cpu", strategy: "ddp", devices: 1 });
    await fabric.launch();
    try {
      const model = fabric.setup(new nn.Linear(3, 1));
      model(x).sum().backward();
      assert.deepEqual(model.weight.grad?.tolist(), [[1, 1, 1]]);
    } finally {
      await fabric.strategy.teardown();
    }
  });
});
