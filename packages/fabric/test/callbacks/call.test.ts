// `fabric.call`: which hooks are called, with what, in which order, and what is waited for; and where callbacks come from.
import assert from "node:assert/strict";
import { afterEach, describe, it } from "node:test";
import { type Callback, catchWarnings, Fabric, registerCallbackFactory, UsageError } from "@fabric-ts/fabric";
import { nn, ones, optim } from "@fabric-ts/torch";

const fabricWith = (...callbacks: object[]): Fabric => new Fabric({ accelerator: "cpu", callbacks });

/** A callback whose hook `onEpoch` notes its name, now or a moment later. */
class Noting {
  constructor(
    readonly name: string,
    readonly notes: unknown[],
    readonly options: { later?: boolean; error?: Error } = {},
  ) {}
  onEpoch(...args: unknown[]): Promise<void> | string {
    const note = (): void => {
      this.notes.push([this.name, ...args]);
      if (this.options.error) throw this.options.error;
    };
    if (this.options.later) return new Promise((resolve) => setImmediate(resolve)).then(note);
    note();
    return "ignored";
  }
}

describe("fabric.call", () => {
  it("passes every argument, whatever they are and however many", async () => {
    const notes: unknown[] = [];
    const facts = { epoch: 1, own: Symbol("own") };
    await fabricWith(new Noting("a", notes)).call("onEpoch", facts, 2, undefined, [3]);
    assert.deepEqual(notes, [["a", facts, 2, undefined, [3]]]);
    assert.equal((notes[0] as unknown[])[1], facts);
  });

  it("returns nothing to wait for when no hook does, so a synchronous loop stays one", () => {
    const notes: unknown[] = [];
    assert.equal(fabricWith(new Noting("a", notes), new Noting("b", notes)).call("onEpoch"), undefined);
    assert.equal(notes.length, 2);
  });

  it("waits for a hook before it calls the next, and returns a promise for the end", async () => {
    const notes: unknown[] = [];
    const first = new Noting("a", notes, { later: true });
    const calling = fabricWith(new Noting("0", notes), first, { onEpoch: 7 }, new Noting("b", notes)).call("onEpoch");
    assert.ok(calling instanceof Promise);
    assert.deepEqual(notes, [["0"]]);
    const caught = await catchWarnings(() => calling);
    assert.deepEqual(notes, [["0"], ["a"], ["b"]]);
    assert.match(caught[0]?.message ?? "", /Skipping the callback `Object.onEpoch` because it is not callable/);
  });

  it("an error goes to the caller, thrown or through the promise, and later callbacks are not called", async () => {
    const notes: unknown[] = [];
    const error = new RangeError("mine");
    const throwing = fabricWith(new Noting("a", notes, { error }), new Noting("b", notes));
    assert.throws(() => void throwing.call("onEpoch"), error);
    const rejecting = fabricWith(new Noting("c", notes, { later: true, error }), new Noting("d", notes));
    await assert.rejects(async () => rejecting.call("onEpoch"), error);
    assert.deepEqual(notes, [["a"], ["c"]]);
  });

  it("finds hooks on prototypes and objects without one, with the callback as this", async () => {
    const bare = Object.assign(Object.create(null), {
      count: 0,
      onEpoch(this: { count: number }) {
        this.count++;
      },
    }) as { count: number };
    class Base {
      #private = 1;
      onEpoch(): void {
        this.#private++;
      }
      get value(): number {
        return this.#private;
      }
    }
    const derived = new (class extends Base {})();
    await fabricWith(bare, derived).call("onEpoch");
    assert.deepEqual([bare.count, derived.value], [1, 2]);
  });

  it("calls a callback that comes while the hook is being called", async () => {
    const seen: string[] = [];
    const mine = fabricWith({
      onTrainStart: () => {
        mine.setup(
          new (class extends nn.Linear {
            _fabric = null;
            onTrainStart(): void {
              seen.push("model");
            }
          })(1, 1),
        );
        seen.push("first");
      },
    });
    await mine.call("onTrainStart");
    assert.deepEqual(seen, ["first", "model"]);
  });

  it("mentions a hook that was not awaited when the next is called, once", async () => {
    const mine = fabricWith(new Noting("a", [], { later: true }));
    const caught = await catchWarnings(async () => {
      const calls = [mine.call("onEpoch"), mine.call("onEpoch"), mine.call("onOther")];
      await Promise.all(calls);
      await mine.call("onEpoch");
    });
    assert.equal(caught.length, 1);
    assert.match(
      caught[0]?.message ?? "",
      /^`Noting.onEpoch` had not finished when `onEpoch` was called.\nAwait the calls/,
    );
    assert.equal(caught[0]?.kind, "PossibleUserWarning");
  });

  it("mentions Python's spelling of a hook that callbacks have in JavaScript's, once", async () => {
    const notes: unknown[] = [];
    const mine = fabricWith(new Noting("a", notes), { on_epoch_end: () => notes.push("own") });
    const caught = await catchWarnings(async () => {
      await mine.call("on_epoch");
      await mine.call("on_epoch");
      await mine.call("on_epoch_end");
      await mine.call("on_nothing");
    });
    assert.deepEqual(notes, ["own"]);
    assert.deepEqual(
      caught.map(({ message }) => message),
      ['No callback has a method `on_epoch`, but Noting has `onEpoch`.\nType `await fabric.call("onEpoch", ...)`.'],
    );
    assert.throws(() => void mine.call((() => {}) as never), /Expected the name of a hook, but got/);
  });
});

describe("hooks that Fabric calls itself", () => {
  const pair = (): [nn.Linear, optim.SGD] => {
    const net = new nn.Linear(2, 1);
    return [net, new optim.SGD(net.parameters(), { lr: 0.1 })];
  };

  it("onAfterSetup comes from setup and setupModule, onAfterOptimizerStep from every step, with the inner optimizer", () => {
    const seen: [string, object][] = [];
    const callback: Callback = {
      onAfterSetup: (facts) => seen.push(["setup", facts]),
      onAfterOptimizerStep: (facts) => seen.push(["step", facts]),
    };
    const mine = fabricWith(callback);
    const [net, sgd] = pair();
    const [model, optimizer] = mine.setup(net, sgd);
    mine.backward(model(ones([1, 2])).sum());
    optimizer.step();
    mine.setupModule(new nn.Linear(1, 1));
    assert.deepEqual(
      seen.map(([hook, facts]) => [hook, Object.keys(facts)]),
      [
        ["setup", ["fabric", "module"]],
        ["step", ["strategy", "optimizer"]],
        ["setup", ["fabric", "module"]],
      ],
    );
    assert.ok((seen[1] as [string, { optimizer: unknown }])[1].optimizer === sgd);
    assert.ok((seen[0] as [string, { module: unknown }])[1].module === model);
  });

  it("cannot be async, since nothing waits for them", () => {
    const later = async (): Promise<void> => Promise.reject(new Error("nobody hears this"));
    assert.throws(() => fabricWith({ onAfterSetup: later }).setup(new nn.Linear(1, 1)), {
      name: UsageError.name,
      message: /`Object.onAfterSetup` returned a promise, but `fabric.setup` cannot wait for it/,
    });
    const mine = fabricWith({ onAfterOptimizerStep: later });
    const [model, optimizer] = mine.setup(...pair());
    mine.backward(model(ones([1, 2])).sum());
    assert.throws(
      () => optimizer.step(),
      /`Object.onAfterOptimizerStep` returned a promise, but `optimizer.step` cannot/,
    );
  });

  it("a model with a place for Fabric gets it, its optimizers from setup, and the calls of hooks, once", async () => {
    class Model extends nn.Linear {
      _fabric: Fabric | null = null;
      _fabricOptimizers: unknown = "mine";
      steps = 0;
      onTrainBatchEnd(): void {
        this.steps += this._fabric?.worldSize ?? 0;
      }
    }
    const mine = fabricWith();
    const net = new Model(2, 1);
    mine.setupModule(net);
    assert.deepEqual([net._fabric === mine, net._fabricOptimizers], [true, "mine"]);
    const [, first, second] = mine.setup(
      net,
      new optim.SGD([net.weight], { lr: 1 }),
      new optim.SGD([net.bias as nn.Parameter], { lr: 1 }),
    );
    const [one, two, ...rest] = net._fabricOptimizers as unknown[];
    assert.deepEqual([one === first, two === second, rest.length], [true, true, 0]);
    assert.deepEqual(mine.callbacks.length, 1);
    await mine.call("onTrainBatchEnd");
    assert.equal(net.steps, 1);
    mine.setup(new nn.Linear(1, 1));
    assert.equal(mine.callbacks.length, 1);
  });
});

describe("callbacks given to Fabric", () => {
  it("have to be objects, and not their classes", () => {
    class Mine {}
    const refused: [unknown, RegExp][] = [
      ["bar", /Expected callbacks to be objects with hooks as methods, but got "bar"/],
      [[null], /but got null/],
      [[{}, 3], /but got 3.\nFor example `\{ onTrainEpochEnd/],
      [Mine, /but got .*\nFor example `new Mine\(...\)`/],
      [Promise.resolve({}), /but got a Promise/],
    ];
    for (const [callbacks, message] of refused) {
      assert.throws(() => new Fabric({ accelerator: "cpu", callbacks: callbacks as object }), {
        name: "TypeError",
        message,
      });
    }
    for (const none of [[], null, undefined]) {
      assert.deepEqual(new Fabric({ accelerator: "cpu", callbacks: none as object }).callbacks, []);
    }
  });
});

describe("registerCallbackFactory", () => {
  let cleanups: (() => void)[] = [];
  afterEach(() => {
    for (const cleanup of cleanups.splice(0)) cleanup();
    cleanups = [];
  });
  /** What a new Fabric writes on standard error. */
  const made = (callbacks: object[]): { fabric: Fabric; lines: string } => {
    const { write } = process.stderr;
    let lines = "";
    process.stderr.write = ((text: string) => {
      lines += text;
      return true;
    }) as typeof process.stderr.write;
    try {
      const fabric = fabricWith(...callbacks);
      return { fabric, lines };
    } finally {
      process.stderr.write = write;
    }
  };
  class A {}
  class B {}

  it("has its functions called for every new Fabric; what they make follows the user's, and a line says so", () => {
    let calls = 0;
    const user = {};
    function houseRules(): object[] {
      calls++;
      return [new A(), new B()];
    }
    cleanups.push(
      registerCallbackFactory(houseRules),
      registerCallbackFactory(() => new B(), { name: "other" }),
    );
    cleanups.push(registerCallbackFactory(() => []));
    const { fabric: mine, lines } = made([user]);
    assert.deepEqual(
      mine.callbacks.map((callback) => callback.constructor.name),
      ["Object", "A", "B", "B"],
    );
    assert.equal(
      lines,
      "Adding 2 callbacks from entry point 'houseRules': A, B\nAdding 1 callback from entry point 'other': B\n",
    );
    made([]);
    assert.equal(calls, 2);
  });

  it("returns a function that takes the factory away", () => {
    const away = registerCallbackFactory(() => new A());
    away();
    assert.deepEqual(made([]).fabric.callbacks, []);
  });

  it("refuses what is no function, and factories that make no callbacks", () => {
    assert.throws(
      () => registerCallbackFactory(new A() as never),
      /Expected a function that makes callbacks, but got an A/,
    );
    cleanups.push(registerCallbackFactory((async () => new A()) as never));
    assert.throws(() => made([]), /Expected callbacks to be objects with hooks as methods, but got a Promise/);
  });
});
