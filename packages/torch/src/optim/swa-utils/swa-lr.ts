// The learning rate of stochastic weight averaging: from the present one to a constant.
import { checkNumber, checkOptions, checkSize, checkWord } from "../../nn/arguments.js";
import { LRScheduler, perGroup, type SchedulerOptions, type StateField } from "../lr-scheduler/lr-scheduler.js";
import { cos } from "../lr-scheduler/math.js";
import type { Optimizer } from "../optimizer.js";

/** Options of `SWALR`. */
export interface SWALROptions extends SchedulerOptions {
  /** The rate at the end: for all groups, or one each. Required. */
  swaLr: number | readonly number[];
  /** How many epochs it takes to get there (default 10). */
  annealEpochs?: number | undefined;
  /** Along a cosine or a line (default `"cos"`). */
  annealStrategy?: "cos" | "linear" | undefined;
}

const example = "new optim.swaUtils.SWALR(optimizer, { swaLr: 0.05, annealEpochs: 10 })";

/** Moves the rates of all groups to `swaLr` and keeps them there, as `torch.optim.swa_utils.SWALR`. */
export class SWALR extends LRScheduler {
  annealEpochs: number;
  annealStrategy: "cos" | "linear";

  constructor(optimizer: Optimizer, options: SWALROptions) {
    checkOptions(options, ["swaLr", "annealEpochs", "annealStrategy", "lastEpoch"], example);
    super(optimizer, options);
    const rates = perGroup("swaLr", options.swaLr, optimizer);
    optimizer.paramGroups.forEach((group, i) => {
      group.swa_lr = checkNumber("swaLr", rates[i]);
    });
    this.annealEpochs = checkSize("annealEpochs", options.annealEpochs ?? 10, 0, example);
    this.annealStrategy = checkWord("annealStrategy", options.annealStrategy ?? "cos", ["cos", "linear"]);
    this.start();
  }

  protected override getLr(): number[] {
    const last = Math.max(1, this.annealEpochs);
    let step = this.stepCount - 1;
    if (this.annealEpochs === 0) step = Math.max(1, step);
    const share = (epoch: number): number => this.#anneal(Math.max(0, Math.min(1, epoch / last)));
    const [before, now] = [share(step - 1), share(step)];
    return this.optimizer.paramGroups.map((group) => {
      const goal = group.swa_lr as number;
      // The rate from which the way began, whatever changed it since.
      const start = before === 1 ? goal : (group.lr - before * goal) / (1 - before);
      return goal * now + start * (1 - now);
    });
  }

  #anneal(share: number): number {
    return this.annealStrategy === "linear" ? share : (1 - cos(Math.PI * share)) / 2;
  }

  protected override get stateFields(): readonly StateField[] {
    return [["annealEpochs", "anneal_epochs"]];
  }
}
