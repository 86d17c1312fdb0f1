// Normalization over the last dimensions.
import { ConfigurationError } from "../../errors.js";
import type { Tensor } from "../../tensor.js";
import { checkBoolean, checkNumber, checkOptions, checkSize, type FactoryOptions, factory } from "../arguments.js";
import { aten } from "../aten.js";
import { layerNorm } from "../functional/normalization.js";
import { ones_, zeros_ } from "../init.js";
import { guardMembers } from "../members.js";
import { type AnyModule, Module } from "../module.js";
import { Parameter } from "../parameter.js";
import { pyBool, pyFloat, pyTuple } from "../python-text.js";

/** Options of `LayerNorm`. */
export interface LayerNormOptions extends FactoryOptions {
  /** Added to the variance (default 1e-5). */
  eps?: number;
  /** Whether a learned factor and summand follow (default true). */
  elementwiseAffine?: boolean;
  /** Whether the summand is among them (default true). */
  bias?: boolean;
}

const empty = aten("empty");
const example = "new nn.LayerNorm(64, { eps: 1e-5, elementwiseAffine: true })";

/** Normalizes the last dimensions, which have to have the sizes `normalizedShape`, to mean 0 and variance 1. */
export class LayerNorm extends Module<[Tensor], Tensor> {
  readonly normalizedShape: number[];
  readonly eps: number;
  readonly elementwiseAffine: boolean;
  weight: Parameter | null;
  bias: Parameter | null;

  constructor(normalizedShape: number | readonly number[], options: LayerNormOptions = {}) {
    super();
    checkOptions(options, ["eps", "elementwiseAffine", "bias", "dtype", "device"], example);
    const shape = typeof normalizedShape === "number" ? [normalizedShape] : normalizedShape;
    if (!Array.isArray(shape) || shape.length === 0) {
      throw new ConfigurationError("`normalizedShape` has to be a number or a list of numbers.", {
        hint: `Type \`${example}\`.`,
      });
    }
    this.normalizedShape = shape.map((size, i) => checkSize(`normalizedShape[${i}]`, size, 1, example));
    this.eps = checkNumber("eps", options.eps ?? 1e-5);
    this.elementwiseAffine = checkBoolean("elementwiseAffine", options.elementwiseAffine ?? true);
    const bias = checkBoolean("bias", options.bias ?? true);
    const made = factory(options);
    this.weight = this.elementwiseAffine ? new Parameter(empty(this.normalizedShape, made)) : null;
    this.bias = this.elementwiseAffine && bias ? new Parameter(empty(this.normalizedShape, made)) : null;
    this.resetParameters();
    guardMembers(this as AnyModule);
  }

  /** Sets the factor to one and the summand to zero. */
  resetParameters(): void {
    if (this.weight !== null) ones_(this.weight);
    if (this.bias !== null) zeros_(this.bias);
  }

  forward(input: Tensor): Tensor {
    return layerNorm(input, this.normalizedShape, this);
  }

  override extraRepr(): string {
    return `${pyTuple(this.normalizedShape)}, eps=${pyFloat(this.eps)}, elementwise_affine=${pyBool(this.elementwiseAffine)}`;
  }
}
