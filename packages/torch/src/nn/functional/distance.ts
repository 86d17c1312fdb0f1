// Distances, and vectors of length one.
import type { Tensor } from "../../tensor.js";
import { aten } from "../aten.js";
import { known } from "./known-options.js";

const cosineSimilarity_ = aten("cosine_similarity");
const pairwiseDistance_ = aten("pairwise_distance");
const norm = aten("norm");

/** `x1 . x2 / max(|x1| |x2|, eps)` along `dim` (1). */
export function cosineSimilarity(x1: Tensor, x2: Tensor, options: { dim?: number; eps?: number } = {}): Tensor {
  known("cosineSimilarity", options, ["dim", "eps"]);
  return cosineSimilarity_(x1, x2, options.dim ?? 1, options.eps ?? 1e-8);
}

/** The `p`-norm (2) of `x1 - x2 + eps` along the last dimension. */
export function pairwiseDistance(
  x1: Tensor,
  x2: Tensor,
  options: { p?: number; eps?: number; keepdim?: boolean } = {},
): Tensor {
  known("pairwiseDistance", options, ["p", "eps", "keepdim"]);
  return pairwiseDistance_(x1, x2, options.p ?? 2, options.eps ?? 1e-6, options.keepdim ?? false);
}

/** Divides by the `p`-norm (2) along `dim` (1), or by `eps` where that is greater. */
export function normalize(input: Tensor, options: { p?: number; dim?: number | number[]; eps?: number } = {}): Tensor {
  known("normalize", options, ["p", "dim", "eps"]);
  const { p = 2, dim = 1, eps = 1e-12 } = options;
  const dims = typeof dim === "number" ? [dim] : dim;
  return input.div(norm(input, p, dims, true).clampMin(eps).expandAs(input));
}
