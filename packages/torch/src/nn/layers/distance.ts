// Distances as layers.
import type { Tensor } from "../../tensor.js";
import { checkBoolean, checkNumber, checkOptions } from "../arguments.js";
import { cosineSimilarity, pairwiseDistance } from "../functional/distance.js";
import { Module } from "../module.js";

/** The cosine of the angle between two tensors along `dim` (1). */
export class CosineSimilarity extends Module<[x1: Tensor, x2: Tensor], Tensor> {
  readonly dim: number;
  readonly eps: number;

  constructor(options: { dim?: number; eps?: number } = {}) {
    super();
    checkOptions(options, ["dim", "eps"], "new nn.CosineSimilarity({ dim: 1 })");
    this.dim = checkNumber("dim", options.dim ?? 1);
    this.eps = checkNumber("eps", options.eps ?? 1e-8);
  }
  forward(x1: Tensor, x2: Tensor): Tensor {
    return cosineSimilarity(x1, x2, this);
  }
}

/** The `p`-norm (2) of the difference of two tensors along the last dimension. */
export class PairwiseDistance extends Module<[x1: Tensor, x2: Tensor], Tensor> {
  readonly norm: number;
  readonly eps: number;
  readonly keepdim: boolean;

  constructor(options: { p?: number; eps?: number; keepdim?: boolean } = {}) {
    super();
    checkOptions(options, ["p", "eps", "keepdim"], "new nn.PairwiseDistance({ p: 2 })");
    this.norm = checkNumber("p", options.p ?? 2);
    this.eps = checkNumber("eps", options.eps ?? 1e-6);
    this.keepdim = checkBoolean("keepdim", options.keepdim ?? false);
  }
  forward(x1: Tensor, x2: Tensor): Tensor {
    const { norm: p, eps, keepdim } = this;
    return pairwiseDistance(x1, x2, { p, eps, keepdim });
  }
}
