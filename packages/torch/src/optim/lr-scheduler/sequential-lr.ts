// Schedulers one after the other, and several at once.
import { typeError } from "../../check.js";
import { ConfigurationError } from "../../errors.js";
import { checkOptions, checkSize } from "../../nn/arguments.js";
import type { Optimizer } from "../optimizer.js";
import {
  checkSameOptimizer,
  checkState,
  foreignState,
  LRScheduler,
  type SchedulerOptions,
  type SchedulerStateDict,
} from "./lr-scheduler.js";
import { countUpTo } from "./math.js";

const example = "new optim.lrScheduler.SequentialLR(optimizer, [warmup, decay], [5])";

/**
 * The first scheduler until the first milestone, the second from there on, and so forth.
 *
 *     const warmup = new optim.lrScheduler.LinearLR(optimizer, { startFactor: 0.1, totalIters: 5 });
 *     const decay = new optim.lrScheduler.CosineAnnealingLR(optimizer, 95);
 *     const scheduler = new optim.lrScheduler.SequentialLR(optimizer, [warmup, decay], [5]);
 */
export class SequentialLR extends LRScheduler {
  readonly #schedulers: readonly LRScheduler[];
  #milestones: number[];

  constructor(
    optimizer: Optimizer,
    schedulers: readonly LRScheduler[],
    milestones: readonly number[],
    options: SchedulerOptions = {},
  ) {
    checkOptions(options, ["lastEpoch"], example);
    super(optimizer, options);
    checkSameOptimizer("SequentialLR", schedulers, optimizer);
    if (!Array.isArray(milestones))
      throw typeError("milestones", "a list of epochs", milestones, `Type \`${example}\`.`);
    for (const epoch of milestones as number[]) checkSize("milestones", epoch, 0, example);
    if (milestones.length !== schedulers.length - 1) {
      throw new ConfigurationError(
        `SequentialLR needs a milestone between each two schedulers: ${schedulers.length - 1} for ${schedulers.length} schedulers, but got ${milestones.length}.`,
        { hint: `Type \`${example}\`.` },
      );
    }
    this.#schedulers = [...schedulers];
    this.#milestones = [...milestones];
    this.lastEpoch++;
    for (const group of optimizer.paramGroups) group.lr = group.initial_lr as number;
    // Takes back the first steps that the schedulers made when they were constructed.
    for (const scheduler of schedulers) scheduler.lastEpoch--;
    const [first] = schedulers as [LRScheduler];
    first.restart();
    this.lastLr = first.getLastLr();
  }

  protected override getLr(): number[] {
    return this.getLastLr();
  }

  /** Sets the rates of the next epoch. */
  override step(): void {
    this.lastEpoch++;
    const index = countUpTo(this.#milestones, this.lastEpoch);
    const scheduler = this.#schedulers[index] as LRScheduler;
    if (index > 0 && this.#milestones[index - 1] === this.lastEpoch) scheduler.advance(0);
    else scheduler.step();
    this.lastLr = scheduler.getLastLr();
  }

  /** The state to be saved, with those of the schedulers. */
  override stateDict(): SchedulerStateDict {
    return {
      _milestones: [...this.#milestones],
      last_epoch: this.lastEpoch,
      _last_lr: this.getLastLr(),
      _schedulers: this.#schedulers.map((scheduler) => scheduler.stateDict()),
    };
  }
  override loadStateDict(state: SchedulerStateDict): void {
    const states = statesOf(this, state, ["_milestones", "last_epoch", "_last_lr"], this.#schedulers);
    this.#schedulers.forEach((scheduler, i) => {
      scheduler.loadStateDict(states[i] as SchedulerStateDict);
    });
    this.#milestones = [...(state._milestones as number[])];
    this.lastEpoch = state.last_epoch as number;
    this.lastLr = [...(state._last_lr as number[])];
  }
}

/** Calls `step` of several schedulers at once: their changes of the rates add up. */
export class ChainedScheduler extends LRScheduler {
  readonly #schedulers: readonly LRScheduler[];

  constructor(schedulers: readonly LRScheduler[]) {
    checkSameOptimizer("ChainedScheduler", schedulers);
    super((schedulers[0] as LRScheduler).optimizer);
    this.#schedulers = [...schedulers];
    this.lastEpoch = 0;
    this.lastLr = this.optimizer.paramGroups.map((group) => group.lr);
  }

  protected override getLr(): number[] {
    return this.getLastLr();
  }

  /** Sets the rates of the next epoch. */
  override step(): void {
    for (const scheduler of this.#schedulers) scheduler.step();
    this.lastEpoch++;
    this.lastLr = this.optimizer.paramGroups.map((group) => group.lr);
  }

  /** The state to be saved, with those of the schedulers. */
  override stateDict(): SchedulerStateDict {
    return { _last_lr: this.getLastLr(), _schedulers: this.#schedulers.map((scheduler) => scheduler.stateDict()) };
  }
  override loadStateDict(state: SchedulerStateDict): void {
    const states = statesOf(this, state, ["_last_lr"], this.#schedulers);
    this.#schedulers.forEach((scheduler, i) => {
      scheduler.loadStateDict(states[i] as SchedulerStateDict);
    });
    this.lastEpoch = this.#schedulers[0]?.lastEpoch ?? 0;
    this.lastLr = [...(state._last_lr as number[])];
  }
}

/** The states of the schedulers inside. */
function statesOf(
  scheduler: LRScheduler,
  state: SchedulerStateDict,
  keys: readonly string[],
  inside: readonly LRScheduler[],
): SchedulerStateDict[] {
  checkState(state);
  const lacking = [...keys, "_schedulers"].filter((key) => !Array.isArray(state[key]) && key !== "last_epoch");
  if (lacking.length > 0) throw foreignState(scheduler, lacking, state);
  const states = state._schedulers as SchedulerStateDict[];
  if (states.length === inside.length) return states;
  throw new ConfigurationError(
    `The loaded state is of ${states.length} schedulers, but there are ${inside.length} in this ${scheduler.constructor.name}.`,
    { hint: "Make it of the same schedulers as the one that was saved." },
  );
}
