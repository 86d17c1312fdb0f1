// The finer points of wrapped models, with a strategy that wraps a model on one device, so that guards and redirection are at work.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { DeviceDtypeModule, Fabric, FabricModule, Precision, SingleDeviceStrategy } from "@fabric-ts/fabric";
import * as torch from "@fabric-ts/torch";
import { autograd, type Dtype, data, nn, optim, type Tensor } from "@fabric-ts/torch";
import { unwrapObjects } from "../../dist/wrappers/wrap.js";
import { Noting, Outer, wrapping } from "../support/wrapping.js";

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

describe("a method that the model runs behind the strategy's back", () => {
  class Slow extends Model {
    async waits(until: Promise<void>): Promise<string> {
      await until;
      return "waited";
    }
    async callsLate(until: Promise<void>, input: Tensor): Promise<Tensor> {
      await until;
      return this(input);
    }
    *values(input: Tensor): Generator<Tensor> {
      yield input;
      yield this(input);
    }
    async *lateValues(input: Tensor): AsyncGenerator<Tensor> {
      yield input;
      yield this(input);
    }
    viaThen(until: Promise<void>, input: Tensor): Promise<Tensor> {
      return until.then(() => this(input));
    }
  }
  const refused = (name: string): RegExp =>
    new RegExp(`You are calling the method \`Slow\\.${name}\\(\\)\` from outside`);
  const pause = (): { until: Promise<void>; resume: () => void } => {
    let resume = (): void => {};
    const until = new Promise<void>((resolve) => (resume = resolve));
    return { until, resume };
  };

  it("is told from other code that uses the model while the method waits", async () => {
    const model = wrapping().setup(new Slow());
    const { until, resume } = pause();
    const [waiting, calling] = [model.waits(until), assert.rejects(model.callsLate(until, x), refused("callsLate"))];
    assert.deepEqual(model.module(x).shape, [2], "the model itself");
    assert.deepEqual(model(x).shape, [2], "the wrapper");
    const other = model.viaThen(until, x);
    resume();
    assert.equal(await waiting, "waited");
    await calling;
    await assert.rejects(other, refused("viaThen"));
    assert.deepEqual(model.module(x).shape, [2]);
  });
  it("is found in generators, one request at a time", async () => {
    const model = wrapping().setup(new Slow());
    const values = model.values(x);
    assert.ok(values.next().value === x);
    assert.deepEqual(model.module(x).shape, [2]);
    assert.throws(() => values.next(), refused("values"));
    const late = model.lateValues(x);
    assert.ok((await late.next()).value === x);
    await assert.rejects(late.next(), refused("lateValues"));
  });
  it("may call another model, and what is guarded by another wrapper", () => {
    const [first, second] = [wrapping().setup(new Slow()), wrapping().setup(new Slow())];
    class Both extends Model {
      other(input: Tensor): Tensor {
        return second(first.module(input).repeat([2]).narrow(0, 0, 3));
      }
      guarded(input: Tensor): unknown {
        return second.stepped(input);
      }
    }
    const both = wrapping().setup(new Both());
    assert.deepEqual(both.other(x).shape, [2]);
    assert.throws(() => both.guarded(x), /`Slow\.stepped\(\)`/);
  });
  it("cannot be marked when it computes after forward is over: async methods and generators", async () => {
    const model = wrapping().setup(new Slow());
    for (const name of ["waits", "values", "lateValues"] as const) model.markForwardMethod(name);
    assert.throws(() => model.waits(Promise.resolve()), {
      name: "NotSupportedError",
      message: /`Slow\.waits\(\)` is async, but a marked method goes the way of forward.*\nCompute in a plain method/,
    });
    for (const call of [() => model.values(x), () => model.lateValues(x)]) {
      assert.throws(call, { name: "NotSupportedError", message: /is a generator, but a marked method.*asks for its/ });
    }
    assert.equal(Object.hasOwn(model.module, "forward"), false);
    assert.equal(await new Fabric({ accelerator: "cpu" }).setup(model.module).waits(Promise.resolve()), "waited");
  });
});

describe("marked methods", () => {
  it("are known by name; the four steps are, whether the model has them or not", () => {
    const model = wrapping().setup(new Model());
    assert.deepEqual([...model._forwardMethods], ["trainingStep", "validationStep", "testStep", "predictStep"]);
    assert.equal((model as { predictStep?: unknown }).predictStep, undefined);
    model.markForwardMethod("stepped");
    assert.ok(model._forwardMethods.has("stepped"));
    assert.throws(() => model.markForwardMethod("hasOwnProperty" as never), /`Model\.hasOwnProperty` does not exist/);
    class Steps extends Model {
      trainingStep(input: Tensor): Tensor {
        return this(input).sum();
      }
    }
    assert.deepEqual(wrapping().setup(new Steps()).trainingStep(x).shape, []);
  });
  it("leave the model as it was when the way to it fails", () => {
    class Failing extends Precision {
      override convertInput<T>(): T {
        throw new RangeError("no input");
      }
    }
    const model = wrapping([new Failing()]).setup(new Model());
    model.markForwardMethod("stepped");
    assert.throws(() => model.stepped(x), /no input/);
    assert.equal(Object.hasOwn(model.module, "forward"), false);
    const own = (input: Tensor): Tensor => input;
    model.module.forward = own;
    assert.throws(() => model.stepped(x), /no input/);
    assert.ok(model.module.forward === own);
  });
  it("run no hooks of the wrapper, but those of what is inside", () => {
    const model = wrapping().setup(new Model());
    const calls: string[] = [];
    model.registerForwardHook(() => void calls.push("wrapper"));
    model._forwardModule.registerForwardHook(() => void calls.push("strategy"));
    model.layer.registerForwardHook(() => void calls.push("layer"));
    model.module.registerForwardHook(() => void calls.push("model"));
    model.markForwardMethod("stepped");
    model.stepped(x);
    // `stepped` calls the model, then its forward: the layer runs twice, the model's own hook for the call and for the way to it.
    assert.deepEqual(calls.splice(0), ["layer", "model", "layer", "model", "strategy"]);
    model(x);
    assert.deepEqual(calls, ["layer", "model", "strategy", "wrapper"]);
  });
});

describe("a wrapper", () => {
  it("can be made by hand; what it calls is then the model", () => {
    const raw = new Model();
    const model = new FabricModule(raw, new SingleDeviceStrategy());
    assert.ok(model.module === raw && model._forwardModule === raw);
    assert.deepEqual(
      model.namedChildren().map(([name]) => name),
      ["_forwardModule"],
      "each module once",
    );
    assert.deepEqual(model(x).shape, [2]);
    assert.equal(
      torch.withDevice("meta", () => new FabricModule(new nn.Identity(), new SingleDeviceStrategy())).device,
      "meta",
    );
  });
  it("is not iterated, whatever its model can, and prints what it calls around the model", () => {
    const model = wrapping().setup(new nn.Sequential(new nn.ReLU()));
    assert.throws(() => [...(model as unknown as Iterable<unknown>)], /is not iterable/);
    assert.equal([...model.module].length, 1);
    assert.match(String(model), /^FabricModule\(\n {2}strategy=Wrapping\n {2}\(module\): Sequential/);
  });
});

describe("writing attributes", () => {
  it("stays on the wrapper for what only the wrapper has, and deleting is not passed on", () => {
    class Holder extends nn.Linear {
      version = 1;
    }
    const raw = new Holder(2, 2);
    const model = wrapping().setup(raw);
    const inner = new Outer(raw);
    (model as { _forwardModule: nn.AnyModule })._forwardModule = inner;
    assert.ok(model._forwardModule === inner);
    let calls = 0;
    inner.registerForwardHook(() => void calls++);
    model(torch.ones([2]));
    assert.equal(calls, 1, "it is what a call runs");
    assert.equal("_forwardModule" in raw, false);
    assert.throws(() => delete (model as { version?: number }).version, /Type `delete model\.module\.version`/);
    assert.ok(delete (model as { nothing?: number }).nothing);
    assert.equal(raw.version, 1);
  });

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
    model.bfloat16();
    expect("bfloat16");
    model.to("float32");
    expect("float32");
    model.to("cpu", "bfloat16");
    expect("bfloat16");
    model.to(torch.ones([1], { dtype: "float64" }));
    expect("float64");
    model.to({ dtype: "float32" });
    expect("float32");
    assert.ok(model.cpu() === model);
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
