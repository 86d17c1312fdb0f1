// The rest of Fabric's methods on one device.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  CPUAccelerator,
  catchWarnings,
  DataParallelStrategy,
  DDPStrategy,
  Fabric,
  Launcher,
  SingleDeviceStrategy,
} from "@fabric-ts/fabric";
import * as torch from "@fabric-ts/torch";
import { nn, optim } from "@fabric-ts/torch";
import { MemoryLogger } from "./support/memory-logger.js";

const fabric = new Fabric({ accelerator: "cpu" });

describe("a Fabric on one device", () => {
  it("says where it is", () => {
    const { device, globalRank, localRank, nodeRank, worldSize, isGlobalZero } = fabric;
    assert.deepEqual([device, globalRank, localRank, nodeRank, worldSize, isGlobalZero], ["cpu", 0, 0, 0, 1, true]);
    assert.throws(() => fabric.logger, /Fabric has no loggers/);
    assert.deepEqual(fabric.loggers, []);
  });

  it("asks its strategy each time, and nothing of it can be assigned", () => {
    class Moving extends SingleDeviceStrategy {
      where = 1;
      override get globalRank(): number {
        return this.where;
      }
      override get worldSize(): number {
        return this.where + 1;
      }
      override get isGlobalZero(): boolean {
        return this.where === 0;
      }
    }
    const strategy = new Moving("cpu");
    const mine = new Fabric({ accelerator: "cpu", strategy });
    const facts = (): unknown[] => [mine.globalRank, mine.worldSize, mine.isGlobalZero];
    assert.deepEqual(facts(), [1, 2, false]);
    strategy.where = 0;
    assert.deepEqual(facts(), [0, 1, true]);
    assert.ok(mine.strategy === strategy && mine.accelerator === strategy.accelerator);
    const names =
      "strategy accelerator device globalRank localRank nodeRank worldSize isGlobalZero isLaunched loggers logger callbacks";
    for (const name of names.split(" ")) {
      assert.throws(() => Object.assign(mine, { [name]: 3 }), TypeError, name);
    }
  });

  it("takes one callback and one logger, or lists that stay the user's", () => {
    const [callback, logger] = [{}, new MemoryLogger()];
    const one = new Fabric({ accelerator: "cpu", callbacks: callback, loggers: logger });
    assert.deepEqual([one.callbacks, one.loggers], [[callback], [logger]]);
    const lists = { callbacks: [callback, {}], loggers: [logger, new MemoryLogger()] };
    const several = new Fabric({ accelerator: "cpu", ...lists });
    assert.deepEqual([several.callbacks, several.loggers], [lists.callbacks, lists.loggers]);
    assert.ok(several.callbacks !== lists.callbacks && several.loggers !== lists.loggers);
    assert.ok(several.logger === logger);
    assert.deepEqual([fabric.callbacks, fabric.loggers], [[], []]);
  });

  it("prints on the first process of each machine, whatever its rank among all", (t) => {
    class Somewhere extends SingleDeviceStrategy {
      local = 0;
      override get globalRank(): number {
        return 4;
      }
      override get localRank(): number {
        return this.local;
      }
    }
    const strategy = new Somewhere("cpu");
    const mine = new Fabric({ accelerator: "cpu", strategy });
    const log = t.mock.method(console, "log", () => {});
    mine.print("loss", 3);
    strategy.local = 1;
    mine.print("not here");
    log.mock.restore();
    assert.deepEqual(
      log.mock.calls.map((call) => call.arguments),
      [["loss", 3]],
    );
  });

  it("trains in five changed lines", async () => {
    const mine = new Fabric({ accelerator: "cpu", devices: 1 });
    await mine.launch();
    torch.manualSeed(0);
    const raw = new nn.Linear(2, 1);
    const [model, optimizer] = mine.setup(raw, new optim.SGD(raw.parameters(), { lr: 0.1 }));
    const x = torch.randn([16, 2]);
    const y = x.sum(1, { keepdim: true });
    const losses: number[] = [];
    for (let step = 0; step < 50; step++) {
      optimizer.zeroGrad();
      const loss = nn.functional.mseLoss(model(x), y);
      mine.backward(loss);
      optimizer.step();
      losses.push(loss.item());
    }
    assert.ok((losses.at(-1) as number) < (losses[0] as number) / 100);
  });

  it("does not have to be launched, as an object of a class of one's own neither; several processes do", () => {
    class Mine extends SingleDeviceStrategy {}
    class Split extends DataParallelStrategy {}
    for (const strategy of [new Mine("cpu"), new Split({ parallelDevices: ["cpu", "cpu"] })]) {
      new Fabric({ accelerator: "cpu", strategy }).setup(new nn.Linear(1, 1));
    }
    const several = new Fabric({ accelerator: "cpu", strategy: "ddp", devices: 1 });
    assert.throws(() => several.setup(new nn.Linear(1, 1)), {
      name: "UsageError",
      code: "ERR_NOT_LAUNCHED",
      message: /you must call `.launch\(\)` first.*fabric run/s,
    });
  });

  it("runs backward for a loss of models that it does not know", () => {
    const raw = new nn.Linear(2, 1, { bias: false });
    assert.equal(fabric.backward(raw(torch.ones([2])).sum()), undefined);
    assert.deepEqual(raw.weight.grad?.tolist(), [[1, 1]]);
    const model = fabric.setup(new nn.Linear(2, 1, { bias: false }));
    fabric.backward(model(torch.ones([2])).sum(), { model });
    assert.deepEqual(model.weight.grad?.tolist(), [[1, 1]]);
  });

  it("passes options of backward on", () => {
    const x = torch.ones([2], { requiresGrad: true });
    const loss = x.mul(3);
    fabric.backward(loss, { gradient: torch.tensor([1.0, 2.0]), retainGraph: true });
    fabric.backward(loss.sum());
    assert.deepEqual(x.grad?.tolist(), [6, 9]);
    assert.throws(() => fabric.backward(3 as never), /to be a Tensor, but got 3/);
    assert.throws(() => fabric.backward(loss, { retain_graph: true } as never), /Did you mean `retainGraph`/);
  });

  it("moves modules in place and collections as new ones", () => {
    const raw = new nn.Linear(2, 2);
    assert.ok(fabric.toDevice(raw) === raw);
    class Batch {
      to(device: string): string {
        return `on ${device}`;
      }
    }
    const given = { x: torch.ones([1]), rest: [1, "a"], own: new Batch() };
    const moved = fabric.toDevice(given);
    assert.ok(moved !== given);
    assert.deepEqual(moved.rest, [1, "a"]);
    assert.equal(moved.own as unknown, "on cpu");
  });

  it("makes the device ready before a module is moved there, and asks the strategy to move it", () => {
    const events: string[] = [];
    class Ready extends CPUAccelerator {
      override setupDevice(device: string): void {
        events.push(`ready ${device}`);
      }
    }
    class Moving extends SingleDeviceStrategy {
      override moduleToDevice(module: nn.AnyModule): void {
        events.push("move");
        super.moduleToDevice(module);
      }
    }
    const mine = new Fabric({ accelerator: new Ready(), strategy: new Moving("meta") });
    const raw = new nn.Linear(1, 1);
    assert.ok(mine.toDevice(raw) === raw);
    assert.deepEqual([events.splice(0), raw.weight.device], [["ready meta", "move"], "meta"]);
    assert.equal(mine.toDevice([torch.ones([1])])[0]?.device, "meta");
    assert.deepEqual(events, []);
  });

  it("hands collectives to its strategy, with the name of a barrier and the source of a broadcast", async () => {
    const seen: unknown[] = [];
    class Noting extends SingleDeviceStrategy {
      override async barrier(...args: unknown[]): Promise<void> {
        seen.push(["barrier", args[0]]);
      }
      override async broadcast<T>(value: T, src?: number): Promise<T> {
        seen.push(["broadcast", value, src]);
        return value;
      }
    }
    const mine = new Fabric({ accelerator: "cpu", strategy: new Noting("cpu") });
    await mine.barrier();
    await mine.barrier("download");
    await mine.broadcast("a");
    await mine.broadcast("b", 3);
    assert.deepEqual(seen, [
      ["barrier", undefined],
      ["barrier", "download"],
      ["broadcast", "a", 0],
      ["broadcast", "b", 3],
    ]);
  });

  it("gives the first turn to rank 0, with `local` to the first rank of each machine", async () => {
    const firsts: boolean[] = [];
    class Somewhere extends SingleDeviceStrategy {
      constructor(readonly ranks: { global: number; local: number }) {
        super("cpu");
      }
      override get globalRank(): number {
        return this.ranks.global;
      }
      override get localRank(): number {
        return this.ranks.local;
      }
      override async takeTurn(isFirst: boolean): Promise<AsyncDisposable> {
        firsts.push(isFirst);
        return super.takeTurn(isFirst);
      }
    }
    for (const [global, local] of [
      [0, 0],
      [4, 0],
      [5, 1],
    ] as const) {
      const mine = new Fabric({ accelerator: "cpu", strategy: new Somewhere({ global, local }) });
      await mine.rankZeroFirst(() => {});
      await mine.rankZeroFirst({ local: true }, () => {});
    }
    assert.deepEqual(firsts, [true, true, false, true, false, false]);
  });

  it("launch runs a function with the Fabric and arguments, and returns its value", async () => {
    const result = await new Fabric({ accelerator: "cpu" }).launch(
      async (mine, a: number, b: string) => [mine.worldSize, a, b],
      2,
      "c",
    );
    assert.deepEqual(result, [1, 2, "c"]);
    await assert.rejects(() => fabric.launch(3 as never), /needs to be a callable, but got 3/);
    await assert.rejects(() => fabric.launch(() => 3), /needs to take at least one argument/);
  });

  it("launch goes through a launcher of one's own, with the arguments", async () => {
    const seen: unknown[] = [];
    class Noting extends Launcher {
      override readonly isInteractiveCompatible = true;
      override async launch<A extends unknown[], T>(fn: (...args: A) => T | Promise<T>, ...args: A): Promise<T> {
        seen.push(...args);
        return await fn(...args);
      }
    }
    const strategy = new SingleDeviceStrategy("cpu");
    strategy.launcher = new Noting();
    const mine = new Fabric({ accelerator: "cpu", strategy });
    assert.equal(await mine.launch((_fabric, a: number, b: number) => a * b, 3, 4), 12);
    assert.deepEqual(seen, [3, 4]);
  });

  it("launch and run go through the launcher, make the process ready, and then come to the body", async () => {
    const events: string[] = [];
    class Noting extends Launcher {
      override readonly isInteractiveCompatible = true;
      override async launch<A extends unknown[], T>(fn: (...args: A) => T | Promise<T>, ...args: A): Promise<T> {
        events.push("launcher");
        return await fn(...args);
      }
    }
    class Ready extends SingleDeviceStrategy {
      override async setupEnvironment(): Promise<void> {
        await super.setupEnvironment();
        events.push("ready");
      }
    }
    class Mine extends Fabric {
      override run(a: number, b: number): number {
        events.push("body");
        return a - b;
      }
    }
    const strategy = new Ready("cpu");
    strategy.launcher = new Noting();
    const mine = new Mine({ accelerator: "cpu", strategy });
    assert.equal(await mine.run(5, 3), 2);
    assert.deepEqual(events.splice(0), ["launcher", "ready", "body"]);
    await mine.launch((_fabric) => void events.push("function"));
    assert.deepEqual(events.splice(0), ["launcher", "ready", "function"]);
    assert.equal(await mine.launch(), undefined);
    assert.deepEqual(events, ["launcher", "ready"]);
  });

  it("is not launched when the launch has failed", async () => {
    const strategy = new DDPStrategy();
    const mine = new Fabric({ accelerator: "cpu", strategy, devices: 1 });
    const { launcher } = strategy;
    strategy.launcher = new (class extends Launcher {
      override readonly isInteractiveCompatible = true;
      override launch(): Promise<never> {
        return Promise.reject(new Error("no machine is free"));
      }
    })();
    await assert.rejects(() => mine.launch(), /no machine is free/);
    assert.equal(mine.isLaunched, false);
    assert.throws(() => mine.setup(new nn.Linear(1, 1)), /you must call `.launch\(\)` first/);
    strategy.launcher = launcher;
    try {
      await mine.launch();
      mine.setup(new nn.Linear(1, 1));
    } finally {
      await strategy.teardown();
    }
  });

  it("run of a subclass goes through launch and keeps arguments and result", async () => {
    class Mine extends Fabric {
      offset = 10;
      override async run(a: number): Promise<number> {
        await Promise.resolve();
        return a + this.offset;
      }
    }
    assert.equal(await new Mine({ accelerator: "cpu" }).run(1), 11);
    class Plain extends Fabric {
      override run(): boolean {
        return this.isLaunched;
      }
    }
    assert.equal(await new Plain({ accelerator: "cpu" }).run(), true);
    const plain = new Fabric({ accelerator: "cpu" });
    assert.equal(plain.isLaunched, false);
    assert.equal(await plain.run(1, 2), undefined);
    assert.equal(plain.isLaunched, true);
    process.env.LT_CLI_USED = "1";
    try {
      assert.throws(
        () => new Mine({ accelerator: "cpu" }),
        /Overriding `Fabric.run\(\)` and launching from the CLI is not allowed/,
      );
    } finally {
      delete process.env.LT_CLI_USED;
    }
  });

  it("warns of a model whose parameters are in several places", async () => {
    const raw = new nn.Sequential(new nn.Linear(2, 2), new nn.Linear(2, 2, { device: "meta" }));
    const caught = await catchWarnings(() => {
      try {
        fabric.setup(raw);
      } catch {
        // A parameter without data cannot be moved.
      }
    });
    assert.match(
      caught[0]?.message ?? "",
      /has 2 parameters on different devices \(for example '1.weight' on meta and '0.weight' on cpu\)/,
    );
    assert.match(
      caught[0]?.message ?? "",
      /all parameters will be moved.*set `fabric\.setup\(\.\.\., \{ moveToDevice: false \}\)`/,
    );
    assert.equal(caught[0]?.kind, "PossibleUserWarning");
    assert.deepEqual(await catchWarnings(() => fabric.setup(raw, { moveToDevice: false })), []);
  });
});

describe("under the command line tool", () => {
  const underCli = async (body: () => Promise<void>): Promise<void> => {
    process.env.LT_CLI_USED = "1";
    try {
      await body();
    } finally {
      delete process.env.LT_CLI_USED;
    }
  };

  it("the constructor makes this process ready, and `launch` may follow", () =>
    underCli(async () => {
      const mine = new Fabric({ accelerator: "cpu", strategy: "ddp", devices: 1 });
      try {
        assert.ok(torch.distributed.isInitialized());
        assert.equal(mine.isLaunched, true);
        mine.setup(new nn.Linear(1, 1));
        await mine.launch();
        await mine.launch();
        assert.equal(await mine.launch((same, x: number) => (same === mine ? x : 0), 4), 4);
      } finally {
        await mine.strategy.teardown();
      }
    }));

  it("a strategy with an asynchronous set-up of its own still has to be launched", () =>
    underCli(async () => {
      class Own extends DDPStrategy {
        isReady = false;
        override async setupEnvironment(): Promise<void> {
          await super.setupEnvironment();
          this.isReady = true;
        }
      }
      const strategy = new Own();
      const mine = new Fabric({ accelerator: "cpu", strategy, devices: 1 });
      assert.throws(() => mine.setup(new nn.Linear(1, 1)), /you must call `\.launch\(\)` first/);
      await mine.launch();
      try {
        mine.setup(new nn.Linear(1, 1));
        assert.ok(strategy.isReady);
      } finally {
        await strategy.teardown();
      }
    }));
});

describe("callbacks", () => {
  it("are called where they have the hook, with all arguments, in order", async () => {
    const calls: unknown[] = [];
    class First {
      name = "first";
      onEpoch(facts: object): void {
        calls.push([this.name, facts]);
      }
    }
    const list = [
      new First(),
      { onEpoch: null },
      { onEpoch: 3 },
      { onEpoch: (facts: object) => calls.push(["last", facts]) },
    ];
    const mine = new Fabric({ accelerator: "cpu", callbacks: list });
    const caught = await catchWarnings(() => mine.call("onEpoch", { epoch: 1 }));
    assert.deepEqual(calls, [
      ["first", { epoch: 1 }],
      ["last", { epoch: 1 }],
    ]);
    assert.match(caught[0]?.message ?? "", /Skipping the callback `Object.onEpoch`/);
    await mine.call("onNothing");
  });

  it("hear of each setup, and a model with a place for Fabric becomes one", async () => {
    const seen: object[] = [];
    const list = [{ onAfterSetup: (facts: object) => seen.push(facts) }];
    const mine = new Fabric({ accelerator: "cpu", callbacks: list });
    class Model extends nn.Linear {
      _fabric: unknown = null;
      _fabricOptimizers: unknown = null;
      epochs = 0;
      onEpoch(): void {
        this.epochs++;
      }
    }
    const raw = new Model(2, 2);
    const [model, optimizer] = mine.setup(raw, new optim.SGD(raw.parameters(), { lr: 0.1 }));
    assert.deepEqual(Object.keys(seen[0] as object), ["fabric", "module"]);
    assert.ok((seen[0] as { module: unknown }).module === model);
    assert.ok(raw._fabric === mine);
    assert.ok((raw._fabricOptimizers as unknown[])[0] === optimizer);
    await mine.call("onEpoch");
    assert.equal(raw.epochs, 1);
    assert.equal(list.length, 1);
  });
});

describe("log", () => {
  it("hands numbers to all loggers", () => {
    const loggers = [new MemoryLogger(), new MemoryLogger()];
    const mine = new Fabric({ accelerator: "cpu", loggers });
    mine.log("loss", torch.tensor([0.5]), 3);
    mine.logDict({ a: 1, b: torch.tensor(2) });
    for (const { logged } of loggers) {
      assert.deepEqual(logged, [
        [{ loss: 0.5 }, 3],
        [{ a: 1, b: 2 }, undefined],
      ]);
    }
    assert.throws(() => mine.log("loss", torch.ones([2])), /it cannot be converted to a scalar/);
    assert.ok(mine.logger === mine.loggers[0]);
  });
});
