// Rates that fall at regular or given epochs, or at each one.
import { typeError } from "../../check.js";
import { checkNumber, checkOptions, checkSize } from "../../nn/arguments.js";
import { Counter } from "../../serialization/python-types.js";
import type { Optimizer } from "../optimizer.js";
import { LRScheduler, type SchedulerOptions, type StateField } from "./lr-scheduler.js";
import { countUpTo, pow } from "./math.js";

/** Options of `StepLR` and `MultiStepLR`. */
export interface StepLROptions extends SchedulerOptions {
  /** The factor (default 0.1). */
  gamma?: number | undefined;
}

const stepExample = "new optim.lrScheduler.StepLR(optimizer, 30, { gamma: 0.1 })";

/** Multiplies the rates by `gamma` every `stepSize` epochs. */
export class StepLR extends LRScheduler {
  stepSize: number;
  gamma: number;

  constructor(optimizer: Optimizer, stepSize: number, options: StepLROptions = {}) {
    checkOptions(options, ["gamma", "lastEpoch"], stepExample);
    super(optimizer, options);
    this.stepSize = checkSize("stepSize", stepSize, 1, stepExample);
    this.gamma = checkNumber("gamma", options.gamma ?? 0.1);
    this.start();
  }

  protected override getLr(): number[] {
    const falls = this.lastEpoch !== 0 && this.lastEpoch % this.stepSize === 0;
    return this.optimizer.paramGroups.map(({ lr }) => (falls ? lr * this.gamma : lr));
  }
  protected override getClosedFormLr(): number[] {
    const factor = pow(this.gamma, Math.floor(this.lastEpoch / this.stepSize));
    return this.baseLrs.map((lr) => lr * factor);
  }
  protected override get stateFields(): readonly StateField[] {
    return [
      ["stepSize", "step_size"],
      ["gamma", "gamma"],
    ];
  }
}

const multiExample = "new optim.lrScheduler.MultiStepLR(optimizer, [30, 80], { gamma: 0.1 })";

/** Multiplies the rates by `gamma` at each of the epochs in `milestones`; an epoch that is there twice counts twice. */
export class MultiStepLR extends LRScheduler {
  gamma: number;
  #milestones = new Counter();

  constructor(optimizer: Optimizer, milestones: readonly number[], options: StepLROptions = {}) {
    checkOptions(options, ["gamma", "lastEpoch"], multiExample);
    super(optimizer, options);
    if (!Array.isArray(milestones))
      throw typeError("milestones", "a list of epochs", milestones, `Type \`${multiExample}\`.`);
    for (const epoch of milestones as number[]) {
      checkSize("milestones", epoch, 0, multiExample);
      this.#milestones.set(epoch, (this.#milestones.get(epoch) ?? 0) + 1);
    }
    this.gamma = checkNumber("gamma", options.gamma ?? 0.1);
    this.start();
  }

  /** The epochs at which the rates fall, in order. */
  get milestones(): number[] {
    return [...this.#milestones]
      .flatMap(([epoch, count]) => new Array<number>(count).fill(epoch as number))
      .sort((a, b) => a - b);
  }

  protected override getLr(): number[] {
    const count = this.#milestones.get(this.lastEpoch) ?? 0;
    return this.optimizer.paramGroups.map(({ lr }) => (count === 0 ? lr : lr * pow(this.gamma, count)));
  }
  protected override getClosedFormLr(): number[] {
    const factor = pow(this.gamma, countUpTo(this.milestones, this.lastEpoch));
    return this.baseLrs.map((lr) => lr * factor);
  }

  // A Counter in PyTorch; loaded, a Map with numbers as keys or an object with text.
  protected get savedMilestones(): unknown {
    return this.#milestones;
  }
  protected set savedMilestones(value: unknown) {
    const entries = value instanceof Map ? [...value] : Object.entries((value ?? {}) as object);
    this.#milestones = new Counter(entries.map(([epoch, count]) => [Number(epoch), Number(count)]));
  }
  protected override get stateFields(): readonly StateField[] {
    return [
      ["savedMilestones", "milestones"],
      ["gamma", "gamma"],
    ];
  }
}

const exponentialExample = "new optim.lrScheduler.ExponentialLR(optimizer, 0.9)";

/** Multiplies the rates by `gamma` every epoch. */
export class ExponentialLR extends LRScheduler {
  gamma: number;

  constructor(optimizer: Optimizer, gamma: number, options: SchedulerOptions = {}) {
    checkOptions(options, ["lastEpoch"], exponentialExample);
    super(optimizer, options);
    if (typeof gamma !== "number") throw typeError("gamma", "a number", gamma, `Type \`${exponentialExample}\`.`);
    this.gamma = gamma;
    this.start();
  }

  protected override getLr(): number[] {
    return this.optimizer.paramGroups.map(({ lr }) => (this.lastEpoch === 0 ? lr : lr * this.gamma));
  }
  protected override getClosedFormLr(): number[] {
    const factor = pow(this.gamma, this.lastEpoch);
    return this.baseLrs.map((lr) => lr * factor);
  }
  protected override get stateFields(): readonly StateField[] {
    return [["gamma", "gamma"]];
  }
}
