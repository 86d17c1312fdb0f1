// What the precisions have in common: casting the floating-point tensors of a collection.
import { type Dtype, Tensor } from "@fabric-ts/torch";
import { applyToCollection } from "../utilities/apply-to-collection.js";

/** internal: casts every floating-point tensor in a nested collection; integers, booleans and complex numbers stay. */
export function convertFloating<T>(data: T, dtype: Dtype): T {
  return applyToCollection(
    data,
    (value) => value instanceof Tensor,
    (tensor: Tensor) => (tensor.isFloatingPoint() && tensor.dtype !== dtype ? tensor.to(dtype) : tensor),
  ) as T;
}
