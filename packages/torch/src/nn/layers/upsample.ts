// Resizing as a layer.
import { ConfigurationError } from "../../errors.js";
import type { Tensor } from "../../tensor.js";
import { checkOptions } from "../arguments.js";
import { type InterpolateOptions, interpolate } from "../functional/interpolate.js";
import { Module } from "../module.js";
import { pyFloat, pyNumberOrTuple, pyTuple } from "../python-text.js";

/** Options of `Upsample`: exactly one of `size` and `scaleFactor`; the rest as of `nn.functional.interpolate`. */
export type UpsampleOptions = Pick<
  InterpolateOptions,
  "size" | "scaleFactor" | "mode" | "alignCorners" | "recomputeScaleFactor"
>;

/** Resizes the dimensions after batch and channels: shape `[N, C, ...]` -> `[N, C, ...size]`. */
export class Upsample extends Module<[Tensor], Tensor> {
  readonly size: number | readonly number[] | undefined;
  readonly scaleFactor: number | readonly number[] | undefined;
  readonly mode: string;
  protected readonly options: UpsampleOptions;

  constructor(options: UpsampleOptions) {
    super();
    const example = 'new nn.Upsample({ scaleFactor: 2, mode: "bilinear" })';
    checkOptions(options, ["size", "scaleFactor", "mode", "alignCorners", "recomputeScaleFactor"], example);
    if ((options.size === undefined) === (options.scaleFactor === undefined)) {
      throw new ConfigurationError("Give exactly one of `size` and `scaleFactor`.", { hint: `Type \`${example}\`.` });
    }
    this.size = options.size;
    this.scaleFactor = options.scaleFactor;
    this.mode = options.mode ?? "nearest";
    this.options = { ...options };
  }

  forward(input: Tensor): Tensor {
    return interpolate(input, this.options);
  }

  override extraRepr(): string {
    const { size, scaleFactor: factor } = this;
    const text = (value: number | readonly number[]): string =>
      typeof value === "number" ? pyFloat(value) : pyTuple(value.map(pyFloat));
    const extent = factor === undefined ? `size=${pyNumberOrTuple(size ?? null)}` : `scale_factor=${text(factor)}`;
    return `${extent}, mode=${this.mode}`;
  }
}
