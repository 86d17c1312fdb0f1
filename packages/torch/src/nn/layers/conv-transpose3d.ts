// Transposed convolution over volumes.
import type { Tensor } from "../../tensor.js";
import { convTranspose3d, type Sizes } from "../functional/convolution.js";
import { type ConvOptions, Convolution, outputPaddingFor } from "./convolution.js";

/** Options of the transposed convolutions: `padding` cuts off the output, `outputPadding` adds to one side of it. */
export interface ConvTranspose3dOptions extends Omit<ConvOptions, "padding" | "paddingMode"> {
  /** What is cut off around the output (default 0). */
  padding?: Sizes;
  /** Added at one side of the output (default 0). */
  outputPadding?: Sizes;
}

/** The gradient of a convolution as a layer of its own: shape `[N, inChannels, D, H, W]` -> `[N, outChannels, D', H', W']`. */
export class ConvTranspose3d extends Convolution<[input: Tensor, outputSize?: readonly number[]]> {
  constructor(inChannels: number, outChannels: number, kernelSize: Sizes, options: ConvTranspose3dOptions = {}) {
    super(3, true, inChannels, outChannels, kernelSize, options);
  }

  /** `outputSize` chooses among the sizes that a stride above 1 leaves open. */
  forward(input: Tensor, outputSize?: readonly number[]): Tensor {
    const { stride, dilation, groups } = this;
    const outputPadding = outputPaddingFor(this, input, outputSize);
    return convTranspose3d(input, this.weight, this.bias, {
      stride,
      padding: this.padding as number[],
      outputPadding,
      dilation,
      groups,
    });
  }
}
