// A table of vectors that are looked up in bags: sums, means or greatest values.
import type { Tensor } from "../../tensor.js";
import { checkBoolean, checkOptions, checkWord } from "../arguments.js";
import { type EmbeddingBagLookup, embeddingBag } from "../functional/embedding.js";
import { pyBool, pyFloat } from "../python-text.js";
import { Embedding, type EmbeddingOptions } from "./embedding.js";

/** Options of `EmbeddingBag`. */
export interface EmbeddingBagOptions extends EmbeddingOptions, Pick<EmbeddingBagLookup, "mode" | "includeLastOffset"> {}

/** What may follow the indices in a call. */
export type BagArguments = Pick<EmbeddingBagLookup, "offsets" | "perSampleWeights">;

/** Bags of indices, `[N, L]` or `[L]` with `{ offsets }` -> one vector each, `[N, embeddingDim]`. */
export class EmbeddingBag extends Embedding {
  readonly mode: "sum" | "mean" | "max";
  readonly includeLastOffset: boolean;

  constructor(numEmbeddings: number, embeddingDim: number, options: EmbeddingBagOptions = {}) {
    const { mode = "mean", includeLastOffset = false, ...lookup } = options;
    super(numEmbeddings, embeddingDim, lookup);
    this.mode = checkWord("mode", mode, ["sum", "mean", "max"]);
    this.includeLastOffset = checkBoolean("includeLastOffset", includeLastOffset);
  }

  override forward(input: Tensor, bags: BagArguments = {}): Tensor {
    checkOptions(bags, ["offsets", "perSampleWeights"], "bag(indices, { offsets })");
    const { paddingIdx, maxNorm, normType, scaleGradByFreq, sparse, mode, includeLastOffset } = this;
    const lookup = { paddingIdx, maxNorm, normType, scaleGradByFreq, sparse, mode, includeLastOffset };
    return embeddingBag(input, this.weight, { ...lookup, ...bags });
  }

  override extraRepr(): string {
    let text = `${this.numEmbeddings}, ${this.embeddingDim}`;
    if (this.maxNorm !== null) text += `, max_norm=${pyFloat(this.maxNorm)}`;
    if (this.normType !== 2) text += `, norm_type=${pyFloat(this.normType)}`;
    if (this.scaleGradByFreq) text += `, scale_grad_by_freq=${pyBool(true)}`;
    text += `, mode=${this.mode}`;
    return this.paddingIdx === null ? text : `${text}, padding_idx=${this.paddingIdx}`;
  }
}
