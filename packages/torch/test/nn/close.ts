// Comparing numbers with those of another machine: kernels for other processors differ in the last bits.
import assert from "node:assert/strict";
import type { Tensor } from "@fabric-ts/torch";

/** All elements of a tensor in row-major order. */
export function numbers(tensor: Tensor): number[] {
  return (tensor.detach().reshape([-1]).tolist() as (number | bigint)[]).map(Number);
}

/** Fails unless both have the same length and agree to seven digits, or to 1e-6. */
export function assertClose(actual: Tensor | number[], expected: number[], what = "values"): void {
  const values = Array.isArray(actual) ? actual : numbers(actual);
  assert.equal(values.length, expected.length, `${what}: length`);
  values.forEach((value, i) => {
    const other = expected[i] as number;
    const limit = Math.max(1e-6, Math.abs(other) * 2e-6);
    assert.ok(Math.abs(value - other) <= limit, `${what}[${i}] is ${value} instead of ${other}`);
  });
}
