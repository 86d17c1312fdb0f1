// Pooling: the greatest value or the mean of windows.
import type { Tensor } from "../../tensor.js";
import { aten } from "../aten.js";
import type { Sizes } from "./convolution.js";

/** Options of the max-pooling functions. */
export interface MaxPoolOptions {
  /** Step of the window (default: its size). */
  stride?: Sizes | null;
  /** Added around the input (default 0). */
  padding?: Sizes;
  /** Distance between the elements of the window (default 1). */
  dilation?: Sizes;
  /** Rounds the output size up instead of down (default false). */
  ceilMode?: boolean;
}

/** Options of the average-pooling functions. */
export interface AvgPoolOptions {
  /** Step of the window (default: its size). */
  stride?: Sizes | null;
  /** Zeros around the input (default 0). */
  padding?: Sizes;
  /** Rounds the output size up instead of down (default false). */
  ceilMode?: boolean;
  /** Counts the padding in the mean (default true). */
  countIncludePad?: boolean;
}

const maxPool1d_ = aten("max_pool1d");
const maxPool2d_ = aten("max_pool2d");
const avgPool1d_ = aten("avg_pool1d");
const avgPool2d_ = aten("avg_pool2d");
const adaptiveAvgPool1d_ = aten("adaptive_avg_pool1d");
const adaptiveAvgPool2d_ = aten("adaptive_avg_pool2d");
const adaptiveAvgPool3d_ = aten("adaptive_avg_pool3d");

/** Greatest values of windows over the last dimension. */
export function maxPool1d(input: Tensor, kernelSize: Sizes, options: MaxPoolOptions = {}): Tensor {
  const { stride, padding = 0, dilation = 1, ceilMode = false } = options;
  return maxPool1d_(input, kernelSize, stride ?? [], padding, dilation, ceilMode);
}

/** Greatest values of windows over the last two dimensions. */
export function maxPool2d(input: Tensor, kernelSize: Sizes, options: MaxPoolOptions = {}): Tensor {
  const { stride, padding = 0, dilation = 1, ceilMode = false } = options;
  return maxPool2d_(input, kernelSize, stride ?? [], padding, dilation, ceilMode);
}

/** Means of windows over the last dimension. */
export function avgPool1d(input: Tensor, kernelSize: Sizes, options: AvgPoolOptions = {}): Tensor {
  const { stride, padding = 0, ceilMode = false, countIncludePad = true } = options;
  return avgPool1d_(input, kernelSize, stride ?? [], padding, ceilMode, countIncludePad);
}

/** Means of windows over the last two dimensions; `divisorOverride` replaces the number of elements. */
export function avgPool2d(
  input: Tensor,
  kernelSize: Sizes,
  options: AvgPoolOptions & { divisorOverride?: number | null } = {},
): Tensor {
  const { stride, padding = 0, ceilMode = false, countIncludePad = true, divisorOverride = null } = options;
  return avgPool2d_(input, kernelSize, stride ?? [], padding, ceilMode, countIncludePad, divisorOverride);
}

/** Means over the last dimension such that the result has `outputSize` elements. */
export function adaptiveAvgPool1d(input: Tensor, outputSize: Sizes): Tensor {
  return adaptiveAvgPool1d_(input, outputSize);
}

/** Means over the last two dimensions such that the result has the given size; null keeps a dimension. */
export function adaptiveAvgPool2d(input: Tensor, outputSize: number | readonly (number | null)[]): Tensor {
  return adaptiveAvgPool2d_(input, adaptiveSizes(input, outputSize, 2));
}

/** The same over the last three dimensions. */
export function adaptiveAvgPool3d(input: Tensor, outputSize: number | readonly (number | null)[]): Tensor {
  return adaptiveAvgPool3d_(input, adaptiveSizes(input, outputSize, 3));
}

function adaptiveSizes(input: Tensor, sizes: number | readonly (number | null)[], dims: number): number[] {
  if (typeof sizes === "number") return new Array<number>(dims).fill(sizes);
  return sizes.map((size, i) => size ?? input.size(i - sizes.length));
}
