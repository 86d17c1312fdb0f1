// Layers that pad the last one, two or three dimensions. Sizes go in pairs from the last dimension on.
import { typeError } from "../../check.js";
import type { Tensor } from "../../tensor.js";
import { checkNumber, checkSizes } from "../arguments.js";
import { pad } from "../functional/padding.js";
import { Module } from "../module.js";
import { pyFloat, pyTuple } from "../python-text.js";

abstract class Padding extends Module<[Tensor], Tensor> {
  /** `[left, right, top, bottom, ...]`: from the last dimension on. */
  readonly padding: readonly number[];

  /** One number pads all sides alike. */
  constructor(padding: number | readonly number[], dims: number) {
    super();
    const pairs = new Array<string>(2 * dims).fill("1");
    const example = `new nn.${new.target.name}([${pairs.join(", ")}])`;
    if (typeof padding !== "number" && !Array.isArray(padding)) {
      throw typeError("padding", `a number or a list of ${2 * dims}`, padding, `Type \`${example}\`.`);
    }
    this.padding = checkSizes("padding", padding, 2 * dims, Number.NEGATIVE_INFINITY, example);
  }

  override extraRepr(): string {
    return pyTuple(this.padding);
  }
}

abstract class Reflection extends Padding {
  forward(input: Tensor): Tensor {
    return pad(input, this.padding, { mode: "reflect" });
  }
}
abstract class Replication extends Padding {
  forward(input: Tensor): Tensor {
    return pad(input, this.padding, { mode: "replicate" });
  }
}
abstract class Circular extends Padding {
  forward(input: Tensor): Tensor {
    return pad(input, this.padding, { mode: "circular" });
  }
}

/** Pads the last dimension with the values inside of the edge, mirrored. */
export class ReflectionPad1d extends Reflection {
  constructor(padding: number | readonly number[]) {
    super(padding, 1);
  }
}
/** Pads the last two dimensions with the values inside of the edges, mirrored. */
export class ReflectionPad2d extends Reflection {
  constructor(padding: number | readonly number[]) {
    super(padding, 2);
  }
}
/** Pads the last three dimensions with the values inside of the edges, mirrored. */
export class ReflectionPad3d extends Reflection {
  constructor(padding: number | readonly number[]) {
    super(padding, 3);
  }
}
/** Pads the last dimension with the values at its ends. */
export class ReplicationPad1d extends Replication {
  constructor(padding: number | readonly number[]) {
    super(padding, 1);
  }
}
/** Pads the last two dimensions with the values at their ends. */
export class ReplicationPad2d extends Replication {
  constructor(padding: number | readonly number[]) {
    super(padding, 2);
  }
}
/** Pads the last three dimensions with the values at their ends. */
export class ReplicationPad3d extends Replication {
  constructor(padding: number | readonly number[]) {
    super(padding, 3);
  }
}
/** Pads the last dimension with the values at its other end. */
export class CircularPad1d extends Circular {
  constructor(padding: number | readonly number[]) {
    super(padding, 1);
  }
}
/** Pads the last two dimensions with the values at their other ends. */
export class CircularPad2d extends Circular {
  constructor(padding: number | readonly number[]) {
    super(padding, 2);
  }
}
/** Pads the last three dimensions with the values at their other ends. */
export class CircularPad3d extends Circular {
  constructor(padding: number | readonly number[]) {
    super(padding, 3);
  }
}

abstract class ConstantPad extends Padding {
  readonly value: number;

  constructor(padding: number | readonly number[], value: number, dims: number) {
    super(padding, dims);
    this.value = checkNumber("value", value);
  }

  forward(input: Tensor): Tensor {
    return pad(input, this.padding, { value: this.value });
  }

  override extraRepr(): string {
    return `padding=${pyTuple(this.padding)}, value=${pyFloat(this.value)}`;
  }
}

/** Pads the last dimension with a value. */
export class ConstantPad1d extends ConstantPad {
  constructor(padding: number | readonly number[], value: number) {
    super(padding, value, 1);
  }
}
/** Pads the last two dimensions with a value. */
export class ConstantPad2d extends ConstantPad {
  constructor(padding: number | readonly number[], value: number) {
    super(padding, value, 2);
  }
}
/** Pads the last three dimensions with a value. */
export class ConstantPad3d extends ConstantPad {
  constructor(padding: number | readonly number[], value: number) {
    super(padding, value, 3);
  }
}
/** Pads the last dimension with zeros. */
export class ZeroPad1d extends ConstantPad1d {
  constructor(padding: number | readonly number[]) {
    super(padding, 0);
  }
  override extraRepr(): string {
    return pyTuple(this.padding);
  }
}
/** Pads the last two dimensions with zeros. */
export class ZeroPad2d extends ConstantPad2d {
  constructor(padding: number | readonly number[]) {
    super(padding, 0);
  }
  override extraRepr(): string {
    return pyTuple(this.padding);
  }
}
/** Pads the last three dimensions with zeros. */
export class ZeroPad3d extends ConstantPad3d {
  constructor(padding: number | readonly number[]) {
    super(padding, 0);
  }
  override extraRepr(): string {
    return pyTuple(this.padding);
  }
}
