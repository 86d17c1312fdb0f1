// The pooling layers: one over one and one over two dimensions of each kind.
import type { Tensor } from "../../tensor.js";
import { checkOptions, checkSize } from "../arguments.js";
import type { Sizes } from "../functional/convolution.js";
import {
  type AvgPoolOptions,
  adaptiveAvgPool1d,
  adaptiveAvgPool2d,
  avgPool1d,
  avgPool2d,
  type MaxPoolOptions,
  maxPool1d,
  maxPool2d,
} from "../functional/pooling.js";
import { Module } from "../module.js";
import { pyBool, pyNumberOrTuple, pyTuple } from "../python-text.js";

abstract class MaxPool extends Module<[Tensor], Tensor> {
  readonly kernelSize: Sizes;
  readonly stride: Sizes;
  readonly padding: Sizes;
  readonly dilation: Sizes;
  readonly ceilMode: boolean;

  /** `stride` is the window's size unless given. */
  constructor(kernelSize: Sizes, options: MaxPoolOptions = {}) {
    super();
    const example = `new nn.${new.target.name}(2, { stride: 2, padding: 0 })`;
    checkOptions(options, ["stride", "padding", "dilation", "ceilMode"], example);
    this.kernelSize = checkWindow("kernelSize", kernelSize, 1, example);
    this.stride = checkWindow("stride", options.stride ?? kernelSize, 1, example);
    this.padding = checkWindow("padding", options.padding ?? 0, 0, example);
    this.dilation = checkWindow("dilation", options.dilation ?? 1, 1, example);
    this.ceilMode = options.ceilMode ?? false;
  }

  override extraRepr(): string {
    const [kernel, stride, padding, dilation] = [this.kernelSize, this.stride, this.padding, this.dilation].map(
      pyNumberOrTuple,
    );
    return `kernel_size=${kernel}, stride=${stride}, padding=${padding}, dilation=${dilation}, ceil_mode=${pyBool(this.ceilMode)}`;
  }
}

/** Greatest values of windows: shape `[N, C, L]` -> `[N, C, L']`. */
export class MaxPool1d extends MaxPool {
  forward(input: Tensor): Tensor {
    return maxPool1d(input, this.kernelSize, this);
  }
}

/** Greatest values of windows: shape `[N, C, H, W]` -> `[N, C, H', W']`. */
export class MaxPool2d extends MaxPool {
  forward(input: Tensor): Tensor {
    return maxPool2d(input, this.kernelSize, this);
  }
}

abstract class AvgPool extends Module<[Tensor], Tensor> {
  readonly kernelSize: Sizes;
  readonly stride: Sizes;
  readonly padding: Sizes;
  readonly ceilMode: boolean;
  readonly countIncludePad: boolean;

  /** `stride` is the window's size unless given. */
  constructor(kernelSize: Sizes, options: AvgPoolOptions = {}) {
    super();
    const example = `new nn.${new.target.name}(2, { stride: 2, padding: 0 })`;
    checkOptions(options, ["stride", "padding", "ceilMode", "countIncludePad", "divisorOverride"], example);
    this.kernelSize = checkWindow("kernelSize", kernelSize, 1, example);
    this.stride = checkWindow("stride", options.stride ?? kernelSize, 1, example);
    this.padding = checkWindow("padding", options.padding ?? 0, 0, example);
    this.ceilMode = options.ceilMode ?? false;
    this.countIncludePad = options.countIncludePad ?? true;
  }

  override extraRepr(): string {
    const [kernel, stride, padding] = [this.kernelSize, this.stride, this.padding].map(pyNumberOrTuple);
    return `kernel_size=${kernel}, stride=${stride}, padding=${padding}`;
  }
}

/** Means of windows: shape `[N, C, L]` -> `[N, C, L']`. */
export class AvgPool1d extends AvgPool {
  forward(input: Tensor): Tensor {
    return avgPool1d(input, this.kernelSize, this);
  }
}

/** Means of windows: shape `[N, C, H, W]` -> `[N, C, H', W']`. */
export class AvgPool2d extends AvgPool {
  readonly divisorOverride: number | null;

  constructor(kernelSize: Sizes, options: AvgPoolOptions & { divisorOverride?: number | null } = {}) {
    super(kernelSize, options);
    this.divisorOverride = options.divisorOverride ?? null;
  }

  forward(input: Tensor): Tensor {
    return avgPool2d(input, this.kernelSize, this);
  }
}

/** Means such that the result has `outputSize` elements: shape `[N, C, L]` -> `[N, C, outputSize]`. */
export class AdaptiveAvgPool1d extends Module<[Tensor], Tensor> {
  readonly outputSize: number;

  constructor(outputSize: number) {
    super();
    this.outputSize = outputSize;
  }

  forward(input: Tensor): Tensor {
    return adaptiveAvgPool1d(input, this.outputSize);
  }

  override extraRepr(): string {
    return `output_size=${this.outputSize}`;
  }
}

/** Means such that the result has the given size (null keeps a dimension): shape `[N, C, H, W]` -> `[N, C, ...outputSize]`. */
export class AdaptiveAvgPool2d extends Module<[Tensor], Tensor> {
  readonly outputSize: number | readonly (number | null)[];

  constructor(outputSize: number | readonly (number | null)[]) {
    super();
    this.outputSize = outputSize;
  }

  forward(input: Tensor): Tensor {
    return adaptiveAvgPool2d(input, this.outputSize);
  }

  override extraRepr(): string {
    const size = this.outputSize;
    return `output_size=${typeof size === "number" ? size : pyTuple(size.map((n) => n ?? "None"))}`;
  }
}

function checkWindow(name: string, value: Sizes, minimum: number, example: string): Sizes {
  if (Array.isArray(value)) return value.map((item, i) => checkSize(`${name}[${i}]`, item, minimum, example));
  return checkSize(name, value, minimum, example);
}
