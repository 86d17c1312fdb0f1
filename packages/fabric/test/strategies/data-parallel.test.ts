// One process with several devices; CPUs stand for GPUs.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import {
  CheckpointIO,
  type CheckpointPath,
  catchWarnings,
  DataParallelStrategy,
  DDPStrategy,
  Fabric,
  ParallelStrategy,
} from "@fabric-ts/fabric";
import * as torch from "@fabric-ts/torch";
import { data, distributed, nn, optim, type Tensor } from "@fabric-ts/torch";

const onTwo = (options: object = {}): Fabric =>
  new Fabric({ strategy: new DataParallelStrategy({ parallelDevices: ["cpu", "cpu"] }), ...options });

/** Notes the sizes of what it sees. */
class Model extends nn.Module<[Tensor], Tensor> {
  layer = new nn.Linear(3, 2);
  rows: (number | undefined)[] = [];
  forward(x: Tensor): Tensor {
    this.rows.push(x.shape[0]);
    return this.layer(x);
  }
  doubled(x: Tensor): Tensor {
    return this(x).mul(2);
  }
}

describe("a strategy that splits batches", () => {
  it("is one process that nobody has to launch, on the first device, with all data", async () => {
    const fabric = onTwo();
    const { strategy } = fabric;
    assert.ok(strategy instanceof ParallelStrategy);
    assert.deepEqual([fabric.device, fabric.accelerator.name, strategy.launcher], ["cpu", "cpu", null]);
    assert.deepEqual([fabric.globalRank, fabric.localRank, fabric.nodeRank, fabric.worldSize], [0, 0, 0, 1]);
    assert.equal(strategy.distributedSamplerOptions, null);
    fabric.setup(new nn.Linear(1, 1));
    const loader = new data.DataLoader([1, 2]);
    assert.ok(fabric.setupDataLoaders(loader).loader === loader);
    const batch = { x: torch.ones([1]) };
    assert.ok(strategy.batchToDevice(batch) === batch);
    assert.equal(await fabric.launch((same) => same === fabric), true);
  });

  it("trains like one device, each half of the batch going to one copy", () => {
    const weights = (fabric: Fabric): unknown[] => {
      torch.manualSeed(1);
      const raw = new Model();
      const [model, optimizer] = fabric.setup(raw, new optim.SGD(raw.parameters(), { lr: 0.1 }));
      for (let step = 0; step < 3; step++) {
        optimizer.zeroGrad();
        fabric.backward(
          model(torch.ones([4, 3]).mul(step))
            .square()
            .mean(),
        );
        optimizer.step();
      }
      return [raw.parameters().map((parameter) => parameter.flatten().tolist()), raw.rows];
    };
    const [alone, rowsAlone] = weights(new Fabric({ accelerator: "cpu" })) as [number[][], number[]];
    const [split, rows] = weights(onTwo()) as [number[][], number[]];
    assert.deepEqual([rowsAlone, rows], [[4, 4, 4], new Array(6).fill(2)]);
    split.flat().forEach((value, i) => {
      assert.ok(Math.abs(value - (alone.flat()[i] as number)) < 1e-6);
    });
  });

  it("guards methods, and runs marked ones on all devices with their precision", () => {
    const model = onTwo({ precision: "bf16-true" }).setup(new Model());
    const x = torch.ones([4, 3]);
    assert.throws(() => model.doubled(x), /strategy \(`DataParallelStrategy`\).*markForwardMethod\('doubled'\)/s);
    model.module.rows.length = 0;
    model.markForwardMethod(model.doubled);
    const y = model.doubled(x);
    assert.deepEqual([y.shape, y.dtype, model.module.rows], [[4, 2], "float32", [2, 2]]);
    assert.equal(Object.hasOwn(model.module, "forward"), false);
  });

  it("has states without prefixes, also in files", async () => {
    const folder = mkdtempSync(join(tmpdir(), "fabric-test-"));
    try {
      const path = join(folder, "model.pt");
      const [fabric, single] = [onTwo(), new Fabric({ accelerator: "cpu" })];
      const model = fabric.setup(new Model());
      await fabric.save(path, { model });
      const { model: state } = (await single.load(path)) as { model: Record<string, Tensor> };
      assert.deepEqual(Object.keys(state), ["layer.weight", "layer.bias"]);
      const other = fabric.setup(new Model());
      await fabric.load(path, { model: other });
      assert.ok(other.layer.weight.equal(model.layer.weight));
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it("saves and loads with a CheckpointIO of the user's", async () => {
    const stored = new Map<string, Record<string, unknown>>();
    class Memory extends CheckpointIO {
      override async saveCheckpoint(checkpoint: Record<string, unknown>, path: CheckpointPath): Promise<void> {
        stored.set(String(path), checkpoint);
      }
      override async loadCheckpoint(path: CheckpointPath): Promise<unknown> {
        return stored.get(String(path));
      }
      override async removeCheckpoint(): Promise<void> {}
    }
    const fabric = onTwo({ plugins: new Memory() });
    await fabric.save("memory", { step: 4 });
    assert.deepEqual([...stored], [["memory", { step: 4 }]]);
    const state = { step: 0 };
    await fabric.load("memory", state);
    assert.equal(state.step, 4);
  });

  it("reduces to the mean of the elements, in their dtype, and leaves everything else as it is", async () => {
    const fabric = onTwo();
    const given = { loss: torch.tensor([1, 2], { dtype: "float64" }), counts: [torch.tensor([1, 4])], name: "x" };
    const { loss, counts, name } = await fabric.allReduce(given);
    assert.deepEqual([loss.item(), loss.dtype, counts[0]?.item(), counts[0]?.dtype], [1.5, "float64", 2, "int64"]);
    assert.equal(name, "x");
    const tensor = torch.ones([2]);
    assert.ok((await fabric.allGather(tensor)) === tensor);
    assert.ok((await fabric.broadcast(given)) === given);
    await fabric.barrier();
    assert.equal(await fabric.rankZeroFirst(() => 3), 3);
    for (const decision of [true, false]) {
      assert.equal(await fabric.strategy.reduceBooleanDecision(decision), decision);
    }
  });

  it("leaves processes alone that somebody else has connected", async () => {
    await distributed.initProcessGroup({ rank: 0, worldSize: 1, store: new distributed.HashStore() });
    try {
      assert.deepEqual((await onTwo().allGather(torch.ones([2]))).shape, [2]);
      await onTwo().strategy.teardown();
      assert.ok(distributed.isInitialized());
    } finally {
      distributed.destroyProcessGroup();
    }
  });

  it("cannot skip the synchronization of gradients, and says so", async () => {
    const fabric = onTwo();
    const model = fabric.setup(new Model());
    for (const enabled of [true, false]) {
      const caught = await catchWarnings(() => fabric.noBackwardSync(model, { enabled }, () => 1));
      assert.match(
        caught[0]?.message ?? "",
        /`DataParallelStrategy` does not support skipping the gradient synchronization\. Remove `\.noBackwardSync\(\)`.* or choose a different strategy/,
      );
      assert.equal(caught[0]?.kind, "PossibleUserWarning");
    }
  });

  it("works on one machine, and has no other options", () => {
    assert.throws(() => onTwo({ numNodes: 2 }), { name: "ConfigurationError", message: /one machine.*is 2\.\nUse `/s });
    assert.throws(() => new DataParallelStrategy({ timeoutMs: 3 } as never), /no option `timeoutMs`/);
    assert.equal(new DDPStrategy() instanceof DataParallelStrategy, false);
  });
});
