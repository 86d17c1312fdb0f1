// Mixing the groups of a grouped convolution.
import { ConfigurationError } from "../../errors.js";
import type { Tensor } from "../../tensor.js";
import { checkSize } from "../arguments.js";
import { Module } from "../module.js";

/** Deals the channels of `groups` groups out in turn: shape `[N, C, ...]` stays. */
export class ChannelShuffle extends Module<[Tensor], Tensor> {
  readonly groups: number;

  constructor(groups: number) {
    super();
    this.groups = checkSize("groups", groups, 1, "new nn.ChannelShuffle(2)");
  }
  forward(input: Tensor): Tensor {
    const [n, channels, ...rest] = input.shape as [number, number, ...number[]];
    if (input.ndim < 3 || channels % this.groups !== 0) {
      throw new ConfigurationError(`ChannelShuffle got an input of shape [${input.shape.join(", ")}].`, {
        hint: `It takes [N, C, ...] with C divisible by ${this.groups}.`,
      });
    }
    // The engine's operator has no derivative in older versions.
    return input
      .reshape([n, this.groups, channels / this.groups, ...rest])
      .transpose(1, 2)
      .reshape(input.shape);
  }
  override extraRepr(): string {
    return `groups=${this.groups}`;
  }
}
