// Rates that fall when a metric stops getting better.
import { typeError } from "../../check.js";
import { ConfigurationError } from "../../errors.js";
import { checkNumber, checkOptions, checkSize, checkWord } from "../../nn/arguments.js";
import { markFloats } from "../../serialization/python-types.js";
import { Tensor } from "../../tensor.js";
import type { Optimizer } from "../optimizer.js";
import { rates } from "./cyclic-lr.js";
import { checkOptimizer, checkState, foreignState, type SchedulerStateDict } from "./lr-scheduler.js";

/** Options of `ReduceLROnPlateau`. */
export interface ReduceLROnPlateauOptions {
  /** Whether less or more of the metric is better (default `"min"`). */
  mode?: "min" | "max" | undefined;
  /** What the rates are multiplied by, below 1 (default 0.1). */
  factor?: number | undefined;
  /** Epochs without improvement that are tolerated (default 10). */
  patience?: number | undefined;
  /** What counts as an improvement (default 1e-4). */
  threshold?: number | undefined;
  /** The threshold is a share of the best value (`"rel"`, the default) or a difference to it. */
  thresholdMode?: "rel" | "abs" | undefined;
  /** Epochs after a fall in which nothing is counted (default 0). */
  cooldown?: number | undefined;
  /** The least rate, or one for each group (default 0). */
  minLr?: number | readonly number[] | undefined;
  /** Smaller changes of a rate are left out (default 1e-8). */
  eps?: number | undefined;
}

const names = ["mode", "factor", "patience", "threshold", "thresholdMode", "cooldown", "minLr", "eps"];
const example = 'new optim.lrScheduler.ReduceLROnPlateau(optimizer, { mode: "min", patience: 5 })';

interface State {
  factor: number;
  min_lrs: number[];
  patience: number;
  verbose: boolean;
  cooldown: number;
  cooldown_counter: number;
  mode: string;
  threshold: number;
  threshold_mode: string;
  best: number;
  num_bad_epochs: number;
  mode_worse: number;
  eps: number;
  last_epoch: number;
  _last_lr: number[];
}

const floats = new Set(["factor", "threshold", "best", "mode_worse", "eps"]);
const optional = new Set(["verbose", "_last_lr", "mode_worse"]);

/**
 * Multiplies the rates by `factor` when the metric given to `step` has not improved for more than `patience` epochs.
 *
 *     const scheduler = new optim.lrScheduler.ReduceLROnPlateau(optimizer, { patience: 3 });
 *     scheduler.step(validationLoss);
 */
export class ReduceLROnPlateau {
  /** The optimizer whose rates are set. */
  readonly optimizer: Optimizer;
  #state: State;
  #others: SchedulerStateDict = {};

  constructor(optimizer: Optimizer, options: ReduceLROnPlateauOptions = {}) {
    checkOptions(options, names, example);
    checkOptimizer(optimizer, example);
    this.optimizer = optimizer;
    const factor = checkNumber("factor", options.factor ?? 0.1);
    if (factor >= 1) {
      throw new ConfigurationError(`\`factor\` has to be below 1, but is ${factor}.`, { hint: `Type \`${example}\`.` });
    }
    const mode = checkWord("mode", options.mode ?? "min", ["min", "max"]);
    const worst = mode === "min" ? Number.POSITIVE_INFINITY : Number.NEGATIVE_INFINITY;
    this.#state = {
      factor,
      min_lrs: rates("minLr", options.minLr ?? 0, optimizer),
      patience: checkSize("patience", options.patience ?? 10, 0, example),
      verbose: false,
      cooldown: checkSize("cooldown", options.cooldown ?? 0, 0, example),
      cooldown_counter: 0,
      mode,
      threshold: checkNumber("threshold", options.threshold ?? 1e-4),
      threshold_mode: checkWord("thresholdMode", options.thresholdMode ?? "rel", ["rel", "abs"]),
      best: worst,
      num_bad_epochs: 0,
      mode_worse: worst,
      eps: checkNumber("eps", options.eps ?? 1e-8),
      last_epoch: 0,
      _last_lr: optimizer.paramGroups.map((group) => group.lr),
    };
  }

  /** How often `step` was called. */
  get lastEpoch(): number {
    return this.#state.last_epoch;
  }
  /** The best metric so far; infinite before the first. */
  get best(): number {
    return this.#state.best;
  }
  /** Epochs since the last improvement. */
  get numBadEpochs(): number {
    return this.#state.num_bad_epochs;
  }

  /** Takes the metric of an epoch, a number or a tensor with one element, and lowers the rates where it is time. */
  step(metric: number | Tensor): void {
    const current = metric instanceof Tensor ? Number(metric.item()) : metric;
    if (typeof current !== "number")
      throw typeError("metric", "a number, or a tensor with one element", metric, "Type `scheduler.step(loss)`.");
    const state = this.#state;
    state.last_epoch++;
    if (this.#isBetter(current)) {
      state.best = current;
      state.num_bad_epochs = 0;
    } else state.num_bad_epochs++;
    if (state.cooldown_counter > 0) {
      state.cooldown_counter--;
      state.num_bad_epochs = 0;
    }
    if (state.num_bad_epochs > state.patience) {
      this.#reduce();
      state.cooldown_counter = state.cooldown;
      state.num_bad_epochs = 0;
    }
    state._last_lr = this.optimizer.paramGroups.map((group) => group.lr);
  }

  #isBetter(value: number): boolean {
    const { mode, threshold, threshold_mode: kind, best } = this.#state;
    if (mode === "min") return value < (kind === "rel" ? best * (1 - threshold) : best - threshold);
    return value > (kind === "rel" ? best * (threshold + 1) : best + threshold);
  }

  #reduce(): void {
    const { factor, min_lrs: least, eps } = this.#state;
    this.optimizer.paramGroups.forEach((group, i) => {
      const rate = Math.max(group.lr * factor, least[i] as number);
      if (group.lr - rate > eps) group.lr = rate;
    });
  }

  /** The rates after the last step, one for each group. */
  getLastLr(): number[] {
    return [...this.#state._last_lr];
  }

  /** The state to be saved, under PyTorch's names. Save the optimizer's state as well: it holds the rates. */
  stateDict(): SchedulerStateDict {
    const { min_lrs: least, _last_lr: last, ...rest } = this.#state;
    const lists = { min_lrs: markFloats([...least], "all"), _last_lr: markFloats([...last], "all") };
    return markFloats({ ...rest, ...lists, ...this.#others }, floats);
  }

  /** Takes over a state made by `stateDict()` here or by `state_dict()` in PyTorch. */
  loadStateDict(stateDict: SchedulerStateDict): void {
    checkState(stateDict);
    const lacking = Object.keys(this.#state).filter((key) => !(key in stateDict) && !optional.has(key));
    if (lacking.length > 0) throw foreignState(this, lacking, stateDict);
    const entries = Object.entries(stateDict);
    const known = Object.fromEntries(entries.filter(([key]) => key in this.#state)) as Partial<State>;
    this.#others = Object.fromEntries(entries.filter(([key]) => !(key in this.#state)));
    this.#state = { ...this.#state, ...known };
    this.#state.min_lrs = [...this.#state.min_lrs];
    this.#state._last_lr = [...(known._last_lr ?? this.optimizer.paramGroups.map((group) => group.lr))];
  }
}
