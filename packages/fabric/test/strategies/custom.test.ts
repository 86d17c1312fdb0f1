// Parts of one's own, by extending the documented classes: strategies, accelerators, precisions, environments, checkpoint IO.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  Accelerator,
  AcceleratorRegistry,
  acceleratorRegistry,
  CheckpointIO,
  type CheckpointPath,
  CPUAccelerator,
  DDPStrategy,
  Fabric,
  LightningEnvironment,
  Precision,
  SingleDeviceStrategy,
  type Strategy,
  StrategyRegistry,
  strategyRegistry,
} from "@fabric-ts/fabric";
import * as torch from "@fabric-ts/torch";
import { type Device, nn, optim, type Tensor } from "@fabric-ts/torch";
import { Connector } from "../../dist/connector.js";
import { runRanks } from "../support/run-ranks.js";

/** Counts what Fabric asks of it, and scales the loss. */
class Counting extends SingleDeviceStrategy {
  readonly calls: string[] = [];
  constructor(readonly factor = 2) {
    super("cpu");
  }
  override setupModule(module: nn.AnyModule): nn.AnyModule {
    this.calls.push("setupModule");
    return super.setupModule(module);
  }
  override setupOptimizer(optimizer: optim.Optimizer): optim.Optimizer {
    this.calls.push("setupOptimizer");
    return super.setupOptimizer(optimizer);
  }
  override backward(tensor: Tensor, module: nn.AnyModule | null): void {
    this.calls.push("backward");
    super.backward(tensor.mul(this.factor), module);
  }
  override optimizerStep(optimizer: optim.Optimizer, closure?: () => Tensor): unknown {
    this.calls.push("optimizerStep");
    return super.optimizerStep(optimizer, closure);
  }
  override batchToDevice<T>(batch: T): T {
    return batch;
  }
}

function step(fabric: Fabric): { weight: number; loss: Tensor } {
  const raw = new nn.Linear(1, 1, { bias: false });
  torch.noGrad(() => raw.weight.fill_(1));
  const [model, optimizer] = fabric.setup(raw, new optim.SGD(raw.parameters(), { lr: 0.25 }));
  const loss = model(torch.ones([1])).sum();
  fabric.backward(loss);
  optimizer.step();
  return { weight: raw.weight.item(), loss };
}

describe("a strategy of one's own", () => {
  it("is asked for every step of training, and changes it", () => {
    const strategy = new Counting();
    const fabric = new Fabric({ accelerator: "cpu", strategy });
    assert.equal(step(fabric).weight, 1 - 0.25 * 2);
    assert.deepEqual(strategy.calls, ["setupModule", "setupOptimizer", "backward", "optimizerStep"]);
  });

  it("that overrides backward makes `loss.backward()` an error", () => {
    const model = new Fabric({ accelerator: "cpu", strategy: new Counting() }).setup(new nn.Linear(1, 1));
    const loss = model(torch.ones([1])).sum();
    assert.throws(() => loss.backward(), /requires you to call `fabric\.backward\(loss\)`[\s\S]*Counting/);
  });

  it("has a name once it is registered, with its arguments, in any case", () => {
    assert.ok(
      strategyRegistry.register("Counting_By_Four", Counting, { init: [4], description: "Counts." }) === Counting,
    );
    try {
      assert.equal(step(new Fabric({ accelerator: "cpu", strategy: "counting_by_four" })).weight, 0);
      assert.equal(strategyRegistry.description("counting_by_four"), "Counts.");
      assert.ok(
        strategyRegistry.has("Counting_By_Four") && strategyRegistry.get("COUNTING_BY_FOUR") instanceof Counting,
      );
      assert.throws(
        () => strategyRegistry.register("counting_by_four", Counting),
        /'counting_by_four' is already present in the registry[\s\S]*override: true/,
      );
    } finally {
      strategyRegistry.remove("Counting_By_Four");
    }
    assert.throws(() => new Fabric({ strategy: "counting_by_four" }), /invalid strategy name/);
  });

  it("runs in several processes when it extends ParallelStrategy or DDPStrategy", async () => {
    const ranks = await runRanks<Record<string, unknown>>("own-strategy");
    assert.deepEqual(
      ranks.map(({ rank, world, device }) => [rank, world, device]),
      [
        [0, 2, "cpu"],
        [1, 2, "cpu"],
      ],
    );
    for (const { sum, sampler, ddp } of ranks) {
      assert.equal(sum, 3);
      assert.equal(sampler, 2);
      assert.deepEqual(ddp, { wraps: 1, gradient: [[1.5, 1.5]] });
    }
  });
});

describe("the registry of strategies", () => {
  it("takes classes and functions, and says what is neither", () => {
    const registry = new StrategyRegistry();
    registry.register("fn", () => new SingleDeviceStrategy());
    registry.register("ddp", DDPStrategy, { init: [{ findUnusedParameters: true }] });
    assert.ok(registry.get("fn") instanceof SingleDeviceStrategy);
    assert.equal(registry.description("fn"), "");
    const made = registry.get("ddp");
    assert.ok(made instanceof DDPStrategy && made !== registry.get("ddp"), "a new object each time");
    assert.deepEqual(registry.availableStrategies(), ["fn", "ddp"]);
    assert.equal(String(registry), "Registered Strategies: fn, ddp");
    assert.equal(registry.get("nothing", null), null);
    assert.throws(() => registry.get("nothing"), /'nothing' not found in registry[\s\S]*ddp, fn/);
    assert.throws(
      () => registry.register("x", 3 as never),
      /a class of strategies or a function that makes one, but got 3/,
    );
    assert.throws(() => registry.register(3 as never, DDPStrategy), /`name` must be a string, found 3/);
    registry.register("bad", () => ({}) as Strategy);
    assert.throws(() => registry.get("bad"), /'bad' made an object, not a Strategy/);
  });
  it("has the names of Lightning Fabric that work here, and answers for the others", () => {
    assert.deepEqual(strategyRegistry.availableStrategies(), [
      "ddp",
      "ddp_spawn",
      "ddp_find_unused_parameters_true",
      "dp",
    ]);
    for (const name of strategyRegistry.names()) assert.match(strategyRegistry.description(name) ?? "", /\.$/);
    assert.equal(strategyRegistry.get("fsdp", "nothing"), "nothing");
    const stages = "1 1_offload 2 2_offload 3 3_offload 3_offload_nvme".replaceAll(/\S+/g, "deepspeed_stage_$&");
    const others: [names: string, use: RegExp][] = [
      ["fsdp fsdp_cpu_offload model_parallel", /Use `strategy: "ddp"` as long as the model fits on one device/],
      [`deepspeed ${stages}`, /Use `strategy: "ddp"`: DeepSpeed is a Python/],
      ["xla xla_fsdp single_xla single_tpu", /Use `accelerator: "auto"`.*PyTorch\/XLA is a Python library/],
    ];
    for (const [name, use] of others.flatMap(([names, use]) => names.split(" ").map((name) => [name, use] as const))) {
      assert.throws(() => new Fabric({ accelerator: "cpu", strategy: name }), {
        name: "NotSupportedError",
        message: new RegExp(`The strategy '${name}' is not available\\.\\n${use.source}`),
      });
    }
  });
});

describe("an accelerator of one's own", () => {
  class Slow extends CPUAccelerator {
    override autoDeviceCount(): number {
      return 3;
    }
  }
  class Missing extends Accelerator {
    override readonly name = "missing";
    override isAvailable(): boolean {
      return false;
    }
    override autoDeviceCount(): number {
      return 0;
    }
    override parseDevices(): number {
      return 0;
    }
    override getParallelDevices(): Device[] {
      return [];
    }
    override setupDevice(): void {}
    override teardown(): void {}
  }

  it("is given as an object, or by its name once registered", () => {
    assert.equal(new Connector({ accelerator: new Slow() }, { isInteractive: false }).parsedDevices, 3);
    assert.ok(acceleratorRegistry.register("slow", Slow) === Slow);
    try {
      const connector = new Connector({ accelerator: "slow", devices: "2" }, { isInteractive: false });
      assert.ok(connector.accelerator instanceof Slow);
      assert.equal(connector.strategy.constructor.name, "DDPStrategy");
    } finally {
      acceleratorRegistry.remove("slow");
    }
  });
  it("that is not available is refused with those that are", () => {
    assert.throws(() => new Fabric({ accelerator: new Missing() }), /`Missing` can not run on your system[\s\S]*: cpu/);
  });
  it("the registry answers like that of strategies", () => {
    const registry = new AcceleratorRegistry();
    registry.register("cpu", CPUAccelerator);
    assert.deepEqual([...registry.availableAccelerators()], ["cpu"]);
    assert.equal(String(registry), "Registered Accelerators: cpu");
    assert.equal(registry.get("gpu", undefined), undefined);
    assert.throws(
      () => registry.register("x", "cpu" as never),
      /Expected a class of accelerators or a function that makes one, but got "cpu"/,
    );
    assert.deepEqual([...acceleratorRegistry.availableAccelerators()], ["cpu", "cuda", "mps", "tpu"]);
  });
});

it("a precision, an environment and a checkpoint IO of one's own work together, from any iterable", async () => {
  class Halving extends Precision {
    override convertInput<T>(data: T): T {
      return (data as [Tensor]).map((tensor) => tensor.mul(0.5)) as T;
    }
  }
  class Memory extends CheckpointIO {
    readonly files = new Map<string, unknown>();
    override async saveCheckpoint(checkpoint: Record<string, unknown>, path: CheckpointPath): Promise<void> {
      this.files.set(String(path), checkpoint);
    }
    override async loadCheckpoint(path: CheckpointPath): Promise<unknown> {
      return this.files.get(String(path));
    }
    override async removeCheckpoint(path: CheckpointPath): Promise<void> {
      this.files.delete(String(path));
    }
  }
  class Named extends LightningEnvironment {}
  const io = new Memory();
  const environment = new Named();
  const fabric = new Fabric({
    accelerator: "cpu",
    strategy: "ddp",
    plugins: new Set([new Halving(), io, environment]),
  });
  assert.ok((fabric.strategy as DDPStrategy).clusterEnvironment === environment);
  await fabric.launch();
  assert.equal(step(fabric).loss.item(), 0.5);
  await fabric.save("anywhere", { epoch: 3 });
  assert.deepEqual(io.files.get("anywhere"), { epoch: 3 });
  const state = { epoch: 0 };
  await fabric.load("anywhere", state);
  assert.equal(state.epoch, 3);
  await fabric.strategy.teardown();
});
