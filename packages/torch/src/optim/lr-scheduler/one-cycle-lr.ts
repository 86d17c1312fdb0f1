// One rise and one fall over the whole training (https://arxiv.org/abs/1708.07120).
import { ConfigurationError, UsageError } from "../../errors.js";
import { checkBoolean, checkNumber, checkOptions, checkSize, checkWord } from "../../nn/arguments.js";
import { markFloats } from "../../serialization/python-types.js";
import type { Optimizer } from "../optimizer.js";
import type { ParamGroup } from "../param-group.js";
import { noMomentum, rates } from "./cyclic-lr.js";
import { LRScheduler, type SchedulerOptions, type StateField } from "./lr-scheduler.js";
import { cos } from "./math.js";

/** Options of `OneCycleLR`: `totalSteps`, or `epochs` and `stepsPerEpoch`, are needed. */
export interface OneCycleLROptions extends SchedulerOptions {
  /** How often `step` will be called, the first rate included. */
  totalSteps?: number | undefined;
  epochs?: number | undefined;
  stepsPerEpoch?: number | undefined;
  /** Share of the steps that rise (default 0.3). */
  pctStart?: number | undefined;
  /** The form of rise and fall (default `"cos"`). */
  annealStrategy?: "cos" | "linear" | undefined;
  /** Lower the momentum (or the first beta) while the rate rises (default true). */
  cycleMomentum?: boolean | undefined;
  /** The least momentum (default 0.85). */
  baseMomentum?: number | readonly number[] | undefined;
  /** The greatest momentum (default 0.95). */
  maxMomentum?: number | readonly number[] | undefined;
  /** The rate at the start is `maxLr / divFactor` (default 25). */
  divFactor?: number | undefined;
  /** The rate at the end is that of the start divided by this (default 10000). */
  finalDivFactor?: number | undefined;
  /** Fall to the rate at the start first, then to the end (default false). */
  threePhase?: boolean | undefined;
}

interface Phase {
  end_step: number;
  start_lr: string;
  end_lr: string;
  start_momentum: string;
  end_momentum: string;
}

const names = [
  "totalSteps",
  "epochs",
  "stepsPerEpoch",
  "pctStart",
  "annealStrategy",
  "cycleMomentum",
  "baseMomentum",
  "maxMomentum",
  "divFactor",
  "finalDivFactor",
  "threePhase",
  "lastEpoch",
];
const example = "new optim.lrScheduler.OneCycleLR(optimizer, 0.1, { totalSteps: 1000 })";

function phase(end: number, lr: [string, string], momentum: [string, string]): Phase {
  const made = {
    end_step: end,
    start_lr: lr[0],
    end_lr: lr[1],
    start_momentum: momentum[0],
    end_momentum: momentum[1],
  };
  return markFloats(made, new Set(["end_step"]));
}

function phasesOf(totalSteps: number, share: number, three: boolean): Phase[] {
  const up = phase(share * totalSteps - 1, ["initial_lr", "max_lr"], ["max_momentum", "base_momentum"]);
  const back: [string, string] = ["base_momentum", "max_momentum"];
  if (!three) return [up, phase(totalSteps - 1, ["max_lr", "min_lr"], back)];
  return [
    up,
    phase(2 * share * totalSteps - 2, ["max_lr", "initial_lr"], back),
    phase(totalSteps - 1, ["initial_lr", "min_lr"], ["max_momentum", "max_momentum"]),
  ];
}

/** From a low rate up to `maxLr` and down to a much lower one, in `totalSteps`. Call `step` after each batch. */
export class OneCycleLR extends LRScheduler {
  totalSteps: number;
  cycleMomentum: boolean;
  protected phases: Phase[];
  protected annealStrategy: string;
  protected useBeta1: boolean;

  constructor(optimizer: Optimizer, maxLr: number | readonly number[], options: OneCycleLROptions = {}) {
    checkOptions(options, names, example);
    super(optimizer, options);
    this.totalSteps = stepsOf(options);
    const share = checkNumber("pctStart", options.pctStart ?? 0.3, 0, 1);
    this.phases = phasesOf(this.totalSteps, share, checkBoolean("threePhase", options.threePhase ?? false));
    this.annealStrategy = checkWord("annealStrategy", options.annealStrategy ?? "cos", ["cos", "linear"]);
    const divFactor = checkNumber("divFactor", options.divFactor ?? 25, Number.MIN_VALUE);
    const finalDivFactor = checkNumber("finalDivFactor", options.finalDivFactor ?? 1e4, Number.MIN_VALUE);
    const maxLrs = rates("maxLr", maxLr, optimizer);
    this.cycleMomentum = checkBoolean("cycleMomentum", options.cycleMomentum ?? true);
    this.useBeta1 = "betas" in optimizer.defaults;
    if (this.cycleMomentum && !this.useBeta1 && !("momentum" in optimizer.defaults))
      throw noMomentum(optimizer, "`momentum` or `betas`");
    const bases = rates("baseMomentum", options.baseMomentum ?? 0.85, optimizer);
    const greatest = rates("maxMomentum", options.maxMomentum ?? 0.95, optimizer);
    if (this.lastEpoch === -1) {
      optimizer.paramGroups.forEach((group, i) => {
        group.initial_lr = (maxLrs[i] as number) / divFactor;
        group.max_lr = maxLrs[i];
        group.min_lr = (group.initial_lr as number) / finalDivFactor;
        if (!this.cycleMomentum) return;
        this.#setMomentum(group, greatest[i] as number);
        group.max_momentum = greatest[i];
        group.base_momentum = bases[i];
      });
    }
    this.start();
  }

  #setMomentum(group: ParamGroup, value: number): void {
    if (this.useBeta1) group.betas = [value, ...(group.betas as number[]).slice(1)];
    else group.momentum = value;
  }

  #anneal(start: number, end: number, share: number): number {
    if (this.annealStrategy === "linear") return (end - start) * share + start;
    return end + ((start - end) / 2) * (cos(Math.PI * share) + 1);
  }

  /** Sets the momentum as well. */
  protected override getLr(): number[] {
    const step = this.lastEpoch;
    if (step > this.totalSteps) {
      throw new UsageError(`The schedule has ${this.totalSteps} steps, but this is step ${step + 1}.`, {
        hint: "Make the scheduler with the number of batches of the whole training as `totalSteps`, or stop calling `step`.",
      });
    }
    const index = this.phases.findIndex(({ end_step }, i) => step <= end_step || i === this.phases.length - 1);
    const now = this.phases[index] as Phase;
    const start = index === 0 ? 0 : (this.phases[index - 1] as Phase).end_step;
    const share = (step - start) / (now.end_step - start);
    return this.optimizer.paramGroups.map((group) => {
      const value = (from: string, to: string): number =>
        this.#anneal(group[from] as number, group[to] as number, share);
      if (this.cycleMomentum) this.#setMomentum(group, value(now.start_momentum, now.end_momentum));
      return value(now.start_lr, now.end_lr);
    });
  }

  protected override get stateFields(): readonly StateField[] {
    return [
      ["totalSteps", "total_steps"],
      ["phases", "_schedule_phases"],
      ["annealStrategy", "_anneal_func_type"],
      ["cycleMomentum", "cycle_momentum"],
      ...(this.cycleMomentum ? [["useBeta1", "use_beta1"] as const] : []),
    ];
  }
}

function stepsOf({ totalSteps, epochs, stepsPerEpoch }: OneCycleLROptions): number {
  if (totalSteps !== undefined) return checkSize("totalSteps", totalSteps, 1, example);
  if (epochs === undefined || stepsPerEpoch === undefined) {
    throw new ConfigurationError("OneCycleLR needs `totalSteps`, or `epochs` and `stepsPerEpoch`.", {
      hint: `Type \`${example}\`.`,
    });
  }
  return checkSize("epochs", epochs, 1, example) * checkSize("stepsPerEpoch", stepsPerEpoch, 1, example);
}
