// The activation layers: each wraps the function of the same name in functional/activation.ts.
import { ConfigurationError } from "../../errors.js";
import type { Tensor } from "../../tensor.js";
import {
  checkBoolean,
  checkNumber,
  checkOptions,
  checkSize,
  checkWord,
  type FactoryOptions,
  factory,
} from "../arguments.js";
import { aten } from "../aten.js";
import * as F from "../functional/activation.js";
import { guardMembers } from "../members.js";
import { type AnyModule, Module } from "../module.js";
import { Parameter } from "../parameter.js";
import { pyFloat } from "../python-text.js";

/** Options of the activations that can overwrite their input. */
export type { InplaceOptions } from "../functional/activation.js";

abstract class InplaceActivation extends Module<[Tensor], Tensor> {
  /** Whether the input is overwritten. */
  inplace: boolean;

  constructor(options: F.InplaceOptions = {}, others: readonly string[] = []) {
    super();
    checkOptions(options, ["inplace", ...others], `new nn.${new.target.name}({ inplace: true })`);
    this.inplace = checkBoolean("inplace", options.inplace ?? false);
  }

  override extraRepr(): string {
    return this.inplace ? "inplace=True" : "";
  }
}

function inplaceText(layer: InplaceActivation): string {
  return layer.inplace ? ", inplace=True" : "";
}

/** `max(0, x)`. */
export class ReLU extends InplaceActivation {
  forward(input: Tensor): Tensor {
    return F.relu(input, this);
  }
}

/** `min(max(0, x), 6)`. */
export class ReLU6 extends InplaceActivation {
  forward(input: Tensor): Tensor {
    return F.relu6(input, this);
  }
}

/** ELU with the constants of self-normalizing networks. */
export class SELU extends InplaceActivation {
  forward(input: Tensor): Tensor {
    return F.selu(input, this);
  }
}

/** `x * sigmoid(x)`. */
export class SiLU extends InplaceActivation {
  forward(input: Tensor): Tensor {
    return F.silu(input, this);
  }
}

/** `x * tanh(softplus(x))`. */
export class Mish extends InplaceActivation {
  forward(input: Tensor): Tensor {
    return F.mish(input, this);
  }
}

/** `x * relu6(x + 3) / 6`. */
export class Hardswish extends InplaceActivation {
  forward(input: Tensor): Tensor {
    return F.hardswish(input, this);
  }
  override extraRepr(): string {
    return "";
  }
}

/** `relu6(x + 3) / 6`. */
export class Hardsigmoid extends InplaceActivation {
  forward(input: Tensor): Tensor {
    return F.hardsigmoid(input, this);
  }
  override extraRepr(): string {
    return "";
  }
}

/** `x` where positive, otherwise `negativeSlope * x` (0.01). */
export class LeakyReLU extends InplaceActivation {
  readonly negativeSlope: number;

  constructor(negativeSlope = 0.01, options: F.InplaceOptions = {}) {
    super(options);
    this.negativeSlope = checkNumber("negativeSlope", negativeSlope);
  }
  forward(input: Tensor): Tensor {
    return F.leakyRelu(input, this);
  }
  override extraRepr(): string {
    return `negative_slope=${pyFloat(this.negativeSlope)}${inplaceText(this)}`;
  }
}

/** `x` where positive, otherwise `x` times a factor: in training drawn between `lower` (1/8) and `upper` (1/3), else their mean. */
export class RReLU extends InplaceActivation {
  readonly lower: number;
  readonly upper: number;

  constructor(options: { lower?: number; upper?: number } & F.InplaceOptions = {}) {
    super(options, ["lower", "upper"]);
    this.lower = checkNumber("lower", options.lower ?? 1 / 8);
    this.upper = checkNumber("upper", options.upper ?? 1 / 3, this.lower);
  }
  forward(input: Tensor): Tensor {
    const { lower, upper, training, inplace } = this;
    return F.rrelu(input, { lower, upper, training, inplace });
  }
  override extraRepr(): string {
    return `lower=${pyFloat(this.lower)}, upper=${pyFloat(this.upper)}${inplaceText(this)}`;
  }
}

/** `x` where positive, otherwise `alpha * (exp(x) - 1)` (alpha 1). */
export class ELU extends InplaceActivation {
  readonly alpha: number;

  constructor(alpha = 1, options: F.InplaceOptions = {}) {
    super(options);
    this.alpha = checkNumber("alpha", alpha);
  }
  forward(input: Tensor): Tensor {
    return F.elu(input, this);
  }
  override extraRepr(): string {
    return `alpha=${pyFloat(this.alpha)}${inplaceText(this)}`;
  }
}

/** `max(0, x) + min(0, alpha * (exp(x / alpha) - 1))` (alpha 1). */
export class CELU extends InplaceActivation {
  readonly alpha: number;

  constructor(alpha = 1, options: F.InplaceOptions = {}) {
    super(options);
    this.alpha = checkNumber("alpha", alpha);
  }
  forward(input: Tensor): Tensor {
    return F.celu(input, this);
  }
  override extraRepr(): string {
    return `alpha=${pyFloat(this.alpha)}${inplaceText(this)}`;
  }
}

/** `x` cut off at `minVal` (-1) and `maxVal` (1). */
export class Hardtanh extends InplaceActivation {
  readonly minVal: number;
  readonly maxVal: number;

  constructor(options: { minVal?: number; maxVal?: number } & F.InplaceOptions = {}) {
    super(options, ["minVal", "maxVal"]);
    this.minVal = checkNumber("minVal", options.minVal ?? -1);
    this.maxVal = checkNumber("maxVal", options.maxVal ?? 1, this.minVal);
  }
  forward(input: Tensor): Tensor {
    return F.hardtanh(input, this);
  }
  override extraRepr(): string {
    return `min_val=${pyFloat(this.minVal)}, max_val=${pyFloat(this.maxVal)}${inplaceText(this)}`;
  }
}

/** `x` where greater than `threshold`, otherwise `value`. */
export class Threshold extends InplaceActivation {
  readonly threshold: number;
  readonly value: number;

  constructor(threshold: number, value: number, options: F.InplaceOptions = {}) {
    super(options);
    this.threshold = checkNumber("threshold", threshold);
    this.value = checkNumber("value", value);
  }
  forward(input: Tensor): Tensor {
    return F.threshold(input, this.threshold, this.value, this);
  }
  override extraRepr(): string {
    return `threshold=${this.threshold}, value=${this.value}${inplaceText(this)}`;
  }
}

/** `x * P(X <= x)` for a standard normal `X`, exactly or, with `approximate: "tanh"`, nearly. */
export class GELU extends Module<[Tensor], Tensor> {
  readonly approximate: "none" | "tanh";

  constructor(options: { approximate?: "none" | "tanh" } = {}) {
    super();
    checkOptions(options, ["approximate"], 'new nn.GELU({ approximate: "tanh" })');
    this.approximate = checkWord("approximate", options.approximate ?? "none", ["none", "tanh"]);
  }
  forward(input: Tensor): Tensor {
    return F.gelu(input, this);
  }
  override extraRepr(): string {
    return `approximate='${this.approximate}'`;
  }
}

/** The hyperbolic tangent. */
export class Tanh extends Module<[Tensor], Tensor> {
  forward(input: Tensor): Tensor {
    return F.tanh(input);
  }
}

/** `1 / (1 + exp(-x))`. */
export class Sigmoid extends Module<[Tensor], Tensor> {
  forward(input: Tensor): Tensor {
    return F.sigmoid(input);
  }
}

/** `log(sigmoid(x))`. */
export class LogSigmoid extends Module<[Tensor], Tensor> {
  forward(input: Tensor): Tensor {
    return F.logsigmoid(input);
  }
}

/** `x / (1 + |x|)`. */
export class Softsign extends Module<[Tensor], Tensor> {
  forward(input: Tensor): Tensor {
    return F.softsign(input);
  }
}

/** `x - tanh(x)`. */
export class Tanhshrink extends Module<[Tensor], Tensor> {
  forward(input: Tensor): Tensor {
    return F.tanhshrink(input);
  }
}

/** `log(1 + exp(beta * x)) / beta` (beta 1), and `x` itself where `beta * x` is above `threshold` (20). */
export class Softplus extends Module<[Tensor], Tensor> {
  readonly beta: number;
  readonly threshold: number;

  constructor(options: { beta?: number; threshold?: number } = {}) {
    super();
    checkOptions(options, ["beta", "threshold"], "new nn.Softplus({ beta: 1, threshold: 20 })");
    this.beta = checkNumber("beta", options.beta ?? 1);
    this.threshold = checkNumber("threshold", options.threshold ?? 20);
  }
  forward(input: Tensor): Tensor {
    return F.softplus(input, this);
  }
  override extraRepr(): string {
    return `beta=${this.beta}, threshold=${this.threshold}`;
  }
}

/** `x` moved towards zero by `lambd`. */
export class Softshrink extends Module<[Tensor], Tensor> {
  readonly lambd: number;

  constructor(lambd = 0.5) {
    super();
    this.lambd = checkNumber("lambd", lambd, 0);
  }
  forward(input: Tensor): Tensor {
    return F.softshrink(input, this);
  }
  override extraRepr(): string {
    return pyFloat(this.lambd);
  }
}

/** `x` where its size is above `lambd`, otherwise 0. */
export class Hardshrink extends Module<[Tensor], Tensor> {
  readonly lambd: number;

  constructor(lambd = 0.5) {
    super();
    this.lambd = checkNumber("lambd", lambd);
  }
  forward(input: Tensor): Tensor {
    return F.hardshrink(input, this);
  }
  override extraRepr(): string {
    return pyFloat(this.lambd);
  }
}

/** The first half of dimension `dim` (the last) times the sigmoid of the second. */
export class GLU extends Module<[Tensor], Tensor> {
  readonly dim: number;

  constructor(dim = -1) {
    super();
    this.dim = checkNumber("dim", dim);
  }
  forward(input: Tensor): Tensor {
    return F.glu(input, this.dim);
  }
  override extraRepr(): string {
    return `dim=${this.dim}`;
  }
}

/** Positive values that sum to one along `dim`. */
export class Softmax extends Module<[Tensor], Tensor> {
  readonly dim: number;

  /** @param dim the dimension, alone or as `{ dim }` */
  constructor(dim: number | { dim: number }) {
    super();
    this.dim = checkDim("Softmax", dim);
  }
  forward(input: Tensor): Tensor {
    return F.softmax(input, this.dim);
  }
  override extraRepr(): string {
    return `dim=${this.dim}`;
  }
}

/** Softmax over the channels of `[N, C, H, W]` or `[C, H, W]`. */
export class Softmax2d extends Module<[Tensor], Tensor> {
  forward(input: Tensor): Tensor {
    if (input.ndim !== 3 && input.ndim !== 4) {
      throw new ConfigurationError(`Softmax2d got an input of shape [${input.shape.join(", ")}].`, {
        hint: "It takes [N, C, H, W] or [C, H, W].",
      });
    }
    return F.softmax(input, -3);
  }
}

/** `softmax(-x)`. */
export class Softmin extends Module<[Tensor], Tensor> {
  readonly dim: number;

  /** @param dim the dimension, alone or as `{ dim }` */
  constructor(dim: number | { dim: number }) {
    super();
    this.dim = checkDim("Softmin", dim);
  }
  forward(input: Tensor): Tensor {
    return F.softmin(input, this.dim);
  }
  override extraRepr(): string {
    return `dim=${this.dim}`;
  }
}

/** The logarithm of softmax. */
export class LogSoftmax extends Module<[Tensor], Tensor> {
  readonly dim: number;

  /** @param dim the dimension, alone or as `{ dim }` */
  constructor(dim: number | { dim: number }) {
    super();
    this.dim = checkDim("LogSoftmax", dim);
  }
  forward(input: Tensor): Tensor {
    return F.logSoftmax(input, this.dim);
  }
  override extraRepr(): string {
    return `dim=${this.dim}`;
  }
}

const empty = aten("empty");

/** `x` where positive, otherwise a learned factor times `x`: one factor, or one for each channel. */
export class PReLU extends Module<[Tensor], Tensor> {
  readonly numParameters: number;
  weight: Parameter;

  constructor(options: { numParameters?: number; init?: number } & FactoryOptions = {}) {
    super();
    const example = "new nn.PReLU({ numParameters: 16 })";
    checkOptions(options, ["numParameters", "init", "dtype", "device"], example);
    this.numParameters = checkSize("numParameters", options.numParameters ?? 1, 1, example);
    this.weight = new Parameter(empty([this.numParameters], factory(options)).fill_(options.init ?? 0.25));
    guardMembers(this as AnyModule);
  }
  forward(input: Tensor): Tensor {
    return F.prelu(input, this.weight);
  }
  override extraRepr(): string {
    return `num_parameters=${this.numParameters}`;
  }
}

function checkDim(layer: string, given: unknown): number {
  const isNamed = typeof given === "object" && given !== null && !Array.isArray(given);
  if (isNamed) checkOptions(given, ["dim"], `new nn.${layer}({ dim: 1 })`);
  const dim = isNamed ? (given as { dim?: unknown }).dim : given;
  if (dim === undefined)
    throw new TypeError(
      `nn.${layer} needs the dimension along which the values sum to one.\nType \`new nn.${layer}(-1)\` for the last one.`,
    );
  return checkNumber("dim", dim);
}
