// Strategies by name, and what to say about names of Lightning Fabric that do not exist here.
import { ConfigurationError, NotSupportedError } from "@fabric-ts/torch";
import { checkOptions, describe } from "../utilities/describe.js";
import { DDPStrategy } from "./ddp.js";
import { Strategy } from "./strategy.js";

/** The names that `Fabric({ strategy })` accepts. */
export type StrategyName = "auto" | "ddp" | "ddp_spawn" | "ddp_find_unused_parameters_true";

/** What makes a strategy: a class of strategies, or a function that returns a new one. */
// biome-ignore lint/suspicious/noExplicitAny: any constructor arguments
export type StrategyMaker = (new (...args: any[]) => Strategy) | (() => Strategy);

/** Options of `StrategyRegistry.register`. */
export interface RegisterStrategyOptions {
  /** A sentence about the strategy (default empty). */
  description?: string;
  /** Replace what has the name (default false). */
  override?: boolean;
  /** Constructor arguments, for a class. */
  init?: readonly unknown[];
}

interface Entry {
  create: () => Strategy;
  description: string;
}

/** Names of Lightning Fabric without an implementation here, and what to use instead. */
const unsupported = new Map<string, string>([
  ["dp", 'Use `strategy: "ddp"`, which is faster and works on several machines.'],
  ["ddp_find_unused_parameters_false", 'Use `strategy: "ddp"`, which does not look for unused parameters either.'],
  ["model_parallel", 'Use `strategy: "ddp"` as long as the model fits on one device.'],
  ["fsdp", 'Use `strategy: "ddp"` as long as the model fits on one device.'],
  ["fsdp_cpu_offload", 'Use `strategy: "ddp"` as long as the model fits on one device.'],
  ["deepspeed", 'Use `strategy: "ddp"`: DeepSpeed is a Python library.'],
  ["xla", 'Use `accelerator: "auto"` with `strategy: "ddp"`: PyTorch/XLA is a Python library.'],
  ["xla_fsdp", 'Use `accelerator: "auto"` with `strategy: "ddp"`: PyTorch/XLA is a Python library.'],
  ["single_xla", 'Use `accelerator: "auto"`: PyTorch/XLA is a Python library.'],
  ["single_tpu", 'Use `accelerator: "auto"`: PyTorch/XLA is a Python library.'],
]);

/** Names of Lightning Fabric for processes that are forked, which Node cannot do. */
const forking = ["ddp_fork", "ddp_notebook"];

/** Strategies that `Fabric({ strategy })` knows by name. */
export class StrategyRegistry {
  readonly #entries = new Map<string, Entry>();

  /**
   * Adds a strategy under a name (names are lower case: `Fabric({ strategy })` does not mind the case); replacing one needs
   * `{ override: true }`. Returns what was added.
   *
   *     strategyRegistry.register("ddp_fp16", DDPStrategy, { init: [{ ddpCommHook: nn.parallel.fp16CompressHook }] });
   */
  register<M extends StrategyMaker>(name: string, maker: M, options: RegisterStrategyOptions = {}): M {
    if (typeof name !== "string") throw new TypeError(`\`name\` must be a string, found ${describe(name)}.`);
    checkOptions("StrategyRegistry.register", options, ["description", "override", "init"]);
    if (typeof maker !== "function") {
      throw new TypeError(
        `Expected a class of strategies or a function that makes one, but got ${describe(maker)}.\nType \`strategyRegistry.register("${name}", MyStrategy)\`.`,
      );
    }
    const key = name.toLowerCase();
    if (this.#entries.has(key) && !options.override) {
      throw new ConfigurationError(`'${name}' is already present in the registry.`, {
        hint: "Pass `{ override: true }` to replace it.",
      });
    }
    const { init = [], description = "" } = options;
    const create = isStrategyClass(maker) ? () => new maker(...init) : () => (maker as () => Strategy)();
    this.#entries.set(key, { create: () => checked(name, create()), description });
    return maker;
  }
  /**
   * A new strategy; for an unknown name `otherwise`, where it is given. Names of Lightning Fabric that have no implementation here are a
   * `NotSupportedError`.
   */
  get(name: string): Strategy;
  get<D>(name: string, otherwise: D): Strategy | D;
  get<D>(name: string, ...otherwise: [D?]): Strategy | D | undefined {
    const found = this.#entries.get(name);
    if (found) return found.create();
    if (otherwise.length > 0) return otherwise[0];
    const hint = unsupported.get(name.startsWith("deepspeed") ? "deepspeed" : name);
    if (hint) throw new NotSupportedError(`The strategy '${name}' is not available.`, { hint });
    if (forking.includes(name)) {
      throw new ConfigurationError(
        `You selected \`strategy: '${name}'\` but process forking is not supported on this platform: Node cannot fork.`,
        { hint: "We recommend `strategy: 'ddp_spawn'` instead." },
      );
    }
    throw new ConfigurationError(`'${name}' not found in registry.`, {
      hint: `Available names: ${[...this.#entries.keys()].sort().join(", ")}.`,
    });
  }
  /** True when the name is taken. */
  has(name: string): boolean {
    return this.#entries.has(name);
  }
  /** internal: true for names that exist in Lightning Fabric but not here. */
  isUnsupported(name: string): boolean {
    return forking.includes(name) || unsupported.has(name.startsWith("deepspeed") ? "deepspeed" : name);
  }
  /** Takes a name away. */
  remove(name: string): void {
    this.#entries.delete(name);
  }
  /** The sentence that the strategy was registered with; undefined for an unknown name. */
  description(name: string): string | undefined {
    return this.#entries.get(name)?.description;
  }
  /** All names, in the order of registration. */
  availableStrategies(): string[] {
    return [...this.#entries.keys()];
  }
  toString(): string {
    return `Registered Strategies: ${this.availableStrategies().join(", ")}`;
  }
}

// biome-ignore lint/suspicious/noExplicitAny: any constructor arguments
function isStrategyClass(maker: StrategyMaker): maker is new (...args: any[]) => Strategy {
  return maker.prototype instanceof Strategy;
}

function checked(name: string, made: unknown): Strategy {
  if (made instanceof Strategy) return made;
  throw new TypeError(
    `What is registered as the strategy '${name}' made ${describe(made)}, not a Strategy.\nRegister a class that extends \`Strategy\`, or a function that returns such an object.`,
  );
}

/** The strategies of this process. */
export const strategyRegistry = new StrategyRegistry();
strategyRegistry.register("ddp", DDPStrategy, {
  description: "One process for each device, gradients averaged in backward.",
});
strategyRegistry.register("ddp_spawn", DDPStrategy, {
  init: [{ startMethod: "spawn" }],
  description: "DDP in processes that run a function given to `fabric.launch`, which returns rank 0's result.",
});
strategyRegistry.register("ddp_find_unused_parameters_true", DDPStrategy, {
  init: [{ findUnusedParameters: true }],
  description: "DDP for models that do not use all parameters in every step.",
});
