// internal: operators as the layers and functions of this folder call them, by their ATen name, with tensors as results.
// The callers are typed; what goes in here has already been put into schema order.
import { type Operator, operator } from "../ops.js";
import type { Tensor } from "../tensor.js";

/** internal: an ATen operator that returns one tensor. */
export function aten(name: string): (...args: unknown[]) => Tensor {
  return operator("aten", name) as (...args: unknown[]) => Tensor;
}

/** internal: an ATen operator that returns anything else. */
export function atenAny(name: string): Operator {
  return operator("aten", name);
}
