// Images as columns of their windows, and back.
import { ConfigurationError } from "../../errors.js";
import type { Tensor } from "../../tensor.js";
import { aten } from "../aten.js";
import type { Sizes } from "./convolution.js";
import { known } from "./known-options.js";

/** How windows lie on an image; a number holds for both dimensions. */
export interface WindowOptions {
  /** Steps between the elements of a window (default 1). */
  dilation?: Sizes | undefined;
  /** Zeros around the image (default 0). */
  padding?: Sizes | undefined;
  /** Steps between windows (default 1). */
  stride?: Sizes | undefined;
}

const im2col = aten("im2col");
const col2im = aten("col2im");

/** The windows of an image as columns: `[N, C, H, W]` -> `[N, C * kernel height * kernel width, windows]`. */
export function unfold(input: Tensor, kernelSize: Sizes, options: WindowOptions = {}): Tensor {
  known("unfold", options, ["dilation", "padding", "stride"]);
  const { dilation = 1, padding = 0, stride = 1 } = options;
  return im2col(input, pair(kernelSize), pair(dilation), pair(padding), pair(stride));
}

/** The sum of windows, given as columns, at their places in an image: the reverse of `unfold`, but for what overlaps. */
export function fold(input: Tensor, outputSize: Sizes, kernelSize: Sizes, options: WindowOptions = {}): Tensor {
  known("fold", options, ["dilation", "padding", "stride"]);
  const { dilation = 1, padding = 0, stride = 1 } = options;
  if (input.ndim !== 2 && input.ndim !== 3) {
    throw new ConfigurationError(`\`fold\` got an input of shape [${input.shape.join(", ")}].`, {
      hint: "It takes [N, C * kernel height * kernel width, windows], with or without N.",
    });
  }
  return col2im(input, pair(outputSize), pair(kernelSize), pair(dilation), pair(padding), pair(stride));
}

function pair(sizes: Sizes): readonly number[] {
  return typeof sizes === "number" ? [sizes, sizes] : sizes;
}
