// The pooling layers, over one to three dimensions each, and those that undo max-pooling.
import type { Tensor } from "../../tensor.js";
import { checkBoolean, checkNumber, checkOptions, checkSize } from "../arguments.js";
import type { Sizes } from "../functional/convolution.js";
import {
  type AvgPoolOptions,
  adaptiveAvgPool1d,
  adaptiveAvgPool2d,
  adaptiveAvgPool3d,
  adaptiveMaxPool1dWithIndices,
  adaptiveMaxPool2dWithIndices,
  adaptiveMaxPool3dWithIndices,
  avgPool1d,
  avgPool2d,
  avgPool3d,
  type LPPoolOptions,
  lpPool1d,
  lpPool2d,
  lpPool3d,
  type MaxPoolOptions,
  maxPool1d,
  maxPool1dWithIndices,
  maxPool2d,
  maxPool2dWithIndices,
  maxPool3d,
  maxPool3dWithIndices,
  maxUnpool1d,
  maxUnpool2d,
  maxUnpool3d,
} from "../functional/pooling.js";
import { Module } from "../module.js";
import { pyBool, pyNumberOrTuple, pyTuple } from "../python-text.js";

/** With `returnIndices` the output is a pair: the values, and their places, which the unpooling layers take. */
export interface MaxPoolLayerOptions<I extends boolean> extends MaxPoolOptions {
  /** Give the places of the greatest values as well (default false). */
  returnIndices?: I;
}
/** What a max-pooling layer gives. */
export type MaxPoolOutput<I extends boolean> = I extends true ? [values: Tensor, indices: Tensor] : Tensor;

abstract class MaxPool<I extends boolean> extends Module<[Tensor], MaxPoolOutput<I>> {
  readonly kernelSize: Sizes;
  readonly stride: Sizes;
  readonly padding: Sizes;
  readonly dilation: Sizes;
  readonly ceilMode: boolean;
  readonly returnIndices: boolean;

  /** `stride` is the window's size unless given. */
  constructor(kernelSize: Sizes, options: MaxPoolLayerOptions<I> = {}) {
    super();
    const example = `new nn.${new.target.name}(2, { stride: 2, padding: 0 })`;
    checkOptions(options, ["stride", "padding", "dilation", "ceilMode", "returnIndices"], example);
    this.kernelSize = checkWindow("kernelSize", kernelSize, 1, example);
    this.stride = checkWindow("stride", options.stride ?? kernelSize, 1, example);
    this.padding = checkWindow("padding", options.padding ?? 0, 0, example);
    this.dilation = checkWindow("dilation", options.dilation ?? 1, 1, example);
    this.ceilMode = options.ceilMode ?? false;
    this.returnIndices = checkBoolean("returnIndices", options.returnIndices ?? false);
  }

  override extraRepr(): string {
    const [kernel, stride, padding, dilation] = [this.kernelSize, this.stride, this.padding, this.dilation].map(
      pyNumberOrTuple,
    );
    return `kernel_size=${kernel}, stride=${stride}, padding=${padding}, dilation=${dilation}, ceil_mode=${pyBool(this.ceilMode)}`;
  }
}

/** Greatest values of windows: shape `[N, C, L]` -> `[N, C, L']`. */
export class MaxPool1d<I extends boolean = false> extends MaxPool<I> {
  forward(input: Tensor): MaxPoolOutput<I> {
    const pool = this.returnIndices ? maxPool1dWithIndices : maxPool1d;
    return pool(input, this.kernelSize, this) as MaxPoolOutput<I>;
  }
}

/** Greatest values of windows: shape `[N, C, H, W]` -> `[N, C, H', W']`. */
export class MaxPool2d<I extends boolean = false> extends MaxPool<I> {
  forward(input: Tensor): MaxPoolOutput<I> {
    const pool = this.returnIndices ? maxPool2dWithIndices : maxPool2d;
    return pool(input, this.kernelSize, this) as MaxPoolOutput<I>;
  }
}

/** Greatest values of windows: shape `[N, C, D, H, W]` -> `[N, C, D', H', W']`. */
export class MaxPool3d<I extends boolean = false> extends MaxPool<I> {
  forward(input: Tensor): MaxPoolOutput<I> {
    const pool = this.returnIndices ? maxPool3dWithIndices : maxPool3d;
    return pool(input, this.kernelSize, this) as MaxPoolOutput<I>;
  }
}

abstract class MaxUnpool extends Module<[Tensor, Tensor, outputSize?: readonly number[] | null], Tensor> {
  readonly kernelSize: Sizes;
  readonly stride: Sizes;
  readonly padding: Sizes;

  /** The same window as that of the pooling. */
  constructor(kernelSize: Sizes, options: { stride?: Sizes | null; padding?: Sizes } = {}) {
    super();
    const example = `new nn.${new.target.name}(2, { stride: 2, padding: 0 })`;
    checkOptions(options, ["stride", "padding"], example);
    this.kernelSize = checkWindow("kernelSize", kernelSize, 1, example);
    this.stride = checkWindow("stride", options.stride ?? kernelSize, 1, example);
    this.padding = checkWindow("padding", options.padding ?? 0, 0, example);
  }

  override extraRepr(): string {
    const [kernel, stride, padding] = [this.kernelSize, this.stride, this.padding].map((value) =>
      typeof value === "number" ? this.tuple(value) : pyTuple(value),
    );
    return `kernel_size=${kernel}, stride=${stride}, padding=${padding}`;
  }
  protected abstract tuple(value: number): string;
}

/** Puts values back to their places of before a `MaxPool1d` with `returnIndices`, with zeros elsewhere. */
export class MaxUnpool1d extends MaxUnpool {
  forward(input: Tensor, indices: Tensor, outputSize: readonly number[] | null = null): Tensor {
    const { kernelSize, stride, padding } = this;
    return maxUnpool1d(input, indices, kernelSize, { stride, padding, outputSize });
  }
  protected override tuple(value: number): string {
    return pyTuple([value]);
  }
}

/** The same for `MaxPool2d`. */
export class MaxUnpool2d extends MaxUnpool {
  forward(input: Tensor, indices: Tensor, outputSize: readonly number[] | null = null): Tensor {
    const { kernelSize, stride, padding } = this;
    return maxUnpool2d(input, indices, kernelSize, { stride, padding, outputSize });
  }
  protected override tuple(value: number): string {
    return pyTuple([value, value]);
  }
}

/** The same for `MaxPool3d`. */
export class MaxUnpool3d extends MaxUnpool {
  forward(input: Tensor, indices: Tensor, outputSize: readonly number[] | null = null): Tensor {
    const { kernelSize, stride, padding } = this;
    return maxUnpool3d(input, indices, kernelSize, { stride, padding, outputSize });
  }
  protected override tuple(value: number): string {
    return pyTuple([value, value, value]);
  }
}

abstract class AvgPool extends Module<[Tensor], Tensor> {
  readonly kernelSize: Sizes;
  readonly stride: Sizes;
  readonly padding: Sizes;
  readonly ceilMode: boolean;
  readonly countIncludePad: boolean;

  /** `stride` is the window's size unless given. */
  constructor(kernelSize: Sizes, options: AvgPoolOptions, more: readonly string[] = []) {
    super();
    const example = `new nn.${new.target.name}(2, { stride: 2, padding: 0 })`;
    checkOptions(options, ["stride", "padding", "ceilMode", "countIncludePad", ...more], example);
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
  constructor(kernelSize: Sizes, options: AvgPoolOptions = {}) {
    super(kernelSize, options);
  }

  forward(input: Tensor): Tensor {
    return avgPool1d(input, this.kernelSize, this);
  }

  override extraRepr(): string {
    const [kernel, stride, padding] = [this.kernelSize, this.stride, this.padding].map((size) =>
      pyTuple([size].flat()),
    );
    return `kernel_size=${kernel}, stride=${stride}, padding=${padding}`;
  }
}

/** Means of windows: shape `[N, C, H, W]` -> `[N, C, H', W']`. */
export class AvgPool2d extends AvgPool {
  readonly divisorOverride: number | null;

  constructor(kernelSize: Sizes, options: AvgPoolOptions & { divisorOverride?: number | null } = {}) {
    super(kernelSize, options, ["divisorOverride"]);
    this.divisorOverride = options.divisorOverride ?? null;
  }

  forward(input: Tensor): Tensor {
    return avgPool2d(input, this.kernelSize, this);
  }
}

/** Means of windows: shape `[N, C, D, H, W]` -> `[N, C, D', H', W']`. */
export class AvgPool3d extends AvgPool {
  readonly divisorOverride: number | null;

  constructor(kernelSize: Sizes, options: AvgPoolOptions & { divisorOverride?: number | null } = {}) {
    super(kernelSize, options, ["divisorOverride"]);
    this.divisorOverride = options.divisorOverride ?? null;
  }

  forward(input: Tensor): Tensor {
    return avgPool3d(input, this.kernelSize, this);
  }
}

abstract class LPPool<K extends Sizes> extends Module<[Tensor], Tensor> {
  readonly normType: number;
  readonly kernelSize: K;
  readonly stride: Sizes | null;
  readonly ceilMode: boolean;

  /** @param normType the power: 1 sums, `Infinity` would take the greatest */
  constructor(normType: number, kernelSize: K, options: LPPoolOptions = {}) {
    super();
    const example = `new nn.${new.target.name}(2, 3, { stride: 2 })`;
    checkOptions(options, ["stride", "ceilMode"], example);
    this.normType = checkNumber("normType", normType);
    this.kernelSize = checkWindow("kernelSize", kernelSize, 1, example) as K;
    const { stride = null } = options;
    this.stride = stride === null ? null : checkWindow("stride", stride, 1, example);
    this.ceilMode = options.ceilMode ?? false;
  }

  override extraRepr(): string {
    const { normType, kernelSize, stride, ceilMode } = this;
    return `norm_type=${normType}, kernel_size=${pyNumberOrTuple(kernelSize)}, stride=${pyNumberOrTuple(stride)}, ceil_mode=${pyBool(ceilMode)}`;
  }
}

/** The `normType`-norm of windows: shape `[N, C, L]` -> `[N, C, L']`. */
export class LPPool1d extends LPPool<number> {
  forward(input: Tensor): Tensor {
    return lpPool1d(input, this.normType, this.kernelSize, this);
  }
}
/** The `normType`-norm of windows: shape `[N, C, H, W]` -> `[N, C, H', W']`. */
export class LPPool2d extends LPPool<Sizes> {
  forward(input: Tensor): Tensor {
    return lpPool2d(input, this.normType, this.kernelSize, this);
  }
}
/** The `normType`-norm of windows: shape `[N, C, D, H, W]` -> `[N, C, D', H', W']`. */
export class LPPool3d extends LPPool<Sizes> {
  forward(input: Tensor): Tensor {
    return lpPool3d(input, this.normType, this.kernelSize, this);
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

/** Means such that the result has the given size (null keeps a dimension): shape `[N, C, D, H, W]` -> `[N, C, ...outputSize]`. */
export class AdaptiveAvgPool3d extends AdaptiveAvgPool2d {
  override forward(input: Tensor): Tensor {
    return adaptiveAvgPool3d(input, this.outputSize);
  }
}

abstract class AdaptiveMaxPool<S, I extends boolean> extends Module<[Tensor], MaxPoolOutput<I>> {
  readonly outputSize: S;
  readonly returnIndices: boolean;

  constructor(outputSize: S, options: { returnIndices?: I } = {}) {
    super();
    checkOptions(options, ["returnIndices"], `new nn.${new.target.name}(4, { returnIndices: true })`);
    this.outputSize = outputSize;
    this.returnIndices = checkBoolean("returnIndices", options.returnIndices ?? false);
  }

  override extraRepr(): string {
    const size: unknown = this.outputSize;
    return `output_size=${Array.isArray(size) ? pyTuple(size.map((n) => n ?? "None")) : size}`;
  }
}

/** Greatest values such that the result has `outputSize` elements: shape `[N, C, L]` -> `[N, C, outputSize]`. */
export class AdaptiveMaxPool1d<I extends boolean = false> extends AdaptiveMaxPool<number, I> {
  forward(input: Tensor): MaxPoolOutput<I> {
    const both = adaptiveMaxPool1dWithIndices(input, this.outputSize);
    return (this.returnIndices ? both : both[0]) as MaxPoolOutput<I>;
  }
}
/** Greatest values such that the result has the given size (null keeps a dimension): shape `[N, C, H, W]` -> `[N, C, ...outputSize]`. */
export class AdaptiveMaxPool2d<I extends boolean = false> extends AdaptiveMaxPool<AdaptiveSize, I> {
  forward(input: Tensor): MaxPoolOutput<I> {
    const both = adaptiveMaxPool2dWithIndices(input, this.outputSize);
    return (this.returnIndices ? both : both[0]) as MaxPoolOutput<I>;
  }
}
/** The same over three dimensions: shape `[N, C, D, H, W]` -> `[N, C, ...outputSize]`. */
export class AdaptiveMaxPool3d<I extends boolean = false> extends AdaptiveMaxPool<AdaptiveSize, I> {
  forward(input: Tensor): MaxPoolOutput<I> {
    const both = adaptiveMaxPool3dWithIndices(input, this.outputSize);
    return (this.returnIndices ? both : both[0]) as MaxPoolOutput<I>;
  }
}

type AdaptiveSize = number | readonly (number | null)[];

function checkWindow(name: string, value: Sizes, minimum: number, example: string): Sizes {
  if (Array.isArray(value)) return value.map((item, i) => checkSize(`${name}[${i}]`, item, minimum, example));
  return checkSize(name, value, minimum, example);
}
