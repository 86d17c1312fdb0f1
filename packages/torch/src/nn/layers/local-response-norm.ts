// Normalization over neighbouring channels.
import type { Tensor } from "../../tensor.js";
import { checkNumber, checkOptions, checkSize } from "../arguments.js";
import { localResponseNorm } from "../functional/normalization.js";
import { Module } from "../module.js";
import { pyFloat } from "../python-text.js";

/** Divides by a power of the mean square over `size` neighbouring channels: shape `[N, C, ...]` stays. */
export class LocalResponseNorm extends Module<[Tensor], Tensor> {
  readonly size: number;
  readonly alpha: number;
  readonly beta: number;
  readonly k: number;

  constructor(size: number, options: { alpha?: number; beta?: number; k?: number } = {}) {
    super();
    const example = "new nn.LocalResponseNorm(5, { alpha: 1e-4, beta: 0.75, k: 1 })";
    checkOptions(options, ["alpha", "beta", "k"], example);
    this.size = checkSize("size", size, 1, example);
    this.alpha = checkNumber("alpha", options.alpha ?? 1e-4);
    this.beta = checkNumber("beta", options.beta ?? 0.75);
    this.k = checkNumber("k", options.k ?? 1);
  }
  forward(input: Tensor): Tensor {
    return localResponseNorm(input, this.size, this);
  }
  override extraRepr(): string {
    return `${this.size}, alpha=${pyFloat(this.alpha)}, beta=${pyFloat(this.beta)}, k=${pyFloat(this.k)}`;
  }
}
