// A table of vectors that are looked up by number.

import { noGrad } from "../../autograd/grad-mode.js";
import { typeError } from "../../check.js";
import { ConfigurationError } from "../../errors.js";
import { Tensor } from "../../tensor.js";
import { checkBoolean, checkNumber, checkOptions, checkSize, type FactoryOptions, factory } from "../arguments.js";
import { aten } from "../aten.js";
import { type EmbeddingLookup, embedding } from "../functional/embedding.js";
import { isSkippingInit, normal_ } from "../init.js";
import { guardMembers } from "../members.js";
import { type AnyModule, Module } from "../module.js";
import { paddingRow } from "../padding-row.js";
import { Parameter } from "../parameter.js";
import { pyBool, pyFloat } from "../python-text.js";

/** Options of `Embedding`. */
export interface EmbeddingOptions extends EmbeddingLookup, FactoryOptions {
  /** The table's first values instead of random ones. */
  weight?: Tensor;
}

const empty = aten("empty");
const example = "new nn.Embedding(1000, 64, { paddingIdx: 0 })";
const names = ["paddingIdx", "maxNorm", "normType", "scaleGradByFreq", "sparse", "weight", "dtype", "device"];

/** `numEmbeddings` vectors of size `embeddingDim`: integer shape `[...]` -> `[..., embeddingDim]`. */
export class Embedding extends Module<[Tensor], Tensor> {
  readonly numEmbeddings: number;
  readonly embeddingDim: number;
  readonly paddingIdx: number | null;
  readonly maxNorm: number | null;
  readonly normType: number;
  readonly scaleGradByFreq: boolean;
  readonly sparse: boolean;
  weight: Parameter;

  constructor(numEmbeddings: number, embeddingDim: number, options: EmbeddingOptions = {}) {
    super();
    checkOptions(options, names, example);
    const { paddingIdx, maxNorm = null, normType = 2, scaleGradByFreq = false, sparse = false, weight } = options;
    this.numEmbeddings = checkSize("numEmbeddings", numEmbeddings, 1, example);
    this.embeddingDim = checkSize("embeddingDim", embeddingDim, 1, example);
    this.paddingIdx = paddingIdx === undefined || paddingIdx === null ? null : paddingRow(paddingIdx, numEmbeddings);
    this.maxNorm = maxNorm === null ? null : checkNumber("maxNorm", maxNorm);
    this.normType = checkNumber("normType", normType);
    this.scaleGradByFreq = checkBoolean("scaleGradByFreq", scaleGradByFreq);
    this.sparse = checkBoolean("sparse", sparse);
    if (weight === undefined) {
      this.weight = new Parameter(empty([numEmbeddings, embeddingDim], factory(options)));
      this.resetParameters();
    } else {
      if (!(weight instanceof Tensor)) throw typeError("weight", "a Tensor", weight);
      const shape = weight.shape;
      if (shape.length !== 2 || shape[0] !== numEmbeddings || shape[1] !== embeddingDim) {
        throw new ConfigurationError(
          `\`weight\` has the shape [${shape.join(", ")}] instead of [${numEmbeddings}, ${embeddingDim}].`,
        );
      }
      this.weight = new Parameter(weight);
    }
    guardMembers(this as AnyModule);
  }

  /** An embedding of given vectors, which do not learn unless `freeze` is false. */
  static fromPretrained(embeddings: Tensor, options: EmbeddingLookup & { freeze?: boolean } = {}): Embedding {
    const { freeze = true, ...lookup } = options;
    if (!(embeddings instanceof Tensor)) throw typeError("embeddings", "a Tensor", embeddings);
    const [rows, columns] = embeddings.shape;
    if (rows === undefined || columns === undefined || embeddings.ndim !== 2) {
      throw new ConfigurationError(
        `\`embeddings\` has to have two dimensions, but has the shape [${embeddings.shape.join(", ")}].`,
      );
    }
    const made = new Embedding(rows, columns, { ...lookup, weight: embeddings });
    made.weight.requiresGrad = !freeze;
    return made;
  }

  /** Draws new standard normal values; the row `paddingIdx` becomes zero. */
  resetParameters(): void {
    normal_(this.weight);
    const { paddingIdx } = this;
    if (paddingIdx !== null && !isSkippingInit()) noGrad(() => this.weight.select(0, paddingIdx).fill_(0));
  }

  forward(input: Tensor): Tensor {
    return embedding(input, this.weight, this);
  }

  override extraRepr(): string {
    let text = `${this.numEmbeddings}, ${this.embeddingDim}`;
    if (this.paddingIdx !== null) text += `, padding_idx=${this.paddingIdx}`;
    if (this.maxNorm !== null) text += `, max_norm=${pyFloat(this.maxNorm)}`;
    if (this.normType !== 2) text += `, norm_type=${pyFloat(this.normType)}`;
    if (this.scaleGradByFreq) text += `, scale_grad_by_freq=${pyBool(true)}`;
    if (this.sparse) text += ", sparse=True";
    return text;
  }
}
