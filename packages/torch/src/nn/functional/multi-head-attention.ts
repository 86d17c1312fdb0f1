// internal: what MultiheadAttention computes, on sequences with the batch second. The class is in layers/multihead-attention.ts.

import { typeError } from "../../check.js";
import { ConfigurationError } from "../../errors.js";
import { Tensor } from "../../tensor.js";
import { aten, atenAny } from "../aten.js";
import { scaledDotProductAttention } from "./attention.js";
import { dropout } from "./dropout.js";
import { linear } from "./linear.js";
import { pad } from "./padding.js";

/** internal: the weights of one attention layer. */
export interface AttentionWeights {
  numHeads: number;
  /** One weight for all three, or one each. */
  packed: Tensor | null;
  separate: readonly [Tensor, Tensor, Tensor] | null;
  inBias: Tensor | null;
  biasK: Tensor | null;
  biasV: Tensor | null;
  addZeroAttn: boolean;
  outWeight: Tensor;
  outBias: Tensor | null;
  dropoutP: number;
}

/** internal: the masks, and whether the attention weights are wanted. */
export interface AttentionCall {
  keyPaddingMask: Tensor | null;
  attnMask: Tensor | null;
  needWeights: boolean;
  averageAttnWeights: boolean;
}

const chunk = atenAny("chunk") as (tensor: Tensor, chunks: number, dim: number) => Tensor[];
const cat = aten("cat");
const zeros = aten("zeros");
const zerosLike = aten("zeros_like");

/** internal: `[L, N, E]`, `[S, N, Ek]`, `[S, N, Ev]` -> `[L, N, E]`, and weights `[N, L, S]` or `[N, heads, L, S]`. */
export function multiHeadAttention(
  query: Tensor,
  key: Tensor,
  value: Tensor,
  weights: AttentionWeights,
  call: AttentionCall,
): [Tensor, Tensor | null] {
  const [length, batch, embedDim] = query.shape as [number, number, number];
  const { numHeads } = weights;
  const headDim = embedDim / numHeads;
  let [q, k, v] = project(query, key, value, weights);
  let { attnMask, keyPaddingMask } = call;
  checkMask("attnMask", attnMask);
  checkMask("keyPaddingMask", keyPaddingMask);
  attnMask = withHeads(attnMask, length, key.size(0), batch * numHeads);
  const widen = (): void => {
    if (attnMask !== null) attnMask = pad(attnMask, [0, 1]);
    if (keyPaddingMask !== null) keyPaddingMask = pad(keyPaddingMask, [0, 1]);
  };
  if (weights.biasK !== null && weights.biasV !== null) {
    k = cat([k, weights.biasK.repeat([1, batch, 1])]);
    v = cat([v, weights.biasV.repeat([1, batch, 1])]);
    widen();
  }
  const heads = (x: Tensor): Tensor =>
    x
      .contiguous()
      .view([x.size(0), batch * numHeads, headDim])
      .transpose(0, 1);
  [q, k, v] = [heads(q), heads(k), heads(v)];
  if (weights.addZeroAttn) {
    const zero = zeros([batch * numHeads, 1, headDim], { dtype: k.dtype, device: k.device });
    k = cat([k, zero], 1);
    v = cat([v, zero], 1);
    widen();
  }
  const sources = k.size(1);
  const mask = merged(attnMask, keyPaddingMask, [batch, numHeads, sources], q);
  const attended = call.needWeights
    ? explicit(q, k, v, mask, weights.dropoutP)
    : fused(q, k, v, mask, weights.dropoutP);
  const joined = attended.output
    .transpose(0, 1)
    .contiguous()
    .view([length * batch, embedDim]);
  const output = linear(joined, weights.outWeight, weights.outBias).view([length, batch, embedDim]);
  if (attended.weights === null) return [output, null];
  const each = attended.weights.view([batch, numHeads, length, sources]);
  return [output, call.averageAttnWeights ? each.mean(1) : each];
}

function project(query: Tensor, key: Tensor, value: Tensor, weights: AttentionWeights): [Tensor, Tensor, Tensor] {
  const { packed, separate, inBias } = weights;
  const biases: (Tensor | null)[] = inBias === null ? [null, null, null] : chunk(inBias, 3, 0);
  if (packed !== null && query === key && key === value)
    return chunk(linear(query, packed, inBias), 3, -1) as [Tensor, Tensor, Tensor];
  const parts = packed === null ? (separate as readonly Tensor[]) : chunk(packed, 3, 0);
  const inputs = [query, key, value];
  return inputs.map((x, i) => linear(x, parts[i] as Tensor, biases[i] as Tensor | null)) as [Tensor, Tensor, Tensor];
}

interface Attended {
  output: Tensor;
  weights: Tensor | null;
}

function explicit(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | null, dropoutP: number): Attended {
  const scaled = q.div(Math.sqrt(q.size(-1)));
  const keys = k.transpose(-2, -1);
  const scores = mask === null ? scaled.bmm(keys) : mask.baddbmm(scaled, keys);
  let weights = scores.softmax(-1);
  if (dropoutP > 0) weights = dropout(weights, { p: dropoutP });
  return { output: weights.bmm(v), weights };
}

function fused(q: Tensor, k: Tensor, v: Tensor, attnMask: Tensor | null, dropoutP: number): Attended {
  return { output: scaledDotProductAttention(q, k, v, { attnMask, dropoutP }), weights: null };
}

function checkMask(name: string, mask: unknown): void {
  if (mask === null) return;
  if (!(mask instanceof Tensor)) throw typeError(name, "a Tensor or null", mask);
  if (mask.dtype === "bool" || mask.isFloatingPoint()) return;
  throw new ConfigurationError(`\`${name}\` has the dtype ${mask.dtype}.`, {
    hint: "A mask is bool (true: not to be looked at) or floating-point (added to the scores).",
  });
}

function withHeads(mask: Tensor | null, length: number, sources: number, heads: number): Tensor | null {
  if (mask === null) return null;
  const shape = mask.shape.join();
  if (shape === [length, sources].join()) return mask.unsqueeze(0);
  if (shape === [heads, length, sources].join()) return mask;
  throw new ConfigurationError(`\`attnMask\` has the shape [${mask.shape.join(", ")}].`, {
    hint: `It takes [${length}, ${sources}] (queries, keys), or [${heads}, ${length}, ${sources}] with the heads of all samples first.`,
  });
}

/** Both masks as one that is added to the scores. */
function merged(
  attnMask: Tensor | null,
  keyPaddingMask: Tensor | null,
  [batch, heads, sources]: readonly [number, number, number],
  like: Tensor,
): Tensor | null {
  const mask = attnMask === null ? null : added(attnMask, like);
  if (keyPaddingMask === null) return mask;
  if (keyPaddingMask.shape.join() !== [batch, sources].join()) {
    throw new ConfigurationError(`\`keyPaddingMask\` has the shape [${keyPaddingMask.shape.join(", ")}].`, {
      hint: `It takes [${batch}, ${sources}]: the samples and their keys.`,
    });
  }
  const padding = added(keyPaddingMask, like)
    .view([batch, 1, 1, sources])
    .expand([-1, heads, -1, -1])
    .reshape([batch * heads, 1, sources]);
  return mask === null ? padding : mask.add(padding);
}

function added(mask: Tensor, like: Tensor): Tensor {
  if (mask.dtype !== "bool") return mask;
  return zerosLike(mask, { dtype: like.dtype }).maskedFill(mask, -Infinity);
}
