// Looking up rows of a table.

import { noGrad } from "../../autograd/grad-mode.js";
import { ConfigurationError } from "../../errors.js";
import type { Tensor } from "../../tensor.js";
import { checkWord } from "../arguments.js";
import { aten, atenAny } from "../aten.js";
import { paddingRow } from "../padding-row.js";
import { known } from "./known-options.js";

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
const embeddingBag_ = atenAny("embedding_bag.padding_idx");
const arange = aten("arange");

/** Rows of `weight` (`[num, dim]`) by integer index: shape `[...]` -> `[..., dim]`. */
export function embedding(input: Tensor, weight: Tensor, options: EmbeddingLookup = {}): Tensor {
  known("embedding", options, ["paddingIdx", "maxNorm", "normType", "scaleGradByFreq", "sparse"]);
  const { paddingIdx = null, maxNorm = null, normType = 2, scaleGradByFreq = false, sparse = false } = options;
  const padding = paddingIdx === null ? -1 : paddingRow(paddingIdx, weight.size(0));
  let indices = input;
  if (maxNorm !== null) {
    indices = input.contiguous();
    noGrad(() => renorm(weight, indices, maxNorm, normType));
  }
  return embedding_(weight, indices, padding, scaleGradByFreq, sparse);
}

/** Options of `embeddingBag`. */
export interface EmbeddingBagLookup extends EmbeddingLookup {
  /** Where each bag begins in an input of one dimension. */
  offsets?: Tensor | null;
  /** What becomes of a bag's rows (default `"mean"`). */
  mode?: "sum" | "mean" | "max";
  /** A factor for each index; only with `"sum"`. */
  perSampleWeights?: Tensor | null;
  /** The last offset is the length of the input (default false). */
  includeLastOffset?: boolean;
}

const modes = { sum: 0, mean: 1, max: 2 } as const;

/**
 * Sums, means or greatest values of rows of `weight`: bags `[N, L]` of indices, or `[L]` with `offsets` -> `[N, dim]`.
 * Rows of `paddingIdx` count nothing.
 */
export function embeddingBag(input: Tensor, weight: Tensor, options: EmbeddingBagLookup = {}): Tensor {
  known("embeddingBag", options, [
    "offsets",
    "mode",
    "perSampleWeights",
    "includeLastOffset",
    "paddingIdx",
    "maxNorm",
    "normType",
    "scaleGradByFreq",
    "sparse",
  ]);
  const { maxNorm = null, normType = 2, scaleGradByFreq = false, mode = "mean", sparse = false } = options;
  const { includeLastOffset = false, paddingIdx = null } = options;
  let { perSampleWeights = null } = options;
  checkWord("mode", mode, ["sum", "mean", "max"]);
  const [indices, offsets] = bagsOf(input, options.offsets ?? null);
  if (perSampleWeights !== null) {
    if (mode !== "sum") throw new ConfigurationError('`perSampleWeights` needs `mode: "sum"`.');
    if (perSampleWeights.shape.join() !== input.shape.join()) {
      throw new ConfigurationError(
        `\`perSampleWeights\` has the shape [${perSampleWeights.shape.join(", ")}], but the input [${input.shape.join(", ")}].`,
      );
    }
    perSampleWeights = perSampleWeights.reshape([-1]);
  }
  if (mode === "max" && (scaleGradByFreq || sparse)) {
    throw new ConfigurationError('`mode: "max"` works with neither `scaleGradByFreq` nor `sparse`.');
  }
  if (maxNorm !== null) noGrad(() => renorm(weight, indices.contiguous(), maxNorm, normType));
  const padding = paddingIdx === null ? null : paddingRow(paddingIdx, weight.size(0));
  const [output] = embeddingBag_(
    weight,
    indices,
    offsets,
    scaleGradByFreq,
    modes[mode],
    sparse,
    perSampleWeights,
    includeLastOffset,
    padding,
  ) as [Tensor];
  return output;
}

function bagsOf(input: Tensor, offsets: Tensor | null): [indices: Tensor, offsets: Tensor] {
  if (input.ndim === 2 && offsets === null) {
    const { dtype, device } = input;
    const starts = arange(0, input.numel(), Math.max(1, input.size(1)), { dtype, device });
    return [input.reshape([-1]), starts];
  }
  if (input.ndim === 1 && offsets !== null) return [input, offsets];
  throw new ConfigurationError(
    `embeddingBag got an input of shape [${input.shape.join(", ")}] ${offsets === null ? "without" : "with"} offsets.`,
    { hint: "It takes bags of equal length [N, L] without offsets, or [L] with the offset at which each bag begins." },
  );
}

/** A row of zeros with a one at the index: shape `[...]` -> `[..., numClasses]`. Without `numClasses`, the greatest index plus one. */
export function oneHot(input: Tensor, numClasses = -1): Tensor {
  return oneHot_(input, numClasses);
}
