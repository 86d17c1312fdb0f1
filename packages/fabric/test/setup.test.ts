// What `setup` and its siblings do, in which order, and what they leave alone.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  CPUAccelerator,
  catchWarnings,
  DeviceDtypeModule,
  Fabric,
  FabricModule,
  Precision,
  SingleDeviceStrategy,
} from "@fabric-ts/fabric";
import * as torch from "@fabric-ts/torch";
import { type Device, data, nn, optim, type Tensor } from "@fabric-ts/torch";

const fabric = new Fabric({ accelerator: "cpu" });
const sgd = (module: nn.AnyModule): optim.SGD => new optim.SGD(module.parameters(), { lr: 0.1 });

describe("setup", () => {
  it("converts, moves, and hands to the strategy, in this order, and calls the callbacks last", () => {
    const events: string[] = [];
    class Converting extends Precision {
      override convertModule<M extends nn.AnyModule>(module: M): M {
        events.push("convert");
        return module;
      }
    }
    class Noting extends SingleDeviceStrategy {
      override moduleToDevice(module: nn.AnyModule): void {
        events.push("move");
        super.moduleToDevice(module);
      }
      override setupModuleAndOptimizers(
        ...args: Parameters<SingleDeviceStrategy["setupModuleAndOptimizers"]>
      ): ReturnType<SingleDeviceStrategy["setupModuleAndOptimizers"]> {
        events.push("strategy");
        return { ...super.setupModuleAndOptimizers(...args), scheduler: "the strategy's" };
      }
    }
    const mine = new Fabric({
      accelerator: "cpu",
      strategy: new Noting(),
      plugins: new Converting(),
      callbacks: { onAfterSetup: () => events.push("callback") },
    });
    const raw = new nn.Linear(2, 2);
    const [model, optimizer, scheduler] = mine.setup(raw, sgd(raw), { scheduler: "mine" });
    assert.deepEqual(events.splice(0), ["convert", "move", "strategy", "callback"]);
    assert.equal(scheduler, "the strategy's");
    assert.ok(model.module === raw && optimizer.paramGroups[0]?.params[0] === raw.weight);
    mine.setup(new nn.Linear(2, 2), { moveToDevice: false });
    assert.deepEqual(events, ["convert", "callback"]);
  });

  it("takes the same raw model again, and several optimizers", async () => {
    const raw = new nn.Linear(2, 2);
    const caught = await catchWarnings(() => {
      const [first, one, two] = fabric.setup(raw, sgd(raw), sgd(raw));
      assert.ok(first.module === raw && one.optimizer !== two.optimizer);
      assert.ok(fabric.setup(raw).module === raw);
    });
    assert.deepEqual(caught, []);
  });

  it("makes a model with a place for Fabric a callback once", () => {
    const mine = new Fabric({ accelerator: "cpu" });
    class Model extends nn.Linear {
      _fabric: unknown = null;
      _fabricOptimizers: unknown = null;
    }
    const raw = new Model(2, 2);
    mine.setup(raw);
    mine.setupModule(raw);
    assert.deepEqual(mine.callbacks, [raw]);
    assert.deepEqual(raw._fabricOptimizers, []);
  });

  it("moves the model to the strategy's device, and tells the modules inside that ask where they are", () => {
    class Metric extends DeviceDtypeModule<[Tensor], Tensor> {
      forward(input: Tensor): Tensor {
        return input;
      }
    }
    class Measured extends nn.Linear {
      metric = new Metric();
    }
    class Elsewhere extends CPUAccelerator {
      override setupDevice(): void {}
    }
    const mine = new Fabric({ accelerator: new Elsewhere(), strategy: new SingleDeviceStrategy("meta") });
    const model = mine.setup(new Measured(2, 2));
    assert.deepEqual([model.weight.device, model.device, model.metric.device], ["meta", "meta", "meta"]);
    const stays = mine.setupModule(new Measured(2, 2), { moveToDevice: false });
    assert.deepEqual([stays.weight.device, stays.device, stays.metric.device], ["cpu", "cpu", "cpu"]);
  });

  it("refuses to move a model without values, and says how it gets some", () => {
    const raw = new nn.Linear(2, 2, { device: "meta" });
    for (const call of [() => fabric.setup(raw), () => fabric.setup(raw, sgd(raw)), () => fabric.setupModule(raw)]) {
      assert.throws(call, { name: "UsageError", message: /no values[\s\S]*`module\.toEmpty\(\{ device \}\)`/ });
    }
    assert.ok(fabric.setup(raw.toEmpty({ device: "cpu" })).module === raw);
  });

  it("makes the model a callback before it calls them, so that it hears of its own set-up", () => {
    class Model extends nn.Linear {
      _fabric: unknown = null;
      _fabricOptimizers: unknown = null;
      seen: unknown[] = [];
      onAfterSetup(facts: object): void {
        this.seen.push(facts, this._fabric, this._fabricOptimizers);
      }
    }
    const mine = new Fabric({ accelerator: "cpu" });
    const raw = new Model(2, 2);
    const model = mine.setupModule(raw);
    assert.deepEqual(raw.seen.splice(0), [{ fabric: mine, module: model }, mine, null], "setupModule");
    const [again, optimizer] = mine.setup(raw, sgd(raw));
    assert.ok((raw._fabricOptimizers as unknown[])[0] === optimizer);
    assert.deepEqual([raw.seen[0], mine.callbacks], [{ fabric: mine, module: again }, [raw]]);
  });

  it("of a model alone goes to the strategy's `setupModule`, in both spellings", () => {
    const events: string[] = [];
    class Noting extends SingleDeviceStrategy {
      override setupModule(module: nn.AnyModule): nn.AnyModule {
        events.push("module");
        return module;
      }
      override setupModuleAndOptimizers(): never {
        throw new Error("there are no optimizers");
      }
    }
    const mine = new Fabric({ accelerator: "cpu", strategy: new Noting() });
    const raw = new nn.Linear(2, 2);
    assert.ok(mine.setup(raw).module === raw && mine.setupModule(raw).module === raw);
    assert.deepEqual(events, ["module", "module"]);
    assert.throws(() => mine.setupModule(raw, false as never), TypeError);
  });

  it("comes after the launch, whatever else is wrong", () => {
    const mine = new Fabric({ accelerator: "cpu", strategy: "ddp" });
    const text = /you must call `.launch\(\)`/;
    assert.throws(() => mine.setup(3 as never), text);
    assert.throws(() => mine.setupModule(3 as never), text);
    assert.throws(() => (mine.setupOptimizers as () => unknown)(), text);
    assert.throws(() => (mine.setupDataLoaders as () => unknown)(), text);
  });

  it("is not needed for what works anywhere", async (t) => {
    const mine = new Fabric({ accelerator: "cpu", strategy: "ddp" });
    const print = t.mock.method(console, "log", () => {});
    mine.print("before");
    print.mock.restore();
    assert.deepEqual(print.mock.calls[0]?.arguments, ["before"]);
    assert.equal(mine.seedEverything(3), 3);
    for (const name of ["PL_GLOBAL_SEED", "PL_SEED_WORKERS"]) delete process.env[name];
    const byHand = new FabricModule(new nn.Linear(1, 1), mine.strategy);
    assert.equal(
      mine.noBackwardSync(byHand as never, { enabled: false }, () => 5),
      5,
    );
    const missing = { name: "CheckpointError", code: "ENOENT" };
    await assert.rejects(() => mine.loadRaw("/nowhere/raw.pt", new nn.Linear(1, 1)), missing);
    assert.equal(mine.initTensor(() => torch.ones([1])).item(), 1);
    assert.equal(mine.toDevice(torch.ones([1])).item(), 1);
    assert.equal(
      mine.autocast(() => 2),
      2,
    );
    const weight = torch.ones([1], { requiresGrad: true });
    mine.backward(weight.mul(2).sum());
    assert.equal(weight.grad?.item(), 2);
    await mine.call("onNothing");
    mine.log("loss", 1);
    assert.equal(await mine.rankZeroFirst(() => 4), 4);
    const optimizer = new optim.SGD([new nn.Parameter(torch.ones([1]))], { lr: 1 });
    assert.equal(mine.clipGradients(new nn.Linear(1, 1), optimizer, { clipVal: 1 }), undefined);
    assert.equal(mine.isLaunched, false);
  });

  it("asks the accelerator to make the device ready, and leaves the model where it is when told", () => {
    const ready: Device[] = [];
    class Noting extends CPUAccelerator {
      override setupDevice(device: Device): void {
        ready.push(device);
      }
    }
    const mine = new Fabric({ accelerator: new Noting(), callbacks: null, loggers: null });
    assert.deepEqual([mine.callbacks, mine.loggers], [[], []]);
    mine.setup(new nn.Linear(2, 2));
    mine.toDevice(new nn.Linear(2, 2));
    assert.deepEqual(ready.splice(0), ["cpu", "cpu"]);
    const away = mine.setup(new nn.Linear(2, 2, { device: "meta" }), { moveToDevice: false });
    assert.deepEqual([away.device, away.weight.device, ready], ["meta", "meta", []]);
    assert.equal(mine.setup(new nn.ReLU(), { moveToDevice: false }).device, "cpu");
  });

  it("keeps parameters and their optimizers together through a conversion", () => {
    const mine = new Fabric({ accelerator: "cpu", precision: "64-true" });
    const raw = new nn.Linear(2, 1);
    const { weight } = raw;
    const [model, optimizer] = mine.setup(raw, sgd(raw));
    assert.ok(model.weight === weight && optimizer.paramGroups[0]?.params[0] === weight);
    const before = weight.tolist();
    mine.backward(model(torch.ones([2])).sum());
    optimizer.step();
    assert.notDeepEqual(weight.tolist(), before);
  });

  it("calls the callbacks for a model alone, too", () => {
    const seen: unknown[] = [];
    const mine = new Fabric({ accelerator: "cpu", callbacks: { onAfterSetup: (facts: object) => seen.push(facts) } });
    const model = mine.setupModule(new nn.Linear(1, 1));
    assert.deepEqual(seen, [{ fabric: mine, module: model }]);
  });
});

describe("setupOptimizers", () => {
  it("asks the strategy for each optimizer", () => {
    class Replacing extends SingleDeviceStrategy {
      override setupOptimizer(optimizer: optim.Optimizer): optim.Optimizer {
        return new optim.SGD(optimizer.paramGroups[0]?.params as nn.Parameter[], { lr: 7 });
      }
    }
    const mine = new Fabric({ accelerator: "cpu", strategy: new Replacing() });
    const raw = new nn.Linear(2, 2);
    const rates = mine.setupOptimizers(sgd(raw), sgd(raw)).map(({ paramGroups }) => paramGroups[0]?.lr);
    assert.deepEqual(rates, [7, 7]);
  });

  it("refuses parameters that have no values yet, and says the order that works", () => {
    const raw = torch.withDevice("meta", () => new nn.Linear(2, 2));
    assert.throws(() => fabric.setupOptimizers(sgd(raw)), {
      name: "UsageError",
      message: /references to the model's meta-device parameters[\s\S]*toEmpty[\s\S]*setupModule[\s\S]*setupOptimizers/,
    });
    raw.toEmpty({ device: "cpu" }).loadStateDict(new nn.Linear(2, 2).stateDict());
    const model = fabric.setupModule(raw);
    const optimizer = fabric.setupOptimizers(sgd(model));
    const before = model.weight.tolist();
    fabric.backward(model(torch.ones([2])).sum());
    optimizer.step();
    assert.notDeepEqual(model.weight.tolist(), before, "in that order it trains");
  });
});

describe("a wrapped optimizer", () => {
  it("passes a closure on only where there is one, and arguments of zeroGrad as they are", () => {
    const seen: unknown[][] = [];
    const stepped = new Set<optim.Optimizer>();
    class Noting extends SingleDeviceStrategy {
      override optimizerStep(...args: [optim.Optimizer, (() => Tensor)?]): unknown {
        stepped.add(args[0]);
        seen.push(args.slice(1));
        return "stepped";
      }
    }
    class Own extends optim.SGD {
      override zeroGrad(...args: [{ setToNone?: boolean }?]): void {
        seen.push(args);
        super.zeroGrad(...args);
      }
    }
    const raw = new nn.Linear(2, 2);
    const [, optimizer] = new Fabric({ accelerator: "cpu", strategy: new Noting() }).setup(
      raw,
      new Own(raw.parameters(), { lr: 0.1 }),
    );
    const closure = (): Tensor => torch.ones([1]);
    assert.equal(optimizer.step(), "stepped");
    optimizer.step(closure as never);
    optimizer.zeroGrad();
    optimizer.zeroGrad({ setToNone: false });
    assert.deepEqual(seen, [[], [closure], [], [{ setToNone: false }]]);
    assert.ok(stepped.size === 1 && stepped.has(optimizer.optimizer), "the one inside");
  });

  it("that is spread over ranks is gathered before its state is read", () => {
    class Sharded extends optim.SGD {
      gathered = 0;
      consolidateStateDict(): void {
        this.gathered++;
      }
    }
    class Second extends SingleDeviceStrategy {
      override get isGlobalZero(): boolean {
        return false;
      }
    }
    const raw = new nn.Linear(2, 2);
    const inner = new Sharded(raw.parameters(), { lr: 0.1 });
    const [, optimizer] = fabric.setup(raw, inner);
    assert.deepEqual(optimizer.stateDict(), inner.stateDict());
    assert.equal(inner.gathered, 1);
    assert.deepEqual(new Second().getOptimizerState(inner), {});
    assert.equal(inner.gathered, 2);
  });
});

describe("setupDataLoaders", () => {
  it("leaves a loader as it is on one device, and does not ask for the device it does not need", () => {
    class Homeless extends SingleDeviceStrategy {
      isAsked = false;
      override get rootDevice(): Device {
        this.isAsked = true;
        return "cpu";
      }
    }
    const strategy = new Homeless();
    const mine = new Fabric({ accelerator: "cpu", strategy });
    const loader = new data.DataLoader([1, 2, 3]);
    strategy.isAsked = false;
    const wrapped = mine.setupDataLoaders(loader, { moveToDevice: false });
    assert.deepEqual([wrapped.loader === loader, wrapped.device, strategy.isAsked], [true, null, false]);
    assert.equal(mine.setupDataLoaders(loader).device, "cpu");
  });

  it("leaves loaders of a class or with a sampler of one's own as they are on one device", () => {
    class Own extends data.DataLoader<number> {}
    class Backwards extends data.Sampler {
      override get length(): number {
        return 3;
      }
      override *[Symbol.iterator](): Generator<number> {
        yield* [2, 1, 0];
      }
    }
    const sampler = new Backwards();
    const loaders = [new Own([1, 2, 3]), new data.DataLoader([1, 2, 3], { sampler })] as const;
    const wrapped = fabric.setupDataLoaders(...loaders);
    assert.ok(Array.isArray(wrapped));
    assert.ok(wrapped[0].loader === loaders[0] && wrapped[1].loader === loaders[1]);
    assert.ok(wrapped[1].sampler === sampler);
  });
});
