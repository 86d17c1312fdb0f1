// The losses as modules: each wraps the function of the same name in functional/loss.ts.
import type { Tensor } from "../../tensor.js";
import { checkNumber, checkOptions, checkWord } from "../arguments.js";
import * as F from "../functional/loss.js";
import { Module } from "../module.js";

abstract class Loss extends Module<[input: Tensor, target: Tensor], Tensor> {
  /** What becomes of the losses of the elements. */
  readonly reduction: F.Reduction;

  constructor(options: F.LossOptions = {}, others: readonly string[] = []) {
    super();
    checkOptions(options, ["reduction", ...others], `new nn.${new.target.name}({ reduction: "sum" })`);
    this.reduction = checkWord("reduction", options.reduction ?? "mean", ["mean", "sum", "none"]);
  }
}

/** A loss with a factor for each class or element, which is part of the state. */
abstract class WeightedLoss extends Loss {
  declare weight: Tensor | null;

  constructor(options: F.LossOptions & { weight?: Tensor | null } = {}, others: readonly string[] = []) {
    super(options, ["weight", ...others]);
    this.registerBuffer("weight", options.weight ?? null);
  }
}

/** Cross entropy of logits `[N, C, ...]` against class numbers `[N, ...]` or probabilities of the logits' shape. */
export class CrossEntropyLoss extends WeightedLoss {
  readonly ignoreIndex: number;
  readonly labelSmoothing: number;

  constructor(options: F.CrossEntropyOptions = {}) {
    super(options, ["ignoreIndex", "labelSmoothing"]);
    this.ignoreIndex = options.ignoreIndex ?? -100;
    this.labelSmoothing = checkNumber("labelSmoothing", options.labelSmoothing ?? 0, 0, 1);
  }
  forward(input: Tensor, target: Tensor): Tensor {
    return F.crossEntropy(input, target, this);
  }
}

/** Negative log likelihood of log-probabilities `[N, C, ...]` for class numbers `[N, ...]`. */
export class NLLLoss extends WeightedLoss {
  readonly ignoreIndex: number;

  constructor(options: F.NllLossOptions = {}) {
    super(options, ["ignoreIndex"]);
    this.ignoreIndex = options.ignoreIndex ?? -100;
  }
  forward(input: Tensor, target: Tensor): Tensor {
    return F.nllLoss(input, target, this);
  }
}

/** Squared differences. */
export class MSELoss extends Loss {
  forward(input: Tensor, target: Tensor): Tensor {
    return F.mseLoss(input, target, this);
  }
}

/** Absolute differences. */
export class L1Loss extends Loss {
  forward(input: Tensor, target: Tensor): Tensor {
    return F.l1Loss(input, target, this);
  }
}

/** Squared differences below `beta` (1), absolute ones above. */
export class SmoothL1Loss extends Loss {
  readonly beta: number;

  constructor(options: F.LossOptions & { beta?: number } = {}) {
    super(options, ["beta"]);
    this.beta = checkNumber("beta", options.beta ?? 1, 0);
  }
  forward(input: Tensor, target: Tensor): Tensor {
    return F.smoothL1Loss(input, target, this);
  }
}

/** Squared differences below `delta` (1), `delta` times absolute ones above. */
export class HuberLoss extends Loss {
  readonly delta: number;

  constructor(options: F.LossOptions & { delta?: number } = {}) {
    super(options, ["delta"]);
    this.delta = checkNumber("delta", options.delta ?? 1, 0);
  }
  forward(input: Tensor, target: Tensor): Tensor {
    return F.huberLoss(input, target, this);
  }
}

/** Cross entropy of probabilities against targets between 0 and 1. Prefer `BCEWithLogitsLoss`. */
export class BCELoss extends WeightedLoss {
  forward(input: Tensor, target: Tensor): Tensor {
    return F.binaryCrossEntropy(input, target, this);
  }
}

/** The same with a sigmoid before it, computed stably. */
export class BCEWithLogitsLoss extends WeightedLoss {
  constructor(options: F.BinaryCrossEntropyWithLogitsOptions = {}) {
    super(options, ["posWeight"]);
    this.registerBuffer("pos_weight", options.posWeight ?? null);
  }
  /** Factor for the positive targets, or null. */
  get posWeight(): Tensor | null {
    return (this as unknown as { pos_weight: Tensor | null }).pos_weight;
  }
  forward(input: Tensor, target: Tensor): Tensor {
    return F.binaryCrossEntropyWithLogits(input, target, this);
  }
}

/** Kullback-Leibler divergence of log-probabilities from probabilities. */
export class KLDivLoss extends Module<[input: Tensor, target: Tensor], Tensor> {
  readonly reduction: F.Reduction | "batchmean";
  readonly logTarget: boolean;

  constructor(options: F.KlDivOptions = {}) {
    super();
    checkOptions(options, ["reduction", "logTarget"], 'new nn.KLDivLoss({ reduction: "batchmean" })');
    this.reduction = checkWord("reduction", options.reduction ?? "mean", ["mean", "sum", "none", "batchmean"]);
    this.logTarget = options.logTarget ?? false;
  }
  forward(input: Tensor, target: Tensor): Tensor {
    return F.klDiv(input, target, this);
  }
}
