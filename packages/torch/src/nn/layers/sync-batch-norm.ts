// Batch normalization by the statistics of all processes' batches together.
import { Function as AutogradFunction, type FunctionContext, onceDifferentiable } from "../../autograd/function.js";
import { noGrad } from "../../autograd/grad-mode.js";
import { allGatherSync, allReduceSync } from "../../distributed/collectives.js";
import { getWorldSize, isInitialized, type ProcessGroup } from "../../distributed/process-group.js";
import { ConfigurationError } from "../../errors.js";
import type { Tensor } from "../../tensor.js";
import { aten } from "../aten.js";
import type { AnyModule } from "../module.js";
import { moduleState } from "../module-state.js";
import { BatchNorm, type BatchNormLayerOptions, checkInputDims } from "./batch-norm.js";

/** Options of `SyncBatchNorm`. */
export interface SyncBatchNormOptions extends BatchNormLayerOptions {
  /** The processes that belong together (default: all). */
  processGroup?: ProcessGroup | null;
}

const cat = aten("cat");
const stack = aten("stack");
const full = aten("full");

/**
 * Normalizes each channel over the batches of all processes: shape `[N, C, ...]`. All of them run it together, forward and
 * backward. With one process, or in evaluation, it is a batch normalization like others. Unlike PyTorch's it runs on CPUs, too.
 */
export class SyncBatchNorm extends BatchNorm {
  readonly processGroup: ProcessGroup | null;

  constructor(numFeatures: number, options: SyncBatchNormOptions = {}) {
    const { processGroup = null, ...others } = options;
    super(numFeatures, others);
    this.processGroup = processGroup;
  }

  /**
   * Replaces every batch normalization in a model by a synchronized one with the same parameters and statistics. Returns the
   * model, or the new layer where the model is one itself.
   * @example
   * const model = fabric.setup(nn.SyncBatchNorm.convertSyncBatchnorm(new ResNet()));
   */
  static convertSyncBatchnorm<M extends AnyModule>(module: M, processGroup: ProcessGroup | null = null): M {
    for (const [name, child] of module.namedChildren()) {
      const converted = SyncBatchNorm.convertSyncBatchnorm(child, processGroup);
      if (converted === child) continue;
      const { children } = module[moduleState];
      if (children.has(name)) children.set(name, converted);
      else (module as unknown as Record<string, unknown>)[name] = converted;
    }
    const layer: unknown = module;
    if (!(layer instanceof BatchNorm) || layer instanceof SyncBatchNorm) return module;
    const { numFeatures, eps, momentum, affine, trackRunningStats } = layer;
    const made = new SyncBatchNorm(numFeatures, { eps, momentum, affine, trackRunningStats, processGroup });
    made.weight = layer.weight;
    made.bias = layer.bias;
    const buffers = made as unknown as Record<string, Tensor | null>;
    buffers.running_mean = layer.runningMean;
    buffers.running_var = layer.runningVar;
    buffers.num_batches_tracked = layer.numBatchesTracked;
    return made.train(layer.training) as unknown as M;
  }

  override forward(input: Tensor): Tensor {
    const group = this.processGroup ?? undefined;
    if (!this.training || !isInitialized() || getWorldSize(group) === 1) return super.forward(input);
    this.checkInput(input);
    const { weight, bias, eps } = this;
    const counting = this.trackRunningStats;
    if (counting) this.numBatchesTracked?.add_(1);
    const momentum = this.momentum ?? (counting ? 1 / Number(this.numBatchesTracked?.item()) : 0);
    const running = counting ? { mean: this.runningMean, variance: this.runningVar, momentum } : null;
    return Normalize.apply(input, weight, bias, { eps, group, running });
  }

  protected override checkInput(input: Tensor): void {
    const dims = Array.from({ length: 4 }, (_, i) => i + 2);
    checkInputDims(this, input, dims, "the shape [N, C] or [N, C, ...]");
    if (input.size(1) !== this.numFeatures) {
      throw new ConfigurationError(
        `${this.constructor.name} of ${this.numFeatures} channels got an input of shape [${input.shape.join(", ")}].`,
        { hint: `Its second dimension has to be ${this.numFeatures}.` },
      );
    }
  }
}

interface Settings {
  eps: number;
  group: ProcessGroup | undefined;
  running: { mean: Tensor | null; variance: Tensor | null; momentum: number } | null;
}
type Context = FunctionContext<
  { group: ProcessGroup | undefined; count: number },
  [Tensor, Tensor | null, Tensor, Tensor]
>;

// Statistics of half precision are computed in float32.
const wide = (x: Tensor): Tensor => (x.dtype === "float16" || x.dtype === "bfloat16" ? x.float() : x);
/** The dimensions other than the channels'. */
const others = (x: Tensor): number[] => [...x.shape.keys()].filter((d) => d !== 1);
/** One value for each channel, against a batch. */
const along = (values: Tensor, x: Tensor): Tensor => values.view([1, -1, ...new Array<number>(x.ndim - 2).fill(1)]);

class Normalize extends AutogradFunction {
  static forward(ctx: Context, input: Tensor, weight: Tensor | null, bias: Tensor | null, settings: Settings): Tensor {
    const x = wide(input);
    const { mean, variance, count } = statistics(x, settings.group);
    const { running, eps } = settings;
    if (running) noGrad(() => keep(running, mean, variance, count));
    const scale = variance.add(eps).rsqrt();
    ctx.saveForBackward(input, weight, mean, scale);
    ctx.group = settings.group;
    ctx.count = count;
    let output = x.sub(along(mean, x)).mul(along(scale, x));
    if (weight !== null) output = output.mul(along(wide(weight), x));
    if (bias !== null) output = output.add(along(wide(bias), x));
    return output.to(input.dtype);
  }

  static backward = onceDifferentiable((ctx: Context, grad: Tensor): (Tensor | null)[] => {
    const [input, weight, mean, scale] = ctx.savedTensors;
    const [x, g] = [wide(input), wide(grad)];
    const centred = x.sub(along(mean, x));
    const sum = g.sum(others(x));
    const product = g.mul(centred).sum(others(x));
    const gradWeight = weight === null ? null : product.mul(scale).to(weight.dtype);
    const gradBias = weight === null ? null : sum.to(weight.dtype);
    if (!ctx.needsInputGrad[0]) return [null, gradWeight, gradBias, null];
    const channels = sum.numel();
    const all = allReduceSync(cat([sum, product]), { group: ctx.group });
    const [sumOfAll, productOfAll] = [all.narrow(0, 0, channels), all.narrow(0, channels, channels)];
    const slope = scale.square().mul(productOfAll).div(ctx.count);
    const gradInput = g
      .sub(along(sumOfAll.div(ctx.count), x))
      .sub(centred.mul(along(slope, x)))
      .mul(along(weight === null ? scale : scale.mul(wide(weight)), x));
    return [gradInput.to(input.dtype), gradWeight, gradBias, null];
  });
}

// Mean and variance over all processes from theirs: one exchange, and no loss of digits as with sums of squares.
function statistics(x: Tensor, group: ProcessGroup | undefined): { mean: Tensor; variance: Tensor; count: number } {
  const channels = x.size(1);
  const own = x.numel() / channels;
  const zeros = x.newZeros([channels]);
  const mean = own === 0 ? zeros : x.mean(others(x));
  const variance = own === 0 ? zeros : x.sub(along(mean, x)).square().mean(others(x));
  const count = full([1], own, { dtype: x.dtype, device: x.device });
  const all = stack(allGatherSync(cat([mean, variance, count]), { group }));
  const counts = all.narrow(1, 2 * channels, 1);
  const total = counts.sum().item();
  if (total <= 1) {
    throw new ConfigurationError(`SyncBatchNorm needs more than one value per channel to train, but got ${total}.`);
  }
  const shares = counts.div(total);
  const means = all.narrow(1, 0, channels);
  const common = means.mul(shares).sum(0);
  const spread = means
    .sub(common)
    .square()
    .add(all.narrow(1, channels, channels));
  return { mean: common, variance: spread.mul(shares).sum(0), count: total };
}

function keep(running: NonNullable<Settings["running"]>, mean: Tensor, variance: Tensor, count: number): void {
  const { momentum } = running;
  running.mean?.mul_(1 - momentum).add_(mean.to(running.mean.dtype), { alpha: momentum });
  const unbiased = variance.mul(count / (count - 1));
  running.variance?.mul_(1 - momentum).add_(unbiased.to(running.variance.dtype), { alpha: momentum });
}
