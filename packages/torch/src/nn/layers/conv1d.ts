// Convolution over signals.
import type { Tensor } from "../../tensor.js";
import { conv1d, type Sizes } from "../functional/convolution.js";
import { type ConvOptions, Convolution, padded } from "./convolution.js";

/** Convolution: shape `[N, inChannels, L]` -> `[N, outChannels, L']`. */
export class Conv1d extends Convolution<[Tensor]> {
  constructor(inChannels: number, outChannels: number, kernelSize: Sizes, options: ConvOptions = {}) {
    super(1, false, inChannels, outChannels, kernelSize, options);
  }

  forward(input: Tensor): Tensor {
    const { stride, padding, dilation, groups } = this;
    if (this.paddingMode === "zeros")
      return conv1d(input, this.weight, this.bias, { stride, padding, dilation, groups });
    return conv1d(padded(this, input), this.weight, this.bias, { stride, dilation, groups });
  }
}
