// The encoder of a Transformer (https://arxiv.org/abs/1706.03762): layers of self-attention and a small network.
import { typeError } from "../../check.js";
import type { Tensor } from "../../tensor.js";
import { checkBoolean, checkNumber, checkOptions, checkSize, type FactoryOptions } from "../arguments.js";
import { ModuleList } from "../containers/module-list.js";
import { deepCopy } from "../deep-copy.js";
import { gelu, relu } from "../functional/activation.js";
import { type AnyModule, Module } from "../module.js";
import { isModule } from "../module-state.js";
import { Dropout } from "./dropout.js";
import { LayerNorm } from "./layer-norm.js";
import { Linear } from "./linear.js";
import { MultiheadAttention } from "./multihead-attention.js";

/** Options of `TransformerEncoderLayer`. */
export interface TransformerEncoderLayerOptions extends FactoryOptions {
  /** Width of the network behind the attention (default 2048). */
  dimFeedforward?: number;
  /** Probability of dropping, in all three places (default 0.1). */
  dropout?: number;
  /** Between the two linear layers (default `"relu"`). */
  activation?: "relu" | "gelu" | ((x: Tensor) => Tensor);
  /** Added to the variances (default 1e-5). */
  layerNormEps?: number;
  /** Shapes `[N, L, E]` instead of `[L, N, E]` (default false). */
  batchFirst?: boolean;
  /** Normalize before attention and network rather than after them (default false). */
  normFirst?: boolean;
}

/** Masks of a call; see `MultiheadAttention`. */
export interface EncoderMasks {
  /** `[L, L]`: true (or `-Infinity`) where a position must not be looked at. */
  srcMask?: Tensor | null;
  /** `[N, L]`: true where the input is padding. */
  srcKeyPaddingMask?: Tensor | null;
}

/** internal: names of the options. */
export const transformerOptionNames = [
  "dimFeedforward",
  "dropout",
  "activation",
  "layerNormEps",
  "batchFirst",
  "normFirst",
  "dtype",
  "device",
];
const example = "new nn.TransformerEncoderLayer(64, 4, { dimFeedforward: 256, batchFirst: true })";

/** Self-attention and a network of two linear layers, each with a shortcut and normalization: shape `[L, N, dModel]` stays. */
export class TransformerEncoderLayer extends Module<[src: Tensor, masks?: EncoderMasks], Tensor> {
  // The names in state dictionaries.
  self_attn: MultiheadAttention;
  linear1: Linear;
  dropout: Dropout;
  linear2: Linear;
  readonly normFirst: boolean;
  norm1: LayerNorm;
  norm2: LayerNorm;
  dropout1: Dropout;
  dropout2: Dropout;
  readonly activation: (x: Tensor) => Tensor;

  constructor(dModel: number, nhead: number, options: TransformerEncoderLayerOptions = {}) {
    super();
    checkOptions(options, transformerOptionNames, example);
    const { dimFeedforward = 2048, dropout = 0.1, batchFirst = false, dtype, device } = options;
    const made = { dtype, device };
    checkSize("dModel", dModel, 1, example);
    checkSize("dimFeedforward", dimFeedforward, 1, example);
    checkNumber("dropout", dropout, 0, 1);
    this.self_attn = new MultiheadAttention(dModel, nhead, { dropout, batchFirst, ...made });
    this.linear1 = new Linear(dModel, dimFeedforward, made);
    this.dropout = new Dropout(dropout);
    this.linear2 = new Linear(dimFeedforward, dModel, made);
    this.normFirst = checkBoolean("normFirst", options.normFirst ?? false);
    const eps = checkNumber("layerNormEps", options.layerNormEps ?? 1e-5);
    this.norm1 = new LayerNorm(dModel, { eps, ...made });
    this.norm2 = new LayerNorm(dModel, { eps, ...made });
    this.dropout1 = new Dropout(dropout);
    this.dropout2 = new Dropout(dropout);
    this.activation = activationOf(options.activation ?? "relu");
  }

  forward(src: Tensor, masks: EncoderMasks = {}): Tensor {
    checkOptions(masks, ["srcMask", "srcKeyPaddingMask"], "layer(x, { srcMask: mask })");
    if (this.normFirst) {
      const x = src.add(this.attend(this.norm1(src), masks));
      return x.add(this.feedForward(this.norm2(x)));
    }
    const x = this.norm1(src.add(this.attend(src, masks)));
    return this.norm2(x.add(this.feedForward(x)));
  }

  /** internal: the part with the attention. */
  protected attend(x: Tensor, { srcMask = null, srcKeyPaddingMask = null }: EncoderMasks): Tensor {
    const [output] = this.self_attn(x, x, x, {
      attnMask: srcMask,
      keyPaddingMask: srcKeyPaddingMask,
      needWeights: false,
    });
    return this.dropout1(output);
  }
  /** internal: the part with the network. */
  protected feedForward(x: Tensor): Tensor {
    return this.dropout2(this.linear2(this.dropout(this.activation(this.linear1(x)))));
  }
}

/** internal: an activation by name or as a function. */
export function activationOf(activation: unknown): (x: Tensor) => Tensor {
  if (activation === "relu") return (x) => relu(x);
  if (activation === "gelu") return (x) => gelu(x);
  // A module stays one: as a property it is found as a child.
  if (typeof activation === "function") return activation as (x: Tensor) => Tensor;
  throw typeError("activation", '"relu", "gelu" or a function', activation, `Type \`${example}\`.`);
}

/**
 * Several encoder layers: copies of the given one, which start alike. `norm` follows the last.
 *
 *     const layer = new nn.TransformerEncoderLayer(64, 4, { batchFirst: true });
 *     const encoder = new nn.TransformerEncoder(layer, 6);
 */
export class TransformerEncoder extends Module<[src: Tensor, masks?: EncoderMasks], Tensor> {
  layers: ModuleList<TransformerEncoderLayer>;
  readonly numLayers: number;
  norm: AnyModule | null;

  constructor(encoderLayer: TransformerEncoderLayer, numLayers: number, options: { norm?: AnyModule | null } = {}) {
    super();
    const usage = "new nn.TransformerEncoder(layer, 6, { norm: new nn.LayerNorm(64) })";
    checkOptions(options, ["norm"], usage);
    if (!(encoderLayer instanceof TransformerEncoderLayer))
      throw typeError("encoderLayer", "a TransformerEncoderLayer", encoderLayer, `Type \`${usage}\`.`);
    this.numLayers = checkSize("numLayers", numLayers, 1, usage);
    this.layers = new ModuleList(Array.from({ length: numLayers }, () => deepCopy(encoderLayer)));
    const { norm = null } = options;
    if (norm !== null && !isModule(norm)) throw typeError("norm", "a module", norm, `Type \`${usage}\`.`);
    this.norm = norm;
  }

  forward(src: Tensor, masks: EncoderMasks = {}): Tensor {
    let output = src;
    for (const layer of this.layers) output = layer(output, masks);
    return this.norm === null ? output : (this.norm(output) as Tensor);
  }
}
