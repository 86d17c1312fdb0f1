// Scaled dot-product attention: the engine's own operator where it has one, otherwise composed from others.

import { ConfigurationError } from "../../errors.js";
import { native } from "../../native.js";
import type { Tensor } from "../../tensor.js";
import { aten } from "../aten.js";
import { dropout } from "./dropout.js";
import { known } from "./known-options.js";

/** Options of `scaledDotProductAttention`. */
export interface AttentionOptions {
  /** Added to the scores, or, when boolean, true where a key may be looked at. Broadcast to `[..., queries, keys]`. */
  attnMask?: Tensor | null;
  /** Probability of dropping an attention weight (default 0). Applied whenever it is above 0. */
  dropoutP?: number;
  /** Lets each query see only keys up to its own position (default false). Excludes `attnMask`. */
  isCausal?: boolean;
  /** Factor of the scores; `1 / sqrt(size of the last dimension)` unless given. */
  scale?: number | null;
}

const fused = aten("scaled_dot_product_attention");
const ones = aten("ones");
let hasFused: boolean | undefined;

/** `softmax(query @ key.T * scale + mask) @ value`: shapes `[..., L, E]`, `[..., S, E]`, `[..., S, V]` -> `[..., L, V]`. */
export function scaledDotProductAttention(
  query: Tensor,
  key: Tensor,
  value: Tensor,
  options: AttentionOptions = {},
): Tensor {
  known("scaledDotProductAttention", options, ["attnMask", "dropoutP", "isCausal", "scale"]);
  const { attnMask = null, dropoutP = 0, isCausal = false, scale = null } = options;
  if (attnMask !== null && isCausal) {
    throw new ConfigurationError("`attnMask` and `isCausal: true` exclude each other.", {
      hint: 'Put the causal part into the mask: `torch.ones([L, S], { dtype: "bool" }).tril()`.',
    });
  }
  hasFused ??= native().hasOperator("aten", "scaled_dot_product_attention");
  if (hasFused) {
    if (scale === null) return fused(query, key, value, attnMask, dropoutP, isCausal);
    return fused(query, key, value, attnMask, dropoutP, isCausal, { scale });
  }
  // The factor is split over both sides, as in the engine's own composed path, to keep half precision in range.
  const factor = Math.sqrt(scale ?? 1 / Math.sqrt(query.size(-1)));
  let scores = query.mul(factor).matmul(key.transpose(-2, -1).mul(factor));
  const mask = isCausal ? causalMask(query, key) : attnMask;
  if (mask !== null) {
    scores = mask.dtype === "bool" ? scores.maskedFill(mask.logicalNot(), -Infinity) : scores.add(mask);
  }
  const weights = scores.softmax(-1);
  return (dropoutP > 0 ? dropout(weights, { p: dropoutP }) : weights).matmul(value);
}

function causalMask(query: Tensor, key: Tensor): Tensor {
  return ones([query.size(-2), key.size(-2)], { dtype: "bool", device: query.device }).tril();
}
