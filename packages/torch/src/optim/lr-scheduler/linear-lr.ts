// Rates that change over a number of epochs and stay as they are afterwards.
import { checkNumber, checkOptions, checkSize } from "../../nn/arguments.js";
import type { Optimizer } from "../optimizer.js";
import { LRScheduler, type SchedulerOptions, type StateField } from "./lr-scheduler.js";
import { pow } from "./math.js";

/** Options of `ConstantLR`. */
export interface ConstantLROptions extends SchedulerOptions {
  /** The factor until `totalIters`, from 0 to 1 (default 1/3). */
  factor?: number | undefined;
  /** The epoch at which the factor ends (default 5). */
  totalIters?: number | undefined;
}

/** The rates times `factor` for `totalIters` epochs, then the rates themselves. */
export class ConstantLR extends LRScheduler {
  factor: number;
  totalIters: number;

  constructor(optimizer: Optimizer, options: ConstantLROptions = {}) {
    const example = "new optim.lrScheduler.ConstantLR(optimizer, { factor: 0.5, totalIters: 4 })";
    checkOptions(options, ["factor", "totalIters", "lastEpoch"], example);
    super(optimizer, options);
    this.factor = checkNumber("factor", options.factor ?? 1 / 3, 0, 1);
    this.totalIters = checkSize("totalIters", options.totalIters ?? 5, 0, example);
    this.start();
  }

  protected override getLr(): number[] {
    const factor = this.lastEpoch === 0 ? this.factor : this.lastEpoch === this.totalIters ? 1 / this.factor : 1;
    return this.optimizer.paramGroups.map(({ lr }) => lr * factor);
  }
  protected override getClosedFormLr(): number[] {
    const factor = this.factor + (this.lastEpoch >= this.totalIters ? 1 - this.factor : 0);
    return this.baseLrs.map((lr) => lr * factor);
  }
  protected override get stateFields(): readonly StateField[] {
    return [
      ["factor", "factor"],
      ["totalIters", "total_iters"],
    ];
  }
}

/** Options of `LinearLR`. */
export interface LinearLROptions extends SchedulerOptions {
  /** The factor of the first epoch, above 0 and at most 1 (default 1/3). */
  startFactor?: number | undefined;
  /** The factor from `totalIters` on, from 0 to 1 (default 1). */
  endFactor?: number | undefined;
  /** The epochs from the one to the other (default 5). */
  totalIters?: number | undefined;
}

/** The rates times a factor that goes in a straight line from `startFactor` to `endFactor`: warm-up. */
export class LinearLR extends LRScheduler {
  startFactor: number;
  endFactor: number;
  totalIters: number;

  constructor(optimizer: Optimizer, options: LinearLROptions = {}) {
    const example = "new optim.lrScheduler.LinearLR(optimizer, { startFactor: 0.5, totalIters: 4 })";
    checkOptions(options, ["startFactor", "endFactor", "totalIters", "lastEpoch"], example);
    super(optimizer, options);
    // From 0 the next rate would be a division by zero.
    this.startFactor = checkNumber("startFactor", options.startFactor ?? 1 / 3, Number.MIN_VALUE, 1);
    this.endFactor = checkNumber("endFactor", options.endFactor ?? 1, 0, 1);
    this.totalIters = checkSize("totalIters", options.totalIters ?? 5, 1, example);
    this.start();
  }

  protected override getLr(): number[] {
    const groups = this.optimizer.paramGroups;
    if (this.lastEpoch === 0) return groups.map(({ lr }) => lr * this.startFactor);
    if (this.lastEpoch > this.totalIters) return groups.map(({ lr }) => lr);
    const slope = this.endFactor - this.startFactor;
    const factor = 1 + slope / (this.totalIters * this.startFactor + (this.lastEpoch - 1) * slope);
    return groups.map(({ lr }) => lr * factor);
  }
  protected override getClosedFormLr(): number[] {
    const slope = this.endFactor - this.startFactor;
    const factor = this.startFactor + (slope * Math.min(this.totalIters, this.lastEpoch)) / this.totalIters;
    return this.baseLrs.map((lr) => lr * factor);
  }
  protected override get stateFields(): readonly StateField[] {
    return [
      ["startFactor", "start_factor"],
      ["endFactor", "end_factor"],
      ["totalIters", "total_iters"],
    ];
  }
}

/** Options of `PolynomialLR`. */
export interface PolynomialLROptions extends SchedulerOptions {
  /** The epochs until the rates are 0 (default 5). */
  totalIters?: number | undefined;
  /** The power of the polynomial (default 1). */
  power?: number | undefined;
}

/** The rates times `(1 - epoch / totalIters) ** power`. */
export class PolynomialLR extends LRScheduler {
  totalIters: number;
  power: number;

  constructor(optimizer: Optimizer, options: PolynomialLROptions = {}) {
    const example = "new optim.lrScheduler.PolynomialLR(optimizer, { totalIters: 10, power: 2 })";
    checkOptions(options, ["totalIters", "power", "lastEpoch"], example);
    super(optimizer, options);
    this.totalIters = checkSize("totalIters", options.totalIters ?? 5, 1, example);
    this.power = checkNumber("power", options.power ?? 1);
    this.start();
  }

  protected override getLr(): number[] {
    const { lastEpoch, totalIters } = this;
    const groups = this.optimizer.paramGroups;
    if (lastEpoch === 0 || lastEpoch > totalIters) return groups.map(({ lr }) => lr);
    const factor = pow((1 - lastEpoch / totalIters) / (1 - (lastEpoch - 1) / totalIters), this.power);
    return groups.map(({ lr }) => lr * factor);
  }
  protected override getClosedFormLr(): number[] {
    const factor = pow(1 - Math.min(this.totalIters, this.lastEpoch) / this.totalIters, this.power);
    return this.baseLrs.map((lr) => lr * factor);
  }
  protected override get stateFields(): readonly StateField[] {
    return [
      ["totalIters", "total_iters"],
      ["power", "power"],
    ];
  }
}
