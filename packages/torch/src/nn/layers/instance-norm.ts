// Normalization of each channel of each sample by itself.
import { ConfigurationError } from "../../errors.js";
import type { Tensor } from "../../tensor.js";
import { instanceNorm } from "../functional/normalization.js";
import { BatchNorm, type BatchNormLayerOptions, checkInputDims } from "./batch-norm.js";

/** Options of the instance-normalization layers: as of batch normalization, with `affine` and `trackRunningStats` off. */
export type InstanceNormLayerOptions = BatchNormLayerOptions;

/** internal: the base of the three. */
abstract class InstanceNorm extends BatchNorm {
  constructor(numFeatures: number, options: InstanceNormLayerOptions = {}) {
    const isObject = typeof options === "object" && options !== null && !Array.isArray(options);
    const { affine = false, trackRunningStats = false } = isObject ? options : {};
    super(numFeatures, isObject ? { ...options, affine, trackRunningStats } : options);
  }

  /** Dimensions of an input without batches. */
  protected abstract get dims(): number;

  protected override checkInput(input: Tensor): void {
    const sizes = ["L", "H, W", "D, H, W"][this.dims - 2];
    checkInputDims(this, input, [this.dims, this.dims + 1], `the shape [N, C, ${sizes}] or [C, ${sizes}]`);
    const channels = input.size(input.ndim - this.dims);
    if (channels === this.numFeatures || !this.affine) return;
    throw new ConfigurationError(
      `${this.constructor.name} of ${this.numFeatures} channels got an input of shape [${input.shape.join(", ")}], which has ${channels}.`,
      { hint: "Make the layer with the number of channels." },
    );
  }

  override forward(input: Tensor): Tensor {
    this.checkInput(input);
    const isBatched = input.ndim === this.dims + 1;
    const { weight, bias, eps, runningMean, runningVar } = this;
    const output = instanceNorm(isBatched ? input : input.unsqueeze(0), {
      runningMean,
      runningVar,
      weight,
      bias,
      useInputStats: this.training || !this.trackRunningStats,
      momentum: this.momentum ?? 0.1,
      eps,
    });
    return isBatched ? output : output.squeeze(0);
  }
}

/** Normalizes each channel of each sample: shape `[N, C, L]` or `[C, L]`. */
export class InstanceNorm1d extends InstanceNorm {
  protected override get dims(): number {
    return 2;
  }
}

/** Normalizes each channel of each sample: shape `[N, C, H, W]` or `[C, H, W]`. */
export class InstanceNorm2d extends InstanceNorm {
  protected override get dims(): number {
    return 3;
  }
}

/** Normalizes each channel of each sample: shape `[N, C, D, H, W]` or `[C, D, H, W]`. */
export class InstanceNorm3d extends InstanceNorm {
  protected override get dims(): number {
    return 4;
  }
}
