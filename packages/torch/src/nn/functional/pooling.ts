// Pooling: the greatest value or the mean of windows.

import { ConfigurationError } from "../../errors.js";
import type { Tensor } from "../../tensor.js";
import { aten, atenAny } from "../aten.js";
import type { Sizes } from "./convolution.js";
import { known } from "./known-options.js";

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
const maxPool3d_ = aten("max_pool3d");
const maxPool1dWithIndices_ = atenAny("max_pool1d_with_indices");
const maxPool2dWithIndices_ = atenAny("max_pool2d_with_indices");
const maxPool3dWithIndices_ = atenAny("max_pool3d_with_indices");
const maxUnpool2d_ = aten("max_unpool2d");
const maxUnpool3d_ = aten("max_unpool3d");
const avgPool1d_ = aten("avg_pool1d");
const avgPool2d_ = aten("avg_pool2d");
const avgPool3d_ = aten("avg_pool3d");
const adaptiveMaxPool1d_ = atenAny("adaptive_max_pool1d");
const adaptiveMaxPool2d_ = atenAny("adaptive_max_pool2d");
const adaptiveMaxPool3d_ = atenAny("adaptive_max_pool3d");
const adaptiveAvgPool1d_ = aten("adaptive_avg_pool1d");
const adaptiveAvgPool2d_ = aten("adaptive_avg_pool2d");
const adaptiveAvgPool3d_ = aten("adaptive_avg_pool3d");

/** Greatest values of windows over the last dimension. */
export function maxPool1d(input: Tensor, kernelSize: Sizes, options: MaxPoolOptions = {}): Tensor {
  known("maxPool1d", options, ["stride", "padding", "dilation", "ceilMode"]);
  const { stride, padding = 0, dilation = 1, ceilMode = false } = options;
  return maxPool1d_(input, kernelSize, stride ?? [], padding, dilation, ceilMode);
}

/** Greatest values of windows over the last two dimensions. */
export function maxPool2d(input: Tensor, kernelSize: Sizes, options: MaxPoolOptions = {}): Tensor {
  known("maxPool2d", options, ["stride", "padding", "dilation", "ceilMode"]);
  const { stride, padding = 0, dilation = 1, ceilMode = false } = options;
  return maxPool2d_(input, kernelSize, stride ?? [], padding, dilation, ceilMode);
}

/** Greatest values of windows over the last three dimensions. */
export function maxPool3d(input: Tensor, kernelSize: Sizes, options: MaxPoolOptions = {}): Tensor {
  known("maxPool3d", options, ["stride", "padding", "dilation", "ceilMode"]);
  const { stride, padding = 0, dilation = 1, ceilMode = false } = options;
  return maxPool3d_(input, kernelSize, stride ?? [], padding, dilation, ceilMode);
}

/** As `maxPool1d`, with the places of the greatest values, which `maxUnpool1d` takes. */
export function maxPool1dWithIndices(input: Tensor, kernelSize: Sizes, options: MaxPoolOptions = {}): [Tensor, Tensor] {
  return withIndices(maxPool1dWithIndices_, input, kernelSize, options);
}
/** The same over two dimensions. */
export function maxPool2dWithIndices(input: Tensor, kernelSize: Sizes, options: MaxPoolOptions = {}): [Tensor, Tensor] {
  return withIndices(maxPool2dWithIndices_, input, kernelSize, options);
}
/** The same over three dimensions. */
export function maxPool3dWithIndices(input: Tensor, kernelSize: Sizes, options: MaxPoolOptions = {}): [Tensor, Tensor] {
  return withIndices(maxPool3dWithIndices_, input, kernelSize, options);
}

function withIndices(
  operator: (...args: unknown[]) => unknown,
  input: Tensor,
  kernelSize: Sizes,
  options: MaxPoolOptions,
): [Tensor, Tensor] {
  const { stride, padding = 0, dilation = 1, ceilMode = false } = options;
  return operator(input, kernelSize, stride ?? [], padding, dilation, ceilMode) as [Tensor, Tensor];
}

/** Options of the functions that undo max-pooling. */
export interface MaxUnpoolOptions {
  /** Step of the window (default: its size). */
  stride?: Sizes | null;
  /** What had been added around the input (default 0). */
  padding?: Sizes;
  /** The size before pooling, where the step leaves it open: of the last dimensions, or of all. */
  outputSize?: readonly number[] | null;
}

/** Puts values back to their places of before `maxPool1d`, with zeros elsewhere. */
export function maxUnpool1d(input: Tensor, indices: Tensor, kernelSize: Sizes, options: MaxUnpoolOptions = {}): Tensor {
  const { size } = unpooled(input, 1, kernelSize, options);
  return maxUnpool2d_(input.unsqueeze(-1), indices.unsqueeze(-1), [...size, 1]).squeeze(-1);
}
/** The same for `maxPool2d`. */
export function maxUnpool2d(input: Tensor, indices: Tensor, kernelSize: Sizes, options: MaxUnpoolOptions = {}): Tensor {
  return maxUnpool2d_(input, indices, unpooled(input, 2, kernelSize, options).size);
}
/** The same for `maxPool3d`. */
export function maxUnpool3d(input: Tensor, indices: Tensor, kernelSize: Sizes, options: MaxUnpoolOptions = {}): Tensor {
  const { size, stride, padding } = unpooled(input, 3, kernelSize, options);
  return maxUnpool3d_(input, indices, size, stride, padding);
}

function unpooled(
  input: Tensor,
  dims: number,
  kernelSize: Sizes,
  options: MaxUnpoolOptions,
): { size: number[]; stride: number[]; padding: number[] } {
  const full = (value: Sizes): number[] =>
    typeof value === "number" ? new Array<number>(dims).fill(value) : [...value];
  const [kernel, stride, padding] = [full(kernelSize), full(options.stride ?? kernelSize), full(options.padding ?? 0)];
  const usual = kernel.map(
    (size, d) => (input.size(d - dims) - 1) * (stride[d] as number) + size - 2 * (padding[d] as number),
  );
  const { outputSize } = options;
  if (outputSize === undefined || outputSize === null) return { size: usual, stride, padding };
  const size = outputSize.length === dims + 2 ? outputSize.slice(2) : [...outputSize];
  const fits = size.length === dims && size.every((n, d) => Math.abs(n - (usual[d] as number)) < (stride[d] as number));
  if (!fits) {
    throw new ConfigurationError(`\`outputSize\` is [${outputSize.join(", ")}], which this input cannot come from.`, {
      hint: `It has to be [${usual.join(", ")}], each number give or take less than the stride.`,
    });
  }
  return { size, stride, padding };
}

/** Means of windows over the last dimension. */
export function avgPool1d(input: Tensor, kernelSize: Sizes, options: AvgPoolOptions = {}): Tensor {
  known("avgPool1d", options, ["stride", "padding", "ceilMode", "countIncludePad"]);
  const { stride, padding = 0, ceilMode = false, countIncludePad = true } = options;
  return avgPool1d_(input, kernelSize, stride ?? [], padding, ceilMode, countIncludePad);
}

/** Means of windows over the last two dimensions; `divisorOverride` replaces the number of elements. */
export function avgPool2d(
  input: Tensor,
  kernelSize: Sizes,
  options: AvgPoolOptions & { divisorOverride?: number | null } = {},
): Tensor {
  known("avgPool2d", options, ["stride", "padding", "ceilMode", "countIncludePad", "divisorOverride"]);
  const { stride, padding = 0, ceilMode = false, countIncludePad = true, divisorOverride = null } = options;
  return avgPool2d_(input, kernelSize, stride ?? [], padding, ceilMode, countIncludePad, divisorOverride);
}

/** Means of windows over the last three dimensions; `divisorOverride` replaces the number of elements. */
export function avgPool3d(
  input: Tensor,
  kernelSize: Sizes,
  options: AvgPoolOptions & { divisorOverride?: number | null } = {},
): Tensor {
  known("avgPool3d", options, ["stride", "padding", "ceilMode", "countIncludePad", "divisorOverride"]);
  const { stride, padding = 0, ceilMode = false, countIncludePad = true, divisorOverride = null } = options;
  return avgPool3d_(input, kernelSize, stride ?? [], padding, ceilMode, countIncludePad, divisorOverride);
}

/** Options of the power-average-pooling functions. */
export interface LPPoolOptions {
  /** Step of the window (default: its size). */
  stride?: Sizes | null;
  /** Rounds the output size up instead of down (default false). */
  ceilMode?: boolean;
}

/** The `normType`-norm of windows over the last dimension. */
export function lpPool1d(input: Tensor, normType: number, kernelSize: number, options: LPPoolOptions = {}): Tensor {
  return rooted(avgPool1d(input.pow(normType), kernelSize, options), normType, kernelSize);
}
/** The same over the last two dimensions. */
export function lpPool2d(input: Tensor, normType: number, kernelSize: Sizes, options: LPPoolOptions = {}): Tensor {
  const [height, width] = typeof kernelSize === "number" ? [kernelSize, kernelSize] : kernelSize;
  const means = avgPool2d(input.pow(normType), kernelSize, options);
  return rooted(means, normType, (height as number) * (width as number));
}
/** The same over the last three dimensions. */
export function lpPool3d(input: Tensor, normType: number, kernelSize: Sizes, options: LPPoolOptions = {}): Tensor {
  const sizes = typeof kernelSize === "number" ? [kernelSize, kernelSize, kernelSize] : kernelSize;
  return rooted(
    avgPool3d(input.pow(normType), kernelSize, options),
    normType,
    sizes.reduce((a, b) => a * b),
  );
}

function rooted(means: Tensor, normType: number, count: number): Tensor {
  return means
    .sign()
    .mul(means.abs().relu())
    .mul(count)
    .pow(1 / normType);
}

/** Greatest values such that the result has `outputSize` elements in the last dimension. */
export function adaptiveMaxPool1d(input: Tensor, outputSize: number): Tensor {
  return adaptiveMaxPool1dWithIndices(input, outputSize)[0];
}
/** Greatest values such that the result has the given size in the last two dimensions; null keeps a dimension. */
export function adaptiveMaxPool2d(input: Tensor, outputSize: number | readonly (number | null)[]): Tensor {
  return adaptiveMaxPool2dWithIndices(input, outputSize)[0];
}
/** The same over the last three dimensions. */
export function adaptiveMaxPool3d(input: Tensor, outputSize: number | readonly (number | null)[]): Tensor {
  return adaptiveMaxPool3dWithIndices(input, outputSize)[0];
}
/** As `adaptiveMaxPool1d`, with the places of the greatest values. */
export function adaptiveMaxPool1dWithIndices(input: Tensor, outputSize: number): [Tensor, Tensor] {
  return adaptiveMaxPool1d_(input, outputSize) as [Tensor, Tensor];
}
/** As `adaptiveMaxPool2d`, with the places of the greatest values. */
export function adaptiveMaxPool2dWithIndices(
  input: Tensor,
  outputSize: number | readonly (number | null)[],
): [Tensor, Tensor] {
  return adaptiveMaxPool2d_(input, adaptiveSizes(input, outputSize, 2)) as [Tensor, Tensor];
}
/** As `adaptiveMaxPool3d`, with the places of the greatest values. */
export function adaptiveMaxPool3dWithIndices(
  input: Tensor,
  outputSize: number | readonly (number | null)[],
): [Tensor, Tensor] {
  return adaptiveMaxPool3d_(input, adaptiveSizes(input, outputSize, 3)) as [Tensor, Tensor];
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
