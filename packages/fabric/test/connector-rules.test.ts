// Rules of the connector one by one: environment variables against code, fallbacks, messages.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  AcceleratorRegistry,
  BitsandbytesPrecision,
  CPUAccelerator,
  CUDAAccelerator,
  catchWarnings,
  DataParallelStrategy,
  DDPStrategy,
  DeepSpeedStrategy,
  LightningEnvironment,
  Precision,
  SLURMEnvironment,
  StrategyRegistry,
  TorchElasticEnvironment,
  TransformerEnginePrecision,
} from "@fabric-ts/fabric";
import { Connector, type ConnectorOptions, connectorOptionNames } from "../dist/connector.js";
import { detectEnvironment } from "../dist/environments/detect.js";

const plain = { env: {}, isInteractive: false, detectEnvironment: () => new LightningEnvironment() };
const cpu = (options: object, env: Record<string, string> = {}): Connector =>
  new Connector({ accelerator: "cpu", ...options } as ConnectorOptions, { ...plain, env });

function withGpus(options: ConnectorOptions, count: number): Connector {
  class Gpus extends CUDAAccelerator {
    override autoDeviceCount(): number {
      return count;
    }
  }
  const accelerators = new AcceleratorRegistry();
  accelerators.register("cpu", CPUAccelerator);
  accelerators.register("cuda", Gpus);
  return new Connector(options, { ...plain, accelerators });
}

describe("LT_ variables", () => {
  it("replace what the code says without a word, when the command line tool was not used", async () => {
    const caught = await catchWarnings(() => {
      assert.equal(cpu({ devices: 4 }, { LT_DEVICES: "2" }).parsedDevices, 2);
      assert.equal(cpu({ precision: "64-true" }, { LT_PRECISION: "32-true" }).strategy.precision.precision, "32-true");
    });
    assert.deepEqual(caught, []);
  });
  const conflicts: [option: object, variables: Record<string, string>, text: RegExp][] = [
    [{ strategy: "ddp" }, { LT_STRATEGY: "auto" }, /strategy: "ddp".*`--strategy=auto`/],
    [{ numNodes: 3 }, { LT_NUM_NODES: "2" }, /numNodes: 3.*`--num-nodes=2`/],
    [{ precision: "64-true" }, { LT_PRECISION: "32" }, /precision: "64-true".*`--precision=32`/],
    [{ devices: [1] }, { LT_DEVICES: "2" }, /devices: \[1\].*`--devices=2`/],
    [
      { accelerator: new CPUAccelerator() },
      { LT_ACCELERATOR: "cpu" },
      /accelerator: a CPUAccelerator.*`--accelerator=cpu`/,
    ],
  ];
  for (const [option, variables, text] of conflicts) {
    it(`of the command line tool conflict with ${Object.keys(option)} in the code`, () => {
      assert.throws(() => cpu(option, { LT_CLI_USED: "1", ...variables }), text);
      if (!("devices" in option)) cpu(option, variables);
    });
  }
  it("of the command line tool are fine beside a default or an equal value", () => {
    const env = { LT_CLI_USED: "1", LT_NUM_NODES: "2", LT_DEVICES: "2", LT_PRECISION: "64", LT_STRATEGY: "ddp" };
    const { strategy } = cpu({ devices: 2, strategy: "ddp", precision: 64, numNodes: 1 }, env);
    assert.equal(strategy.worldSize, 4);
  });
});

describe("what is given as nothing", () => {
  it("counts as not given: a precision of null beside a plugin, plugins of null", () => {
    const precision = new Precision();
    assert.ok(cpu({ precision: null, plugins: [precision] }).strategy.precision === precision);
    assert.equal(cpu({ plugins: null, precision: undefined }).strategy.precision.precision, "32-true");
  });
});

describe("strategies by name", () => {
  it("'dp' is 'ddp' on CPUs, with a warning, also for an accelerator object", async () => {
    for (const accelerator of ["cpu", new CPUAccelerator()]) {
      const caught = await catchWarnings(() => {
        assert.equal(cpu({ accelerator, strategy: "dp", devices: 1 }).strategy.constructor.name, "DDPStrategy");
      });
      assert.match(caught[0]?.message ?? "", /^'dp' is not supported on CPUs/);
    }
  });
  it("'dp' on GPUs is one process with all of them", async () => {
    const caught = await catchWarnings(() => {
      const { strategy } = withGpus({ strategy: "dp", precision: "16-mixed" }, 2);
      assert.ok(strategy instanceof DataParallelStrategy);
      assert.deepEqual(strategy.parallelDevices, ["cuda:0", "cuda:1"]);
      assert.deepEqual([strategy.rootDevice, strategy.worldSize, strategy.launcher], ["cuda:0", 1, null]);
    });
    assert.deepEqual(caught, []);
  });
  it("'dp' is refused on several machines", () => {
    const refused = { name: "ConfigurationError", message: /works on one machine, but `numNodes` is 2/ };
    assert.throws(() => withGpus({ strategy: "dp", numNodes: 2 }, 2), refused);
  });
  it("'dp' on one GPU, and with given ids", () => {
    const on = (devices: number | number[]): readonly string[] | null =>
      (withGpus({ strategy: "DP", devices }, 4).strategy as DataParallelStrategy).parallelDevices;
    assert.deepEqual([on(1), on([3, 1])], [["cuda:0"], ["cuda:3", "cuda:1"]]);
  });
  it("a name that the user took is the user's, 'dp' included", () => {
    const strategies = new StrategyRegistry();
    class Mine extends DataParallelStrategy {}
    strategies.register("dp", Mine);
    const { strategy } = new Connector({ accelerator: "cpu", strategy: "DP" }, { ...plain, strategies });
    assert.ok(strategy instanceof Mine);
  });
});

describe("precisions by name", () => {
  it("bitsandbytes and Transformer Engine are answered", () => {
    for (const precision of ["nf4", "nf4-dq", "fp4", "int8", "int8-training"]) {
      assert.throws(() => cpu({ precision }), { name: "NotSupportedError", message: /bitsandbytes[\s\S]*bf16-true/ });
    }
    for (const precision of ["transformer-engine", "transformer-engine-float16"]) {
      const message = new RegExp(
        `"${precision}" is not available: Transformer Engine.*Python library.\nUse .*"bf16-mixed"`,
      );
      assert.throws(() => cpu({ precision }), { name: "NotSupportedError", message });
    }
  });
  it("so are the classes of Lightning Fabric that need Python libraries, with any options", () => {
    const answers: [make: () => unknown, text: RegExp][] = [
      [() => new BitsandbytesPrecision("nf4", { dtype: "bfloat16" }), /"nf4".*bitsandbytes.*\nUse .*"bf16-true"/],
      [() => new TransformerEnginePrecision(), /"transformer-engine".*\nUse .*"bf16-mixed"/],
      [() => new TransformerEnginePrecision({ weightsDtype: "float16" }), /"transformer-engine-float16"/],
      [() => new DeepSpeedStrategy({ stage: 3 }), /`DeepSpeedStrategy` is not available.\nUse `strategy: "ddp"`/],
    ];
    for (const [make, message] of answers) assert.throws(make, { name: "NotSupportedError", message });
    assert.ok(DeepSpeedStrategy.prototype instanceof DDPStrategy);
    assert.ok(BitsandbytesPrecision.prototype instanceof Precision);
  });
  it("16-true on the CPU says when the engine has no layers for it", async () => {
    const caught = await catchWarnings(() => cpu({ precision: "16-true" }));
    // Later versions of LibTorch have them.
    for (const { message } of caught) assert.match(message, /no float16 layers for the CPU.*"bf16-true"/);
    assert.ok(caught.length <= 1);
  });
  it("16-mixed on a GPU scales the loss there", () => {
    const { precision } = withGpus({ accelerator: "cuda", devices: 1, precision: "16-mixed" }, 1).strategy;
    assert.deepEqual([precision.precision, (precision as { device?: string }).device], ["16-mixed", "cuda"]);
    assert.equal((precision as unknown as { scaler: { device: string } }).scaler.device, "cuda");
  });
});

it("the devices of a strategy decide on the accelerator and stay what they are", () => {
  const strategy = new DDPStrategy({ parallelDevices: ["cuda:2", "cuda:3"] });
  const connector = withGpus({ strategy }, 4);
  assert.equal(connector.accelerator.name, "cuda");
  assert.deepEqual(strategy.parallelDevices, ["cuda:2", "cuda:3"]);
  assert.equal(strategy.rootDevice, "cuda:2");
  assert.equal(strategy.processGroupBackend, "nccl");
});

it("torchrun inside of a SLURM allocation is torchrun", () => {
  const before = { ...process.env };
  Object.assign(process.env, {
    TORCHELASTIC_RUN_ID: "1",
    SLURM_NTASKS: "2",
    SLURM_NTASKS_PER_NODE: "2",
    SLURM_JOB_NAME: "train",
    MASTER_ADDR: "127.0.0.1",
    MASTER_PORT: "1",
  });
  try {
    assert.ok(detectEnvironment() instanceof TorchElasticEnvironment);
    delete process.env.TORCHELASTIC_RUN_ID;
    assert.ok(detectEnvironment() instanceof SLURMEnvironment);
  } finally {
    process.env = before;
  }
});

it("has the options that Fabric has", () => {
  assert.deepEqual(
    [...connectorOptionNames],
    ["accelerator", "strategy", "devices", "numNodes", "precision", "plugins"],
  );
});
