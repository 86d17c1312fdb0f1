// What a strategy does unless it is told otherwise: the base, one device, and several processes without a cluster.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  CPUAccelerator,
  DDPStrategy,
  Fabric,
  LightningEnvironment,
  ParallelStrategy,
  Precision,
  SingleDeviceStrategy,
  TorchCheckpointIO,
} from "@fabric-ts/fabric";
import * as torch from "@fabric-ts/torch";
import { type Device, data, nn, optim, type Tensor } from "@fabric-ts/torch";

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
});
