// Normalization by the root mean square (https://arxiv.org/abs/1910.07467).
import type { Tensor } from "../../tensor.js";
import { checkBoolean, checkNumber, checkOptions, checkSize, type FactoryOptions, factory } from "../arguments.js";
import { aten } from "../aten.js";
import { rmsNorm } from "../functional/normalization.js";
import { ones_ } from "../init.js";
import { guardMembers } from "../members.js";
import { type AnyModule, Module } from "../module.js";
import { Parameter } from "../parameter.js";
import { pyBool, pyFloat, pyTuple } from "../python-text.js";

/** Options of `RMSNorm`. */
export interface RMSNormOptions extends FactoryOptions {
  /** Added to the mean square (default: the dtype's smallest step from 1). */
  eps?: number | null;
  /** Whether a learned factor for each element follows (default true). */
  elementwiseAffine?: boolean;
}

const empty = aten("empty");
const example = "new nn.RMSNorm(64, { eps: 1e-6 })";

/** Divides by the root mean square of the last dimensions, whose sizes are `normalizedShape`. */
export class RMSNorm extends Module<[Tensor], Tensor> {
  readonly normalizedShape: readonly number[];
  readonly eps: number | null;
  readonly elementwiseAffine: boolean;
  weight: Parameter | null;

  constructor(normalizedShape: number | readonly number[], options: RMSNormOptions = {}) {
    super();
    checkOptions(options, ["eps", "elementwiseAffine", "dtype", "device"], example);
    const sizes = typeof normalizedShape === "number" ? [normalizedShape] : [...normalizedShape];
    this.normalizedShape = sizes.map((size) => checkSize("normalizedShape", size, 1, example));
    const { eps = null } = options;
    this.eps = eps === null ? null : checkNumber("eps", eps, 0);
    this.elementwiseAffine = checkBoolean("elementwiseAffine", options.elementwiseAffine ?? true);
    this.weight = this.elementwiseAffine ? new Parameter(empty(sizes, factory(options))) : null;
    this.resetParameters();
    guardMembers(this as AnyModule);
  }

  /** Sets the factors to one. */
  resetParameters(): void {
    if (this.weight !== null) ones_(this.weight);
  }

  forward(input: Tensor): Tensor {
    return rmsNorm(input, this.normalizedShape, { weight: this.weight, eps: this.eps });
  }

  override extraRepr(): string {
    const eps = this.eps === null ? "None" : pyFloat(this.eps);
    return `${pyTuple(this.normalizedShape)}, eps=${eps}, elementwise_affine=${pyBool(this.elementwiseAffine)}`;
  }
}
