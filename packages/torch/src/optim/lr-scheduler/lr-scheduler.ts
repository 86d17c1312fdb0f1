// The base of the learning-rate schedulers: counting steps, setting the rates of the parameter groups, and state
// dictionaries laid out as PyTorch's. The formulas are in the subclasses.
import { describe, typeError } from "../../check.js";
import { ConfigurationError, UsageError } from "../../errors.js";
import { Counter, markFloats } from "../../serialization/python-types.js";
import { Optimizer } from "../optimizer.js";
import type { ParamGroup } from "../param-group.js";

/** A scheduler's state as saved, under the names of PyTorch's `state_dict()`. */
export type SchedulerStateDict = Record<string, unknown>;

/** Options of every scheduler. */
export interface SchedulerOptions {
  /** The number of the last epoch when training is resumed, whose groups have an `initial_lr`. Default: -1, from the start. */
  lastEpoch?: number | undefined;
}

/** internal: a field of a scheduler and its key in state dictionaries. */
export type StateField = readonly [field: string, key: string];

// How many steps each optimizer made since a scheduler was attached, by its list of groups, which wrappers share.
const stepCounts = new WeakMap<readonly ParamGroup[], { steps: number }>();

function countSteps(optimizer: Optimizer): void {
  const known = stepCounts.get(optimizer.paramGroups);
  if (known) {
    known.steps = 0;
    return;
  }
  const count = { steps: 0 };
  stepCounts.set(optimizer.paramGroups, count);
  optimizer.registerStepPreHook(() => {
    count.steps++;
  });
}

/** internal: refuses what is no optimizer. */
export function checkOptimizer(optimizer: unknown, example: string): asserts optimizer is Optimizer {
  if (!(optimizer instanceof Optimizer))
    throw typeError("optimizer", "an Optimizer", optimizer, `Type \`${example}\`.`);
}

/** internal: one value for each parameter group, from a number or a list. */
export function perGroup<T>(name: string, value: T | readonly T[], optimizer: Optimizer): T[] {
  const { length } = optimizer.paramGroups;
  if (!Array.isArray(value)) return new Array<T>(length).fill(value as T);
  if (value.length !== length) {
    throw new ConfigurationError(
      `\`${name}\` has ${value.length} entries, but the optimizer has ${length} parameter ${length === 1 ? "group" : "groups"}.`,
      { hint: "Give one value, or one for each group." },
    );
  }
  return [...(value as readonly T[])];
}

/**
 * Base class of schedulers. A subclass sets its fields, calls `start` at the end of its constructor, and implements `getLr`.
 *
 *     class Halving extends optim.lrScheduler.LRScheduler {
 *       constructor(optimizer: optim.Optimizer) { super(optimizer); this.start(); }
 *       protected override getLr() { return this.baseLrs.map((lr) => lr * 0.5 ** this.lastEpoch); }
 *     }
 */
export abstract class LRScheduler {
  /** The optimizer whose rates are set. */
  readonly optimizer: Optimizer;
  /** The rates of the groups at the start. */
  baseLrs: number[] = [];
  /** How often `step` was called; 0 after construction. */
  lastEpoch: number;
  /** internal: calls of `step`, the one of the constructor included. */
  protected stepCount = 0;
  /** internal: what `getLastLr` gives. */
  protected lastLr: number[] = [];
  // What a loaded state had beside the known keys; it is saved again.
  #others: SchedulerStateDict = {};

  /** @param lastEpoch the last epoch of a run that is resumed, or -1 */
  constructor(optimizer: Optimizer, options: SchedulerOptions = {}) {
    checkOptimizer(optimizer, `new ${new.target.name}(optimizer, ...)`);
    const { lastEpoch = -1 } = options;
    if (!Number.isInteger(lastEpoch) || lastEpoch < -1)
      throw typeError("lastEpoch", "a whole number of at least -1", lastEpoch);
    this.optimizer = optimizer;
    this.lastEpoch = lastEpoch;
  }

  /** Notes the rates at the start and sets the first ones: the last line of a subclass's constructor. */
  protected start(): void {
    this.optimizer.paramGroups.forEach((group, i) => {
      if (this.lastEpoch === -1) group.initial_lr ??= group.lr;
      else if (group.initial_lr === undefined) {
        throw new ConfigurationError(`Parameter group ${i} has no \`initial_lr\`, which resuming a schedule needs.`, {
          hint: "Load the optimizer's state dict before making the scheduler, or leave `lastEpoch` out.",
        });
      }
    });
    this.baseLrs = this.optimizer.paramGroups.map((group) => group.initial_lr as number);
    this.restart();
  }

  /** internal: the first step, which sets the rates without an optimizer's step before it. */
  restart(): void {
    countSteps(this.optimizer);
    this.stepCount = 0;
    this.advance();
  }

  /** The rates of all groups for `lastEpoch`, computed from the groups' present ones or from `baseLrs`. */
  protected abstract getLr(): number[];

  /** The rates of all groups for `lastEpoch`, whatever came before; where there is such a formula. */
  protected getClosedFormLr(): number[] {
    return this.getLr();
  }

  /**
   * Sets the rates of the next epoch (or batch). Call it after `optimizer.step()`.
   * @param epoch goes to this epoch instead of the next; deprecated in PyTorch
   */
  step(epoch?: number): void {
    if (this.stepCount === 1) this.#checkOrder();
    if (epoch !== undefined) {
      checkEpoch(epoch);
      warnOfEpoch();
    }
    this.advance(epoch);
  }

  /** internal: `step` without its checks. */
  advance(epoch?: number): void {
    this.stepCount++;
    if (epoch === undefined) {
      this.lastEpoch++;
      this.setRates(this.getLr());
    } else {
      this.lastEpoch = epoch;
      this.setRates(this.getClosedFormLr());
    }
  }

  /** internal: hands new rates to the groups. */
  protected setRates(rates: readonly number[]): void {
    this.optimizer.paramGroups.forEach((group, i) => {
      const rate = rates[i];
      if (rate !== undefined) group.lr = rate;
    });
    this.lastLr = this.optimizer.paramGroups.map((group) => group.lr);
  }

  #checkOrder(): void {
    const steps = stepCounts.get(this.optimizer.paramGroups)?.steps ?? 1;
    if (steps > 0) return;
    process.emitWarning(
      "`scheduler.step()` was called before `optimizer.step()`: the first value of the schedule is skipped. Call `optimizer.step()` first.",
      { type: "UserWarning", code: "FABRIC_LR_SCHEDULER" },
    );
  }

  /** The rates that the last step set, one for each group. */
  getLastLr(): number[] {
    return [...this.lastLr];
  }

  /** internal: the subclass's own fields in state dictionaries, in PyTorch's order. */
  protected get stateFields(): readonly StateField[] {
    return [];
  }

  /** The state to be saved. It does not hold the optimizer's rates: save the optimizer's state as well. */
  stateDict(): SchedulerStateDict {
    const state: SchedulerStateDict = {};
    for (const [field, key] of [...this.stateFields, ...baseFields])
      state[key] = copied((this as unknown as Fields)[field]);
    Object.assign(state, { verbose: false, _get_lr_called_within_step: false }, this.#others);
    return markFloats(state, floatKeys);
  }

  /**
   * Takes over a state made by `stateDict()` here or by `state_dict()` in PyTorch. Load the optimizer's state as well.
   * Throws a `ConfigurationError` for the state of another scheduler.
   */
  loadStateDict(state: SchedulerStateDict): void {
    checkState(state);
    const fields = [...this.stateFields, ...baseFields];
    const lacking = fields.map(([, key]) => key).filter((key) => !(key in state) && !optionalKeys.has(key));
    if (lacking.length > 0) throw foreignState(this, lacking, state);
    const { length } = this.optimizer.paramGroups;
    const rates = state.base_lrs;
    if (!Array.isArray(rates) || rates.length !== length) {
      throw new ConfigurationError(
        `The loaded state is for ${Array.isArray(rates) ? rates.length : "no"} parameter groups, but the optimizer has ${length}.`,
        { hint: "Make the optimizer with the same groups as the one that was saved." },
      );
    }
    const known = new Set(fields.map(([, key]) => key));
    this.#others = Object.fromEntries(Object.entries(state).filter(([key]) => !known.has(key)));
    for (const [field, key] of fields) if (key in state) (this as unknown as Fields)[field] = copied(state[key]);
    if (!("_last_lr" in state)) this.lastLr = this.optimizer.paramGroups.map((group) => group.lr);
  }
}

type Fields = { [field: string]: unknown };

const baseFields: readonly StateField[] = [
  ["baseLrs", "base_lrs"],
  ["lastEpoch", "last_epoch"],
  ["stepCount", "_step_count"],
  ["lastLr", "_last_lr"],
];
// What PyTorch added over time, and what cannot be saved.
const optionalKeys: ReadonlySet<string> = new Set([
  "_step_count",
  "_last_lr",
  "lr_lambdas",
  "_anneal_func_type",
  "_scale_fn_custom",
  "use_beta1",
]);
// Numbers that are floats in Python even when they are whole.
const floatKeys: ReadonlySet<string> = new Set(
  "gamma factor start_factor end_factor power eta_min threshold eps best mode_worse total_size step_ratio".split(" "),
);

function copied(value: unknown): unknown {
  if (value instanceof Counter) return new Counter(value);
  if (!Array.isArray(value)) return value;
  const copy = value.map(copied);
  // Lists in a scheduler's state are rates and momenta, but for those of states, phases and milestones.
  return copy.every((item) => typeof item === "number") ? markFloats(copy, "all") : copy;
}

/** internal: refuses what is no state dictionary. */
export function checkState(state: unknown): asserts state is SchedulerStateDict {
  if (typeof state === "object" && state !== null && !Array.isArray(state)) return;
  throw typeError("stateDict", "an object", state, "Pass what `scheduler.stateDict()` returned.");
}

/** internal: the state lacks what this scheduler has. */
export function foreignState(scheduler: object, lacking: readonly string[], state: object): ConfigurationError {
  const { name } = scheduler.constructor;
  const has = Object.keys(state).map((key) => `\`${key}\``);
  return new ConfigurationError(
    `The loaded state has no ${lacking.map((key) => `\`${key}\``).join(", ")}, which ${name} needs; it has ${has.join(", ") || "nothing"}.`,
    { hint: `Load a state that was saved by ${name}.` },
  );
}

function checkEpoch(epoch: unknown): void {
  if (typeof epoch !== "number" || !(epoch >= 0))
    throw typeError("epoch", "a number of at least 0, or left out", epoch, "Type `scheduler.step()`.");
}

let warned = false;

/** internal: once a process. */
function warnOfEpoch(): void {
  if (warned) return;
  warned = true;
  process.emitWarning(
    "`scheduler.step(epoch)` is deprecated, as in PyTorch: it uses another formula than `scheduler.step()` where there is one. Leave the epoch out.",
    { type: "UserWarning", code: "FABRIC_LR_SCHEDULER" },
  );
}

/** internal: a function for each group. */
export function checkFunctions(name: string, functions: readonly unknown[]): void {
  for (const item of functions) {
    if (typeof item !== "function")
      throw typeError(
        name,
        "a function of the epoch, or one for each group",
        item,
        `Type \`(epoch) => 0.95 ** epoch\`.`,
      );
  }
}

/** internal: all of one optimizer? */
export function checkSameOptimizer(name: string, schedulers: readonly LRScheduler[], optimizer?: Optimizer): void {
  if (!Array.isArray(schedulers) || schedulers.length === 0)
    throw typeError("schedulers", "a list of schedulers", schedulers);
  const groups = (optimizer ?? schedulers[0]?.optimizer)?.paramGroups;
  schedulers.forEach((scheduler: unknown, i) => {
    if (!(scheduler instanceof LRScheduler))
      throw typeError(`schedulers[${i}]`, "a scheduler whose `step()` takes no metric", scheduler);
    if (scheduler.optimizer.paramGroups !== groups) {
      throw new UsageError(`${name} takes schedulers of one optimizer, but that of schedulers[${i}] is another.`, {
        hint: `Make all schedulers with the same optimizer. (This one: ${describe(scheduler)} over ${scheduler.optimizer.constructor.name}.)`,
      });
    }
  });
}
