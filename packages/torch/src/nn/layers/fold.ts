// Windows of images as columns, and pixels as channels.
import type { Tensor } from "../../tensor.js";
import { checkOptions, checkSize, checkSizes } from "../arguments.js";
import { aten } from "../aten.js";
import type { Sizes } from "../functional/convolution.js";
import { fold, unfold, type WindowOptions } from "../functional/fold.js";
import { Module } from "../module.js";
import { pyNumberOrTuple } from "../python-text.js";

const windowNames = ["dilation", "padding", "stride"];

abstract class Windows extends Module<[Tensor], Tensor> {
  readonly kernelSize: Sizes;
  readonly dilation: Sizes;
  readonly padding: Sizes;
  readonly stride: Sizes;

  constructor(kernelSize: Sizes, options: WindowOptions, example: string) {
    super();
    checkOptions(options, windowNames, example);
    this.kernelSize = checkPair("kernelSize", kernelSize, 1, example);
    this.dilation = checkPair("dilation", options.dilation ?? 1, 1, example);
    this.padding = checkPair("padding", options.padding ?? 0, 0, example);
    this.stride = checkPair("stride", options.stride ?? 1, 1, example);
  }

  override extraRepr(): string {
    const [kernel, dilation, padding, stride] = [this.kernelSize, this.dilation, this.padding, this.stride].map(
      pyNumberOrTuple,
    );
    return `kernel_size=${kernel}, dilation=${dilation}, padding=${padding}, stride=${stride}`;
  }
}

/** The windows of an image as columns: `[N, C, H, W]` -> `[N, C * kernel height * kernel width, windows]`. */
export class Unfold extends Windows {
  constructor(kernelSize: Sizes, options: WindowOptions = {}) {
    super(kernelSize, options, "new nn.Unfold(3, { padding: 1, stride: 2 })");
  }
  forward(input: Tensor): Tensor {
    return unfold(input, this.kernelSize, this);
  }
}

/** The sum of windows at their places: `[N, C * kernel height * kernel width, windows]` -> `[N, C, ...outputSize]`. */
export class Fold extends Windows {
  readonly outputSize: Sizes;

  constructor(outputSize: Sizes, kernelSize: Sizes, options: WindowOptions = {}) {
    const example = "new nn.Fold([4, 5], 2, { stride: 2 })";
    super(kernelSize, options, example);
    this.outputSize = checkPair("outputSize", outputSize, 1, example);
  }
  forward(input: Tensor): Tensor {
    return fold(input, this.outputSize, this.kernelSize, this);
  }
  override extraRepr(): string {
    return `output_size=${pyNumberOrTuple(this.outputSize)}, ${super.extraRepr()}`;
  }
}

const pixelShuffle = aten("pixel_shuffle");
const pixelUnshuffle = aten("pixel_unshuffle");

/** Channels as finer pixels: `[N, C * r * r, H, W]` -> `[N, C, H * r, W * r]`. */
export class PixelShuffle extends Module<[Tensor], Tensor> {
  readonly upscaleFactor: number;

  constructor(upscaleFactor: number) {
    super();
    this.upscaleFactor = checkSize("upscaleFactor", upscaleFactor, 1, "new nn.PixelShuffle(2)");
  }
  forward(input: Tensor): Tensor {
    return pixelShuffle(input, this.upscaleFactor);
  }
  override extraRepr(): string {
    return `upscale_factor=${this.upscaleFactor}`;
  }
}

/** The reverse of `PixelShuffle`: `[N, C, H * r, W * r]` -> `[N, C * r * r, H, W]`. */
export class PixelUnshuffle extends Module<[Tensor], Tensor> {
  readonly downscaleFactor: number;

  constructor(downscaleFactor: number) {
    super();
    this.downscaleFactor = checkSize("downscaleFactor", downscaleFactor, 1, "new nn.PixelUnshuffle(2)");
  }
  forward(input: Tensor): Tensor {
    return pixelUnshuffle(input, this.downscaleFactor);
  }
  override extraRepr(): string {
    return `downscale_factor=${this.downscaleFactor}`;
  }
}

// As it was given, since it is printed so.
function checkPair(name: string, value: unknown, minimum: number, example: string): Sizes {
  const sizes = checkSizes(name, value, 2, minimum, example);
  return Array.isArray(value) ? sizes : (sizes[0] as number);
}
