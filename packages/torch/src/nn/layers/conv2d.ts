// Convolution over images.
import type { Tensor } from "../../tensor.js";
import { conv2d, type Sizes } from "../functional/convolution.js";
import { type ConvOptions, Convolution, padded } from "./convolution.js";

/** Convolution: shape `[N, inChannels, H, W]` -> `[N, outChannels, H', W']`. */
export class Conv2d extends Convolution<[Tensor]> {
  constructor(inChannels: number, outChannels: number, kernelSize: Sizes, options: ConvOptions = {}) {
    super(2, false, inChannels, outChannels, kernelSize, options);
  }

  forward(input: Tensor): Tensor {
    const { stride, padding, dilation, groups } = this;
    if (this.paddingMode === "zeros")
      return conv2d(input, this.weight, this.bias, { stride, padding, dilation, groups });
    return conv2d(padded(this, input), this.weight, this.bias, { stride, dilation, groups });
  }
}
