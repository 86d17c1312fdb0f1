// Strategies by name, and what to say about names of Lightning Fabric that do not exist here.
import { ConfigurationError, NotSupportedError } from "@fabric-ts/torch";
import { Registry } from "../utilities/registry.js";
import { DataParallelStrategy } from "./data-parallel.js";
import { DDPStrategy } from "./ddp.js";
import { insteadOfDeepSpeed } from "./deepspeed.js";
import { Strategy } from "./strategy.js";

/** The names that `Fabric({ strategy })` accepts. */
export type StrategyName = "auto" | "ddp" | "ddp_spawn" | "ddp_find_unused_parameters_true" | "dp";

/** Names of Lightning Fabric without an implementation here, and what to use instead. */
const unsupported = new Map<string, string>([
  ["ddp_find_unused_parameters_false", 'Use `strategy: "ddp"`, which does not look for unused parameters either.'],
  ["model_parallel", 'Use `strategy: "ddp"` as long as the model fits on one device.'],
  ["fsdp", 'Use `strategy: "ddp"` as long as the model fits on one device.'],
  ["fsdp_cpu_offload", 'Use `strategy: "ddp"` as long as the model fits on one device.'],
  ["deepspeed", insteadOfDeepSpeed],
  ["xla", 'Use `accelerator: "auto"` with `strategy: "ddp"`: PyTorch/XLA is a Python library.'],
  ["xla_fsdp", 'Use `accelerator: "auto"` with `strategy: "ddp"`: PyTorch/XLA is a Python library.'],
  ["single_xla", 'Use `accelerator: "auto"`: PyTorch/XLA is a Python library.'],
  ["single_tpu", 'Use `accelerator: "auto"`: PyTorch/XLA is a Python library.'],
]);

/** Names of Lightning Fabric for processes that are forked, which Node cannot do. */
const forking = ["ddp_fork", "ddp_notebook"];

/** Strategies that `Fabric({ strategy })` knows by name, in any case. */
export class StrategyRegistry extends Registry<Strategy> {
  constructor() {
    super({ base: Strategy, one: "strategy", many: "strategies", variable: "strategyRegistry" });
  }

  /** All names, in the order of registration. */
  availableStrategies(): string[] {
    return this.names();
  }
  /** internal: true for names that exist in Lightning Fabric but not here. */
  isUnsupported(name: string): boolean {
    return forking.includes(name) || insteadOf(name) !== undefined;
  }

  protected override keyOf(name: string): string {
    return name.toLowerCase();
  }
  protected override notFound(name: string): Error {
    const hint = insteadOf(name);
    if (hint) return new NotSupportedError(`The strategy '${name}' is not available.`, { hint });
    if (!forking.includes(name)) return super.notFound(name);
    return new ConfigurationError(
      `You selected \`strategy: '${name}'\` but process forking is not supported on this platform: Node cannot fork.`,
      { hint: "We recommend `strategy: 'ddp_spawn'` instead." },
    );
  }
}

function insteadOf(name: string): string | undefined {
  return unsupported.get(name.startsWith("deepspeed") ? "deepspeed" : name);
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
strategyRegistry.register("dp", DataParallelStrategy, {
  description: "One process that splits each batch over its GPUs.",
});
