// Logs the learning rate of every parameter group.
import { ConfigurationError, type optim } from "@fabric-ts/torch";
import { checkOptions, describe } from "../utilities/describe.js";
import { rankZeroWarn } from "../utilities/rank-zero.js";
import { FabricOptimizer } from "../wrappers/optimizer.js";
import { FabricSlot, factsOf, isCount } from "./facts.js";
import type { BatchFacts, EpochFacts, HookFacts, OptimizerStepFacts, SetupFacts } from "./hooks.js";

/** Options of `LearningRateMonitor`. */
export interface LearningRateMonitorOptions {
  /** Log after every batch (`"step"`, the default) or after every epoch. */
  loggingInterval?: "step" | "epoch" | undefined;
  /** Log momentum, or the first of Adam's betas, as well: `lr-SGD-momentum` (default false). */
  logMomentum?: boolean | undefined;
  /** Log weight decay as well: `lr-SGD-weight_decay` (default false). */
  logWeightDecay?: boolean | undefined;
}

/**
 * Hands the learning rates that the last optimizer steps used to the loggers, from `onTrainBatchEnd` or `onTrainEpochEnd`. The names are
 * Lightning's: `lr-Adam`, with several parameter groups `lr-Adam/pg1`, `lr-Adam/pg2` (or a group's own `name`), for a second Adam
 * `lr-Adam-1`. Optimizers that were set up are found by themselves.
 *
 *     const fabric = new Fabric({ callbacks: [new LearningRateMonitor()], loggers: [logger] });
 *     // ... in the loop, after optimizer.step()
 *     await fabric.call("onTrainBatchEnd", { fabric, step });
 */
export class LearningRateMonitor {
  readonly #interval: "step" | "epoch";
  readonly #logMomentum: boolean;
  readonly #logWeightDecay: boolean;
  readonly #slot = new FabricSlot("LearningRateMonitor");
  // In the order in which optimizers are first seen, which gives them their names.
  readonly #watched = new Map<optim.Optimizer, Watched>();
  #hasWarned = false;

  /** @throws TypeError for unknown options, ConfigurationError for another interval */
  constructor(options: LearningRateMonitorOptions = {}) {
    checkOptions("LearningRateMonitor", options, ["loggingInterval", "logMomentum", "logWeightDecay"]);
    const { loggingInterval = "step", logMomentum = false, logWeightDecay = false } = options;
    if (loggingInterval !== "step" && loggingInterval !== "epoch") {
      throw new ConfigurationError(`\`loggingInterval\` is ${describe(loggingInterval)}.`, {
        hint: 'Choose "step" or "epoch".',
      });
    }
    this.#interval = loggingInterval;
    this.#logMomentum = logMomentum;
    this.#logWeightDecay = logWeightDecay;
  }

  /** The rates by name, as they were at the last step of their optimizer. */
  get rates(): Record<string, number> {
    return Object.assign({}, ...[...this.#watched.values()].map(({ rates }) => rates)) as Record<string, number>;
  }

  onAfterSetup({ fabric }: SetupFacts): void {
    this.#slot.set(fabric);
  }
  /** Forgets the optimizers of a training before. */
  onTrainStart(): void {
    this.#watched.clear();
  }
  onAfterOptimizerStep({ optimizer }: OptimizerStepFacts): void {
    this.#read(optimizer).hasStepped = true;
  }
  onTrainBatchEnd(facts: BatchFacts): void {
    if (this.#interval === "step") this.#log("onTrainBatchEnd", facts);
  }
  onTrainEpochEnd(facts: EpochFacts): void {
    if (this.#interval === "epoch") this.#log("onTrainEpochEnd", facts);
  }

  #log(hook: string, given: HookFacts): void {
    const facts = factsOf("LearningRateMonitor", hook, given);
    for (const optimizer of [facts.optimizer, ...(facts.optimizers ?? [])]) {
      if (optimizer === undefined) continue;
      const inner = optimizer instanceof FabricOptimizer ? optimizer.optimizer : optimizer;
      // Of those that were set up the rate of the last step is known; a scheduler may have changed it since.
      if (!this.#watched.get(inner)?.hasStepped) this.#read(inner);
    }
    const fabric = this.#slot.from(facts);
    if (fabric.loggers.length === 0 && !this.#hasWarned) {
      this.#hasWarned = true;
      rankZeroWarn(
        "LearningRateMonitor has nowhere to log to.\nGive Fabric a logger: `new Fabric({ loggers: [...], callbacks: [...] })`.",
      );
    }
    const step = isCount(facts.step) ? facts.step : undefined;
    const { rates } = this;
    if (Object.keys(rates).length > 0) fabric.logDict(rates, step);
  }

  #read(optimizer: optim.Optimizer): Watched {
    let watched = this.#watched.get(optimizer);
    if (watched === undefined) {
      refuseEqualNames(optimizer);
      watched = { prefix: this.#newPrefix(optimizer.constructor.name), rates: {}, hasStepped: false };
      this.#watched.set(optimizer, watched);
    }
    watched.rates = {};
    const groups = optimizer.paramGroups;
    for (const [i, group] of groups.entries()) {
      const own = typeof group.name === "string" ? group.name : groups.length > 1 ? `pg${i + 1}` : undefined;
      const name = own === undefined ? watched.prefix : `${watched.prefix}/${own}`;
      watched.rates[name] = Number(group.lr);
      if (this.#logMomentum) watched.rates[`${name}-momentum`] = momentumOf(group);
      if (this.#logWeightDecay) watched.rates[`${name}-weight_decay`] = Number(group.weightDecay ?? 0);
    }
    return watched;
  }

  #newPrefix(kind: string): string {
    const before = [...this.#watched.keys()].filter((optimizer) => optimizer.constructor.name === kind).length;
    return before === 0 ? `lr-${kind}` : `lr-${kind}-${before}`;
  }
}

interface Watched {
  prefix: string;
  rates: Record<string, number>;
  hasStepped: boolean;
}

function momentumOf(group: optim.ParamGroup): number {
  const { betas, momentum = 0 } = group as { betas?: readonly number[]; momentum?: number };
  return Number(betas?.[0] ?? momentum);
}

function refuseEqualNames(optimizer: optim.Optimizer): void {
  const names = optimizer.paramGroups.map((group) => group.name).filter((name) => name !== undefined);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice === undefined) return;
  throw new ConfigurationError(
    `Several parameter groups of one ${optimizer.constructor.name} have the \`name\` ${describe(twice)}.`,
    { hint: "Give each group a name of its own, so that their rates can be told apart." },
  );
}
