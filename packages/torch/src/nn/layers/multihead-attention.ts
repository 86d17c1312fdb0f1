// Attention with several heads (https://arxiv.org/abs/1706.03762).
import { typeError } from "../../check.js";
import { ConfigurationError } from "../../errors.js";
import { Tensor } from "../../tensor.js";
import { checkBoolean, checkNumber, checkOptions, checkSize, type FactoryOptions, factory } from "../arguments.js";
import { aten } from "../aten.js";
import { multiHeadAttention } from "../functional/multi-head-attention.js";
import { constant_, xavierNormal_, xavierUniform_ } from "../init.js";
import { guardMembers } from "../members.js";
import { type AnyModule, Module } from "../module.js";
import { Parameter } from "../parameter.js";
import { Linear } from "./linear.js";

/** Options of `MultiheadAttention`. */
export interface MultiheadAttentionOptions extends FactoryOptions {
  /** Probability of dropping an attention weight in training (default 0). */
  dropout?: number;
  /** Biases of the projections (default true). */
  bias?: boolean;
  /** A learned key and value behind the others (default false). */
  addBiasKv?: boolean;
  /** A key and value of zeros behind the others (default false). */
  addZeroAttn?: boolean;
  /** Features of the keys (default: `embedDim`). */
  kdim?: number;
  /** Features of the values (default: `embedDim`). */
  vdim?: number;
  /** Shapes `[N, L, E]` instead of `[L, N, E]` (default false). */
  batchFirst?: boolean;
}

/** Options of a call. */
export interface AttentionCallOptions {
  /** `[N, S]`: true where a key is padding; or floats that are added to the scores. */
  keyPaddingMask?: Tensor | null;
  /** Return the attention weights too (default true). Without them a faster operator is used where there is one. */
  needWeights?: boolean;
  /** `[L, S]` or `[N * heads, L, S]`: true where a key must not be looked at; or floats that are added to the scores. */
  attnMask?: Tensor | null;
  /** The mean of the weights over the heads (default true) rather than each. */
  averageAttnWeights?: boolean;
}

const optionNames = ["dropout", "bias", "addBiasKv", "addZeroAttn", "kdim", "vdim", "batchFirst", "dtype", "device"];
const callNames = ["keyPaddingMask", "needWeights", "attnMask", "averageAttnWeights"];
const example = "new nn.MultiheadAttention(64, 4, { batchFirst: true })";
const empty = aten("empty");

// The name that PyTorch prints; its weights are an ordinary linear layer's.
class NonDynamicallyQuantizableLinear extends Linear {}

/**
 * Queries `[L, N, E]` look at keys `[S, N, kdim]` and take values `[S, N, vdim]`; `[N, L, E]` with `batchFirst`, `[L, E]` without
 * batches. Returns the output, of the queries' shape, and the attention weights `[N, L, S]` or null.
 *
 *     const attention = new nn.MultiheadAttention(64, 4, { batchFirst: true });
 *     const [output] = attention(x, x, x, { needWeights: false });
 */
export class MultiheadAttention extends Module<
  [query: Tensor, key: Tensor, value: Tensor, options?: AttentionCallOptions],
  [Tensor, Tensor | null]
> {
  readonly embedDim: number;
  readonly kdim: number;
  readonly vdim: number;
  readonly numHeads: number;
  readonly headDim: number;
  readonly batchFirst: boolean;
  readonly addZeroAttn: boolean;
  dropout: number;
  // The names in state dictionaries.
  in_proj_weight: Parameter | null = null;
  q_proj_weight: Parameter | null = null;
  k_proj_weight: Parameter | null = null;
  v_proj_weight: Parameter | null = null;
  in_proj_bias: Parameter | null = null;
  bias_k: Parameter | null = null;
  bias_v: Parameter | null = null;
  out_proj: Linear;

  constructor(embedDim: number, numHeads: number, options: MultiheadAttentionOptions = {}) {
    super();
    checkOptions(options, optionNames, example);
    const { bias = true, addBiasKv = false, addZeroAttn = false, batchFirst = false, dtype, device } = options;
    this.embedDim = checkSize("embedDim", embedDim, 1, example);
    this.numHeads = checkSize("numHeads", numHeads, 1, example);
    this.headDim = embedDim / numHeads;
    if (!Number.isInteger(this.headDim)) {
      throw new ConfigurationError(`\`embedDim\` (${embedDim}) has to be a multiple of \`numHeads\` (${numHeads}).`, {
        hint: `Type \`${example}\`.`,
      });
    }
    this.kdim = checkSize("kdim", options.kdim ?? embedDim, 1, example);
    this.vdim = checkSize("vdim", options.vdim ?? embedDim, 1, example);
    this.dropout = checkNumber("dropout", options.dropout ?? 0, 0, 1);
    this.batchFirst = checkBoolean("batchFirst", batchFirst);
    this.addZeroAttn = checkBoolean("addZeroAttn", addZeroAttn);
    const made = factory(options);
    const parameter = (...shape: number[]): Parameter => new Parameter(empty(shape, made));
    if (this.kdim === embedDim && this.vdim === embedDim) this.in_proj_weight = parameter(3 * embedDim, embedDim);
    else {
      this.q_proj_weight = parameter(embedDim, embedDim);
      this.k_proj_weight = parameter(embedDim, this.kdim);
      this.v_proj_weight = parameter(embedDim, this.vdim);
    }
    if (checkBoolean("bias", bias)) this.in_proj_bias = parameter(3 * embedDim);
    this.out_proj = new NonDynamicallyQuantizableLinear(embedDim, embedDim, { bias, dtype, device });
    if (checkBoolean("addBiasKv", addBiasKv)) {
      this.bias_k = parameter(1, 1, embedDim);
      this.bias_v = parameter(1, 1, embedDim);
    }
    this.resetParameters();
    guardMembers(this as AnyModule);
  }

  /** Draws new weights of the projections into it (Xavier), and sets the biases to zero. */
  resetParameters(): void {
    for (const weight of [this.in_proj_weight, this.q_proj_weight, this.k_proj_weight, this.v_proj_weight])
      if (weight !== null) xavierUniform_(weight);
    if (this.in_proj_bias !== null) constant_(this.in_proj_bias, 0);
    if (this.in_proj_bias !== null && this.out_proj.bias !== null) constant_(this.out_proj.bias, 0);
    if (this.bias_k !== null) xavierNormal_(this.bias_k);
    if (this.bias_v !== null) xavierNormal_(this.bias_v);
  }

  forward(query: Tensor, key: Tensor, value: Tensor, options: AttentionCallOptions = {}): [Tensor, Tensor | null] {
    for (const [name, tensor] of Object.entries({ query, key, value })) {
      if (!(tensor instanceof Tensor))
        throw typeError(name, "a Tensor", tensor, "Type `attention(x, x, x)` to attend to oneself.");
    }
    checkOptions(options, callNames, "attention(query, key, value, { attnMask, needWeights: false })");
    const dims = query.ndim;
    if ((dims !== 2 && dims !== 3) || key.ndim !== dims || value.ndim !== dims || query.size(-1) !== this.embedDim) {
      const shapes = [query, key, value].map((x) => `[${x.shape.join(", ")}]`).join(", ");
      throw new ConfigurationError(`MultiheadAttention got queries, keys and values of the shapes ${shapes}.`, {
        hint: `It takes ${this.batchFirst ? "[N, L, E]" : "[L, N, E]"}, or [L, E] without batches, with E = ${this.embedDim}.`,
      });
    }
    const isBatched = dims === 3;
    const inner = (x: Tensor): Tensor => (!isBatched ? x.unsqueeze(1) : this.batchFirst ? x.transpose(1, 0) : x);
    const q = inner(query);
    // One tensor in several roles stays one: its projections are one product then.
    const k = key === query ? q : inner(key);
    const v = value === query ? q : value === key ? k : inner(value);
    const { keyPaddingMask = null, attnMask = null, needWeights = true, averageAttnWeights = true } = options;
    const separate = [this.q_proj_weight, this.k_proj_weight, this.v_proj_weight] as [Tensor, Tensor, Tensor];
    const [output, weights] = multiHeadAttention(
      q,
      k,
      v,
      {
        numHeads: this.numHeads,
        packed: this.in_proj_weight,
        separate: this.in_proj_weight === null ? separate : null,
        inBias: this.in_proj_bias,
        biasK: this.bias_k,
        biasV: this.bias_v,
        addZeroAttn: this.addZeroAttn,
        outWeight: this.out_proj.weight,
        outBias: this.out_proj.bias,
        dropoutP: this.training ? this.dropout : 0,
      },
      {
        keyPaddingMask: isBatched ? keyPaddingMask : (keyPaddingMask?.unsqueeze(0) ?? null),
        attnMask,
        needWeights,
        averageAttnWeights,
      },
    );
    if (!isBatched) return [output.squeeze(1), weights?.squeeze(0) ?? null];
    return [this.batchFirst ? output.transpose(1, 0) : output, weights];
  }
}
