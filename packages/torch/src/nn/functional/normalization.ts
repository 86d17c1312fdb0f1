// Normalization over a batch, a layer, a group of channels.
import { ConfigurationError } from "../../errors.js";
import type { Tensor } from "../../tensor.js";
import { aten } from "../aten.js";
import { known } from "./known-options.js";
import { pad } from "./padding.js";
import { avgPool2d, avgPool3d } from "./pooling.js";

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
  known("layerNorm", options, ["weight", "bias", "eps"]);
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
  known("batchNorm", options, ["weight", "bias", "training", "momentum", "eps"]);
  const { weight = null, bias = null, training = false, momentum = 0.1, eps = 1e-5 } = options;
  if (training) checkBatch(input.shape);
  return batchNorm_(input, weight, bias, runningMean, runningVar, training, momentum, eps, true);
}

/** Normalizes `numGroups` groups of channels (dimension 1), each sample by itself. */
export function groupNorm(input: Tensor, numGroups: number, options: AffineOptions = {}): Tensor {
  known("groupNorm", options, ["weight", "bias", "eps"]);
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

/** Options of `localResponseNorm`. */
export interface LocalResponseNormOptions {
  /** Factor of the mean square (default 1e-4). */
  alpha?: number;
  /** Power of the divisor (default 0.75). */
  beta?: number;
  /** Added to the mean square (default 1). */
  k?: number;
}

/** Divides by a power of the mean square over `size` neighbouring channels (dimension 1). */
export function localResponseNorm(input: Tensor, size: number, options: LocalResponseNormOptions = {}): Tensor {
  known("localResponseNorm", options, ["alpha", "beta", "k"]);
  const { alpha = 1e-4, beta = 0.75, k = 1 } = options;
  if (input.ndim < 3) {
    throw new ConfigurationError(`localResponseNorm got an input of shape [${input.shape.join(", ")}].`, {
      hint: "It takes [N, C, ...] with at least one dimension behind the channels.",
    });
  }
  if (input.numel() === 0) return input;
  const [before, behind] = [Math.floor(size / 2), Math.floor((size - 1) / 2)];
  let squares = input.mul(input).unsqueeze(1);
  if (input.ndim === 3) {
    squares = avgPool2d(pad(squares, [0, 0, before, behind]), [size, 1], { stride: 1 }).squeeze(1);
  } else {
    const [n, channels, first] = input.shape as [number, number, number];
    squares = pad(squares.view([n, 1, channels, first, -1]), [0, 0, 0, 0, before, behind]);
    squares = avgPool3d(squares, [size, 1, 1], { stride: 1 }).squeeze(1).view(input.shape);
  }
  return input.div(squares.mul(alpha).add(k).pow(beta));
}

// What a dtype's numbers next to 1 differ by.
const epsilons: Record<string, number> = { float64: 2 ** -52, float32: 2 ** -23, float16: 2 ** -10, bfloat16: 2 ** -7 };

/** Divides by the root mean square of the last dimensions, whose sizes are `normalizedShape`. */
export function rmsNorm(
  input: Tensor,
  normalizedShape: readonly number[],
  options: { weight?: Tensor | null; eps?: number | null } = {},
): Tensor {
  known("rmsNorm", options, ["weight", "eps"]);
  const last = input.shape.slice(-normalizedShape.length);
  if (last.join() !== normalizedShape.join()) {
    throw new ConfigurationError(`rmsNorm got an input of shape [${input.shape.join(", ")}].`, {
      hint: `Its last dimensions have to be [${normalizedShape.join(", ")}].`,
    });
  }
  const { weight = null, eps = null } = options;
  const dims = normalizedShape.map((_, i) => -1 - i);
  // Squares of half precision are summed in float32.
  const wide = input.dtype === "float16" || input.dtype === "bfloat16" ? input.float() : input;
  const scale = wide
    .square()
    .mean(dims, true)
    .add(eps ?? epsilons[input.dtype] ?? 2 ** -23)
    .rsqrt();
  const normalized = wide.mul(scale).to(input.dtype);
  return weight === null ? normalized : normalized.mul(weight);
}
