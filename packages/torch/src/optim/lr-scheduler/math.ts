// internal: arithmetic with the last bit of Python's, whose functions are those of the C library.
import { native } from "../../native.js";
import { operator } from "../../ops.js";
import type { Tensor } from "../../tensor.js";

const polar = operator("aten", "polar") as (size: Tensor, angle: Tensor) => Tensor;
const full = operator("aten", "full") as (size: number[], value: number, options: object) => Tensor;

/** internal: the C library's `cos`: JavaScript's differs in the last bit for 3 in 100 angles. `polar` is the operator that calls it. */
export function cos(angle: number): number {
  const options = { dtype: "float64", device: "cpu" };
  return polar(full([], 1, options), full([], angle, options)).toTypedArray()[0] as number;
}

/** internal: the C library's `pow`. */
export function pow(base: number, exponent: number): number {
  return native().pow(base, exponent);
}

/** internal: Python's `%`, whose result has the sign of the divisor. */
export function modulo(a: number, b: number): number {
  const rest = a % b;
  return rest !== 0 && rest < 0 !== b < 0 ? rest + b : rest;
}

/** internal: how many of the sorted numbers are at most `value`. Python's `bisect_right`. */
export function countUpTo(sorted: readonly number[], value: number): number {
  let count = 0;
  while (count < sorted.length && (sorted[count] as number) <= value) count++;
  return count;
}
