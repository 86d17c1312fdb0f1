// From options and environment variables to a strategy with its accelerator, precision and cluster environment, in numbered steps.
import { ConfigurationError, type Device, NotSupportedError, ones, UsageError, versions } from "@fabric-ts/torch";
import { Accelerator, type DevicesInput } from "./accelerators/accelerator.js";
import { type AcceleratorName, type AcceleratorRegistry, acceleratorRegistry } from "./accelerators/registry.js";
import { CheckpointIO } from "./checkpoint/checkpoint-io.js";
import { ClusterEnvironment } from "./environments/cluster-environment.js";
import { detectEnvironment } from "./environments/detect.js";
import { DoublePrecision } from "./precision/double.js";
import { HalfPrecision } from "./precision/half.js";
import { MixedPrecision } from "./precision/mixed.js";
import { type PrecisionInput, type PrecisionName, precisionName } from "./precision/names.js";
import { Precision } from "./precision/precision.js";
import { TransformerEnginePrecision } from "./precision/transformer-engine.js";
import { DataParallelStrategy } from "./strategies/data-parallel.js";
import { ParallelStrategy } from "./strategies/parallel.js";
import { type StrategyName, type StrategyRegistry, strategyRegistry } from "./strategies/registry.js";
import { SingleDeviceStrategy } from "./strategies/single-device.js";
import { Strategy } from "./strategies/strategy.js";
import { checkOptions, className, describe } from "./utilities/describe.js";
import { rankZeroInfo, rankZeroWarn } from "./utilities/rank-zero.js";

/** A part of Fabric that can be replaced. */
export type Plugin = Precision | CheckpointIO | ClusterEnvironment;

/** What the connector decides on; `Fabric` takes callbacks and loggers beside these. */
export interface ConnectorOptions {
  /** The hardware: `"auto"` (default), `"cpu"`, `"cuda"`, `"gpu"`, `"mps"`, a name in `acceleratorRegistry`, or an object. */
  accelerator?: AcceleratorName | (string & {}) | Accelerator | undefined;
  /** How several devices work together: `"auto"` (default), `"ddp"`, `"dp"`, a name in `strategyRegistry`, or an object. */
  strategy?: StrategyName | (string & {}) | Strategy | undefined;
  /** How many devices, or which: a count, a list of GPU ids, or text such as `"0,2"`. Default `"auto"`. */
  devices?: DevicesInput | undefined;
  /** Number of machines (default 1). */
  numNodes?: number | undefined;
  /** `"32-true"` (default), `"bf16-mixed"`, `"bf16-true"`, `"16-mixed"`, `"16-true"`, `"64-true"`. */
  precision?: PrecisionInput | null | undefined;
  /** Replacements for parts: at most one precision, checkpoint IO and cluster environment. */
  plugins?: Plugin | Iterable<Plugin> | null | undefined;
}

/** internal: what the decisions depend on beside the options, so that tests can give their own. */
export interface Surroundings {
  env: Record<string, string | undefined>;
  isInteractive: boolean;
  accelerators: AcceleratorRegistry;
  strategies: StrategyRegistry;
  detectEnvironment: () => ClusterEnvironment;
}

/** internal: names of the options. */
export const connectorOptionNames = ["accelerator", "strategy", "devices", "numNodes", "precision", "plugins"] as const;

/** internal: true when the environment says that the command line tool started the script. */
export function isCliUsed(env: Record<string, string | undefined> = process.env): boolean {
  const value = Number(env.LT_CLI_USED ?? 0);
  return Number.isInteger(value) && value !== 0;
}

/** Decides once, in its constructor. */
export class Connector {
  /** The strategy with everything attached. */
  readonly strategy: Strategy;
  /** The hardware. */
  readonly accelerator: Accelerator;
  /** Where ranks and addresses come from. */
  readonly environment: ClusterEnvironment;
  /** What `devices` came to: a count for the CPU, ids otherwise. */
  readonly parsedDevices: number | number[];

  readonly #around: Surroundings;
  // Said at the end, once it is known whether this process only starts the others, which then say the same.
  readonly #messages: (() => void)[] = [];
  #givenStrategy: unknown;
  #chosenStrategy: "auto" | Strategy;
  #chosenAccelerator: string | Accelerator;
  #precisionName: PrecisionName;
  #precisionPlugin: Precision | null = null;
  #checkpointIO: CheckpointIO | null = null;
  #environment: ClusterEnvironment | null = null;

  constructor(options: ConnectorOptions = {}, surroundings: Partial<Surroundings> = {}) {
    checkOptions("Connector", options, connectorOptionNames);
    this.#around = { ...defaultSurroundings(), ...surroundings };

    // 1. Environment variables win.
    const accelerator = this.#overridden("accelerator", options.accelerator ?? "auto", "auto");
    const strategy = this.#overridden("strategy", options.strategy ?? "auto", "auto");
    const devices = this.#overridden("devices", options.devices === undefined ? "auto" : options.devices, "auto");
    const nodes = this.#overridden("numNodes", options.numNodes ?? 1, 1);
    const precision = this.#overridden("precision", options.precision ?? undefined, undefined);

    // 2. Names are known, and no part is given twice.
    this.#givenStrategy = strategy;
    this.#chosenStrategy = this.#checkStrategy(strategy);
    this.#chosenAccelerator = this.#checkAccelerator(accelerator);
    this.#precisionName = precisionName(precision, (text) => this.#tell(rankZeroWarn, text));
    this.#takePlugins(options.plugins, precision);
    this.#takePartsOfStrategy(precision);

    // 3. Numbers make sense.
    const numNodes = checkNumNodes(nodes);
    checkDevices(devices, this.#chosenAccelerator);

    // 4. The accelerator and its devices.
    this.accelerator = this.#chooseAccelerator();
    this.#checkAcceleratorAgainstStrategy();
    this.#replaceDpOnCpu();
    this.parsedDevices = this.accelerator.parseDevices(devices === "auto" ? this.#autoDeviceCount() : devices);
    const parallelDevices = this.accelerator.getParallelDevices(this.parsedDevices);

    // 5. Where ranks and addresses come from.
    const environment = this.#environment ?? this.#around.detectEnvironment();

    // 6. The strategy.
    this.strategy = this.#chooseStrategy(numNodes, parallelDevices);

    // 7. The precision.
    const chosenPrecision = this.#precisionPlugin ?? this.#choosePrecision(this.#deviceType(parallelDevices));

    // 8. Everything is attached, and the launcher follows from it.
    this.#attach(chosenPrecision, environment, parallelDevices, numNodes);
    this.environment = (this.strategy as Partial<ParallelStrategy>).clusterEnvironment ?? environment;
    this.#warnOfLonelyRanks();
    if (!this.#onlyStartsOthers(environment)) for (const say of this.#messages) say();
  }

  #tell(how: (text: string) => void, text: string): void {
    this.#messages.push(() => how(text));
  }

  #onlyStartsOthers(environment: ClusterEnvironment): boolean {
    const { launcher, worldSize } = this.strategy;
    return launcher !== null && worldSize > 1 && !environment.createsProcessesExternally;
  }

  // --- 1 ---

  #overridden(name: string, value: unknown, fallback: unknown): unknown {
    const variable = `LT_${name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`;
    const given = this.#around.env[variable];
    if (given === undefined) return value;
    if (isCliUsed(this.#around.env) && value !== fallback && String(value) !== given) {
      throw new ConfigurationError(
        `Your code has \`new Fabric({ ${name}: ${describe(value)} })\` but it conflicts with the value \`--${variable.slice(3).toLowerCase().replaceAll("_", "-")}=${given}\` set through the CLI.`,
        {
          hint: `Remove one of the two: the option in the code, or the one on the command line.${["devices", "numNodes"].includes(name) ? " (`fabric run` always sets this one, to 1 unless told otherwise.)" : ""}`,
        },
      );
    }
    return given;
  }

  // --- 2 ---

  #checkStrategy(strategy: unknown): "auto" | Strategy {
    if (strategy instanceof Strategy) return strategy;
    const name = typeof strategy === "string" ? strategy.toLowerCase() : undefined;
    if (name === "auto") return name;
    const { strategies } = this.#around;
    if (name !== undefined && (strategies.has(name) || strategies.isUnsupported(name))) return strategies.get(name);
    throw new ConfigurationError(`You selected an invalid strategy name: \`strategy: ${describe(strategy)}\`.`, {
      hint: `It must be a name or a Strategy object${madeOf(strategy)}. Names: ${["auto", ...strategies.names()].join(", ")}. See docs/strategies.md.`,
    });
  }

  #checkAccelerator(accelerator: unknown): string | Accelerator {
    if (accelerator instanceof Accelerator) return accelerator;
    const names = ["auto", "gpu", ...this.#around.accelerators.names()];
    if (typeof accelerator === "string" && names.includes(accelerator)) return accelerator;
    throw new ConfigurationError(
      `You selected an invalid accelerator name: \`accelerator: ${describe(accelerator)}\`.`,
      {
        hint: `It must be a name or an Accelerator object${madeOf(accelerator)}. Available names are: ${names.join(", ")}.`,
      },
    );
  }

  #takePlugins(plugins: Plugin | Iterable<Plugin> | null | undefined, precision: unknown): void {
    const list: unknown[] =
      plugins === undefined || plugins === null ? [] : isIterable(plugins) ? [...plugins] : [plugins];
    const counts = new Map<string, number>();
    const count = (kind: string): unknown => counts.set(kind, (counts.get(kind) ?? 0) + 1);
    for (const plugin of list) {
      if (plugin instanceof Precision) {
        count("Precision");
        this.#precisionPlugin = plugin;
      } else if (plugin instanceof CheckpointIO) {
        count("CheckpointIO");
        this.#checkpointIO = plugin;
      } else if (plugin instanceof ClusterEnvironment) {
        count("ClusterEnvironment");
        this.#environment = plugin;
      } else {
        throw new TypeError(
          `Found invalid type for plugin ${describe(plugin)}.\nExpected one of: Precision, CheckpointIO, ClusterEnvironment.`,
        );
      }
    }
    const repeated = [...counts].filter(([, number]) => number > 1).map(([kind]) => kind);
    if (repeated.length > 0) {
      throw new ConfigurationError(`Received multiple values for ${repeated.join(", ")} flags in \`plugins\`.`, {
        hint: "Expected one value for each type at most.",
      });
    }
    if (this.#precisionPlugin && precision !== undefined) {
      throw new ConfigurationError(
        `Received both \`precision: ${describe(precision)}\` and \`plugins: ${className(this.#precisionPlugin)}\`. Choose one.`,
      );
    }
  }

  #takePartsOfStrategy(precision: unknown): void {
    const strategy = this.#chosenStrategy;
    if (strategy === "auto") return;
    const own = strategy.ownParts;
    if (own.accelerator) {
      if (this.#chosenAccelerator !== "auto") throw givenTwice("accelerator", "accelerator");
      this.#chosenAccelerator = own.accelerator;
    }
    if (own.precision) {
      if (this.#precisionPlugin) throw givenTwice("precision", "plugins");
      if (precision !== undefined) {
        this.#tell(
          rankZeroWarn,
          `\`precision: ${describe(precision)}\` has no effect: the ${className(strategy)} brings its own ${className(own.precision)}.`,
        );
      }
      this.#precisionPlugin = own.precision;
    }
    if (own.checkpointIO && this.#checkpointIO) throw givenTwice("checkpointIO", "plugins");
    if (!(strategy instanceof ParallelStrategy)) return;
    if (strategy.clusterEnvironment && this.#environment) throw givenTwice("clusterEnvironment", "plugins");
    const device = strategy.parallelDevices?.[0];
    if (device?.startsWith("cuda")) this.#takeDeviceType("cuda");
    else if (device?.startsWith("cpu")) this.#takeDeviceType("cpu");
  }

  /** The strategy's own devices decide on the accelerator. */
  #takeDeviceType(type: "cpu" | "cuda"): void {
    const chosen = this.#chosenAccelerator;
    const name = typeof chosen === "string" ? chosen : chosen.name;
    const fits = type === "cpu" ? ["auto", "cpu"] : ["auto", "cuda", "gpu"];
    if (!fits.includes(name)) {
      throw new ConfigurationError(
        `${type === "cpu" ? "CPU" : "GPU"} parallelDevices set through the strategy class, but accelerator is set to ${describe(name)}.`,
        { hint: "Please choose one device type." },
      );
    }
    if (typeof chosen === "string") this.#chosenAccelerator = type;
  }

  // --- 4 ---

  #chooseAccelerator(): Accelerator {
    const chosen = this.#chosenAccelerator;
    const { accelerators } = this.#around;
    const found = typeof chosen !== "string" ? chosen : accelerators.get(this.#acceleratorName(chosen));
    if (found.isAvailable()) return found;
    const available = accelerators.names().filter((name) => accelerators.get(name).isAvailable());
    throw new UsageError(`\`${className(found)}\` can not run on your system since the accelerator is not available.`, {
      code: "ERR_ACCELERATOR",
      hint: `${whyNot(found)}The following accelerator(s) is available and can be passed into the \`accelerator\` option of \`Fabric\`: ${available.join(", ")}.`,
    });
  }

  #acceleratorName(chosen: string): string {
    if (chosen !== "auto" && chosen !== "gpu") return chosen;
    const { accelerators } = this.#around;
    const preferred = chosen === "gpu" ? ["mps", "cuda"] : ["tpu", "mps", "cuda"];
    const found = preferred.find((name) => accelerators.has(name) && accelerators.get(name).isAvailable());
    if (found !== undefined) return found;
    if (chosen === "gpu")
      throw new UsageError("No supported gpu backend found!", { hint: 'Use `accelerator: "auto"` or `"cpu"`.' });
    return "cpu";
  }

  #checkAcceleratorAgainstStrategy(): void {
    if (this.accelerator.name !== "mps" || !(this.#chosenStrategy instanceof ParallelStrategy)) return;
    throw new ConfigurationError("Strategies from the DDP family are not supported on the MPS accelerator.", {
      hint: "Either explicitly set `accelerator: 'cpu'` or change the strategy.",
    });
  }

  /** As a name it means GPUs; an object with CPUs is what the user wants, and so is a class that the user gave this name. */
  #replaceDpOnCpu(): void {
    const chosen = this.#chosenStrategy;
    if (this.accelerator.name !== "cpu" || chosen === "auto" || chosen === this.#givenStrategy) return;
    if (chosen.constructor !== DataParallelStrategy) return;
    this.#tell(rankZeroWarn, "'dp' is not supported on CPUs, hence 'ddp' is used.");
    this.#chosenStrategy = this.#around.strategies.get("ddp");
  }

  #autoDeviceCount(): number {
    const count = this.accelerator.autoDeviceCount();
    if (!this.#around.isInteractive || this.accelerator.name !== "cuda" || count <= 1) return count;
    this.#tell(
      rankZeroInfo,
      `Fabric will use only 1 of ${count} GPUs because it is running inside an interactive / notebook environment. You may try to set \`new Fabric({ devices: ${count} })\` but please note that multi-GPU inside interactive environments is not supported.`,
    );
    return 1;
  }

  // --- 6 ---

  #chooseStrategy(numNodes: number, parallelDevices: readonly Device[]): Strategy {
    const { strategies, isInteractive } = this.#around;
    if (this.#chosenStrategy !== "auto") return this.#chosenStrategy;
    if (numNodes > 1) return strategies.get("ddp");
    if (parallelDevices.length <= 1) return new SingleDeviceStrategy(parallelDevices[0] ?? "cpu");
    return strategies.get(isInteractive ? "ddp_spawn" : "ddp");
  }

  // --- 7 ---

  /** What the model is computed on: accelerators of one's own may have any name. */
  #deviceType(parallelDevices: readonly Device[]): string {
    const { strategy } = this;
    const own = strategy instanceof SingleDeviceStrategy ? [strategy.rootDevice] : parallelDevicesOf(strategy);
    const type = (own ?? parallelDevices)[0]?.split(":")[0] ?? "";
    return ["cpu", "cuda", "mps"].includes(type) ? type : this.accelerator.name;
  }

  #choosePrecision(deviceType: string): Precision {
    const name = this.#precisionName;
    switch (name) {
      case "32-true":
        return new Precision();
      case "64-true":
        return new DoublePrecision();
      case "16-true":
        if (deviceType === "cpu") this.#warnOfHalfOnCpu();
        return new HalfPrecision(name);
      case "bf16-true":
        return new HalfPrecision(name);
      case "16-mixed":
      case "bf16-mixed":
        return this.#mixedPrecision(name, deviceType);
      case "transformer-engine":
        return new TransformerEnginePrecision({ weightsDtype: "bfloat16" });
      case "transformer-engine-float16":
        return new TransformerEnginePrecision({ weightsDtype: "float16" });
    }
  }

  #warnOfHalfOnCpu(): void {
    // Tried when messages are said, because a process that only starts others does not load LibTorch.
    this.#messages.push(() => {
      if (hasHalfLayersOnCpu()) return;
      rankZeroWarn(
        `LibTorch ${versions().torch} has no float16 layers for the CPU: a model with \`precision: "16-true"\` can be made and saved, but not run. Use \`precision: "bf16-true"\` to run it here.`,
      );
    });
  }

  #mixedPrecision(name: "16-mixed" | "bf16-mixed", device: string): Precision {
    if (device === "mps") {
      throw new NotSupportedError(`\`precision: ${describe(name)}\` is not available on the MPS accelerator.`, {
        hint: 'Use `precision: "16-true"` or `"32-true"`.',
      });
    }
    if (device !== "cpu") {
      this.#tell(
        rankZeroInfo,
        name === "16-mixed"
          ? "Using 16-bit Automatic Mixed Precision (AMP)"
          : "Using bfloat16 Automatic Mixed Precision (AMP)",
      );
      return new MixedPrecision(name, "cuda");
    }
    if (name === "16-mixed") {
      this.#tell(
        rankZeroWarn,
        'You passed `new Fabric({ accelerator: "cpu", precision: "16-mixed" })` but AMP with fp16 is not supported on CPU. Using `precision: "bf16-mixed"` instead.',
      );
    }
    this.#tell(rankZeroInfo, "Using bfloat16 Automatic Mixed Precision (AMP)");
    return new MixedPrecision("bf16-mixed", "cpu");
  }

  // --- 8 ---

  #attach(precision: Precision, environment: ClusterEnvironment, parallelDevices: Device[], numNodes: number): void {
    const { strategy } = this;
    strategy.accelerator = this.accelerator;
    strategy.precision = precision;
    if (this.#checkpointIO) strategy.checkpointIO = this.#checkpointIO;
    if (strategy instanceof ParallelStrategy) {
      strategy.clusterEnvironment ??= environment;
      strategy.parallelDevices ??= parallelDevices;
      strategy.numNodes = numNodes;
      strategy.setWorldRanks();
    }
    strategy.configureLauncher();
    if (this.#around.isInteractive && strategy.launcher && !strategy.launcher.isInteractiveCompatible) {
      throw new UsageError(
        `\`new Fabric({ strategy: ${describe(this.#givenStrategy)} })\` is not compatible with an interactive environment.`,
        {
          hint: "Run your code as a script, use `strategy: 'ddp_spawn'` with a function that a module exports, or use one device.",
        },
      );
    }
  }

  /** With one device nobody connects the processes that a cluster has started. */
  #warnOfLonelyRanks(): void {
    const { environment, strategy } = this;
    if (!(strategy instanceof SingleDeviceStrategy) || !environment.createsProcessesExternally) return;
    const count = startedRanks(environment);
    if (count <= 1) return;
    this.#tell(
      rankZeroWarn,
      `${count} processes were started (${className(environment)}), but Fabric was given one device on one machine: each process trains alone. Set \`devices\` and \`numNodes\` to what was started, or \`LT_DEVICES\` and \`LT_NUM_NODES\`.`,
    );
  }
}

/** Variables that are missing are an error only where they are needed. */
function startedRanks(environment: ClusterEnvironment): number {
  try {
    return environment.worldSize();
  } catch {
    return 1;
  }
}

function defaultSurroundings(): Surroundings {
  return {
    env: process.env,
    isInteractive: isInteractive(),
    accelerators: acceleratorRegistry,
    strategies: strategyRegistry,
    detectEnvironment,
  };
}

let halfLayers: boolean | undefined;

/** Tried once: LibTorch 1.13 has none, later versions do. */
function hasHalfLayersOnCpu(): boolean {
  if (halfLayers === undefined) {
    try {
      const one = ones([1, 1], { dtype: "float16", device: "cpu" });
      one.mm(one).dispose();
      halfLayers = true;
    } catch {
      halfLayers = false;
    }
  }
  return halfLayers;
}

function isIterable(value: object): value is Iterable<unknown> {
  return typeof (value as { [Symbol.iterator]?: unknown })[Symbol.iterator] === "function";
}

/** True in Node's REPL: there is no script that other processes could run. */
function isInteractive(): boolean {
  return (
    process.argv[1] === undefined &&
    process.stdin.isTTY === true &&
    !process.execArgv.some((flag) => /^(-e|-p|-pe|--eval|--print)(=|$)/.test(flag))
  );
}

/** What is known of the reason. */
function whyNot(accelerator: Accelerator): string {
  if (accelerator.name === "tpu") return "TPUs need PyTorch/XLA, which does not exist for LibTorch. ";
  if (accelerator.name !== "cuda") return "";
  return versions().cuda
    ? "No CUDA device is visible: look at `nvidia-smi` and CUDA_VISIBLE_DEVICES. "
    : "This LibTorch was built without CUDA: give the path of one with CUDA in FABRIC_LIBTORCH and run the set-up again. ";
}

function checkNumNodes(given: unknown): number {
  const value = typeof given === "string" && /^\s*\d+\s*$/.test(given) ? Number(given) : given;
  if (typeof value === "number" && Number.isInteger(value) && value >= 1) return value;
  throw new ConfigurationError(`\`numNodes\` must be a positive integer, but got ${describe(given)}.`);
}

function checkDevices(devices: unknown, accelerator: string | Accelerator): void {
  const isEmpty = Array.isArray(devices) ? devices.length === 0 : devices === 0 || devices === false;
  const isEmptyText = typeof devices === "string" && ["0", "[]"].includes(devices.trim());
  if (!isEmpty && !isEmptyText) return;
  const name = typeof accelerator === "string" ? accelerator : accelerator.name;
  throw new ConfigurationError(
    `\`new Fabric({ devices: ${describe(devices)} })\` value is not a valid input using ${name} accelerator.`,
    {
      hint: "Give at least one device, or leave `devices` out.",
    },
  );
}

function givenTwice(part: string, flag: string): ConfigurationError {
  return new ConfigurationError(`${part} set through both strategy class and \`${flag}\`, choose one.`);
}

function parallelDevicesOf(strategy: Strategy): readonly Device[] | null {
  return strategy instanceof ParallelStrategy ? strategy.parallelDevices : null;
}

/** What to type in the place of a class. */
function madeOf(given: unknown): string {
  return typeof given === "function" && given.name !== "" ? `, such as \`new ${given.name}()\`` : "";
}
