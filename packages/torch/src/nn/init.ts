// `nn.init`: filling parameters in place, with PyTorch's formulas and its order of random draws. All return their tensor,
// record no gradients, and do nothing while `skipInit` is in force.

import { noGrad } from "../autograd/grad-mode.js";
import { typeError } from "../check.js";
import { type Context, runContext } from "../context.js";
import { ConfigurationError } from "../errors.js";
import { Tensor } from "../tensor.js";
import { checkWord } from "./arguments.js";
import { aten, atenAny } from "./aten.js";
import { warnOnce } from "./warn.js";

/** The function that follows a layer, which decides the gain. */
export type Nonlinearity =
  | "linear"
  | "conv1d"
  | "conv2d"
  | "conv3d"
  | "conv_transpose1d"
  | "conv_transpose2d"
  | "conv_transpose3d"
  | "sigmoid"
  | "tanh"
  | "relu"
  | "leaky_relu"
  | "selu";

/** Options of the Kaiming initializations. */
export interface KaimingOptions {
  /** Negative slope of the rectifier that follows (default 0; only for `"leaky_relu"`). */
  a?: number;
  /** Keeps the variance in the forward (`"fan_in"`, default) or the backward pass (`"fan_out"`). */
  mode?: "fan_in" | "fan_out";
  /** The function that follows (default `"leaky_relu"`). */
  nonlinearity?: Nonlinearity;
}

let skipping = 0;

/**
 * Turns all functions of this file into no-ops, for models whose values are loaded from a file anyway:
 * `const model = nn.init.skipInit(() => new MyModel())`, or `using _ = nn.init.skipInit()` until the end of the block.
 */
export function skipInit(): Context;
export function skipInit<T>(body: () => T): T;
export function skipInit<T>(body?: () => T): T | Context {
  const enter = () => {
    skipping++;
    return () => {
      skipping--;
    };
  };
  return runContext("skipInit", enter, body);
}

/** True while initialization is skipped. */
export function isSkippingInit(): boolean {
  return skipping > 0;
}

/** Fills with values uniform in `[a, b)` (0 to 1). */
export function uniform_<T extends Tensor>(tensor: T, a = 0, b = 1): T {
  return fill(tensor, () => uniform(tensor, a, b));
}

/** Fills with normal values of a mean (0) and standard deviation (1). */
export function normal_<T extends Tensor>(tensor: T, mean = 0, std = 1): T {
  return fill(tensor, () => normal(tensor, mean, std));
}

/** Fills with normal values that are cut off at `a` (-2) and `b` (2). */
export function truncNormal_<T extends Tensor>(
  tensor: T,
  options: { mean?: number; std?: number; a?: number; b?: number } = {},
): T {
  const { mean = 0, std = 1, a = -2, b = 2 } = options;
  if (mean < a - 2 * std || mean > b + 2 * std) {
    warnOnce(
      "truncNormal",
      `truncNormal_ with a mean of ${mean} more than two standard deviations outside [${a}, ${b}] may not be distributed well.`,
    );
  }
  return fill(tensor, () => {
    const low = normalCdf((a - mean) / std);
    const high = normalCdf((b - mean) / std);
    uniform(tensor, 2 * low - 1, 2 * high - 1);
    erfinv(tensor);
    multiply(tensor, std * Math.sqrt(2));
    tensor.add_(mean);
    clamp(tensor, a, b);
  });
}

/** Fills with one value. */
export function constant_<T extends Tensor>(tensor: T, value: number): T {
  return fill(tensor, () => tensor.fill_(value));
}

/** Fills with ones. */
export function ones_<T extends Tensor>(tensor: T): T {
  return fill(tensor, () => tensor.fill_(1));
}

/** Fills with zeros. */
export function zeros_<T extends Tensor>(tensor: T): T {
  return fill(tensor, () => tensor.zero_());
}

/** Makes a matrix the identity, as far as it reaches. */
export function eye_<T extends Tensor>(tensor: T): T {
  checkDims("eye_", tensor, 2, 2);
  return fill(tensor, () => {
    tensor.zero_();
    diagonal(tensor).fill_(1);
  });
}

/** Makes the weights of a convolution pass channels through unchanged, as far as they reach. */
export function dirac_<T extends Tensor>(tensor: T, groups = 1): T {
  checkDims("dirac_", tensor, 3, 5);
  const [out = 0, input = 0, ...window] = tensor.shape;
  if (out % groups !== 0)
    throw new ConfigurationError(`The ${out} output channels cannot be split into ${groups} groups.`);
  return fill(tensor, () => {
    tensor.zero_();
    const perGroup = out / groups;
    for (let group = 0; group < groups; group++) {
      for (let channel = 0; channel < Math.min(perGroup, input); channel++) {
        let element: Tensor = select(select(tensor, 0, group * perGroup + channel), 0, channel);
        for (const size of window) element = select(element, 0, Math.floor(size / 2));
        element.fill_(1);
      }
    }
  });
}

/** Uniform values of Glorot and Bengio (2010): bound `gain * sqrt(6 / (fanIn + fanOut))`. */
export function xavierUniform_<T extends Tensor>(tensor: T, gain = 1): T {
  const { fanIn, fanOut } = calculateFanInAndFanOut(tensor);
  const std = gain * Math.sqrt(2 / (fanIn + fanOut));
  const bound = Math.sqrt(3) * std;
  return fill(tensor, () => uniform(tensor, -bound, bound));
}

/** Normal values of Glorot and Bengio (2010): deviation `gain * sqrt(2 / (fanIn + fanOut))`. */
export function xavierNormal_<T extends Tensor>(tensor: T, gain = 1): T {
  const { fanIn, fanOut } = calculateFanInAndFanOut(tensor);
  const std = gain * Math.sqrt(2 / (fanIn + fanOut));
  return fill(tensor, () => normal(tensor, 0, std));
}

/** Uniform values of He et al. (2015): bound `gain * sqrt(3 / fan)`. The layers' default, with `a = sqrt(5)`. */
export function kaimingUniform_<T extends Tensor>(tensor: T, options: KaimingOptions = {}): T {
  if (isEmpty(tensor)) return tensor;
  const bound = Math.sqrt(3) * kaimingStd(tensor, options);
  return fill(tensor, () => uniform(tensor, -bound, bound));
}

/** Normal values of He et al. (2015): deviation `gain / sqrt(fan)`. */
export function kaimingNormal_<T extends Tensor>(tensor: T, options: KaimingOptions = {}): T {
  if (isEmpty(tensor)) return tensor;
  const std = kaimingStd(tensor, options);
  return fill(tensor, () => normal(tensor, 0, std));
}

/** Makes a matrix (of dimension 0 and all others) orthogonal, after Saxe et al. (2013), times `gain`. */
export function orthogonal_<T extends Tensor>(tensor: T, gain = 1): T {
  checkDims("orthogonal_", tensor, 2, Number.POSITIVE_INFINITY);
  if (tensor.numel() === 0) return tensor;
  const rows = tensor.size(0);
  const columns = tensor.numel() / rows;
  return fill(tensor, () => {
    const flat = normal(empty([rows, columns], { dtype: tensor.dtype, device: tensor.device }), 0, 1);
    const [q, r] = qr(rows < columns ? flat.t() : flat) as [Tensor, Tensor];
    // Signs that make the result uniform: https://arxiv.org/abs/math-ph/0609050
    q.mul_(diagonal(r).sign());
    tensor.viewAs(q.size(0) === rows ? q : q.t()).copy_(q.size(0) === rows ? q : q.t());
    multiply(tensor, gain);
  });
}

/** The factor by which the function that follows changes the deviation; `param` is the slope of `"leaky_relu"` (0.01). */
export function calculateGain(nonlinearity: Nonlinearity, param?: number): number {
  switch (nonlinearity) {
    case "tanh":
      return 5 / 3;
    case "relu":
      return Math.sqrt(2);
    case "leaky_relu": {
      const slope = param ?? 0.01;
      if (typeof slope !== "number") throw typeError("param", "the negative slope, a number", param);
      return Math.sqrt(2 / (1 + slope * slope));
    }
    case "selu":
      return 3 / 4;
    default:
      checkWord("nonlinearity", nonlinearity, [
        "linear",
        "conv1d",
        "conv2d",
        "conv3d",
        "conv_transpose1d",
        "conv_transpose2d",
        "conv_transpose3d",
        "sigmoid",
        "tanh",
        "relu",
        "leaky_relu",
        "selu",
      ]);
      return 1;
  }
}

/** Inputs and outputs that one output and one input of a weight are connected with. Needs two dimensions or more. */
export function calculateFanInAndFanOut(tensor: Tensor): { fanIn: number; fanOut: number } {
  if (!(tensor instanceof Tensor)) throw typeError("tensor", "a Tensor", tensor);
  const [out, input, ...window] = tensor.shape;
  if (out === undefined || input === undefined) {
    throw new ConfigurationError(
      `Fan in and fan out need two dimensions or more, but the tensor has the shape [${tensor.shape.join(", ")}].`,
      {
        hint: "Initialize biases with `nn.init.zeros_`.",
      },
    );
  }
  const receptive = window.reduce((product, size) => product * size, 1);
  return { fanIn: input * receptive, fanOut: out * receptive };
}

const uniform = aten("uniform_");
const normal = aten("normal_");
const erfinv = aten("erfinv_");
const multiply = aten("mul_");
const clamp = aten("clamp_");
const diagonal = aten("diagonal");
const select = aten("select");
const empty = aten("empty");
const erf = aten("erf");
const full = aten("full");
const qr = atenAny("linalg_qr");

function fill<T extends Tensor>(tensor: T, body: () => unknown): T {
  if (!(tensor instanceof Tensor)) throw typeError("tensor", "a Tensor", tensor);
  if (skipping === 0) noGrad(body);
  return tensor;
}

function kaimingStd(tensor: Tensor, options: KaimingOptions): number {
  const { a = 0, mode = "fan_in", nonlinearity = "leaky_relu" } = options;
  checkWord("mode", mode, ["fan_in", "fan_out"]);
  const { fanIn, fanOut } = calculateFanInAndFanOut(tensor);
  return calculateGain(nonlinearity, a) / Math.sqrt(mode === "fan_in" ? fanIn : fanOut);
}

function isEmpty(tensor: Tensor): boolean {
  if (!tensor.shape.includes(0)) return false;
  warnOnce("init:empty", "Initializing tensors without elements does nothing.");
  return true;
}

function checkDims(name: string, tensor: Tensor, low: number, high: number): void {
  if (!(tensor instanceof Tensor)) throw typeError("tensor", "a Tensor", tensor);
  if (tensor.ndim >= low && tensor.ndim <= high) return;
  const range = high === Number.POSITIVE_INFINITY ? `${low} or more` : low === high ? `${low}` : `${low} to ${high}`;
  throw new ConfigurationError(
    `${name} needs ${range} dimensions, but the tensor has the shape [${tensor.shape.join(", ")}].`,
  );
}

/** The standard normal distribution function, with the engine's error function: JavaScript has none. */
function normalCdf(x: number): number {
  return (1 + erf(full([], x / Math.sqrt(2), { dtype: "float64", device: "cpu" })).item()) / 2;
}
