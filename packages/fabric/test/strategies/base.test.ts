// What a strategy does unless it is told otherwise: the base, one device, and several processes without a cluster.
import assert from "node:assert/strict";
import { after, describe, it } from "node:test";
import {
  CPUAccelerator,
  DDPStrategy,
  Fabric,
  LightningEnvironment,
  ParallelStrategy,
  Precision,
  rankZeroOnly,
  ScriptLauncher,
  SingleDeviceStrategy,
  SpawnLauncher,
  TorchCheckpointIO,
} from "@fabric-ts/fabric";
import * as torch from "@fabric-ts/torch";
import { type Device, data, distributed, nn, optim, type Tensor } from "@fabric-ts/torch";

class Noting extends CPUAccelerator {
  constructor(readonly events: string[]) {
    super();
  }
  override setupDevice(device: Device): void {
    this.events.push(`device ${device}`);
  }
  override teardown(): void {
    this.events.push("accelerator");
  }
}

describe("a strategy", () => {
  it("has the parts that it was made with, and others only once they are needed", () => {
    const strategy = new SingleDeviceStrategy();
    assert.equal(strategy.accelerator, null);
    const { checkpointIO } = strategy;
    assert.ok(checkpointIO instanceof TorchCheckpointIO && strategy.checkpointIO === checkpointIO);
    const { precision } = strategy;
    assert.deepEqual([precision.constructor, precision.precision], [Precision, "32-true"]);
    assert.ok(strategy.precision !== precision, "a new one each time");
    const parts = {
      accelerator: new CPUAccelerator(),
      checkpointIO: new TorchCheckpointIO(),
      precision: new Precision(),
    };
    const own = new SingleDeviceStrategy("cpu", parts);
    assert.ok(own.accelerator === parts.accelerator && own.checkpointIO === parts.checkpointIO);
    assert.ok(own.precision === parts.precision);
  });

  it("whose precision was looked at takes the one that Fabric is told", () => {
    const strategy = new SingleDeviceStrategy();
    assert.equal(strategy.precision.precision, "32-true");
    const plugin = new Precision();
    assert.ok(new Fabric({ accelerator: "cpu", strategy, plugins: plugin }).strategy.precision === plugin);
  });

  it("makes its device ready, and takes everything down in the order precision, accelerator, files", async () => {
    const events: string[] = [];
    class Steps extends Precision {
      override teardown(): void {
        events.push("precision");
      }
    }
    class Files extends TorchCheckpointIO {
      override async teardown(): Promise<void> {
        events.push("files");
      }
    }
    class Cluster extends LightningEnvironment {
      override teardown(): void {
        events.push("cluster");
      }
    }
    const parts = { accelerator: new Noting(events), checkpointIO: new Files(), precision: new Steps() };
    const strategy = new SingleDeviceStrategy("cpu", parts);
    strategy.setupEnvironmentSync();
    await strategy.setupEnvironment();
    await strategy.teardown();
    assert.deepEqual(events.splice(0), ["device cpu", "device cpu", "precision", "accelerator", "files"]);
    await new DDPStrategy({ ...parts, clusterEnvironment: new Cluster() }).teardown();
    assert.deepEqual(events, ["cluster", "precision", "accelerator", "files"]);
  });

  it("leaves modules, optimizers, loaders and decisions as they are, and moves batches", async () => {
    const strategy = new SingleDeviceStrategy("meta");
    const module = new nn.Linear(1, 1);
    const optimizer = new optim.SGD(module.parameters(), { lr: 1 });
    const loader = new data.DataLoader([1]);
    assert.ok(strategy.setupModule(module) === module && strategy.setupOptimizer(optimizer) === optimizer);
    const together = strategy.setupModuleAndOptimizers(module, [optimizer], "scheduler");
    assert.deepEqual(together, { module, optimizers: [optimizer], scheduler: "scheduler" });
    assert.ok(strategy.processDataLoader(loader) === loader);
    assert.equal(await strategy.reduceBooleanDecision(true), true);
    assert.equal(await strategy.reduceBooleanDecision(false, { all: false }), false);
    const batch = { x: torch.ones([1]) };
    assert.deepEqual(
      [strategy.batchToDevice(batch).x.device, strategy.batchToDevice(batch, "cpu").x.device],
      ["meta", "cpu"],
    );
    strategy.moduleToDevice(module);
    assert.equal(module.weight.device, "meta");
  });

  it("may put another loader in the place of one that is set up", () => {
    class Shorter extends SingleDeviceStrategy {
      override processDataLoader<L>(): L {
        return new data.DataLoader([7]) as L;
      }
    }
    const fabric = new Fabric({ accelerator: "cpu", strategy: new Shorter() });
    assert.deepEqual([...fabric.setupDataLoaders(new data.DataLoader([1, 2, 3]))].length, 1);
  });

  it("gets the loss, the model that it calls and what backward takes; the precision gets them in three steps", () => {
    const seen: unknown[] = [];
    class Steps extends Precision {
      override preBackward(tensor: Tensor, module: nn.AnyModule | null): void {
        seen.push(["pre", tensor, module]);
      }
      override backward(tensor: Tensor, module: nn.AnyModule | null, options?: object): void {
        seen.push(["backward", tensor, module, options]);
        super.backward(tensor, module, options);
      }
      override postBackward(tensor: Tensor, module: nn.AnyModule | null): void {
        seen.push(["post", tensor, module]);
      }
    }
    class Wrapping extends SingleDeviceStrategy {
      override setupModule(module: nn.AnyModule): nn.AnyModule {
        return new nn.Sequential(module as nn.Module);
      }
    }
    const fabric = new Fabric({ accelerator: "cpu", strategy: new Wrapping(), plugins: new Steps() });
    const model = fabric.setup(new nn.Linear(1, 1));
    const loss = model(torch.ones([1])).sum();
    fabric.backward(loss, { model, retainGraph: true });
    const called = model._forwardModule;
    assert.ok(called !== model.module);
    const same = (a: unknown, b: unknown): boolean => a === b;
    assert.deepEqual(
      (seen as [string, unknown, unknown, object?][]).map(([step, tensor, module, options]) => {
        return [step, same(tensor, loss), same(module, called), options];
      }),
      [
        ["pre", true, true, undefined],
        ["backward", true, true, { retainGraph: true }],
        ["post", true, true, undefined],
      ],
    );
    seen.length = 0;
    fabric.backward(loss);
    assert.deepEqual(
      (seen as unknown[][]).map(([, , module]) => module),
      [null, null, null],
    );
  });
});

describe("one device", () => {
  it("is alone: rank 0 of 1, and values come back as they were", async () => {
    const strategy = new SingleDeviceStrategy();
    const { rootDevice, globalRank, localRank, nodeRank, worldSize, isGlobalZero, launcher } = strategy;
    assert.deepEqual([rootDevice, globalRank, localRank, nodeRank, worldSize, isGlobalZero], ["cpu", 0, 0, 0, 1, true]);
    assert.deepEqual([launcher, strategy.backwardSyncControl, strategy.distributedSamplerOptions], [null, null, null]);
    const value = torch.ones([2]);
    assert.ok((await strategy.allGather(value)) === value && (await strategy.allReduce(value)) === value);
    assert.ok((await strategy.broadcast(value)) === value);
    await strategy.barrier();
  });
});

describe("several processes without a cluster", () => {
  class Plain extends ParallelStrategy {
    override moduleToDevice(): void {}
  }
  it("are rank 0 of 1, and have no device before they are given some", () => {
    const strategy = new Plain();
    assert.deepEqual([strategy.globalRank, strategy.localRank, strategy.nodeRank, strategy.worldSize], [0, 0, 0, 1]);
    assert.equal(strategy.isGlobalZero, true);
    assert.deepEqual(strategy.distributedSamplerOptions, { numReplicas: 1, rank: 0 });
    assert.throws(() => strategy.rootDevice, /There is no device for local rank 0: the strategy has 0/);
  });
  it("exchange nothing as long as they have not met", async () => {
    const strategy = new Plain({ parallelDevices: ["cpu"] });
    const value = torch.ones([2]);
    assert.ok((await strategy.allGather(value)) === value && (await strategy.allReduce(value)) === value);
    assert.ok((await strategy.broadcast(value)) === value);
    await strategy.barrier();
    assert.deepEqual(await strategy.gatherAllTensors(value), [value]);
    assert.equal(await strategy.reduceBooleanDecision(false), false);
  });
  it("of DDP choose their library by device, and count devices and machines", () => {
    const on = (...parallelDevices: Device[]): DDPStrategy => new DDPStrategy({ parallelDevices });
    assert.deepEqual([on("cpu").processGroupBackend, on("cuda:1").processGroupBackend], ["gloo", "nccl"]);
    assert.equal(on("mps:0" as Device).processGroupBackend, "gloo");
    assert.equal(
      new DDPStrategy({ processGroupBackend: "gloo", parallelDevices: ["cuda:0"] }).processGroupBackend,
      "gloo",
    );
    const strategy = on("cpu", "cpu", "cpu");
    strategy.numNodes = 2;
    assert.equal(strategy.numProcesses, 3);
    assert.deepEqual(strategy.distributedSamplerOptions, { numReplicas: 6, rank: 0 });
    assert.deepEqual([new DDPStrategy().numProcesses, new DDPStrategy().numNodes], [0, 1]);
  });
  it("have states without prefixes, whether the module is wrapped or not", () => {
    const strategy = new DDPStrategy();
    const module = new nn.Linear(1, 1);
    assert.deepEqual(Object.keys(strategy.getModuleStateDict(module)), ["weight", "bias"]);
    strategy.loadModuleStateDict(module, new nn.Linear(1, 1).stateDict());
  });
  it("of DDP are made by the launcher of their start method", () => {
    for (const [startMethod, Launcher] of [
      [undefined, ScriptLauncher],
      ["popen", ScriptLauncher],
      ["spawn", SpawnLauncher],
    ] as const) {
      const strategy = new DDPStrategy({ startMethod, clusterEnvironment: new LightningEnvironment() });
      strategy.configureLauncher();
      assert.ok(strategy.launcher instanceof Launcher);
    }
    const nowhere = /DDPStrategy has no cluster environment\.\nGive it to `new Fabric/;
    assert.throws(() => new DDPStrategy().configureLauncher(), { name: "UsageError", message: nowhere });
  });
  it("of DDP leave gradients local only where the model is in DistributedDataParallel", () => {
    const { backwardSyncControl } = new DDPStrategy();
    const bare = new nn.Linear(1, 1);
    assert.throws(() => backwardSyncControl.noBackwardSync(bare, true), {
      name: "TypeError",
      message:
        /only possible if the module passed to `DDPStrategy\.noBackwardSync` is wrapped in `DistributedDataParallel`\. Got: Linear/,
    });
    using _ = backwardSyncControl.noBackwardSync(bare, false);
  });
});

describe("a process among several", () => {
  /** The second process of the second machine. */
  class Second extends LightningEnvironment {
    constructor(readonly events: string[] = []) {
      super();
    }
    override localRank(): number {
      return 1;
    }
    override nodeRank(): number {
      return 1;
    }
    override setGlobalRank(rank: number): void {
      this.events.push(`rank ${rank}`);
      super.setGlobalRank(rank);
    }
    override setWorldSize(size: number): void {
      this.events.push(`of ${size}`);
      super.setWorldSize(size);
    }
  }
  const devices: Device[] = ["cpu", "meta", "cpu"];
  after(() => {
    rankZeroOnly.rank = 0;
  });

  it("has the device of its local rank", () => {
    const strategy = new DDPStrategy({ parallelDevices: devices, clusterEnvironment: new Second() });
    assert.deepEqual([strategy.rootDevice, strategy.localRank, strategy.nodeRank], ["meta", 1, 1]);
  });
  it("is counted by machine, then by device; so are the shares of data", () => {
    const environment = new Second();
    const strategy = new DDPStrategy({ parallelDevices: devices, clusterEnvironment: environment });
    strategy.numNodes = 2;
    strategy.setWorldRanks();
    assert.deepEqual(environment.events, ["rank 4", "of 6"]);
    assert.deepEqual([strategy.globalRank, strategy.worldSize, strategy.isGlobalZero], [4, 6, false]);
    assert.deepEqual(strategy.distributedSamplerOptions, { numReplicas: 6, rank: 4 });
    assert.equal(rankZeroOnly.rank, 4);
  });
  it("believes an environment that knows better, also in its messages", () => {
    class Knowing extends Second {
      override setGlobalRank(): void {}
      override globalRank(): number {
        return 7;
      }
    }
    const strategy = new DDPStrategy({ parallelDevices: devices, clusterEnvironment: new Knowing() });
    strategy.setWorldRanks();
    assert.deepEqual([strategy.globalRank, rankZeroOnly.rank], [7, 7]);
  });
});

describe("the process group of DDP", () => {
  class Alone extends LightningEnvironment {
    constructor(readonly events: string[]) {
      super();
    }
    override setGlobalRank(rank: number): void {
      this.events.push(`rank ${rank}, ${distributed.isInitialized() ? "met" : "not met"}`);
      super.setGlobalRank(rank);
    }
  }
  const make = (events: string[], options: object = {}): DDPStrategy =>
    new DDPStrategy({
      accelerator: new Noting(events),
      parallelDevices: ["cpu"],
      clusterEnvironment: new Alone(events),
      ...options,
    });

  it("is made last: after the device is ready and the ranks are known", async () => {
    const events: string[] = [];
    const strategy = make(events);
    await strategy.setupEnvironment();
    assert.deepEqual([events, distributed.isInitialized()], [["device cpu", "rank 0, not met"], true]);
    await strategy.teardown();
    assert.equal(distributed.isInitialized(), false);
    strategy.setupEnvironmentSync();
    assert.deepEqual(events.slice(-2), ["device cpu", "rank 0, not met"]);
    await strategy.teardown();
  });
  it("gives up after 30 minutes, or the time that was asked for", async () => {
    for (const [options, timeoutMs] of [
      [{}, 30 * 60 * 1000],
      [{ timeoutMs: 45_000 }, 45_000],
    ] as const) {
      const strategy = make([], options);
      await strategy.setupEnvironment();
      assert.equal(distributed.getDefaultGroup().timeoutMs, timeoutMs);
      await strategy.teardown();
    }
  });
  it("is not the one in which processes take turns: that has days of patience, and is gone afterwards", async () => {
    const strategy = make([], { timeoutMs: 45_000 });
    await strategy.setupEnvironment();
    const before = distributed.getGroups().length;
    const turn = await strategy.takeTurn(true);
    const group = distributed.getGroups().at(-1) as distributed.ProcessGroup;
    assert.equal(distributed.getGroups().length, before + 1);
    assert.equal(group.backend, "gloo");
    assert.ok(group.timeoutMs > 10 * 24 * 3600 * 1000);
    await turn[Symbol.asyncDispose]();
    assert.equal(distributed.getGroups().length, before);
    await strategy.teardown();
  });
  it("averages in DistributedDataParallel, which looks for unused parameters only when told", async () => {
    class Branches extends nn.Module<[Tensor], Tensor> {
      used = new nn.Linear(1, 1);
      unused = new nn.Linear(1, 1);
      forward(x: Tensor): Tensor {
        return this.used(x);
      }
    }
    const fixed = new DDPStrategy({ staticGraph: true });
    for (const strategy of ["ddp", "ddp_find_unused_parameters_true", fixed] as const) {
      const fabric = new Fabric({ accelerator: "cpu", strategy, devices: 1 });
      await fabric.launch();
      try {
        const model = fabric.setup(new Branches());
        assert.ok(model._forwardModule instanceof nn.parallel.DistributedDataParallel);
        fabric.backward(model(torch.ones([1])).sum());
        if (strategy === "ddp") assert.throws(() => model(torch.ones([1])), { code: "ERR_UNUSED_PARAMETERS" });
        else fabric.backward(model(torch.ones([1])).sum());
      } finally {
        await fabric.strategy.teardown();
      }
    }
  });
  it("averages in buckets of the size that was asked for, of which gradients are views when told", async () => {
    const seen: unknown[] = [];
    for (const options of [{}, { bucketCapMb: 0.001 }, { gradientAsBucketView: true }]) {
      const buffers: Tensor[] = [];
      const hook: nn.parallel.CommHook<null> = (_state, bucket) => {
        buffers[bucket.index] = bucket.buffer();
        return bucket.buffer();
      };
      const strategy = new DDPStrategy({ ...options, ddpCommHook: hook });
      const fabric = new Fabric({ accelerator: "cpu", strategy, devices: 1 });
      await fabric.launch();
      try {
        const model = fabric.setup(new nn.Sequential(new nn.Linear(10, 30), new nn.Linear(30, 10)));
        for (let step = 0; step < 2; step++) fabric.backward(model(torch.ones([1, 10])).sum());
        for (const buffer of buffers) buffer.fill_(7);
        seen.push([buffers.length, model.parameters().every(({ grad }) => grad?.min().item() === 7)]);
      } finally {
        await fabric.strategy.teardown();
      }
    }
    assert.deepEqual(seen, [
      [1, false],
      [2, false],
      [1, true],
    ]);
  });
});
