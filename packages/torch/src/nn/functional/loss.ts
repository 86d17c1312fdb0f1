// Losses: how far a prediction is from its target.
import { noGrad } from "../../autograd/grad-mode.js";
import { typeError } from "../../check.js";
import { ConfigurationError } from "../../errors.js";
import { Tensor } from "../../tensor.js";
import { checkWord } from "../arguments.js";
import { aten, atenAny } from "../aten.js";
import { warnOnce } from "../warn.js";
import { pairwiseDistance } from "./distance.js";
import { known } from "./known-options.js";

/** What becomes of the losses of the elements: their mean, their sum, or nothing. */
export type Reduction = "mean" | "sum" | "none";

/** Options that all losses have. */
export interface LossOptions {
  /** `"mean"` (default), `"sum"` or `"none"`. */
  reduction?: Reduction;
}
/** Options of `nllLoss`. */
export interface NllLossOptions extends LossOptions {
  /** A factor for each class. */
  weight?: Tensor | null;
  /** Targets of this class count nothing (default -100). */
  ignoreIndex?: number;
}
/** Options of `crossEntropy`. */
export interface CrossEntropyOptions extends NllLossOptions {
  /** Share of the target that is spread over all classes (default 0). */
  labelSmoothing?: number;
}
/** Options of `binaryCrossEntropy`. */
export interface BinaryCrossEntropyOptions extends LossOptions {
  /** A factor for each element, broadcast to the target. */
  weight?: Tensor | null;
}
/** Options of `binaryCrossEntropyWithLogits`. */
export interface BinaryCrossEntropyWithLogitsOptions extends BinaryCrossEntropyOptions {
  /** A factor for the positive targets, broadcast to the target. */
  posWeight?: Tensor | null;
}
/** Options of `klDiv`. */
export interface KlDivOptions {
  /** As for the other losses; `"batchmean"`, the sum by the batch size, is the mathematical definition. */
  reduction?: Reduction | "batchmean";
  /** The target is a logarithm already (default false). */
  logTarget?: boolean;
}

const crossEntropyLoss = aten("cross_entropy_loss");
const nllLossNd = aten("nll_loss_nd");
const mseLoss_ = aten("mse_loss");
const l1Loss_ = aten("l1_loss");
const smoothL1Loss_ = aten("smooth_l1_loss");
const huberLoss_ = aten("huber_loss");
const binaryCrossEntropy_ = aten("binary_cross_entropy");
const binaryCrossEntropyWithLogits_ = aten("binary_cross_entropy_with_logits");
const klDiv_ = aten("kl_div");
const marginRankingLoss_ = aten("margin_ranking_loss");
const cosineEmbeddingLoss_ = aten("cosine_embedding_loss");
const tripletMarginLoss_ = aten("triplet_margin_loss");
const hingeEmbeddingLoss_ = aten("hinge_embedding_loss");
const softMarginLoss_ = aten("soft_margin_loss");
const multiMarginLoss_ = aten("multi_margin_loss");
const multilabelMarginLoss_ = aten("multilabel_margin_loss");
const poissonNllLoss_ = aten("poisson_nll_loss");
const ctcLoss_ = aten("ctc_loss");
const logSigmoid = aten("log_sigmoid");
const rsub = aten("rsub");
const broadcastTensors = atenAny("broadcast_tensors");

/**
 * Cross entropy of logits `[N, C, ...]` against class numbers `[N, ...]` (int64) or probabilities of the logits' shape.
 *
 *     const loss = nn.functional.crossEntropy(model(x), y, { labelSmoothing: 0.1 });
 */
export function crossEntropy(input: Tensor, target: Tensor, options: CrossEntropyOptions = {}): Tensor {
  known("crossEntropy", options, ["weight", "ignoreIndex", "reduction", "labelSmoothing"]);
  const { weight = null, ignoreIndex = -100, labelSmoothing = 0 } = options;
  return crossEntropyLoss(input, target, weight, reductionCode(options), ignoreIndex, labelSmoothing);
}

/** Negative log likelihood of log-probabilities `[N, C, ...]` for class numbers `[N, ...]`. */
export function nllLoss(input: Tensor, target: Tensor, options: NllLossOptions = {}): Tensor {
  known("nllLoss", options, ["weight", "ignoreIndex", "reduction"]);
  const { weight = null, ignoreIndex = -100 } = options;
  return nllLossNd(input, target, weight, reductionCode(options), ignoreIndex);
}

/** Squared differences. */
export function mseLoss(input: Tensor, target: Tensor, options: LossOptions = {}): Tensor {
  known("mseLoss", options, ["reduction"]);
  const [a, b] = broadcast("mseLoss", input, target);
  return mseLoss_(a, b, reductionCode(options));
}

/** Absolute differences. */
export function l1Loss(input: Tensor, target: Tensor, options: LossOptions = {}): Tensor {
  known("l1Loss", options, ["reduction"]);
  const [a, b] = broadcast("l1Loss", input, target);
  return l1Loss_(a, b, reductionCode(options));
}

/** Squared differences below `beta` (1), absolute ones above. */
export function smoothL1Loss(input: Tensor, target: Tensor, options: LossOptions & { beta?: number } = {}): Tensor {
  known("smoothL1Loss", options, ["reduction", "beta"]);
  const [a, b] = broadcast("smoothL1Loss", input, target);
  return smoothL1Loss_(a, b, reductionCode(options), options.beta ?? 1);
}

/** Squared differences below `delta` (1), `delta` times absolute ones above. */
export function huberLoss(input: Tensor, target: Tensor, options: LossOptions & { delta?: number } = {}): Tensor {
  known("huberLoss", options, ["reduction", "delta"]);
  const [a, b] = broadcast("huberLoss", input, target);
  return huberLoss_(a, b, reductionCode(options), options.delta ?? 1);
}

/** Cross entropy of probabilities against targets between 0 and 1 of the same shape. Prefer `binaryCrossEntropyWithLogits`. */
export function binaryCrossEntropy(input: Tensor, target: Tensor, options: BinaryCrossEntropyOptions = {}): Tensor {
  known("binaryCrossEntropy", options, ["weight", "reduction"]);
  checkSameShape("binaryCrossEntropy", input, target);
  const { weight = null } = options;
  const full = weight === null ? null : ((broadcastTensors([target, weight]) as Tensor[])[1] as Tensor);
  return binaryCrossEntropy_(input, target, full, reductionCode(options));
}

/** The same with a sigmoid before it, computed stably. */
export function binaryCrossEntropyWithLogits(
  input: Tensor,
  target: Tensor,
  options: BinaryCrossEntropyWithLogitsOptions = {},
): Tensor {
  known("binaryCrossEntropyWithLogits", options, ["weight", "reduction", "posWeight"]);
  checkSameShape("binaryCrossEntropyWithLogits", input, target);
  const { weight = null, posWeight = null } = options;
  return binaryCrossEntropyWithLogits_(input, target, weight, posWeight, reductionCode(options));
}

/** Kullback-Leibler divergence of log-probabilities `input` from probabilities `target`. */
export function klDiv(input: Tensor, target: Tensor, options: KlDivOptions = {}): Tensor {
  known("klDiv", options, ["reduction", "logTarget"]);
  const { reduction = "mean", logTarget = false } = options;
  checkWord("reduction", reduction, ["mean", "sum", "none", "batchmean"]);
  if (reduction === "mean") {
    warnOnce(
      "klDiv",
      'klDiv with reduction "mean" divides by the number of elements. "batchmean" divides by the batch size, as the definition does.',
    );
  }
  const code = reduction === "batchmean" ? codes.sum : codes[reduction];
  const loss = klDiv_(input, target, code, { logTarget });
  return reduction === "batchmean" && input.ndim > 0 ? loss.div(input.size(0)) : loss;
}

/** `max(0, -target * (input1 - input2) + margin)`: targets are 1 and -1. */
export function marginRankingLoss(
  input1: Tensor,
  input2: Tensor,
  target: Tensor,
  options: LossOptions & { margin?: number } = {},
): Tensor {
  known("marginRankingLoss", options, ["margin", "reduction"]);
  return marginRankingLoss_(input1, input2, target, options.margin ?? 0, reductionCode(options));
}

/** `1 - cos` for targets 1, `max(0, cos - margin)` for targets -1. */
export function cosineEmbeddingLoss(
  input1: Tensor,
  input2: Tensor,
  target: Tensor,
  options: LossOptions & { margin?: number } = {},
): Tensor {
  known("cosineEmbeddingLoss", options, ["margin", "reduction"]);
  return cosineEmbeddingLoss_(input1, input2, target, options.margin ?? 0, reductionCode(options));
}

/** `max(0, |anchor - positive| - |anchor - negative| + margin)` with `p`-norms. */
export function tripletMarginLoss(
  anchor: Tensor,
  positive: Tensor,
  negative: Tensor,
  options: LossOptions & { margin?: number; p?: number; eps?: number; swap?: boolean } = {},
): Tensor {
  known("tripletMarginLoss", options, ["margin", "p", "eps", "swap", "reduction"]);
  const { margin = 1, p = 2, eps = 1e-6, swap = false } = options;
  return tripletMarginLoss_(anchor, positive, negative, margin, p, eps, swap, reductionCode(options));
}

/** `x` for targets 1, `max(0, margin - x)` for targets -1. */
export function hingeEmbeddingLoss(
  input: Tensor,
  target: Tensor,
  options: LossOptions & { margin?: number } = {},
): Tensor {
  known("hingeEmbeddingLoss", options, ["margin", "reduction"]);
  return hingeEmbeddingLoss_(input, target, options.margin ?? 1, reductionCode(options));
}

/** `log(1 + exp(-target * x))`: targets are 1 and -1. */
export function softMarginLoss(input: Tensor, target: Tensor, options: LossOptions = {}): Tensor {
  known("softMarginLoss", options, ["reduction"]);
  return softMarginLoss_(input, target, reductionCode(options));
}

/** Options of `multiMarginLoss`. */
export interface MultiMarginOptions extends LossOptions {
  /** The power, 1 or 2 (default 1). */
  p?: number;
  /** How far the target's value has to be above the others (default 1). */
  margin?: number;
  /** A factor for each class. */
  weight?: Tensor | null;
}

/** By how much other classes come closer to the target's value than `margin`: shapes `[N, C]` and `[N]`. */
export function multiMarginLoss(input: Tensor, target: Tensor, options: MultiMarginOptions = {}): Tensor {
  known("multiMarginLoss", options, ["p", "margin", "weight", "reduction"]);
  const { p = 1, margin = 1, weight = null } = options;
  return multiMarginLoss_(input, target, p, margin, weight, reductionCode(options));
}

/** The same for several target classes, in a row that ends with -1: shapes `[N, C]` and `[N, C]`. */
export function multilabelMarginLoss(input: Tensor, target: Tensor, options: LossOptions = {}): Tensor {
  known("multilabelMarginLoss", options, ["reduction"]);
  return multilabelMarginLoss_(input, target, reductionCode(options));
}

/** Binary cross entropy of logits, averaged over the classes: shapes `[N, C]` and `[N, C]`. */
export function multilabelSoftMarginLoss(
  input: Tensor,
  target: Tensor,
  options: BinaryCrossEntropyOptions = {},
): Tensor {
  known("multilabelSoftMarginLoss", options, ["weight", "reduction"]);
  const { weight = null } = options;
  const off = rsub(target, 1).mul(logSigmoid(input.neg()));
  const losses = target.mul(logSigmoid(input)).add(off).neg();
  const weighted = weight === null ? losses : losses.mul(weight);
  return reduced(weighted.sum(-1).div(input.size(-1)), options);
}

/** Options of `poissonNllLoss`. */
export interface PoissonNllOptions extends LossOptions {
  /** The input is the logarithm of the rate (default true). */
  logInput?: boolean;
  /** Adds Stirling's approximation of `log(target!)` (default false). */
  full?: boolean;
  /** Added within the logarithm where the input is the rate itself (default 1e-8). */
  eps?: number;
}

/** Negative log likelihood of counts under Poisson distributions. */
export function poissonNllLoss(input: Tensor, target: Tensor, options: PoissonNllOptions = {}): Tensor {
  known("poissonNllLoss", options, ["logInput", "full", "eps", "reduction"]);
  const { logInput = true, full = false, eps = 1e-8 } = options;
  return poissonNllLoss_(input, target, logInput, full, eps, reductionCode(options));
}

/** Options of `gaussianNllLoss`. */
export interface GaussianNllOptions extends LossOptions {
  /** Adds the constant (default false). */
  full?: boolean;
  /** The least variance (default 1e-6). */
  eps?: number;
}

/** Negative log likelihood under normal distributions of mean `input` and variance `variance`, of one for each row or element. */
export function gaussianNllLoss(
  input: Tensor,
  target: Tensor,
  variance: Tensor,
  options: GaussianNllOptions = {},
): Tensor {
  known("gaussianNllLoss", options, ["full", "eps", "reduction"]);
  const { full = false, eps = 1e-6 } = options;
  const wide = variancesFor(input, variance);
  if (wide.lt(0).any().item()) throw new ConfigurationError("gaussianNllLoss got a negative variance.");
  const floored = wide.clone();
  noGrad(() => floored.clampMin_(eps));
  let losses = floored.log().add(input.sub(target).square().div(floored)).mul(0.5);
  if (full) losses = losses.add(0.5 * Math.log(2 * Math.PI));
  return reduced(losses, options);
}

function variancesFor(input: Tensor, variance: Tensor): Tensor {
  const [a, b] = [input.shape, variance.shape];
  const rows = a.slice(0, -1);
  if (sameShape(a, b)) return variance;
  if (sameShape(rows, b)) return variance.unsqueeze(-1);
  if (b.length === a.length && sameShape(rows, b.slice(0, -1)) && b.at(-1) === 1) return variance;
  throw new ConfigurationError(`gaussianNllLoss got a variance of shape [${b.join(", ")}].`, {
    hint: `It takes [${a.join(", ")}] or [${rows.join(", ")}].`,
  });
}

/** Options of `ctcLoss`. */
export interface CtcOptions extends LossOptions {
  /** The class that stands for no label (default 0). */
  blank?: number;
  /** Makes infinite losses, of inputs that are too short, and their gradients zero (default false). */
  zeroInfinity?: boolean;
}

/**
 * Connectionist temporal classification: labels without times.
 * @param logProbs log-probabilities `[T, N, C]`
 * @param targets labels `[N, S]`, or all of them one after the other
 * @param inputLengths used length of each of the N inputs, as a tensor or a list
 * @param targetLengths number of labels of each
 */
export function ctcLoss(
  logProbs: Tensor,
  targets: Tensor,
  inputLengths: Tensor | readonly number[],
  targetLengths: Tensor | readonly number[],
  options: CtcOptions = {},
): Tensor {
  known("ctcLoss", options, ["blank", "reduction", "zeroInfinity"]);
  const { blank = 0, zeroInfinity = false } = options;
  return ctcLoss_(logProbs, targets, inputLengths, targetLengths, blank, reductionCode(options), zeroInfinity);
}

/** Options of `tripletMarginWithDistanceLoss`. */
export interface TripletDistanceOptions extends LossOptions {
  /** The distance of two batches of vectors (default: `pairwiseDistance`). */
  distanceFunction?: ((a: Tensor, b: Tensor) => Tensor) | null;
  /** How much farther the negative has to be (default 1). */
  margin?: number;
  /** Takes the positive's distance to the negative where that is smaller than the anchor's (default false). */
  swap?: boolean;
}

/** `max(0, d(anchor, positive) - d(anchor, negative) + margin)` with a distance of one's own. */
export function tripletMarginWithDistanceLoss(
  anchor: Tensor,
  positive: Tensor,
  negative: Tensor,
  options: TripletDistanceOptions = {},
): Tensor {
  known("tripletMarginWithDistanceLoss", options, ["distanceFunction", "margin", "swap", "reduction"]);
  const { margin = 1, swap = false } = options;
  const distance = options.distanceFunction ?? ((a, b) => pairwiseDistance(a, b));
  const near = distance(anchor, positive);
  const far = distance(anchor, negative);
  const least = swap ? far.minimum(distance(positive, negative)) : far;
  return reduced(near.sub(least).add(margin).clampMin(0), options);
}

function reduced(losses: Tensor, options: LossOptions): Tensor {
  const code = reductionCode(options);
  return code === codes.mean ? losses.mean() : code === codes.sum ? losses.sum() : losses;
}

// The engine's own numbers.
const codes: Record<Reduction, number> = { none: 0, mean: 1, sum: 2 };

function reductionCode({ reduction = "mean" }: LossOptions): number {
  return codes[reduction] ?? codes[checkWord("reduction", reduction, ["mean", "sum", "none"])];
}

function sameShape(a: number[], b: number[]): boolean {
  return a.length === b.length && a.every((size, i) => size === b[i]);
}

/** Broadcasts against each other, with a warning: different shapes are a mistake nearly always. */
function broadcast(name: string, input: Tensor, target: Tensor): [Tensor, Tensor] {
  checkTensors({ input, target });
  const a = input.shape;
  const b = target.shape;
  if (sameShape(a, b)) return [input, target];
  const shapes = `[${b.join(", ")}] and an input of shape [${a.join(", ")}]`;
  warnOnce(
    `${name}:${shapes}`,
    `${name} got a target of shape ${shapes}: they are broadcast, which is rarely what is meant. Give both the same shape.`,
  );
  return broadcastTensors([input, target]) as [Tensor, Tensor];
}

function checkTensors(tensors: Record<string, unknown>): void {
  for (const [name, value] of Object.entries(tensors)) {
    if (!(value instanceof Tensor)) throw typeError(name, "a Tensor", value, "Type `torch.tensor(...)`.");
  }
}

function checkSameShape(name: string, input: Tensor, target: Tensor): void {
  checkTensors({ input, target });
  const a = input.shape;
  const b = target.shape;
  if (sameShape(a, b)) return;
  throw new ConfigurationError(
    `${name} got a target of shape [${b.join(", ")}] for an input of shape [${a.join(", ")}].`,
    {
      hint: "Give both the same shape, for example with `target.viewAs(input)`.",
    },
  );
}
