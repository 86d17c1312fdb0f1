// PowerSGD: gradients of matrices travel as two thin factors (Vogels, Karimireddy, Jaggi 2019, "PowerSGD: Practical Low-Rank Gradient
// Compression for Distributed Optimization"), with the options and the algorithm of PyTorch's hook of that name.
import { allReduceSync } from "../../distributed/collectives.js";
import { ConfigurationError } from "../../errors.js";
import { operator } from "../../ops.js";
import { Generator } from "../../random.js";
import type { Tensor } from "../../tensor.js";
import { allReduceHook } from "./comm-hooks.js";
import type { CommHook, GradBucket, PendingTensor } from "./grad-bucket.js";

/** Options of `PowerSGDState`. */
export interface PowerSGDOptions {
  /** Columns of the factors: more is more exact and more traffic. Default: 1. */
  matrixApproximationRank?: number;
  /** The first so many passes are averaged in full, which helps early training. Default: 1000; at least 2 with the two below. */
  startPowerSGDIter?: number;
  /** Matrices are compressed when that saves at least this factor. Default: 2. */
  minCompressionRate?: number;
  /** What compression lost is added to the next gradients. Default: true. */
  useErrorFeedback?: boolean;
  /** The factors of one pass are the start of the next. Default: true. */
  warmStart?: boolean;
  /** Added to norms that are divided by. Default: 0. */
  orthogonalizationEpsilon?: number;
  /** Seed of the first factors, the same on all ranks. Default: 0. */
  randomSeed?: number;
}

/** What PowerSGD keeps between passes. One for each wrapped model. */
export class PowerSGDState {
  readonly options: Required<PowerSGDOptions>;
  /** Passes so far. */
  iter = 0;
  /** internal: what was lost, and the second factors, by bucket. */
  readonly errors = new Map<number, Tensor>();
  readonly factors = new Map<number, Tensor[]>();
  readonly generator = new Generator();

  constructor(options: PowerSGDOptions = {}) {
    this.options = {
      matrixApproximationRank: 1,
      startPowerSGDIter: 1000,
      minCompressionRate: 2,
      useErrorFeedback: true,
      warmStart: true,
      orthogonalizationEpsilon: 0,
      randomSeed: 0,
      ...options,
    };
    const { matrixApproximationRank: rank, startPowerSGDIter: start, useErrorFeedback, warmStart } = this.options;
    if (!Number.isInteger(rank) || rank < 1) {
      throw new ConfigurationError(`\`matrixApproximationRank\` is ${rank}.`, { hint: "Give a whole number from 1." });
    }
    if ((useErrorFeedback || warmStart) && !(start > 1)) {
      throw new ConfigurationError(`\`startPowerSGDIter\` is ${start}, together with error feedback or a warm start.`, {
        hint: "Give at least 2: the buckets are cut anew after the first pass.",
      });
    }
    this.generator.manualSeed(this.options.randomSeed);
  }
}

/** Sends gradients of matrices as low-rank factors. `model.registerCommHook(new PowerSGDState(), powerSGDHook)`. */
export const powerSGDHook: CommHook<PowerSGDState> = (state, bucket): Tensor | PendingTensor => {
  const compresses = state.iter >= state.options.startPowerSGDIter;
  const result = compresses ? compressed(state, bucket) : allReduceHook(null, bucket);
  if (bucket.isLast) state.iter++;
  return result;
};

function compressed(state: PowerSGDState, bucket: GradBucket): Tensor {
  const { useErrorFeedback } = state.options;
  const buffer = bucket.buffer();
  const error = state.errors.get(bucket.index);
  if (error) buffer.add_(error);
  const before = useErrorFeedback ? buffer.clone() : null;
  const { matrices, others } = split(state, bucket, buffer);
  average(others, bucket);
  const q = secondFactors(state, bucket.index, matrices);
  const p = matrices.map((matrix, i) => matrix.mm(q[i] as Tensor));
  sum(p, bucket);
  for (const factor of p) orthogonalize(factor, state.options.orthogonalizationEpsilon);
  for (const [i, matrix] of matrices.entries()) (q[i] as Tensor).copy_(matrix.t().mm(p[i] as Tensor));
  average(q, bucket);
  for (const [i, matrix] of matrices.entries()) matrix.copy_((p[i] as Tensor).mm((q[i] as Tensor).t()));
  if (before) state.errors.set(bucket.index, before.sub_(buffer));
  if (!state.options.warmStart) state.factors.delete(bucket.index);
  return buffer;
}

/** The gradients as views into `buffer`: matrices that are worth it, and the rest. */
function split(state: PowerSGDState, bucket: GradBucket, buffer: Tensor): { matrices: Tensor[]; others: Tensor[] } {
  const { matrixApproximationRank, minCompressionRate } = state.options;
  const matrices: Tensor[] = [];
  const others: Tensor[] = [];
  let offset = 0;
  for (const { shape } of bucket.gradients()) {
    const rows = shape[0] ?? 1;
    const size = shape.reduce((a, b) => a * b, 1);
    const columns = size / rows;
    const rank = Math.min(rows, columns, matrixApproximationRank);
    const view = buffer.narrow(0, offset, size);
    if ((rows + columns) * rank * minCompressionRate < size) matrices.push(view.view([rows, columns]));
    else others.push(view);
    offset += size;
  }
  return { matrices, others };
}

function secondFactors(state: PowerSGDState, index: number, matrices: readonly Tensor[]): Tensor[] {
  const { matrixApproximationRank, orthogonalizationEpsilon } = state.options;
  let factors = state.factors.get(index);
  if (!factors) {
    factors = matrices.map((matrix) => {
      const [rows, columns] = matrix.shape as [number, number];
      const size = [columns, Math.min(rows, columns, matrixApproximationRank)];
      const drawn = operator("aten", "randn")(size, { generator: state.generator, device: "cpu" }) as Tensor;
      return drawn.to({ device: matrix.device, dtype: matrix.dtype });
    });
    state.factors.set(index, factors);
  }
  for (const factor of factors) orthogonalize(factor, orthogonalizationEpsilon);
  return factors;
}

/** Gram-Schmidt over the columns, in place. */
function orthogonalize(matrix: Tensor, epsilon: number): void {
  const columns = matrix.shape[1] as number;
  for (let i = 0; i < columns; i++) {
    const column = matrix.narrow(1, i, 1);
    const norm = column.norm().item() + epsilon;
    // A column of zeros stays what it is.
    if (norm > 0) column.div_(norm);
    if (i + 1 === columns) return;
    const rest = matrix.narrow(1, i + 1, columns - i - 1);
    rest.sub_(column.mul(column.mul(rest).sum([0], true)));
  }
}

function average(tensors: readonly Tensor[], bucket: GradBucket): void {
  reduce(tensors, bucket, "mean");
}
function sum(tensors: readonly Tensor[], bucket: GradBucket): void {
  reduce(tensors, bucket, "sum");
}

/** One message for all of them. */
function reduce(tensors: readonly Tensor[], bucket: GradBucket, op: "sum" | "mean"): void {
  if (tensors.length === 0) return;
  const joined = operator("aten", "cat")(tensors.map((tensor) => tensor.reshape([-1]))) as Tensor;
  allReduceSync(joined, { op: op === "mean" ? "avg" : "sum", group: bucket.group, label: "PowerSGD" });
  let offset = 0;
  for (const tensor of tensors) {
    const size = tensor.numel();
    tensor.copy_(joined.narrow(0, offset, size).view(tensor.shape));
    offset += size;
  }
}
