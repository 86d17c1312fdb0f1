// What the precisions have in common: casting the floating-point tensors of a collection, and a default dtype for a while.
import { type Dtype, getDefaultDtype, setDefaultDtype, Tensor } from "@fabric-ts/torch";
import { applyToCollection } from "../utilities/apply-to-collection.js";
import { onLeave } from "../utilities/context.js";

/** internal: casts every floating-point tensor in a nested collection; integers, booleans and complex numbers stay. */
export function convertFloating<T>(data: T, dtype: Dtype): T {
  return applyToCollection(
    data,
    (value) => value instanceof Tensor,
    (tensor: Tensor) => (tensor.isFloatingPoint() && tensor.dtype !== dtype ? tensor.to(dtype) : tensor),
  ) as T;
}

/** internal: makes `dtype` the default dtype until the context is left; then the dtype of now is the default again. */
export function defaultDtypeContext(dtype: Dtype): Disposable {
  const before = getDefaultDtype();
  setDefaultDtype(dtype);
  return onLeave(() => setDefaultDtype(before));
}
