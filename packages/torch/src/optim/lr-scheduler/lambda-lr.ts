// Rates by a function of the epoch.
import type { Optimizer } from "../optimizer.js";
import { checkFunctions, LRScheduler, perGroup, type SchedulerOptions, type StateField } from "./lr-scheduler.js";

/** A factor for an epoch. */
export type EpochFunction = (epoch: number) => number;

abstract class FunctionLR extends LRScheduler {
  /** One for each group. */
  readonly lrLambdas: EpochFunction[];

  constructor(
    optimizer: Optimizer,
    lrLambda: EpochFunction | readonly EpochFunction[],
    options: SchedulerOptions = {},
  ) {
    super(optimizer, options);
    this.lrLambdas = perGroup("lrLambda", lrLambda, optimizer);
    checkFunctions("lrLambda", this.lrLambdas);
    this.start();
  }

  // Functions are not saved, as in PyTorch; the key is there for it.
  protected get savedLambdas(): null[] {
    return this.lrLambdas.map(() => null);
  }
  protected set savedLambdas(_value: unknown) {}
  protected override get stateFields(): readonly StateField[] {
    return [["savedLambdas", "lr_lambdas"]];
  }
}

/**
 * The rate at the start times `lrLambda(epoch)`. Functions are not part of the state.
 *
 *     const scheduler = new optim.lrScheduler.LambdaLR(optimizer, (epoch) => 0.95 ** epoch);
 */
export class LambdaLR extends FunctionLR {
  protected override getLr(): number[] {
    return this.baseLrs.map((lr, i) => lr * (this.lrLambdas[i] as EpochFunction)(this.lastEpoch));
  }
}

/** The present rate times `lrLambda(epoch)`, from epoch 1 on. Functions are not part of the state. */
export class MultiplicativeLR extends FunctionLR {
  protected override getLr(): number[] {
    return this.optimizer.paramGroups.map(({ lr }, i) =>
      this.lastEpoch > 0 ? lr * (this.lrLambdas[i] as EpochFunction)(this.lastEpoch) : lr,
    );
  }
}
