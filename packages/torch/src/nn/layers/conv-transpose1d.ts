// Transposed convolution over signals.
import type { Tensor } from "../../tensor.js";
import { convTranspose1d, type Sizes } from "../functional/convolution.js";
import { type ConvOptions, Convolution, outputPaddingFor } from "./convolution.js";

/** Options of the transposed convolutions: `padding` cuts off the output, `outputPadding` adds to one side of it. */
export interface ConvTranspose1dOptions extends Omit<ConvOptions, "padding" | "paddingMode"> {
  /** What is cut off around the output (default 0). */
  padding?: Sizes;
  /** Added at one side of the output (default 0). */
  outputPadding?: Sizes;
}

/** The gradient of a convolution as a layer of its own: shape `[N, inChannels, L]` -> `[N, outChannels, L']`. */
export class ConvTranspose1d extends Convolution<[input: Tensor, outputSize?: readonly number[]]> {
  constructor(inChannels: number, outChannels: number, kernelSize: Sizes, options: ConvTranspose1dOptions = {}) {
    super(1, true, inChannels, outChannels, kernelSize, options);
  }

  /** `outputSize` chooses among the sizes that a stride above 1 leaves open. */
  forward(input: Tensor, outputSize?: readonly number[]): Tensor {
    const { stride, dilation, groups } = this;
    const outputPadding = outputPaddingFor(this, input, outputSize);
    return convTranspose1d(input, this.weight, this.bias, {
      stride,
      padding: this.padding as number[],
      outputPadding,
      dilation,
      groups,
    });
  }
}
