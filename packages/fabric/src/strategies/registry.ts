// Strategies by name, and what to say about names of Lightning Fabric that do not exist here.
import { ConfigurationError, NotSupportedError } from "@fabric-ts/torch";
import { DDPStrategy } from "./ddp.js";
import type { Strategy } from "./strategy.js";

/** The names that `Fabric({ strategy })` accepts. */
export type StrategyName = "auto" | "ddp" | "ddp_find_unused_parameters_true";

interface Entry {
  create: () => Strategy;
  description: string;
}

/** Names of Lightning Fabric without an implementation here, and what to use instead. */
const unsupported = new Map<string, string>([
  [
    "ddp_spawn",
    'Use `strategy: "ddp"`: it starts the script once for each device, so there are no functions to send to other processes.',
  ],
  ["ddp_fork", 'Use `strategy: "ddp"`: Node cannot fork a running process.'],
  ["ddp_notebook", 'Use `strategy: "ddp"` in a script, or one device in a notebook.'],
  ["dp", 'Use `strategy: "ddp"`, which is faster and works on several machines.'],
  ["ddp_find_unused_parameters_false", 'Use `strategy: "ddp"`, which does not look for unused parameters either.'],
  ["model_parallel", 'Use `strategy: "ddp"` as long as the model fits on one device.'],
  ["fsdp", 'Use `strategy: "ddp"` as long as the model fits on one device.'],
  ["fsdp_cpu_offload", 'Use `strategy: "ddp"` as long as the model fits on one device.'],
  ["deepspeed", 'Use `strategy: "ddp"`: DeepSpeed is a Python library.'],
  ["xla", 'Use `accelerator: "auto"` with `strategy: "ddp"`: PyTorch/XLA is a Python library.'],
  ["xla_fsdp", 'Use `accelerator: "auto"` with `strategy: "ddp"`: PyTorch/XLA is a Python library.'],
  ["single_xla", 'Use `accelerator: "auto"`: PyTorch/XLA is a Python library.'],
]);

/** Strategies that `Fabric({ strategy })` knows by name. */
export class StrategyRegistry {
  readonly #entries = new Map<string, Entry>();

  /** Adds a way to make a strategy under a name; replacing one needs `{ override: true }`. */
  register(name: string, create: () => Strategy, options: { description?: string; override?: boolean } = {}): void {
    if (typeof name !== "string") throw new TypeError(`\`name\` must be a string, found ${String(name)}.`);
    if (this.#entries.has(name) && !options.override) {
      throw new ConfigurationError(`'${name}' is already present in the registry.`, {
        hint: "Pass `{ override: true }` to replace it.",
      });
    }
    this.#entries.set(name, { create, description: options.description ?? "" });
  }
  /** A new strategy. Names of Lightning Fabric that have no implementation here are a `NotSupportedError`. */
  get(name: string): Strategy {
    const found = this.#entries.get(name);
    if (found) return found.create();
    const hint = unsupported.get(name.startsWith("deepspeed") ? "deepspeed" : name);
    if (hint) throw new NotSupportedError(`The strategy '${name}' is not available.`, { hint });
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
    return unsupported.has(name.startsWith("deepspeed") ? "deepspeed" : name);
  }
  /** Takes a name away. */
  remove(name: string): void {
    this.#entries.delete(name);
  }
  /** All names, in the order of registration. */
  availableStrategies(): string[] {
    return [...this.#entries.keys()];
  }
  toString(): string {
    return `Registered Strategies: ${this.availableStrategies().join(", ")}`;
  }
}

/** The strategies of this process. */
export const strategyRegistry = new StrategyRegistry();
strategyRegistry.register("ddp", () => new DDPStrategy(), {
  description: "One process for each device, gradients averaged in backward.",
});
strategyRegistry.register("ddp_find_unused_parameters_true", () => new DDPStrategy({ findUnusedParameters: true }), {
  description: "DDP for models that do not use all parameters in every step.",
});
