// Convolution over volumes.
import type { Tensor } from "../../tensor.js";
import { conv3d, type Sizes } from "../functional/convolution.js";
import { type ConvOptions, Convolution, padded } from "./convolution.js";

/** Convolution: shape `[N, inChannels, D, H, W]` -> `[N, outChannels, D', H', W']`. */
export class Conv3d extends Convolution<[Tensor]> {
  constructor(inChannels: number, outChannels: number, kernelSize: Sizes, options: ConvOptions = {}) {
    super(3, false, inChannels, outChannels, kernelSize, options);
  }

  forward(input: Tensor): Tensor {
    const { stride, padding, dilation, groups } = this;
    if (this.paddingMode === "zeros")
      return conv3d(input, this.weight, this.bias, { stride, padding, dilation, groups });
    return conv3d(padded(this, input), this.weight, this.bias, { stride, dilation, groups });
  }
}
