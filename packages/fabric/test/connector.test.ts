// From options and environment to objects: tables of what is chosen, and of what is refused with which words.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  type Accelerator,
  AcceleratorRegistry,
  CheckpointIO,
  CPUAccelerator,
  CUDAAccelerator,
  catchWarnings,
  DDPStrategy,
  Fabric,
  LightningEnvironment,
  MPSAccelerator,
  Precision,
  SingleDeviceStrategy,
  TorchCheckpointIO,
} from "@fabric-ts/fabric";
import { Connector, type ConnectorOptions, type Surroundings } from "../dist/connector.js";

/** A machine with that many GPUs of each kind. */
function machine(gpus: { cuda?: number; mps?: boolean } = {}, more: Partial<Surroundings> = {}): Partial<Surroundings> {
  class Cuda extends CUDAAccelerator {
    override autoDeviceCount(): number {
      return gpus.cuda ?? 0;
    }
  }
  class Mps extends MPSAccelerator {
    override isAvailable(): boolean {
      return gpus.mps ?? false;
    }
  }
  const accelerators = new AcceleratorRegistry();
  accelerators.register("cpu", CPUAccelerator);
  accelerators.register("cuda", Cuda);
  accelerators.register("mps", Mps);
  return { env: {}, isInteractive: false, accelerators, detectEnvironment: () => new LightningEnvironment(), ...more };
}

interface Row {
  title: string;
  options?: ConnectorOptions;
  around?: Partial<Surroundings>;
  accelerator: string;
  strategy: string;
  launcher?: string;
  devices: number | number[];
  rootDevice?: string;
  precision?: string;
}

const rows: Row[] = [
  { title: "no GPU", accelerator: "cpu", strategy: "SingleDeviceStrategy", devices: 1, rootDevice: "cpu" },
  {
    title: "no GPU, in a REPL",
    around: machine({}, { isInteractive: true }),
    accelerator: "cpu",
    strategy: "SingleDeviceStrategy",
    devices: 1,
    rootDevice: "cpu",
  },
  {
    title: "one CUDA device",
    around: machine({ cuda: 1 }),
    accelerator: "cuda",
    strategy: "SingleDeviceStrategy",
    devices: [0],
    rootDevice: "cuda:0",
  },
  {
    title: "four CUDA devices",
    around: machine({ cuda: 4 }),
    accelerator: "cuda",
    strategy: "DDPStrategy",
    devices: [0, 1, 2, 3],
  },
  {
    title: "four CUDA devices in a REPL",
    around: machine({ cuda: 4 }, { isInteractive: true }),
    accelerator: "cuda",
    strategy: "SingleDeviceStrategy",
    devices: [0],
    rootDevice: "cuda:0",
  },
  {
    title: "Apple Silicon",
    around: machine({ mps: true }),
    accelerator: "mps",
    strategy: "SingleDeviceStrategy",
    devices: [0],
    rootDevice: "mps:0",
  },
  {
    title: "Apple's GPU before NVIDIA's",
    around: machine({ cuda: 2, mps: true }),
    accelerator: "mps",
    strategy: "SingleDeviceStrategy",
    devices: [0],
  },
  {
    title: "gpu, which is Apple's before NVIDIA's",
    options: { accelerator: "gpu" },
    around: machine({ cuda: 2, mps: true }),
    accelerator: "mps",
    strategy: "SingleDeviceStrategy",
    devices: [0],
  },
  {
    title: "one Apple GPU in a REPL",
    around: machine({ mps: true }, { isInteractive: true }),
    accelerator: "mps",
    strategy: "SingleDeviceStrategy",
    devices: [0],
  },
  {
    title: "two CPU processes",
    options: { accelerator: "cpu", devices: 2 },
    accelerator: "cpu",
    strategy: "DDPStrategy",
    launcher: "ScriptLauncher",
    devices: 2,
    rootDevice: "cpu",
  },
  {
    title: "two CPU processes in a REPL",
    options: { accelerator: "cpu", devices: 2 },
    around: machine({}, { isInteractive: true }),
    accelerator: "cpu",
    strategy: "DDPStrategy",
    launcher: "SpawnLauncher",
    devices: 2,
  },
  {
    title: "functions in processes of their own",
    options: { accelerator: "cpu", devices: 2, strategy: "ddp_spawn" },
    accelerator: "cpu",
    strategy: "DDPStrategy",
    launcher: "SpawnLauncher",
    devices: 2,
  },
  {
    title: "two machines",
    options: { accelerator: "cpu", numNodes: 2 },
    accelerator: "cpu",
    strategy: "DDPStrategy",
    devices: 1,
  },
  {
    title: "a name in capitals",
    options: { accelerator: "cpu", strategy: "DDP" },
    accelerator: "cpu",
    strategy: "DDPStrategy",
    devices: 1,
  },
  {
    title: "gpu",
    options: { accelerator: "gpu", devices: "1," },
    around: machine({ cuda: 2 }),
    accelerator: "cuda",
    strategy: "SingleDeviceStrategy",
    devices: [1],
  },
  {
    title: "all GPUs",
    options: { accelerator: "gpu", devices: -1 },
    around: machine({ cuda: 2 }),
    accelerator: "cuda",
    strategy: "DDPStrategy",
    devices: [0, 1],
  },
  {
    title: "ids",
    options: { devices: [1, 3] },
    around: machine({ cuda: 4 }),
    accelerator: "cuda",
    strategy: "DDPStrategy",
    devices: [1, 3],
  },
  {
    title: "CPU beside a GPU",
    options: { accelerator: "cpu" },
    around: machine({ cuda: 1 }),
    accelerator: "cpu",
    strategy: "SingleDeviceStrategy",
    devices: 1,
  },
  {
    title: "an accelerator object",
    options: { accelerator: new CPUAccelerator(), devices: "3" },
    accelerator: "cpu",
    strategy: "DDPStrategy",
    devices: 3,
  },
  {
    title: "bf16-mixed",
    options: { accelerator: "cpu", precision: "bf16-mixed" },
    accelerator: "cpu",
    strategy: "SingleDeviceStrategy",
    devices: 1,
    precision: "bf16-mixed",
  },
  {
    title: "64",
    options: { accelerator: "cpu", precision: 64 },
    accelerator: "cpu",
    strategy: "SingleDeviceStrategy",
    devices: 1,
    precision: "64-true",
  },
  {
    title: "16-true",
    options: { accelerator: "cpu", precision: "16-true" },
    accelerator: "cpu",
    strategy: "SingleDeviceStrategy",
    devices: 1,
    precision: "16-true",
  },
  {
    title: "environment variables",
    options: { accelerator: "cuda", devices: 4, precision: "64-true" },
    around: machine(
      {},
      {
        env: {
          LT_ACCELERATOR: "cpu",
          LT_DEVICES: "2",
          LT_PRECISION: "bf16-true",
          LT_STRATEGY: "ddp",
          LT_NUM_NODES: "3",
        },
      },
    ),
    accelerator: "cpu",
    strategy: "DDPStrategy",
    devices: 2,
    precision: "bf16-true",
  },
  {
    title: "CLI values equal to those in the code",
    options: { accelerator: "cpu", devices: 2 },
    around: machine({}, { env: { LT_CLI_USED: "1", LT_DEVICES: "2", LT_ACCELERATOR: "cpu" } }),
    accelerator: "cpu",
    strategy: "DDPStrategy",
    devices: 2,
  },
];

describe("what is chosen", () => {
  for (const row of rows) {
    const { title, options, around = machine(), accelerator, strategy, launcher, devices, rootDevice } = row;
    const { precision = "32-true" } = row;
    it(title, () => {
      const connector = new Connector(options, around);
      assert.equal(connector.accelerator.name, accelerator);
      assert.equal(connector.strategy.constructor.name, strategy);
      if (launcher) assert.equal(connector.strategy.launcher?.constructor.name, launcher);
      assert.deepEqual(connector.parsedDevices, devices);
      if (rootDevice) assert.equal(connector.strategy.rootDevice, rootDevice);
      assert.equal(connector.strategy.precision.precision, precision);
    });
  }

  it("numbers of devices and machines become ranks and a world size", () => {
    const { strategy } = new Connector({ accelerator: "cpu", devices: 2, numNodes: 3 }, machine());
    assert.deepEqual([strategy.worldSize, strategy.globalRank, strategy.rootDevice], [6, 0, "cpu"]);
    assert.deepEqual(strategy.distributedSamplerOptions, { numReplicas: 6, rank: 0 });
  });

  it("a strategy object is used as it is, with its parts", () => {
    const precision = new Precision();
    const checkpointIO = new TorchCheckpointIO();
    const strategy = new DDPStrategy({
      accelerator: new CPUAccelerator(),
      precision,
      checkpointIO,
      parallelDevices: ["cpu", "cpu"],
    });
    const { accelerator } = strategy;
    const connector = new Connector({ strategy }, machine());
    assert.ok(connector.strategy === strategy && connector.accelerator === accelerator);
    assert.ok(strategy.precision === precision && strategy.checkpointIO === checkpointIO);
    assert.equal(strategy.worldSize, 2);
  });

  it("a cluster environment given as a plugin wins", () => {
    const environment = new LightningEnvironment();
    const { strategy } = new Connector({ accelerator: "cpu", devices: 2, plugins: environment }, machine());
    assert.ok((strategy as DDPStrategy).clusterEnvironment === environment);
    assert.equal(environment.worldSize(), 2);
  });

  it("16-mixed on the CPU becomes bf16-mixed, also for an accelerator object, and says so", async () => {
    for (const accelerator of ["cpu", new CPUAccelerator()] as const) {
      const caught = await catchWarnings(() => {
        const { strategy } = new Connector({ accelerator, precision: "16-mixed" }, machine());
        assert.equal(strategy.precision.precision, "bf16-mixed");
      });
      assert.match(caught[0]?.message ?? "", /AMP with fp16 is not supported on CPU/);
    }
  });

  it("historical precision names warn", async () => {
    const caught = await catchWarnings(() => new Connector({ accelerator: "cpu", precision: "bf16" }, machine()));
    assert.match(caught[0]?.message ?? "", /discouraged.*"bf16-mixed"/);
    assert.deepEqual(await catchWarnings(() => new Connector({ accelerator: "cpu", precision: 32 }, machine())), []);
  });

  it("a precision argument beside a strategy's own precision warns", async () => {
    const strategy = new SingleDeviceStrategy("cpu", { precision: new Precision() });
    const caught = await catchWarnings(
      () => new Connector({ accelerator: "cpu", strategy, precision: "64-true" }, machine()),
    );
    assert.match(caught[0]?.message ?? "", /has no effect/);
  });
});

class OtherIO extends CheckpointIO {
  override async saveCheckpoint(): Promise<void> {}
  override async loadCheckpoint(): Promise<unknown> {
    return {};
  }
  override async removeCheckpoint(): Promise<void> {}
}

const refused: [title: string, options: unknown, around: Partial<Surroundings>, name: string, text: RegExp][] = [
  [
    "an unknown strategy",
    { strategy: "dpp" },
    machine(),
    "ConfigurationError",
    /invalid strategy name: `strategy: "dpp"`.*must be a name or a Strategy object.*auto, ddp.*docs\/strategies\.md/s,
  ],
  [
    "the class of a strategy",
    { strategy: DDPStrategy },
    machine(),
    "ConfigurationError",
    /invalid strategy name.*a Strategy object, such as `new DDPStrategy\(\)`/s,
  ],
  [
    "the class of an accelerator",
    { accelerator: CPUAccelerator },
    machine(),
    "ConfigurationError",
    /invalid accelerator name.*an Accelerator object, such as `new CPUAccelerator\(\)`/s,
  ],
  [
    "a strategy that exists in Python only",
    { strategy: "deepspeed_stage_2" },
    machine(),
    "NotSupportedError",
    /'deepspeed_stage_2' is not available.*ddp/s,
  ],
  [
    "models that are split over devices",
    { strategy: "model_parallel" },
    machine(),
    "NotSupportedError",
    /'model_parallel' is not available.*ddp/s,
  ],
  [
    "DDP by the name that says what it does anyway",
    { strategy: "ddp_find_unused_parameters_false" },
    machine(),
    "NotSupportedError",
    /is not available.*Use `strategy: "ddp"`/s,
  ],
  [
    "fork",
    { strategy: "ddp_fork", accelerator: "cpu" },
    machine(),
    "ConfigurationError",
    /process forking is not supported on this platform.*`strategy: 'ddp_spawn'`/s,
  ],
  ["a notebook", { strategy: "ddp_notebook", accelerator: "cpu" }, machine(), "ConfigurationError", /Node cannot fork/],
  [
    "an unknown accelerator",
    { accelerator: "CPU" },
    machine(),
    "ConfigurationError",
    /invalid accelerator name: `accelerator: "CPU"`.*cuda/s,
  ],
  ["CUDA without a GPU", { accelerator: "cuda" }, machine(), "UsageError", /can not run on your system.*cpu/s],
  ["gpu without a GPU", { accelerator: "gpu" }, machine(), "UsageError", /No supported gpu backend found!/],
  [
    "no devices",
    { accelerator: "cpu", devices: 0 },
    machine(),
    "ConfigurationError",
    /devices: 0.* is not a valid input using cpu accelerator/,
  ],
  ["no device ids", { accelerator: "cpu", devices: [] }, machine(), "ConfigurationError", /is not a valid input/],
  [
    "no devices, as a text",
    { devices: "0" },
    machine(),
    "ConfigurationError",
    /devices: "0".* is not a valid input using auto accelerator/,
  ],
  [
    "false as a number of devices",
    { accelerator: "cuda", devices: false },
    machine(),
    "ConfigurationError",
    /devices: false.* is not a valid input using cuda accelerator/,
  ],
  ["null devices", { accelerator: "cpu", devices: null }, machine(), "TypeError", /should be an int > 0/],
  [
    "a list for the CPU",
    { accelerator: "cpu", devices: [1] },
    machine(),
    "TypeError",
    /should be an int > 0, got \[1\]/,
  ],
  [
    "a GPU that is not there",
    { devices: [4] },
    machine({ cuda: 2 }),
    "ConfigurationError",
    /You requested gpu: \[4\]\nBut your machine only has: \[0, 1\]/,
  ],
  ["a GPU twice", { devices: [1, 1] }, machine({ cuda: 2 }), "ConfigurationError", /must be unique/],
  ["no machines", { numNodes: 0 }, machine(), "ConfigurationError", /`numNodes` must be a positive integer, but got 0/],
  [
    "half a machine",
    { numNodes: 1.5 },
    machine(),
    "ConfigurationError",
    /`numNodes` must be a positive integer, but got 1.5/,
  ],
  [
    "text for machines",
    {},
    machine({}, { env: { LT_NUM_NODES: "two" } }),
    "ConfigurationError",
    /`numNodes` must be a positive integer, but got "two"/,
  ],
  [
    "an unknown precision",
    { precision: "8" },
    machine(),
    "ConfigurationError",
    /Precision "8" is invalid. Allowed precision values: .*bf16-mixed.*64, 32, 16, bf16/,
  ],
  [
    "transformer engine",
    { accelerator: "cpu", precision: "transformer-engine" },
    machine(),
    "NotSupportedError",
    /Transformer Engine/,
  ],
  ["a wrong plugin", { plugins: "ddp" }, machine(), "TypeError", /Found invalid type for plugin/],
  [
    "two precisions",
    { plugins: [new Precision(), new Precision()] },
    machine(),
    "ConfigurationError",
    /Received multiple values for Precision flags in `plugins`/,
  ],
  [
    "two of several kinds, named in the order in which they came",
    { plugins: [new OtherIO(), new Precision(), new Precision(), new OtherIO()] },
    machine(),
    "ConfigurationError",
    /Received multiple values for CheckpointIO, Precision flags in `plugins`.\nExpected one value for each type at most/,
  ],
  [
    "a precision twice",
    { precision: "16-true", plugins: [new Precision()] },
    machine(),
    "ConfigurationError",
    /both `precision: "16-true"` and `plugins: Precision`. Choose one/,
  ],
  [
    "an accelerator twice",
    { accelerator: "cpu", strategy: new DDPStrategy({ accelerator: new CPUAccelerator() }) },
    machine(),
    "ConfigurationError",
    /accelerator set through both strategy class and/,
  ],
  [
    "a precision in the strategy and a plugin",
    { plugins: new Precision(), strategy: new DDPStrategy({ precision: new Precision() }) },
    machine(),
    "ConfigurationError",
    /precision set through both strategy class and/,
  ],
  [
    "a checkpoint IO in the strategy and a plugin",
    { plugins: new OtherIO(), strategy: new DDPStrategy({ checkpointIO: new OtherIO() }) },
    machine(),
    "ConfigurationError",
    /checkpointIO set through both/,
  ],
  [
    "an environment in the strategy and a plugin",
    {
      plugins: new LightningEnvironment(),
      strategy: new DDPStrategy({ clusterEnvironment: new LightningEnvironment() }),
    },
    machine(),
    "ConfigurationError",
    /clusterEnvironment set through both/,
  ],
  [
    "CPU devices for CUDA",
    { accelerator: "cuda", strategy: new DDPStrategy({ parallelDevices: ["cpu"] }) },
    machine({ cuda: 1 }),
    "ConfigurationError",
    /CPU parallelDevices set through/,
  ],
  [
    "GPU devices for the CPU",
    { accelerator: "cpu", strategy: new DDPStrategy({ parallelDevices: ["cuda:0"] }) },
    machine({ cuda: 1 }),
    "ConfigurationError",
    /GPU parallelDevices set through.*accelerator is set to "cpu".\nPlease choose one device type/,
  ],
  [
    "mixed precision on Apple's GPU",
    { precision: "bf16-mixed" },
    machine({ mps: true }),
    "NotSupportedError",
    /is not available on the MPS accelerator.\nUse `precision: "16-true"`/,
  ],
  [
    "dp on Apple's GPU",
    { accelerator: "gpu", strategy: "dp" },
    machine({ mps: true }),
    "ConfigurationError",
    /from the DDP family are not supported on the MPS accelerator.\nEither .*`accelerator: 'cpu'` or change the strategy/,
  ],
  [
    "a DDPStrategy where Apple's GPU is the automatic choice",
    { strategy: new DDPStrategy() },
    machine({ mps: true }),
    "ConfigurationError",
    /not supported on the MPS accelerator/,
  ],
  [
    "ddp on Apple's GPU as an object",
    { accelerator: machine({ mps: true }).accelerators?.get("mps"), strategy: "ddp" },
    machine({ mps: true }),
    "ConfigurationError",
    /not supported on the MPS accelerator/,
  ],
  [
    "ddp on Apple's GPU",
    { accelerator: "mps", strategy: "ddp" },
    machine({ mps: true }),
    "ConfigurationError",
    /not supported on the MPS accelerator/,
  ],
  [
    "ddp in a REPL",
    { accelerator: "cpu", devices: 2, strategy: "ddp" },
    machine({}, { isInteractive: true }),
    "UsageError",
    /strategy: "ddp" }\)` is not compatible with an interactive environment.*'ddp_spawn'/s,
  ],
  [
    "what dp becomes, in a REPL",
    { accelerator: "cpu", strategy: "dp" },
    machine({}, { isInteractive: true }),
    "UsageError",
    /not compatible with an interactive environment/,
  ],
  [
    "the CLI against the code",
    { accelerator: "cpu", devices: 3 },
    machine({}, { env: { LT_CLI_USED: "1", LT_DEVICES: "2" } }),
    "ConfigurationError",
    /devices: 3.*conflicts with the value `--devices=2` set through the CLI.\nRemove one of the two/,
  ],
];

describe("what is refused", () => {
  for (const [title, options, around, name, text] of refused) {
    it(title, () => {
      assert.throws(
        () => new Connector(options as ConnectorOptions, around),
        (error: Error) => {
          assert.equal(error.name, name);
          assert.match(error.message, text);
          return true;
        },
      );
    });
  }

  it("options that do not exist, with the closest that does", () => {
    const made = (options: object) => () => new Fabric(options as never);
    assert.throws(made({ num_nodes: 2 }), {
      name: "TypeError",
      message: /no option `num_nodes`.\nDid you mean `numNodes`\?/,
    });
    assert.throws(made({ device: 2 }), /Did you mean `devices`\?/);
    assert.throws(made({ logger: [] }), /Did you mean `loggers`\?/);
    assert.throws(
      () => new DDPStrategy({ find_unused_parameters: true } as never),
      /Did you mean `findUnusedParameters`\?/,
    );
  });
});

describe("registries", () => {
  it("refuse a name that is taken, unless told to replace it", () => {
    const registry = new AcceleratorRegistry();
    registry.register("cpu", CPUAccelerator);
    assert.throws(() => registry.register("cpu", CPUAccelerator), /'cpu' is already present in the registry/);
    registry.register("cpu", CUDAAccelerator as unknown as new () => Accelerator, { override: true });
    assert.ok(registry.get("cpu") instanceof CUDAAccelerator);
    registry.remove("cpu");
    assert.throws(() => registry.get("cpu"), /'cpu' not found in registry/);
  });
});
