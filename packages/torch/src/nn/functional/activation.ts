// Activation functions, element by element unless they take a dimension.
import { typeError } from "../../check.js";
import type { Dtype } from "../../dtype.js";
import { ConfigurationError } from "../../errors.js";
import type { Tensor } from "../../tensor.js";
import { checkWord } from "../arguments.js";
import { aten } from "../aten.js";
import { known } from "./known-options.js";

/** `inplace` writes the result over the input. */
export interface InplaceOptions {
  /** Overwrite the input instead of making a new tensor (default false). */
  inplace?: boolean;
}

/** Options of `softmax` and `logSoftmax`. */
export interface SoftmaxOptions {
  /** Convert the input to this dtype first. */
  dtype?: Dtype;
}

/** A dimension by name, and what else there is. */
export interface NamedDim extends SoftmaxOptions {
  /** The dimension along which the values sum to one. */
  dim: number;
}

const relu_ = aten("relu");
const reluInplace = aten("relu_");
const relu6_ = aten("relu6");
const relu6Inplace = aten("relu6_");
const leakyRelu_ = aten("leaky_relu");
const leakyReluInplace = aten("leaky_relu_");
const elu_ = aten("elu");
const eluInplace = aten("elu_");
const selu_ = aten("selu");
const seluInplace = aten("selu_");
const celu_ = aten("celu");
const celuInplace = aten("celu_");
const gelu_ = aten("gelu");
const silu_ = aten("silu");
const siluInplace = aten("silu_");
const mish_ = aten("mish");
const mishInplace = aten("mish_");
const hardtanh_ = aten("hardtanh");
const hardtanhInplace = aten("hardtanh_");
const hardswish_ = aten("hardswish");
const hardswishInplace = aten("hardswish_");
const hardsigmoid_ = aten("hardsigmoid");
const hardsigmoidInplace = aten("hardsigmoid_");
const threshold_ = aten("threshold");
const thresholdInplace = aten("threshold_");
const softplus_ = aten("softplus");
const softshrink_ = aten("softshrink");
const hardshrink_ = aten("hardshrink");
const logSigmoid = aten("log_sigmoid");
const tanh_ = aten("tanh");
const sigmoid_ = aten("sigmoid");
const prelu_ = aten("prelu");
const rrelu_ = aten("rrelu");
const rreluInplace = aten("rrelu_");
const glu_ = aten("glu");
const softmax_ = aten("softmax");
const logSoftmax_ = aten("log_softmax");

/** `max(0, x)`. */
export function relu(input: Tensor, options?: InplaceOptions): Tensor {
  return options?.inplace ? reluInplace(input) : relu_(input);
}

/** `min(max(0, x), 6)`. */
export function relu6(input: Tensor, options?: InplaceOptions): Tensor {
  return options?.inplace ? relu6Inplace(input) : relu6_(input);
}

/** `x` where positive, otherwise `negativeSlope * x` (0.01). */
export function leakyRelu(input: Tensor, options: { negativeSlope?: number } & InplaceOptions = {}): Tensor {
  known("leakyRelu", options, ["negativeSlope", "inplace"]);
  const { negativeSlope = 0.01, inplace = false } = options;
  return inplace ? leakyReluInplace(input, negativeSlope) : leakyRelu_(input, negativeSlope);
}

/** `x` where positive, otherwise `weight * x`, with one weight or one for each channel. */
export function prelu(input: Tensor, weight: Tensor): Tensor {
  return prelu_(input, weight);
}

/** `x` where positive, otherwise `x` times a factor: drawn between `lower` and `upper` in training, their mean without. */
export function rrelu(
  input: Tensor,
  options: { lower?: number; upper?: number; training?: boolean } & InplaceOptions = {},
): Tensor {
  known("rrelu", options, ["lower", "upper", "training", "inplace"]);
  const { lower = 1 / 8, upper = 1 / 3, training = false, inplace = false } = options;
  return (inplace ? rreluInplace : rrelu_)(input, lower, upper, training);
}

/** `x` where positive, otherwise `alpha * (exp(x) - 1)` (alpha 1). */
export function elu(input: Tensor, options: { alpha?: number } & InplaceOptions = {}): Tensor {
  known("elu", options, ["alpha", "inplace"]);
  const { alpha = 1, inplace = false } = options;
  return inplace ? eluInplace(input, alpha) : elu_(input, alpha);
}

/** ELU with the constants of self-normalizing networks. */
export function selu(input: Tensor, options?: InplaceOptions): Tensor {
  return options?.inplace ? seluInplace(input) : selu_(input);
}

/** `max(0, x) + min(0, alpha * (exp(x / alpha) - 1))` (alpha 1). */
export function celu(input: Tensor, options: { alpha?: number } & InplaceOptions = {}): Tensor {
  known("celu", options, ["alpha", "inplace"]);
  const { alpha = 1, inplace = false } = options;
  return inplace ? celuInplace(input, alpha) : celu_(input, alpha);
}

/** `x * P(X <= x)` for a standard normal `X`, exactly (`"none"`, the default) or by `"tanh"`. */
export function gelu(input: Tensor, options: { approximate?: "none" | "tanh" } = {}): Tensor {
  known("gelu", options, ["approximate"]);
  const { approximate = "none" } = options;
  if (approximate === "none") return gelu_(input);
  return gelu_(input, { approximate: checkWord("approximate", approximate, ["none", "tanh"]) });
}

/** `x * sigmoid(x)`. */
export function silu(input: Tensor, options?: InplaceOptions): Tensor {
  return options?.inplace ? siluInplace(input) : silu_(input);
}

/** `x * tanh(softplus(x))`. */
export function mish(input: Tensor, options?: InplaceOptions): Tensor {
  return options?.inplace ? mishInplace(input) : mish_(input);
}

/** `x` cut off at `minVal` (-1) and `maxVal` (1). */
export function hardtanh(input: Tensor, options: { minVal?: number; maxVal?: number } & InplaceOptions = {}): Tensor {
  known("hardtanh", options, ["minVal", "maxVal", "inplace"]);
  const { minVal = -1, maxVal = 1, inplace = false } = options;
  return inplace ? hardtanhInplace(input, minVal, maxVal) : hardtanh_(input, minVal, maxVal);
}

/** `x * relu6(x + 3) / 6`. */
export function hardswish(input: Tensor, options?: InplaceOptions): Tensor {
  return options?.inplace ? hardswishInplace(input) : hardswish_(input);
}

/** `relu6(x + 3) / 6`. */
export function hardsigmoid(input: Tensor, options?: InplaceOptions): Tensor {
  return options?.inplace ? hardsigmoidInplace(input) : hardsigmoid_(input);
}

/** `x` where greater than `threshold`, otherwise `value`. */
export function threshold(input: Tensor, threshold: number, value: number, options?: InplaceOptions): Tensor {
  return options?.inplace ? thresholdInplace(input, threshold, value) : threshold_(input, threshold, value);
}

/** `log(1 + exp(beta * x)) / beta` (beta 1), and `x` itself where `beta * x` is above `threshold` (20). */
export function softplus(input: Tensor, options: { beta?: number; threshold?: number } = {}): Tensor {
  known("softplus", options, ["beta", "threshold"]);
  const { beta = 1, threshold = 20 } = options;
  return softplus_(input, beta, threshold);
}

/** `x` moved towards zero by `lambd` (0.5). */
export function softshrink(input: Tensor, options: { lambd?: number } = {}): Tensor {
  known("softshrink", options, ["lambd"]);
  return softshrink_(input, options.lambd ?? 0.5);
}

/** `x` where its size is above `lambd` (0.5), otherwise 0. */
export function hardshrink(input: Tensor, options: { lambd?: number } = {}): Tensor {
  known("hardshrink", options, ["lambd"]);
  return hardshrink_(input, options.lambd ?? 0.5);
}

/** `x / (1 + |x|)`. */
export function softsign(input: Tensor): Tensor {
  return input.div(input.abs().add(1));
}

/** `x - tanh(x)`. */
export function tanhshrink(input: Tensor): Tensor {
  return input.sub(input.tanh());
}

/** `log(sigmoid(x))`. */
export function logsigmoid(input: Tensor): Tensor {
  return logSigmoid(input);
}

/** The hyperbolic tangent. */
export function tanh(input: Tensor): Tensor {
  return tanh_(input);
}

/** `1 / (1 + exp(-x))`. */
export function sigmoid(input: Tensor): Tensor {
  return sigmoid_(input);
}

/** The first half of dimension `dim` (the last) times the sigmoid of the second. */
export function glu(input: Tensor, dim: number | { dim?: number } = -1): Tensor {
  if (typeof dim === "number") return glu_(input, dim);
  known("glu", dim, ["dim"]);
  return glu_(input, dim.dim ?? -1);
}

/** Positive values that sum to one along `dim`, given by position or by name. */
export function softmax(input: Tensor, dim: number | NamedDim, options?: SoftmaxOptions): Tensor {
  const [along, dtype] = dimAndDtype("softmax", dim, options);
  return dtype === undefined ? softmax_(input, along) : softmax_(input, along, dtype);
}

/** `softmax(-x)`. */
export function softmin(input: Tensor, dim: number | NamedDim, options?: SoftmaxOptions): Tensor {
  return softmax(input.neg(), dim, options);
}

/** The logarithm of `softmax`, computed stably. */
export function logSoftmax(input: Tensor, dim: number | NamedDim, options?: SoftmaxOptions): Tensor {
  const [along, dtype] = dimAndDtype("logSoftmax", dim, options);
  return dtype === undefined ? logSoftmax_(input, along) : logSoftmax_(input, along, dtype);
}

const emptyLike = aten("empty_like");
const exponential_ = aten("exponential_");
const scatter = aten("scatter.value");

/** Options of `gumbelSoftmax`. */
export interface GumbelSoftmaxOptions {
  /** Temperature (default 1): the smaller, the closer to a choice of one. */
  tau?: number;
  /** Give a one for the greatest and zeros for the rest, with the gradient of the soft values (default false). */
  hard?: boolean;
  /** The dimension along which the values sum to one (default the last). */
  dim?: number;
}

/** A random choice by the unnormalized log probabilities `logits`, through which gradients flow. */
export function gumbelSoftmax(logits: Tensor, options: GumbelSoftmaxOptions = {}): Tensor {
  known("gumbelSoftmax", options, ["tau", "hard", "dim"]);
  const { tau = 1, hard = false, dim = -1 } = options;
  checkDim("gumbelSoftmax", dim);
  if (!(tau > 0)) {
    throw new ConfigurationError(`\`tau\` is ${String(tau)}.`, { hint: "Give a temperature above 0." });
  }
  const gumbels = exponential_(emptyLike(logits)).log().neg();
  const soft = softmax_(logits.add(gumbels).div(tau), dim);
  if (!hard) return soft;
  const chosen = scatter(soft.detach().zerosLike(), dim, soft.argmax(dim, true), 1);
  return chosen.sub(soft.detach()).add(soft);
}

function dimAndDtype(
  name: string,
  given: number | NamedDim,
  more: SoftmaxOptions = {},
): [dim: number, dtype: Dtype | undefined] {
  const isNamed = typeof given === "object" && given !== null;
  const options: SoftmaxOptions & { dim?: number } = isNamed ? given : more;
  known(name, options, ["dim", "dtype"]);
  const dim = isNamed ? given.dim : given;
  checkDim(name, dim);
  return [dim, options.dtype];
}

function checkDim(name: string, dim: unknown): asserts dim is number {
  if (typeof dim !== "number") {
    throw typeError(
      "dim",
      "the number of a dimension",
      dim,
      `Type \`nn.functional.${name}(x, -1)\` for the last dimension.`,
    );
  }
}
