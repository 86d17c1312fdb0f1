// Layers that only change the shape, or nothing.
import type { Tensor } from "../../tensor.js";
import { checkOptions } from "../arguments.js";
import { Module } from "../module.js";
import { pyTuple } from "../python-text.js";

/** Gives back what it gets. Arguments of the constructor are ignored, so that it can stand in for any layer. */
export class Identity extends Module<[Tensor], Tensor> {
  constructor(..._ignored: unknown[]) {
    super();
  }

  forward(input: Tensor): Tensor {
    return input;
  }
}

/** Joins the dimensions `startDim` (1) to `endDim` (the last) into one. */
export class Flatten extends Module<[Tensor], Tensor> {
  readonly startDim: number;
  readonly endDim: number;

  constructor(options: { startDim?: number; endDim?: number } = {}) {
    super();
    checkOptions(options, ["startDim", "endDim"], "new nn.Flatten({ startDim: 1, endDim: -1 })");
    this.startDim = options.startDim ?? 1;
    this.endDim = options.endDim ?? -1;
  }

  forward(input: Tensor): Tensor {
    return input.flatten(this.startDim, this.endDim);
  }

  override extraRepr(): string {
    return `start_dim=${this.startDim}, end_dim=${this.endDim}`;
  }
}

/** Splits dimension `dim` into dimensions of the sizes `unflattenedSize`. */
export class Unflatten extends Module<[Tensor], Tensor> {
  readonly dim: number;
  readonly unflattenedSize: readonly number[];

  constructor(dim: number, unflattenedSize: readonly number[]) {
    super();
    this.dim = dim;
    this.unflattenedSize = unflattenedSize;
  }

  forward(input: Tensor): Tensor {
    const shape = input.shape;
    const at = this.dim < 0 ? this.dim + shape.length : this.dim;
    return input.view([...shape.slice(0, at), ...this.unflattenedSize, ...shape.slice(at + 1)]);
  }

  override extraRepr(): string {
    return `dim=${this.dim}, unflattened_size=${pyTuple(this.unflattenedSize)}`;
  }
}
