// Normalization over the batch, with running statistics for evaluation.
import { ConfigurationError } from "../../errors.js";
import type { Tensor } from "../../tensor.js";
import { checkBoolean, checkNumber, checkOptions, checkSize, type FactoryOptions, factory } from "../arguments.js";
import { aten } from "../aten.js";
import { batchNorm } from "../functional/normalization.js";
import { ones_, zeros_ } from "../init.js";
import { guardMembers } from "../members.js";
import { type AnyModule, Module } from "../module.js";
import { Parameter } from "../parameter.js";
import { pyBool, pyFloat } from "../python-text.js";
import { beforeLoad } from "../state-dict.js";

/** Options of the batch-normalization layers. */
export interface BatchNormLayerOptions extends FactoryOptions {
  /** Added to the variance (default 1e-5). */
  eps?: number;
  /** Share of a batch in the running statistics (default 0.1); null takes the mean over all batches. */
  momentum?: number | null;
  /** Whether a learned factor and summand for each channel follow (default true). */
  affine?: boolean;
  /** Whether running statistics are kept; without them, evaluation takes the batch's own (default true). */
  trackRunningStats?: boolean;
}

const empty = aten("empty");
const zeros = aten("zeros");
const ones = aten("ones");

/** internal: the base of the batch-normalization layers. */
export abstract class BatchNorm extends Module<[Tensor], Tensor> {
  readonly numFeatures: number;
  readonly eps: number;
  readonly momentum: number | null;
  readonly affine: boolean;
  readonly trackRunningStats: boolean;
  weight: Parameter | null;
  bias: Parameter | null;

  constructor(numFeatures: number, options: BatchNormLayerOptions = {}) {
    super();
    const example = `new nn.${new.target.name}(16, { momentum: 0.1, affine: true })`;
    checkOptions(options, ["eps", "momentum", "affine", "trackRunningStats", "dtype", "device"], example);
    const { eps = 1e-5, momentum = 0.1, affine = true, trackRunningStats = true, device } = options;
    this.numFeatures = checkSize("numFeatures", numFeatures, 1, example);
    this.eps = checkNumber("eps", eps);
    this.momentum = momentum === null ? null : checkNumber("momentum", momentum);
    this.affine = checkBoolean("affine", affine);
    this.trackRunningStats = checkBoolean("trackRunningStats", trackRunningStats);
    const made = factory(options);
    this.weight = this.affine ? new Parameter(empty([numFeatures], made)) : null;
    this.bias = this.affine ? new Parameter(empty([numFeatures], made)) : null;
    this.registerBuffer("running_mean", trackRunningStats ? zeros([numFeatures], made) : null);
    this.registerBuffer("running_var", trackRunningStats ? ones([numFeatures], made) : null);
    this.registerBuffer("num_batches_tracked", trackRunningStats ? zeros([], { dtype: "int64", device }) : null);
    this.resetParameters();
    guardMembers(this as AnyModule);
  }

  /** Mean of each channel over past batches, or null. */
  get runningMean(): Tensor | null {
    return bufferOf(this, "running_mean");
  }
  /** Variance of each channel over past batches, or null. */
  get runningVar(): Tensor | null {
    return bufferOf(this, "running_var");
  }
  /** Number of batches seen, or null. */
  get numBatchesTracked(): Tensor | null {
    return bufferOf(this, "num_batches_tracked");
  }

  /** Forgets the running statistics. */
  resetRunningStats(): void {
    this.runningMean?.zero_();
    this.runningVar?.fill_(1);
    this.numBatchesTracked?.zero_();
  }
  /** Forgets the running statistics, sets the factor to one and the summand to zero. */
  resetParameters(): void {
    this.resetRunningStats();
    if (this.weight !== null) ones_(this.weight);
    if (this.bias !== null) zeros_(this.bias);
  }

  forward(input: Tensor): Tensor {
    this.checkInput(input);
    const { training, weight, bias, eps } = this;
    const counting = training && this.trackRunningStats;
    let momentum = this.momentum ?? 0;
    if (counting) {
      const seen = this.numBatchesTracked;
      seen?.add_(1);
      if (this.momentum === null && seen) momentum = 1 / Number(seen.item());
    }
    const keep = !training || this.trackRunningStats;
    const mean = keep ? this.runningMean : null;
    const variance = keep ? this.runningVar : null;
    return batchNorm(input, mean, variance, {
      weight,
      bias,
      training: training || (this.runningMean === null && this.runningVar === null),
      momentum,
      eps,
    });
  }

  /** internal: refuses inputs with a wrong number of dimensions. */
  protected abstract checkInput(input: Tensor): void;

  /** internal: files from before the counter existed get one. */
  [beforeLoad](state: Map<string, unknown>, prefix: string): void {
    const key = `${prefix}num_batches_tracked`;
    if (this.trackRunningStats && !state.has(key)) state.set(key, zeros([], { dtype: "int64", device: "cpu" }));
  }

  override extraRepr(): string {
    const momentum = this.momentum === null ? "None" : pyFloat(this.momentum);
    return (
      `${this.numFeatures}, eps=${pyFloat(this.eps)}, momentum=${momentum}, affine=${pyBool(this.affine)}, ` +
      `track_running_stats=${pyBool(this.trackRunningStats)}`
    );
  }
}

function bufferOf(layer: BatchNorm, name: string): Tensor | null {
  return (layer as unknown as Record<string, Tensor | null>)[name] ?? null;
}

/** internal: says which inputs a layer takes. */
export function checkInputDims(layer: BatchNorm, input: Tensor, dims: readonly number[], shapes: string): void {
  if (dims.includes(input.ndim)) return;
  throw new ConfigurationError(`${layer.constructor.name} got an input of shape [${input.shape.join(", ")}].`, {
    hint: `It takes ${shapes}.`,
  });
}
