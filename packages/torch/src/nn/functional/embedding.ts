// Looking up rows of a table.

import { noGrad } from "../../autograd/grad-mode.js";
import type { Tensor } from "../../tensor.js";
import { aten } from "../aten.js";
import { paddingRow } from "../padding-row.js";

/** Options of `embedding`. */
export interface EmbeddingLookup {
  /** A row that gets no gradient; negative counts from the end. */
  paddingIdx?: number | null;
  /** Scales rows that are looked up down to this norm, in the table itself. */
  maxNorm?: number | null;
  /** The norm that `maxNorm` is about (default 2). */
  normType?: number;
  /** Divides gradients by how often a row occurs (default false). */
  scaleGradByFreq?: boolean;
  /** Makes the gradient a sparse tensor (default false). */
  sparse?: boolean;
}

const embedding_ = aten("embedding");
const renorm = aten("embedding_renorm_");
const oneHot_ = aten("one_hot");

/** Rows of `weight` (`[num, dim]`) by integer index: shape `[...]` -> `[..., dim]`. */
export function embedding(input: Tensor, weight: Tensor, options: EmbeddingLookup = {}): Tensor {
  const { paddingIdx = null, maxNorm = null, normType = 2, scaleGradByFreq = false, sparse = false } = options;
  const padding = paddingIdx === null ? -1 : paddingRow(paddingIdx, weight.size(0));
  let indices = input;
  if (maxNorm !== null) {
    indices = input.contiguous();
    noGrad(() => renorm(weight, indices, maxNorm, normType));
  }
  return embedding_(weight, indices, padding, scaleGradByFreq, sparse);
}

/** A row of zeros with a one at the index: shape `[...]` -> `[..., numClasses]`. Without `numClasses`, the greatest index plus one. */
export function oneHot(input: Tensor, numClasses = -1): Tensor {
  return oneHot_(input, numClasses);
}
