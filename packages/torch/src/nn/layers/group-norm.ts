// Normalization over groups of channels.
import { ConfigurationError } from "../../errors.js";
import type { Tensor } from "../../tensor.js";
import { checkBoolean, checkNumber, checkOptions, checkSize, type FactoryOptions, factory } from "../arguments.js";
import { aten } from "../aten.js";
import { groupNorm } from "../functional/normalization.js";
import { ones_, zeros_ } from "../init.js";
import { guardMembers } from "../members.js";
import { type AnyModule, Module } from "../module.js";
import { Parameter } from "../parameter.js";
import { pyBool, pyFloat } from "../python-text.js";

/** Options of `GroupNorm`. */
export interface GroupNormOptions extends FactoryOptions {
  /** Added to the variance (default 1e-5). */
  eps?: number;
  /** Whether a learned factor and summand for each channel follow (default true). */
  affine?: boolean;
}

const empty = aten("empty");
const example = "new nn.GroupNorm(4, 16, { affine: false })";

/** Normalizes `numGroups` groups of the `numChannels` channels (dimension 1), each sample by itself. */
export class GroupNorm extends Module<[Tensor], Tensor> {
  readonly numGroups: number;
  readonly numChannels: number;
  readonly eps: number;
  readonly affine: boolean;
  weight: Parameter | null;
  bias: Parameter | null;

  constructor(numGroups: number, numChannels: number, options: GroupNormOptions = {}) {
    super();
    checkOptions(options, ["eps", "affine", "dtype", "device"], example);
    this.numGroups = checkSize("numGroups", numGroups, 1, example);
    this.numChannels = checkSize("numChannels", numChannels, 1, example);
    if (numChannels % numGroups !== 0) {
      throw new ConfigurationError(`${numChannels} channels cannot be split into ${numGroups} groups.`, {
        hint: "`numChannels` has to be divisible by `numGroups`.",
      });
    }
    this.eps = checkNumber("eps", options.eps ?? 1e-5);
    this.affine = checkBoolean("affine", options.affine ?? true);
    const made = factory(options);
    this.weight = this.affine ? new Parameter(empty([numChannels], made)) : null;
    this.bias = this.affine ? new Parameter(empty([numChannels], made)) : null;
    this.resetParameters();
    guardMembers(this as AnyModule);
  }

  /** Sets the factor to one and the summand to zero. */
  resetParameters(): void {
    if (this.weight !== null) ones_(this.weight);
    if (this.bias !== null) zeros_(this.bias);
  }

  forward(input: Tensor): Tensor {
    return groupNorm(input, this.numGroups, this);
  }

  override extraRepr(): string {
    return `${this.numGroups}, ${this.numChannels}, eps=${pyFloat(this.eps)}, affine=${pyBool(this.affine)}`;
  }
}
