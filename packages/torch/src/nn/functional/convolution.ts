// Convolutions over one, two and three dimensions, and their transposes.
import type { Tensor } from "../../tensor.js";
import { aten } from "../aten.js";
import { known } from "./known-options.js";

/** One number for all dimensions, or one for each. */
export type Sizes = number | readonly number[];

/** Options of the convolutions. */
export interface ConvolutionOptions {
  /** Step of the window (default 1). */
  stride?: Sizes;
  /** Zeros around the input (default 0); `"same"` keeps the size, `"valid"` is 0. */
  padding?: Sizes | "same" | "valid";
  /** Distance between the elements of the window (default 1). */
  dilation?: Sizes;
  /** Splits the channels into groups that do not see each other (default 1). */
  groups?: number;
}

/** Options of the transposed convolutions. */
export interface TransposedConvolutionOptions {
  /** Step of the window in the output (default 1). */
  stride?: Sizes;
  /** What is cut off around the output (default 0). */
  padding?: Sizes;
  /** Added at one side of the output (default 0). */
  outputPadding?: Sizes;
  /** Distance between the elements of the window (default 1). */
  dilation?: Sizes;
  /** Splits the channels into groups that do not see each other (default 1). */
  groups?: number;
}

type Conv = (input: Tensor, weight: Tensor, bias?: Tensor | null, options?: ConvolutionOptions) => Tensor;
type ConvTranspose = (
  input: Tensor,
  weight: Tensor,
  bias?: Tensor | null,
  options?: TransposedConvolutionOptions,
) => Tensor;

function convolution(name: string): Conv {
  const operator = aten(name);
  return (input, weight, bias = null, options = {}) => {
    known(name, options, ["stride", "padding", "dilation", "groups"]);
    const { stride, padding, dilation, groups } = options;
    return operator(input, weight, bias, stride, padding, dilation, groups);
  };
}

function transposedConvolution(name: string): ConvTranspose {
  const operator = aten(name);
  return (input, weight, bias = null, options = {}) => {
    known(name.replace("_t", "T"), options, ["stride", "padding", "outputPadding", "groups", "dilation"]);
    const { stride, padding, outputPadding, groups, dilation } = options;
    return operator(input, weight, bias, stride, padding, outputPadding, groups, dilation);
  };
}

/** Shapes `[N, in, L]`, `[out, in / groups, k]` -> `[N, out, L']`. */
export const conv1d: Conv = convolution("conv1d");
/** Shapes `[N, in, H, W]`, `[out, in / groups, kH, kW]` -> `[N, out, H', W']`. */
export const conv2d: Conv = convolution("conv2d");
/** Shapes `[N, in, D, H, W]`, `[out, in / groups, kD, kH, kW]` -> `[N, out, D', H', W']`. */
export const conv3d: Conv = convolution("conv3d");
/** Shapes `[N, in, L]`, `[in, out / groups, k]` -> `[N, out, L']`. */
export const convTranspose1d: ConvTranspose = transposedConvolution("conv_transpose1d");
/** Shapes `[N, in, H, W]`, `[in, out / groups, kH, kW]` -> `[N, out, H', W']`. */
export const convTranspose2d: ConvTranspose = transposedConvolution("conv_transpose2d");
/** Shapes `[N, in, D, H, W]`, `[in, out / groups, kD, kH, kW]` -> `[N, out, D', H', W']`. */
export const convTranspose3d: ConvTranspose = transposedConvolution("conv_transpose3d");
