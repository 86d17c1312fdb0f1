// Ends training when a metric has stopped improving.
import { ConfigurationError } from "@fabric-ts/torch";
import type { Fabric } from "../fabric.js";
import { convertTensorsToScalars } from "../utilities/convert.js";
import { checkOptions, describe } from "../utilities/describe.js";
import { rankZeroInfo, rankZeroWarn } from "../utilities/rank-zero.js";
import { checkMetricsHook, FabricSlot, factsOf, isCount, type MetricsHook } from "./facts.js";
import type { BatchFacts, EpochFacts, HookFacts, Metrics, SetupFacts } from "./hooks.js";
import { MonitoredMetric, type MonitorMode } from "./monitored-metric.js";

/** Options of `EarlyStopping`. */
export interface EarlyStoppingOptions {
  /** The metric's name. */
  monitor: string;
  /** Whether a smaller or a greater value is better (default `"min"`). */
  mode?: MonitorMode | undefined;
  /** After how many checks in a row without improvement training stops (default 3). */
  patience?: number | undefined;
  /** By how much, at least, a value has to be better to count as an improvement (default 0). */
  minDelta?: number | undefined;
  /** Stop as soon as the metric is better than this. */
  stoppingThreshold?: number | undefined;
  /** Stop as soon as the metric is worse than this. */
  divergenceThreshold?: number | undefined;
  /** Stop when the metric is NaN or infinite (default true). */
  checkFinite?: boolean | undefined;
  /** A missing metric is an error (default true); otherwise a warning. */
  strict?: boolean | undefined;
  /** Where the metric comes from (default `"onValidationEnd"`). */
  hook?: MetricsHook | undefined;
  /** Say on standard error when the metric improves and why training stops (default false). */
  verbose?: boolean | undefined;
}

/** What `EarlyStopping` saves, with Lightning's keys. */
export interface EarlyStoppingState {
  wait_count: number;
  stopped_epoch: number;
  best_score: number;
  patience: number;
}

/**
 * Sets `shouldStop` when a metric has stopped improving; the loop looks at it. All ranks decide alike. Put it into the state that you save
 * and a resumed run goes on counting.
 *
 *     const stopping = new EarlyStopping({ monitor: "val_loss", patience: 3 });
 *     const fabric = new Fabric({ callbacks: [stopping] });
 *     for (let epoch = 0; epoch < 100 && !stopping.shouldStop; epoch++) {
 *       // ... train and validate
 *       await fabric.call("onValidationEnd", { fabric, epoch, metrics: { val_loss } });
 *     }
 */
export class EarlyStopping {
  /** True from the check on that ended training. */
  shouldStop = false;
  /** Why training is to stop, in a sentence; null before. */
  reason: string | null = null;
  /** The best value so far. */
  bestScore: number;
  /** Checks since the last improvement. */
  waitCount = 0;
  /** The epoch in which training was stopped, or 0. */
  stoppedEpoch = 0;
  readonly #metric: MonitoredMetric;
  readonly #options: Required<
    Omit<EarlyStoppingOptions, "monitor" | "mode" | "stoppingThreshold" | "divergenceThreshold">
  >;
  readonly #stoppingThreshold: number | undefined;
  readonly #divergenceThreshold: number | undefined;
  readonly #slot = new FabricSlot("EarlyStopping");

  /** @throws TypeError for unknown options, ConfigurationError for values that cannot work */
  constructor(options: EarlyStoppingOptions) {
    checkOptions("EarlyStopping", options, optionNames);
    const { monitor, mode = "min", stoppingThreshold, divergenceThreshold, ...rest } = options;
    this.#metric = new MonitoredMetric("EarlyStopping", monitor, mode);
    this.#options = {
      patience: rest.patience ?? 3,
      minDelta: rest.minDelta ?? 0,
      checkFinite: rest.checkFinite ?? true,
      strict: rest.strict ?? true,
      hook: rest.hook ?? "onValidationEnd",
      verbose: rest.verbose ?? false,
    };
    this.#stoppingThreshold = stoppingThreshold;
    this.#divergenceThreshold = divergenceThreshold;
    checkNumbers(options);
    checkMetricsHook("EarlyStopping", this.#options.hook);
    this.bestScore = this.#metric.worst;
  }

  /** The metric's name. */
  get monitor(): string {
    return this.#metric.name;
  }
  /** Whether a smaller or a greater value is better. */
  get mode(): MonitorMode {
    return this.#metric.mode;
  }
  /** After how many checks without improvement training stops. */
  get patience(): number {
    return this.#options.patience;
  }

  /** Checks a value without hooks: true when training is to stop. All ranks call it. */
  async check(fabric: Fabric, metrics: Metrics, epoch = 0): Promise<boolean> {
    if (!this.#options.strict && !this.#metric.isIn(metrics)) {
      rankZeroWarn(`EarlyStopping: the metric \`${this.monitor}\` is not there; nothing is checked.`);
      return this.shouldStop;
    }
    const value = await this.#metric.read(fabric, metrics, this.#options.hook);
    const reason = this.#judge(value);
    if (reason !== null) {
      this.shouldStop = true;
      this.reason = reason;
      this.stoppedEpoch = epoch;
      if (this.#options.verbose) rankZeroInfo(reason);
    }
    return this.shouldStop;
  }

  /** Forgets everything, for another training in the same process. */
  reset(): void {
    this.shouldStop = false;
    this.reason = null;
    this.bestScore = this.#metric.worst;
    this.waitCount = 0;
    this.stoppedEpoch = 0;
  }

  onAfterSetup({ fabric }: SetupFacts): void {
    this.#slot.set(fabric);
  }
  async onValidationEnd(facts: EpochFacts): Promise<void> {
    await this.#onHook("onValidationEnd", facts);
  }
  async onTrainEpochEnd(facts: EpochFacts): Promise<void> {
    await this.#onHook("onTrainEpochEnd", facts);
  }
  async onTrainBatchEnd(facts: BatchFacts): Promise<void> {
    await this.#onHook("onTrainBatchEnd", facts);
  }

  stateDict(): EarlyStoppingState {
    return {
      wait_count: this.waitCount,
      stopped_epoch: this.stoppedEpoch,
      best_score: this.bestScore,
      patience: this.patience,
    };
  }
  /** Goes on from a saved state, also one of Lightning's. The patience stays that of the options. */
  loadStateDict(state: EarlyStoppingState): void {
    const saved = convertTensorsToScalars(state) as Partial<EarlyStoppingState> | null;
    const { wait_count, stopped_epoch, best_score } = saved ?? {};
    if (!isCount(wait_count) || typeof best_score !== "number") {
      throw new TypeError(
        `Expected the state of EarlyStopping to have \`wait_count\` and \`best_score\`, but got ${describe(state)}.`,
      );
    }
    this.waitCount = wait_count;
    this.bestScore = best_score;
    this.stoppedEpoch = stopped_epoch ?? 0;
    this.shouldStop = false;
    this.reason = null;
  }

  async #onHook(hook: MetricsHook, given: HookFacts): Promise<void> {
    if (this.#options.hook !== hook) return;
    const facts = factsOf("EarlyStopping", hook, given);
    await this.check(this.#slot.from(facts), facts.metrics ?? {}, facts.epoch);
  }

  /** Takes a value in; why training is to stop, or null. */
  #judge(value: number): string | null {
    const { patience, minDelta, checkFinite, verbose } = this.#options;
    const { name, mode } = this.#metric;
    const before = this.bestScore;
    let isOver = false;
    if (checkFinite && !Number.isFinite(value)) {
      return `Monitored metric ${name} = ${value} is not finite. Previous best value was ${short(before)}.`;
    }
    if (this.#metric.isBetter(mode === "min" ? value + minDelta : value - minDelta, before)) {
      this.bestScore = value;
      this.waitCount = 0;
      if (verbose)
        rankZeroInfo(
          `Metric ${name} improved${Number.isFinite(before) ? ` from ${short(before)}` : ""}. New best score: ${short(value)}`,
        );
    } else isOver = ++this.waitCount >= patience;
    const stopping = this.#stoppingThreshold;
    if (stopping !== undefined && this.#metric.isBetter(value, stopping)) {
      return `Stopping threshold reached: ${name} = ${short(value)}, which is better than ${stopping}.`;
    }
    const divergence = this.#divergenceThreshold;
    if (divergence !== undefined && this.#metric.isBetter(divergence, value)) {
      return `Divergence threshold reached: ${name} = ${short(value)}, which is worse than ${divergence}.`;
    }
    if (!isOver) return null;
    return `Monitored metric ${name} did not improve in the last ${this.waitCount} checks. Best score: ${short(this.bestScore)}.`;
  }
}

const optionNames = [
  "monitor",
  "mode",
  "patience",
  "minDelta",
  "stoppingThreshold",
  "divergenceThreshold",
  "checkFinite",
  "strict",
  "hook",
  "verbose",
];

function checkNumbers(options: EarlyStoppingOptions): void {
  const { patience, minDelta, stoppingThreshold, divergenceThreshold } = options;
  if (patience !== undefined && !isCount(patience)) {
    throw new ConfigurationError(`\`patience\` of EarlyStopping is ${describe(patience)}.`, {
      hint: "Give a whole number from 0: how many checks in a row may bring no improvement.",
    });
  }
  for (const [name, value] of Object.entries({ minDelta, stoppingThreshold, divergenceThreshold })) {
    if (
      value === undefined ||
      (typeof value === "number" && !Number.isNaN(value) && (name !== "minDelta" || value >= 0))
    )
      continue;
    throw new ConfigurationError(`\`${name}\` of EarlyStopping is ${describe(value)}.`, {
      hint: name === "minDelta" ? "Give a number from 0; `mode` says in which direction it counts." : "Give a number.",
    });
  }
}

/** A number as people want to read it. */
function short(value: number): string {
  return String(Number(value.toPrecision(6)));
}
