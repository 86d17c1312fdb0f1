// The decoder of a Transformer (https://arxiv.org/abs/1706.03762): self-attention, attention to the encoder's output, a network.
import { typeError } from "../../check.js";
import type { Tensor } from "../../tensor.js";
import { checkBoolean, checkNumber, checkOptions, checkSize } from "../arguments.js";
import { ModuleList } from "../containers/module-list.js";
import { deepCopy } from "../deep-copy.js";
import { type AnyModule, Module } from "../module.js";
import { isModule } from "../module-state.js";
import { Dropout } from "./dropout.js";
import { LayerNorm } from "./layer-norm.js";
import { Linear } from "./linear.js";
import { MultiheadAttention } from "./multihead-attention.js";
import { activationOf, type TransformerEncoderLayerOptions, transformerOptionNames } from "./transformer-encoder.js";

/** Options of `TransformerDecoderLayer`: those of the encoder's. */
export type TransformerDecoderLayerOptions = TransformerEncoderLayerOptions;

/** Masks of a call; see `MultiheadAttention`. */
export interface DecoderMasks {
  /** `[T, T]`: true (or `-Infinity`) where a target position must not be looked at. */
  tgtMask?: Tensor | null;
  /** `[T, S]`: the same for positions of the memory. */
  memoryMask?: Tensor | null;
  /** `[N, T]`: true where the target is padding. */
  tgtKeyPaddingMask?: Tensor | null;
  /** `[N, S]`: true where the memory is padding. */
  memoryKeyPaddingMask?: Tensor | null;
}

const example = "new nn.TransformerDecoderLayer(64, 4, { dimFeedforward: 256, batchFirst: true })";
const maskNames = ["tgtMask", "memoryMask", "tgtKeyPaddingMask", "memoryKeyPaddingMask"];

/** Self-attention, attention to a memory `[S, N, dModel]`, and a network, each with a shortcut and normalization. */
export class TransformerDecoderLayer extends Module<[tgt: Tensor, memory: Tensor, masks?: DecoderMasks], Tensor> {
  // The names in state dictionaries.
  self_attn: MultiheadAttention;
  multihead_attn: MultiheadAttention;
  linear1: Linear;
  dropout: Dropout;
  linear2: Linear;
  readonly normFirst: boolean;
  norm1: LayerNorm;
  norm2: LayerNorm;
  norm3: LayerNorm;
  dropout1: Dropout;
  dropout2: Dropout;
  dropout3: Dropout;
  readonly activation: (x: Tensor) => Tensor;

  constructor(dModel: number, nhead: number, options: TransformerDecoderLayerOptions = {}) {
    super();
    checkOptions(options, transformerOptionNames, example);
    const { dimFeedforward = 2048, dropout = 0.1, batchFirst = false, dtype, device } = options;
    const made = { dtype, device };
    checkSize("dModel", dModel, 1, example);
    checkSize("dimFeedforward", dimFeedforward, 1, example);
    checkNumber("dropout", dropout, 0, 1);
    this.self_attn = new MultiheadAttention(dModel, nhead, { dropout, batchFirst, ...made });
    this.multihead_attn = new MultiheadAttention(dModel, nhead, { dropout, batchFirst, ...made });
    this.linear1 = new Linear(dModel, dimFeedforward, made);
    this.dropout = new Dropout(dropout);
    this.linear2 = new Linear(dimFeedforward, dModel, made);
    this.normFirst = checkBoolean("normFirst", options.normFirst ?? false);
    const eps = checkNumber("layerNormEps", options.layerNormEps ?? 1e-5);
    this.norm1 = new LayerNorm(dModel, { eps, ...made });
    this.norm2 = new LayerNorm(dModel, { eps, ...made });
    this.norm3 = new LayerNorm(dModel, { eps, ...made });
    this.dropout1 = new Dropout(dropout);
    this.dropout2 = new Dropout(dropout);
    this.dropout3 = new Dropout(dropout);
    this.activation = activationOf(options.activation ?? "relu");
  }

  forward(tgt: Tensor, memory: Tensor, masks: DecoderMasks = {}): Tensor {
    checkOptions(masks, maskNames, "layer(x, memory, { tgtMask: mask })");
    if (this.normFirst) {
      const x = tgt.add(this.attendSelf(this.norm1(tgt), masks));
      const y = x.add(this.attendMemory(this.norm2(x), memory, masks));
      return y.add(this.feedForward(this.norm3(y)));
    }
    const x = this.norm1(tgt.add(this.attendSelf(tgt, masks)));
    const y = this.norm2(x.add(this.attendMemory(x, memory, masks)));
    return this.norm3(y.add(this.feedForward(y)));
  }

  /** internal: the part with the self-attention. */
  protected attendSelf(x: Tensor, { tgtMask = null, tgtKeyPaddingMask = null }: DecoderMasks): Tensor {
    const options = { attnMask: tgtMask, keyPaddingMask: tgtKeyPaddingMask, needWeights: false };
    return this.dropout1(this.self_attn(x, x, x, options)[0]);
  }
  /** internal: the part with the attention to the memory. */
  protected attendMemory(
    x: Tensor,
    memory: Tensor,
    { memoryMask = null, memoryKeyPaddingMask = null }: DecoderMasks,
  ): Tensor {
    const options = { attnMask: memoryMask, keyPaddingMask: memoryKeyPaddingMask, needWeights: false };
    return this.dropout2(this.multihead_attn(x, memory, memory, options)[0]);
  }
  /** internal: the part with the network. */
  protected feedForward(x: Tensor): Tensor {
    return this.dropout3(this.linear2(this.dropout(this.activation(this.linear1(x)))));
  }
}

/** Several decoder layers: copies of the given one, which start alike. `norm` follows the last. */
export class TransformerDecoder extends Module<[tgt: Tensor, memory: Tensor, masks?: DecoderMasks], Tensor> {
  layers: ModuleList<TransformerDecoderLayer>;
  readonly numLayers: number;
  norm: AnyModule | null;

  constructor(decoderLayer: TransformerDecoderLayer, numLayers: number, options: { norm?: AnyModule | null } = {}) {
    super();
    const usage = "new nn.TransformerDecoder(layer, 6, { norm: new nn.LayerNorm(64) })";
    checkOptions(options, ["norm"], usage);
    if (!(decoderLayer instanceof TransformerDecoderLayer))
      throw typeError("decoderLayer", "a TransformerDecoderLayer", decoderLayer, `Type \`${usage}\`.`);
    this.numLayers = checkSize("numLayers", numLayers, 1, usage);
    this.layers = new ModuleList(Array.from({ length: numLayers }, () => deepCopy(decoderLayer)));
    const { norm = null } = options;
    if (norm !== null && !isModule(norm)) throw typeError("norm", "a module", norm, `Type \`${usage}\`.`);
    this.norm = norm;
  }

  forward(tgt: Tensor, memory: Tensor, masks: DecoderMasks = {}): Tensor {
    let output = tgt;
    for (const layer of this.layers) output = layer(output, memory, masks);
    return this.norm === null ? output : (this.norm(output) as Tensor);
  }
}
