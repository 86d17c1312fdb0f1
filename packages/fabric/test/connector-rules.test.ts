// Rules of the connector one by one: environment variables against code, fallbacks, messages.
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { dirname } from "node:path";
import { describe, it, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import {
  AcceleratorRegistry,
  BitsandbytesPrecision,
  CPUAccelerator,
  CUDAAccelerator,
  catchWarnings,
  DataParallelStrategy,
  DDPStrategy,
  DeepSpeedStrategy,
  DoublePrecision,
  Fabric,
  HalfPrecision,
  LightningEnvironment,
  MixedPrecision,
  Precision,
  rankZeroOnly,
  ScriptLauncher,
  SLURMEnvironment,
  SpawnLauncher,
  StrategyRegistry,
  TorchCheckpointIO,
  TorchElasticEnvironment,
  TransformerEnginePrecision,
} from "@fabric-ts/fabric";
import { Connector, type ConnectorOptions, connectorOptionNames, type Surroundings } from "../dist/connector.js";
import { detectEnvironment } from "../dist/environments/detect.js";
import { cleanEnvironment } from "./support/run-ranks.js";

const plain = { env: {}, isInteractive: false, detectEnvironment: () => new LightningEnvironment() };
const cpu = (options: object, env: Record<string, string> = {}): Connector =>
  new Connector({ accelerator: "cpu", ...options } as ConnectorOptions, { ...plain, env });

function withGpus(options: ConnectorOptions, count: number, more: Partial<Surroundings> = {}): Connector {
  class Gpus extends CUDAAccelerator {
    override autoDeviceCount(): number {
      return count;
    }
  }
  const accelerators = new AcceleratorRegistry();
  accelerators.register("cpu", CPUAccelerator);
  accelerators.register("cuda", Gpus);
  return new Connector(options, { ...plain, accelerators, ...more });
}

/** What `make` writes to standard error. */
function saying(t: TestContext, make: () => unknown): string {
  const write = t.mock.method(process.stderr, "write", () => true);
  try {
    make();
  } finally {
    write.mock.restore();
  }
  return write.mock.calls.map(({ arguments: [text] }) => String(text)).join("");
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
  it("do not conflict with the code when LT_CLI_USED is 0 or no number", () => {
    for (const LT_CLI_USED of ["0", "", "no"]) {
      assert.equal(cpu({ devices: 4 }, { LT_CLI_USED, LT_DEVICES: "2" }).parsedDevices, 2);
    }
  });
  it("that cannot work are refused as the code's would be", () => {
    assert.throws(() => cpu({}, { LT_STRATEGY: "ddq" }), /invalid strategy name: `strategy: "ddq"`/);
    assert.throws(() => cpu({}, { LT_ACCELERATOR: "npu" }), /invalid accelerator name: `accelerator: "npu"`/);
    assert.throws(() => cpu({}, { LT_DEVICES: "0" }), /devices: "0".* is not a valid input/);
    assert.throws(() => cpu({}, { LT_PRECISION: "8" }), /Precision "8" is invalid/);
  });
  it("of the command line tool are fine beside a default or an equal value", () => {
    const env = { LT_CLI_USED: "1", LT_NUM_NODES: "2", LT_DEVICES: "2", LT_PRECISION: "64", LT_STRATEGY: "ddp" };
    const { strategy } = cpu({ devices: 2, strategy: "ddp", precision: 64, numNodes: 1 }, env);
    assert.equal(strategy.worldSize, 4);
  });
});

describe("decisions", () => {
  it("are made in order: names, then numbers, then what this machine has", () => {
    const wrong: Record<string, unknown> = { strategy: "dpp", accelerator: "npu", precision: "8", plugins: 3 };
    Object.assign(wrong, { numNodes: 0, devices: 0 });
    const texts: [name: string, text: RegExp, right: unknown][] = [
      ["strategy", /invalid strategy name/, "ddp"],
      ["accelerator", /invalid accelerator name/, "cuda"],
      ["precision", /Precision "8" is invalid/, undefined],
      ["plugins", /Found invalid type for plugin 3/, undefined],
      ["numNodes", /`numNodes` must be a positive integer/, 1],
      ["devices", /is not a valid input using cuda accelerator/, [7]],
    ];
    for (const [name, text, right] of texts) {
      assert.throws(() => withGpus(wrong as ConnectorOptions, 0), text);
      wrong[name] = right;
    }
    assert.throws(() => withGpus(wrong as ConnectorOptions, 0), /`Gpus` can not run on your system.*: cpu\./s);
    assert.throws(() => withGpus(wrong as ConnectorOptions, 1), /You requested gpu: \[7\]/);
  });
  it("say in a REPL that one of several GPUs is used, and how to have more", (t) => {
    const said = saying(t, () => assert.deepEqual(withGpus({}, 4, { isInteractive: true }).parsedDevices, [0]));
    assert.match(
      said,
      /^Fabric will use only 1 of 4 GPUs because it is running inside an interactive .*`new Fabric\(\{ devices: 4 \}\)`/,
    );
    assert.equal(
      saying(t, () => withGpus({ devices: 1 }, 4, { isInteractive: true })),
      "",
    );
    assert.equal(
      saying(t, () => withGpus({}, 1, { isInteractive: true })),
      "",
    );
  });
  it("prefer TPUs to all others, where somebody's accelerator has some", () => {
    class Tpus extends CPUAccelerator {}
    const accelerators = new AcceleratorRegistry();
    accelerators.register("tpu", Tpus);
    accelerators.register("cpu", CPUAccelerator);
    assert.ok(new Connector({}, { ...plain, accelerators }).accelerator instanceof Tpus);
  });
});

const noTerminal = process.platform !== "linux" || spawnSync("script", ["--version"]).status !== 0;

describe("a REPL", { skip: noTerminal && "needs Linux and `script`, which makes a terminal" }, () => {
  /** What a line that is typed at Node's prompt prints; it has to end the process. */
  async function typed(line: string): Promise<string> {
    const node = `'${process.execPath}' --no-warnings`;
    const child = spawn("script", ["-qec", node, "/dev/null"], {
      cwd: dirname(fileURLToPath(import.meta.url)),
      env: { ...cleanEnvironment(), NODE_REPL_HISTORY: "" },
      stdio: ["pipe", "pipe", "ignore"],
    });
    let output = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => (output += text));
    child.stdin.write(`${line}\n`);
    await once(child, "close");
    return output;
  }

  it("is one at a terminal: the script launcher is refused there, and functions in processes are what is chosen", async () => {
    const output = await typed(
      `import("@fabric-ts/fabric").then(({ Fabric }) => { const make = (strategy) => new Fabric({ accelerator: "cpu", devices: 2, strategy }); ` +
        `try { make("ddp") } catch (error) { console.log("said", error.message) }; console.log("chosen", make("auto").strategy.launcher.constructor.name); process.exit(); })`,
    );
    assert.match(
      output,
      /said `new Fabric\({ strategy: "ddp" }\)` is not compatible with an interactive environment\./,
    );
    assert.match(output, /^chosen SpawnLauncher\r?$/m);
  });
});

describe("a cluster's environment", () => {
  const slurm = { SLURM_NTASKS: "2", SLURM_NTASKS_PER_NODE: "2", SLURM_JOB_NAME: "train", SLURM_PROCID: "1" };
  const inSlurm = (options: ConnectorOptions): Connector => {
    const before = { ...process.env };
    Object.assign(process.env, slurm, { SLURM_LOCALID: "1", SLURM_NODEID: "0" });
    try {
      return new Connector(options, { env: {}, isInteractive: false });
    } finally {
      process.env = before;
    }
  };
  const environmentOf = ({ strategy }: Connector): unknown => (strategy as DDPStrategy).clusterEnvironment;

  it("is taken for functions in processes of their own, too", () => {
    const connector = inSlurm({ accelerator: "cpu", devices: 2, strategy: "ddp_spawn" });
    assert.ok(environmentOf(connector) instanceof SLURMEnvironment);
    assert.ok(connector.strategy.launcher instanceof SpawnLauncher);
  });
  it("gives way to one that is a plugin, which is told the world size", () => {
    const plugins = new LightningEnvironment();
    const connector = inSlurm({ accelerator: "cpu", devices: 2, numNodes: 2, plugins });
    assert.ok(environmentOf(connector) === plugins && connector.environment === plugins);
    assert.deepEqual([plugins.worldSize(), connector.strategy.worldSize], [4, 4]);
  });
  it("gives way to the strategy's own", () => {
    const clusterEnvironment = new LightningEnvironment();
    const strategy = new DDPStrategy({ clusterEnvironment, parallelDevices: ["cpu", "cpu", "cpu"] });
    const connector = inSlurm({ devices: 7, numNodes: 2, strategy });
    assert.ok(environmentOf(connector) === clusterEnvironment && connector.environment === clusterEnvironment);
    assert.equal(clusterEnvironment.worldSize(), 6);
  });
});

describe("what is attached to a strategy", () => {
  it("is the accelerator, the precision, the files, the devices, the machines, the ranks, and a launcher", () => {
    const files = new TorchCheckpointIO();
    const strategy = new DDPStrategy();
    const connector = cpu({ strategy, devices: 2, numNodes: 3, precision: "64-true", plugins: files });
    assert.ok(strategy.accelerator === connector.accelerator && strategy.checkpointIO === files);
    assert.ok(strategy.precision instanceof DoublePrecision && strategy.launcher instanceof ScriptLauncher);
    assert.ok(strategy.clusterEnvironment === connector.environment);
    assert.deepEqual(
      [strategy.parallelDevices, strategy.numNodes, strategy.worldSize, strategy.globalRank],
      [["cpu", "cpu"], 3, 6, 0],
    );
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
  it("have aliases, of which those for 16 bits are discouraged", async () => {
    const aliases: [given: unknown, name: string, isDiscouraged: boolean][] = [
      [64, "64-true", false],
      ["64", "64-true", false],
      [32, "32-true", false],
      ["32", "32-true", false],
      [16, "16-mixed", true],
      ["16", "16-mixed", true],
      ["bf16", "bf16-mixed", true],
    ];
    for (const [given, name, isDiscouraged] of aliases) {
      const caught = await catchWarnings(() => {
        const { strategy } = withGpus({ accelerator: "cuda", devices: 1, precision: given as "16" }, 1);
        assert.equal(strategy.precision.precision, name);
      });
      const text = new RegExp(`supported for historical reasons but its usage is discouraged.*"${name}"`);
      assert.equal(caught.length, isDiscouraged ? 1 : 0, String(given));
      for (const { message } of caught) assert.match(message, text);
    }
    rankZeroOnly.rank = 1;
    try {
      assert.deepEqual(await catchWarnings(() => cpu({ precision: "bf16" })), [], "on other ranks");
    } finally {
      rankZeroOnly.rank = 0;
    }
  });
  it("have a class each", () => {
    const classes: [name: ConnectorOptions["precision"], made: unknown][] = [
      [undefined, Precision],
      ["32-true", Precision],
      ["64-true", DoublePrecision],
      ["16-true", HalfPrecision],
      ["bf16-true", HalfPrecision],
      ["bf16-mixed", MixedPrecision],
    ];
    for (const [precision, made] of classes) assert.equal(cpu({ precision }).strategy.precision.constructor, made);
  });
  it("that are mixed say which automatic mixed precision is used", (t) => {
    const gpu = (precision: "16-mixed" | "bf16-mixed") => () => withGpus({ devices: 1, precision }, 1);
    assert.equal(saying(t, gpu("16-mixed")), "Using 16-bit Automatic Mixed Precision (AMP)\n");
    assert.equal(saying(t, gpu("bf16-mixed")), "Using bfloat16 Automatic Mixed Precision (AMP)\n");
    let device: unknown;
    const onCpu = () => (device = (cpu({ precision: "bf16-mixed" }).strategy.precision as MixedPrecision).device);
    assert.equal(saying(t, onCpu), "Using bfloat16 Automatic Mixed Precision (AMP)\n");
    assert.equal(device, "cpu");
  });
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
  const all = [...connectorOptionNames, "callbacks", "loggers"].map((name) => `\`${name}\``).join(", ");
  assert.throws(() => new Fabric({ zzz: 1 } as never), { message: new RegExp(all) });
});
