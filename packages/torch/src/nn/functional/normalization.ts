// Normalization over a batch, a layer, a group of channels.
import { ConfigurationError } from "../../errors.js";
import type { Tensor } from "../../tensor.js";
import { aten } from "../aten.js";

/** Scale and shift after normalizing. */
export interface AffineOptions {
  /** Factor (default: none). */
  weight?: Tensor | null;
  /** Summand (default: none). */
  bias?: Tensor | null;
  /** Added to the variance (default 1e-5). */
  eps?: number;
}

/** Options of `batchNorm`. */
export interface BatchNormOptions extends AffineOptions {
  /** Normalizes by the batch's own statistics and updates the running ones (default false). */
  training?: boolean;
  /** Share of the batch in the running statistics (default 0.1). */
  momentum?: number;
}

const layerNorm_ = aten("layer_norm");
const batchNorm_ = aten("batch_norm");
const groupNorm_ = aten("group_norm");
const instanceNorm_ = aten("instance_norm");

/** Normalizes the last dimensions, of the sizes `normalizedShape`. */
export function layerNorm(input: Tensor, normalizedShape: readonly number[], options: AffineOptions = {}): Tensor {
  const { weight = null, bias = null, eps = 1e-5 } = options;
  return layerNorm_(input, normalizedShape, weight, bias, eps, true);
}

/** Normalizes each channel (dimension 1) over the batch. */
export function batchNorm(
  input: Tensor,
  runningMean: Tensor | null,
  runningVar: Tensor | null,
  options: BatchNormOptions = {},
): Tensor {
  const { weight = null, bias = null, training = false, momentum = 0.1, eps = 1e-5 } = options;
  if (training) checkBatch(input.shape);
  return batchNorm_(input, weight, bias, runningMean, runningVar, training, momentum, eps, true);
}

/** Normalizes `numGroups` groups of channels (dimension 1), each sample by itself. */
export function groupNorm(input: Tensor, numGroups: number, options: AffineOptions = {}): Tensor {
  const { weight = null, bias = null, eps = 1e-5 } = options;
  const [n = 1, channels = 1, ...rest] = input.shape;
  checkBatch([Math.floor((n * channels) / numGroups), numGroups, ...rest]);
  return groupNorm_(input, numGroups, weight, bias, eps, true);
}

function checkBatch(shape: number[]): void {
  let values = 1;
  for (let i = 0; i < shape.length; i++) if (i !== 1) values *= shape[i] as number;
  if (values === 1) {
    throw new ConfigurationError(
      `Expected more than 1 value per channel when training, but got an input of shape [${shape.join(", ")}].`,
      {
        hint: "A batch of one has no variance: take a greater batch (`dropLast: true` in the DataLoader), or call `model.eval()`.",
      },
    );
  }
}

/** Options of `instanceNorm`. */
export interface InstanceNormOptions extends AffineOptions {
  /** Means to use, or to update (default: none). */
  runningMean?: Tensor | null;
  /** Variances to use, or to update (default: none). */
  runningVar?: Tensor | null;
  /** Normalizes by the sample's own statistics (default true) rather than by the running ones. */
  useInputStats?: boolean;
  /** Share of the samples in the running statistics (default 0.1). */
  momentum?: number;
}

/** Normalizes each channel (dimension 1) of each sample by itself. */
export function instanceNorm(input: Tensor, options: InstanceNormOptions = {}): Tensor {
  const { runningMean = null, runningVar = null, weight = null, bias = null } = options;
  const { useInputStats = true, momentum = 0.1, eps = 1e-5 } = options;
  if (useInputStats && input.shape.slice(2).reduce((a, b) => a * b, 1) === 1) {
    throw new ConfigurationError(
      `Expected more than 1 element per channel of a sample, but got an input of shape [${input.shape.join(", ")}].`,
      { hint: "A single element has no variance: normalize earlier, where the image is greater." },
    );
  }
  return instanceNorm_(input, weight, bias, runningMean, runningVar, useInputStats, momentum, eps, true);
}
