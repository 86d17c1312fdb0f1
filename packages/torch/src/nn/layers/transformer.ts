// A whole Transformer (https://arxiv.org/abs/1706.03762): an encoder for the source, a decoder for the target.
import { ConfigurationError } from "../../errors.js";
import type { Tensor } from "../../tensor.js";
import { checkBoolean, checkOptions, checkSize, type FactoryOptions, factory } from "../arguments.js";
import { aten } from "../aten.js";
import { xavierUniform_ } from "../init.js";
import { type AnyModule, Module } from "../module.js";
import { LayerNorm } from "./layer-norm.js";
import { type DecoderMasks, TransformerDecoder, TransformerDecoderLayer } from "./transformer-decoder.js";
import {
  type EncoderMasks,
  TransformerEncoder,
  TransformerEncoderLayer,
  type TransformerEncoderLayerOptions,
  transformerOptionNames,
} from "./transformer-encoder.js";

/** Options of `Transformer`. */
export interface TransformerOptions extends TransformerEncoderLayerOptions {
  /** Features of source and target (default 512). */
  dModel?: number;
  /** Heads of the attention (default 8). */
  nhead?: number;
  /** Layers of the encoder (default 6). */
  numEncoderLayers?: number;
  /** Layers of the decoder (default 6). */
  numDecoderLayers?: number;
  /** Takes the place of the encoder. */
  customEncoder?: AnyModule | null;
  /** Takes the place of the decoder. */
  customDecoder?: AnyModule | null;
}

/** Masks of a call; see `MultiheadAttention`. */
export interface TransformerMasks extends EncoderMasks, DecoderMasks {}

const own = ["dModel", "nhead", "numEncoderLayers", "numDecoderLayers", "customEncoder", "customDecoder"];
const maskNames = [
  "srcMask",
  "tgtMask",
  "memoryMask",
  "srcKeyPaddingMask",
  "tgtKeyPaddingMask",
  "memoryKeyPaddingMask",
];
const example = "new nn.Transformer({ dModel: 64, nhead: 4, numEncoderLayers: 2, batchFirst: true })";
const full = aten("full");

/** Source `[S, N, dModel]` and target `[T, N, dModel]` -> `[T, N, dModel]`; `[N, S, dModel]` and so on with `batchFirst`. */
export class Transformer extends Module<[src: Tensor, tgt: Tensor, masks?: TransformerMasks], Tensor> {
  encoder: AnyModule;
  decoder: AnyModule;
  readonly dModel: number;
  readonly nhead: number;
  readonly batchFirst: boolean;

  constructor(options: TransformerOptions = {}) {
    super();
    checkOptions(options, [...own, ...transformerOptionNames], example);
    const { dModel = 512, nhead = 8, numEncoderLayers = 6, numDecoderLayers = 6, ...rest } = options;
    const { customEncoder = null, customDecoder = null, ...layer } = rest;
    checkSize("dModel", dModel, 1, example);
    const norm = () => new LayerNorm(dModel, { eps: layer.layerNormEps ?? 1e-5, ...factory(layer) });
    this.encoder =
      customEncoder ??
      new TransformerEncoder(new TransformerEncoderLayer(dModel, nhead, layer), numEncoderLayers, { norm: norm() });
    this.decoder =
      customDecoder ??
      new TransformerDecoder(new TransformerDecoderLayer(dModel, nhead, layer), numDecoderLayers, { norm: norm() });
    for (const parameter of this.parameters()) if (parameter.ndim > 1) xavierUniform_(parameter);
    this.dModel = dModel;
    this.nhead = nhead;
    this.batchFirst = checkBoolean("batchFirst", layer.batchFirst ?? false);
  }

  forward(src: Tensor, tgt: Tensor, masks: TransformerMasks = {}): Tensor {
    checkOptions(masks, maskNames, "transformer(src, tgt, { tgtMask: mask })");
    const batch = this.batchFirst ? 0 : 1;
    const alike = src.ndim !== 3 || src.size(batch) === tgt.size(batch);
    if (!alike || src.size(-1) !== this.dModel || tgt.size(-1) !== this.dModel) {
      throw new ConfigurationError(
        `Transformer got a source of shape [${src.shape.join(", ")}] and a target of shape [${tgt.shape.join(", ")}].`,
        {
          hint: `Both need ${this.dModel} features, and as many ${this.batchFirst ? "rows" : "columns"} as the other.`,
        },
      );
    }
    const { srcMask, srcKeyPaddingMask, ...decoderMasks } = masks;
    const encoderMasks: EncoderMasks = {};
    if (srcMask !== undefined) encoderMasks.srcMask = srcMask;
    if (srcKeyPaddingMask !== undefined) encoderMasks.srcKeyPaddingMask = srcKeyPaddingMask;
    const memory = this.encoder(src, encoderMasks) as Tensor;
    return this.decoder(tgt, memory, decoderMasks) as Tensor;
  }

  /** `[size, size]`: `-Infinity` above the diagonal, so that no position looks at later ones. */
  static generateSquareSubsequentMask(size: number, options: FactoryOptions = {}): Tensor {
    checkSize("size", size, 1, "nn.Transformer.generateSquareSubsequentMask(10)");
    return full([size, size], Number.NEGATIVE_INFINITY, factory(options)).triu(1);
  }
}
