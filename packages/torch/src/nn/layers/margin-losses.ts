// Losses of pairs, triplets, rankings, several labels and distributions as modules: each wraps the function of the same
// name in functional/loss.ts.
import type { Tensor } from "../../tensor.js";
import { checkBoolean, checkNumber, checkOptions, checkWord } from "../arguments.js";
import * as F from "../functional/loss.js";
import { Module } from "../module.js";

/** What the losses of this file share: `reduction`, and arguments of any number. */
abstract class Loss<A extends Tensor[]> extends Module<A, Tensor> {
  /** What becomes of the losses of the elements. */
  readonly reduction: F.Reduction;

  constructor(options: F.LossOptions, others: readonly string[] = []) {
    super();
    checkOptions(options, ["reduction", ...others], `new nn.${new.target.name}({ reduction: "sum" })`);
    this.reduction = checkWord("reduction", options.reduction ?? "mean", ["mean", "sum", "none"]);
  }
}

type Lengths = Tensor | readonly number[];
type Pair = [input: Tensor, target: Tensor];
type Margin = F.LossOptions & { margin?: number };

/** `max(0, -target * (input1 - input2) + margin)`: targets are 1 and -1. */
export class MarginRankingLoss extends Loss<[input1: Tensor, input2: Tensor, target: Tensor]> {
  readonly margin: number;

  constructor(options: Margin = {}) {
    super(options, ["margin"]);
    this.margin = checkNumber("margin", options.margin ?? 0);
  }
  forward(input1: Tensor, input2: Tensor, target: Tensor): Tensor {
    return F.marginRankingLoss(input1, input2, target, this);
  }
}

/** `x` for targets 1, `max(0, margin - x)` for targets -1. */
export class HingeEmbeddingLoss extends Loss<Pair> {
  readonly margin: number;

  constructor(options: Margin = {}) {
    super(options, ["margin"]);
    this.margin = checkNumber("margin", options.margin ?? 1);
  }
  forward(input: Tensor, target: Tensor): Tensor {
    return F.hingeEmbeddingLoss(input, target, this);
  }
}

/** `1 - cos` for targets 1, `max(0, cos - margin)` for targets -1. */
export class CosineEmbeddingLoss extends Loss<[input1: Tensor, input2: Tensor, target: Tensor]> {
  readonly margin: number;

  constructor(options: Margin = {}) {
    super(options, ["margin"]);
    this.margin = checkNumber("margin", options.margin ?? 0);
  }
  forward(input1: Tensor, input2: Tensor, target: Tensor): Tensor {
    return F.cosineEmbeddingLoss(input1, input2, target, this);
  }
}

/** `max(0, |anchor - positive| - |anchor - negative| + margin)` with `p`-norms. */
export class TripletMarginLoss extends Loss<[anchor: Tensor, positive: Tensor, negative: Tensor]> {
  readonly margin: number;
  readonly p: number;
  readonly eps: number;
  readonly swap: boolean;

  constructor(options: Margin & { p?: number; eps?: number; swap?: boolean } = {}) {
    super(options, ["margin", "p", "eps", "swap"]);
    this.margin = checkNumber("margin", options.margin ?? 1);
    this.p = checkNumber("p", options.p ?? 2);
    this.eps = checkNumber("eps", options.eps ?? 1e-6);
    this.swap = checkBoolean("swap", options.swap ?? false);
  }
  forward(anchor: Tensor, positive: Tensor, negative: Tensor): Tensor {
    return F.tripletMarginLoss(anchor, positive, negative, this);
  }
}

/** The same with a distance of one's own. */
export class TripletMarginWithDistanceLoss extends Loss<[anchor: Tensor, positive: Tensor, negative: Tensor]> {
  readonly distanceFunction: ((a: Tensor, b: Tensor) => Tensor) | null;
  readonly margin: number;
  readonly swap: boolean;

  constructor(options: F.TripletDistanceOptions = {}) {
    super(options, ["distanceFunction", "margin", "swap"]);
    this.distanceFunction = options.distanceFunction ?? null;
    this.margin = checkNumber("margin", options.margin ?? 1);
    this.swap = checkBoolean("swap", options.swap ?? false);
  }
  forward(anchor: Tensor, positive: Tensor, negative: Tensor): Tensor {
    return F.tripletMarginWithDistanceLoss(anchor, positive, negative, this);
  }
}

/** `log(1 + exp(-target * x))`: targets are 1 and -1. */
export class SoftMarginLoss extends Loss<Pair> {
  constructor(options: F.LossOptions = {}) {
    super(options);
  }
  forward(input: Tensor, target: Tensor): Tensor {
    return F.softMarginLoss(input, target, this);
  }
}

/** By how much other classes come closer to the target's value than `margin`: shapes `[N, C]` and `[N]`. */
export class MultiMarginLoss extends Loss<Pair> {
  readonly p: number;
  readonly margin: number;
  declare weight: Tensor | null;

  constructor(options: F.MultiMarginOptions = {}) {
    super(options, ["p", "margin", "weight"]);
    this.registerBuffer("weight", options.weight ?? null);
    this.p = checkNumber("p", options.p ?? 1, 1, 2);
    this.margin = checkNumber("margin", options.margin ?? 1);
  }
  forward(input: Tensor, target: Tensor): Tensor {
    return F.multiMarginLoss(input, target, this);
  }
}

/** The same for several target classes, in a row that ends with -1: shapes `[N, C]` and `[N, C]`. */
export class MultiLabelMarginLoss extends Loss<Pair> {
  constructor(options: F.LossOptions = {}) {
    super(options);
  }
  forward(input: Tensor, target: Tensor): Tensor {
    return F.multilabelMarginLoss(input, target, this);
  }
}

/** Binary cross entropy of logits, averaged over the classes: shapes `[N, C]` and `[N, C]`. */
export class MultiLabelSoftMarginLoss extends Loss<Pair> {
  declare weight: Tensor | null;

  constructor(options: F.BinaryCrossEntropyOptions = {}) {
    super(options, ["weight"]);
    this.registerBuffer("weight", options.weight ?? null);
  }
  forward(input: Tensor, target: Tensor): Tensor {
    return F.multilabelSoftMarginLoss(input, target, this);
  }
}

/** Negative log likelihood of counts under Poisson distributions. */
export class PoissonNLLLoss extends Loss<Pair> {
  readonly logInput: boolean;
  readonly full: boolean;
  readonly eps: number;

  constructor(options: F.PoissonNllOptions = {}) {
    super(options, ["logInput", "full", "eps"]);
    this.logInput = checkBoolean("logInput", options.logInput ?? true);
    this.full = checkBoolean("full", options.full ?? false);
    this.eps = checkNumber("eps", options.eps ?? 1e-8);
  }
  forward(input: Tensor, target: Tensor): Tensor {
    return F.poissonNllLoss(input, target, this);
  }
}

/** Negative log likelihood under normal distributions: mean, target, and variance. */
export class GaussianNLLLoss extends Loss<[input: Tensor, target: Tensor, variance: Tensor]> {
  readonly full: boolean;
  readonly eps: number;

  constructor(options: F.GaussianNllOptions = {}) {
    super(options, ["full", "eps"]);
    this.full = checkBoolean("full", options.full ?? false);
    this.eps = checkNumber("eps", options.eps ?? 1e-6, 0);
  }
  forward(input: Tensor, target: Tensor, variance: Tensor): Tensor {
    return F.gaussianNllLoss(input, target, variance, this);
  }
}

/** Connectionist temporal classification: see `functional.ctcLoss` for the arguments. */
export class CTCLoss extends Module<
  [logProbs: Tensor, targets: Tensor, inputs: Lengths, targetLengths: Lengths],
  Tensor
> {
  readonly blank: number;
  readonly reduction: F.Reduction;
  readonly zeroInfinity: boolean;

  constructor(options: F.CtcOptions = {}) {
    super();
    checkOptions(options, ["blank", "reduction", "zeroInfinity"], "new nn.CTCLoss({ blank: 0 })");
    this.blank = checkNumber("blank", options.blank ?? 0);
    this.reduction = checkWord("reduction", options.reduction ?? "mean", ["mean", "sum", "none"]);
    this.zeroInfinity = checkBoolean("zeroInfinity", options.zeroInfinity ?? false);
  }
  forward(logProbs: Tensor, targets: Tensor, inputLengths: Lengths, targetLengths: Lengths): Tensor {
    return F.ctcLoss(logProbs, targets, inputLengths, targetLengths, this);
  }
}
