// internal: arithmetic on numbers that may be tensors with one element, with PyTorch's results: a number beside a tensor is
// rounded to the tensor's dtype, two numbers stay float64.
import { operator } from "../ops.js";
import type { Tensor } from "../tensor.js";

/** internal: a number of Python's, or a tensor with one element. */
export type Scalar = number | Tensor;

const binary =
  (name: string, plain: (a: number, b: number) => number) =>
  (a: Scalar, b: Scalar): Scalar => {
    if (typeof a === "number") {
      if (typeof b === "number") return plain(a, b);
      // A number on the left: the operators want their tensor first.
      if (name === "sub") return operator("aten", "rsub")(b, a) as Tensor;
      if (name === "div") return b.reciprocal().mul(a);
      return operator("aten", name)(b, a) as Tensor;
    }
    return operator("aten", name)(a, b) as Tensor;
  };

export const add = binary("add", (a, b) => a + b);
export const sub = binary("sub", (a, b) => a - b);
export const mul = binary("mul", (a, b) => a * b);
export const div = binary("div", (a, b) => a / b);

/** internal: -1, 0 or 1 as `a` is less than, equal to or greater than `b`. */
function compare(a: Scalar, b: Scalar): number {
  if (typeof a === "number" && typeof b === "number") return Math.sign(a - b);
  if (typeof a === "number") return -compare(b, a);
  const less = a.lt(b as Tensor).item() as unknown as boolean;
  return less ? -1 : (a.gt(b as Tensor).item() as unknown as boolean) ? 1 : a.eq(b as Tensor).item() ? 0 : Number.NaN;
}

export const isLess = (a: Scalar, b: Scalar): boolean => compare(a, b) < 0;
export const isGreater = (a: Scalar, b: Scalar): boolean => compare(a, b) > 0;
export const isAtMost = (a: Scalar, b: Scalar): boolean => compare(a, b) <= 0;
export const isAtLeast = (a: Scalar, b: Scalar): boolean => compare(a, b) >= 0;

/** internal: the first of the smallest, and of the greatest, as Python's `min` and `max` choose. */
export const least = (a: Scalar, b: Scalar): Scalar => (isLess(b, a) ? b : a);
export const greatest = (a: Scalar, b: Scalar): Scalar => (isGreater(b, a) ? b : a);
export const absolute = (a: Scalar): Scalar => (typeof a === "number" ? Math.abs(a) : a.abs());
/** internal: as a plain number. */
export const numberOf = (a: Scalar): number => (typeof a === "number" ? a : a.item());
