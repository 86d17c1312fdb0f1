// The finer points of wrapped models, with a strategy that wraps a model on one device, so that guards and redirection are at work.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { DeviceDtypeModule, Fabric, type FabricModule, Precision, SingleDeviceStrategy } from "@fabric-ts/fabric";
import * as torch from "@fabric-ts/torch";
import { autograd, type Dtype, data, nn, optim, type Tensor } from "@fabric-ts/torch";
import { unwrapObjects } from "../../dist/wrappers/wrap.js";

/** Calls the model inside, as the wrappers of real strategies do. */
class Outer extends nn.Module<unknown[], unknown> {
  constructor(readonly inner: nn.AnyModule) {
    super();
  }
  forward(...args: unknown[]): unknown {
    return this.inner(...args);
  }
}
class Wrapping extends SingleDeviceStrategy {
  override setupModule(module: nn.AnyModule): nn.AnyModule {
    return new Outer(module);
  }
}

/** Notes when its context is open. */
class Noting extends Precision {
  readonly events: string[] = [];
  override convertInput<T>(data: T): T {
    this.events.push("input");
    return data;
  }
  override forwardContext(): Disposable {
    this.events.push("enter");
    return { [Symbol.dispose]: () => this.events.push("leave") };
  }
  override convertOutput<T>(data: T): T {
    this.events.push("output");
    return data;
  }
}

class Model extends nn.Module<[Tensor], Tensor> {
  layer = new nn.Linear(3, 2);
  helper = (x: Tensor): Tensor => x.mul(2);
  static make(): Model {
    return new Model();
  }
  get computed(): Tensor {
    return this.layer(torch.ones([3]));
  }
  forward(x: Tensor): Tensor {
    return this.layer(x);
  }
  late(x: Tensor): unknown {
    return (this as unknown as { added: nn.Linear }).added(x);
  }
  stepped(x: Tensor): { y: Tensor; text: string; n: number } {
    return { y: this(x), text: "a", n: this.forward(x).numel() };
  }
}

const x = torch.ones([3]);
const wrapping = (plugins: Precision[] = []): Fabric =>
  new Fabric({ accelerator: "cpu", strategy: new Wrapping(), plugins });

describe("forward", () => {
  it("converts inputs, runs inside the context, and converts outputs outside of it, each once", () => {
    const precision = new Noting();
    const model = wrapping([precision]).setup(new Model());
    model.layer.registerForwardHook(() => void precision.events.push("layer"));
    model(x);
    assert.deepEqual(precision.events.splice(0), ["input", "enter", "layer", "leave", "output"]);
    model.markForwardMethod("stepped");
    const { y, text, n } = model.stepped(x);
    assert.deepEqual(precision.events, ["input", "enter", "layer", "layer", "leave", "output"]);
    assert.deepEqual([y.shape, text, n], [[2], "a", 2]);
    assert.equal(Object.hasOwn(model.module, "forward"), false);
  });
});

describe("a model inside a strategy's wrapper", () => {
  const model = wrapping().setup(new Model()) as FabricModule<Model> & { added: nn.Linear };

  it("guards modules that were added after the set-up", () => {
    model.added = new nn.Linear(3, 3);
    assert.ok(model.modules().includes(model.module) && "added" in model.module);
    assert.throws(() => model.late(x), /You are calling the method `Model\.late\(\)` from outside the model/);
  });
  it("reads properties that compute, and calls layers, static methods and functions in fields that run no module", () => {
    assert.deepEqual(model.computed.shape, [2]);
    assert.deepEqual(model.layer(x).shape, [2]);
    assert.deepEqual(model.helper(x).tolist(), [2, 2, 2]);
    assert.ok(Model.make() instanceof Model);
  });
  it("marks methods for itself only", () => {
    const other = wrapping().setup(new Model());
    other.markForwardMethod(other.stepped);
    assert.equal(other.stepped(x).n, 2);
    assert.throws(() => model.stepped(x), /markForwardMethod\('stepped'\)/);
  });
  it("says in its names of parameters where they are, and not in its state", () => {
    const names = wrapping()
      .setup(new nn.Linear(2, 2))
      .namedParameters()
      .map(([name]) => name);
    assert.deepEqual(names, ["_forwardModule.inner.weight", "_forwardModule.inner.bias"]);
    assert.deepEqual(Object.keys(wrapping().setup(new nn.Linear(2, 2)).stateDict()), ["weight", "bias"]);
  });
});

describe("writing attributes", () => {
  it("goes where the attribute is: to the model, to the wrapper, or to both", () => {
    class Holder extends nn.Linear {
      version = 1;
      #hidden = 5;
      get hidden(): number {
        return this.#hidden;
      }
      set hidden(value: number) {
        this.#hidden = value * 10;
      }
    }
    const raw = new Holder(2, 2);
    const model = wrapping().setup(raw) as FabricModule<Holder> & { extra?: number };
    model.extra = 4;
    assert.deepEqual([(raw as { extra?: number }).extra, model.extra, Object.hasOwn(model, "extra")], [4, 4, false]);
    model.version = 2;
    assert.deepEqual([raw.version, model.version], [2, 2]);
    model.hidden = 3;
    assert.equal(raw.hidden, 30);
    model.training = false;
    assert.deepEqual([raw.training, model.training], [false, false]);
  });
});

describe("device and dtype", () => {
  class Metric extends DeviceDtypeModule<[Tensor], Tensor> {
    forward(input: Tensor): Tensor {
      return input;
    }
  }
  class WithMetric extends nn.Linear {
    metric = new Metric();
  }
  it("follow every way to convert, for modules inside that ask for it, too", () => {
    const model = new Fabric({ accelerator: "cpu" }).setup(new WithMetric(2, 2));
    const expect = (dtype: Dtype): void =>
      assert.deepEqual([model.dtype, model.metric.dtype, model.weight.dtype], [dtype, dtype, dtype]);
    expect("float32");
    assert.ok(model.double() === model);
    expect("float64");
    model.half();
    expect("float16");
    model.float();
    expect("float32");
    model.to("cpu", "bfloat16");
    expect("bfloat16");
    model.to(torch.ones([1], { dtype: "float64" }));
    expect("float64");
    model.to({ dtype: "float32" });
    expect("float32");
    assert.deepEqual([model.device, model.metric.device], ["cpu", "cpu"]);
  });
  it("are those of the first parameter when the model stays where it is", () => {
    const fabric = new Fabric({ accelerator: "cpu" });
    const raw = torch.withDevice("meta", () => new WithMetric(2, 2));
    const model = fabric.setup(raw, { moveToDevice: false });
    assert.deepEqual([model.device, model.metric.device], ["meta", "meta"]);
    assert.equal(fabric.setup(new nn.Identity(), { moveToDevice: false }).device, "cpu");
  });
  it("a model without values gets them from a state dict with `assign`", () => {
    const raw = torch.withDevice("meta", () => new nn.Linear(2, 2));
    const model = new Fabric({ accelerator: "cpu" }).setup(raw, { moveToDevice: false });
    const source = new nn.Linear(2, 2);
    model.loadStateDict(source.stateDict(), { assign: true });
    assert.deepEqual(model.weight.tolist(), source.weight.tolist());
    assert.equal(model.weight.device, "cpu");
  });
});

describe("the guard of backward", () => {
  const fabric = new Fabric({ accelerator: "cpu", precision: "bf16-mixed" });
  const refused = /requires you to call `fabric\.backward\(loss\)`/;

  it("works through arithmetic, chains of models and two models, and only where there are gradients", () => {
    const [first, second] = [fabric.setup(new nn.Linear(3, 3)), fabric.setup(new nn.Linear(3, 3))];
    assert.throws(() => first(x).mul(2).sum().backward(), refused);
    assert.throws(() => second(first(x)).sum().backward(), refused);
    assert.throws(() => first(x).add(second(x)).sum().backward(), refused);
    assert.equal(autograd.BackwardGuard.hasHooks(first(x)), true);
    assert.equal(autograd.BackwardGuard.hasHooks(torch.noGrad(() => first(x))), false);
    fabric.backward(second(first(x)).sum());
  });
  it("is closed again after a backward pass that failed", () => {
    const model = fabric.setup(new nn.Linear(3, 3));
    assert.equal(autograd.BackwardGuard.isAllowed, false);
    assert.throws(() => fabric.backward(model(x)), /needs a tensor with one element/);
    assert.equal(autograd.BackwardGuard.isAllowed, false);
    assert.throws(() => model(x).sum().backward(), refused);
  });
});

describe("unwrapping", () => {
  it("gives what the strategy calls, the optimizer and the loader, and keeps containers", () => {
    const fabric = wrapping();
    const raw = new nn.Linear(2, 2);
    const inner = new optim.SGD(raw.parameters(), { lr: 0.1 });
    const [model, optimizer] = fabric.setup(raw, inner);
    const rawLoader = new data.DataLoader([1, 2]);
    const loader = fabric.setupDataLoaders(rawLoader);
    const unwrapped = unwrapObjects({
      list: [model, 3],
      map: new Map([["o", optimizer]]),
      loader,
      none: {},
    }) as unknown as {
      list: unknown[];
      map: Map<string, unknown>;
      loader: unknown;
      none: object;
    };
    assert.ok(unwrapped.list[0] instanceof Outer && unwrapped.list[1] === 3);
    assert.ok(unwrapped.map.get("o") === inner && unwrapped.loader === rawLoader);
    assert.deepEqual(unwrapped.none, {});
  });
});
