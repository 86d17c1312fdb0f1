// internal: sparse gradients, which embeddings with `{ sparse: true }` have: rows, and where they belong.
import { type Handle, native } from "../native.js";
import { operator } from "../ops.js";
import { handleOf, type Tensor, wrapHandle } from "../tensor.js";
import type { Bucket } from "./buckets.js";

/** internal: true for the sparse layouts. */
export function isSparse(tensor: Tensor): boolean {
  return native().isSparse(handleOf(tensor));
}

/** internal: where the values belong. */
export function indicesOf(tensor: Tensor): Tensor {
  return operator("aten", "_indices")(tensor) as Tensor;
}

/** internal: the values; changing them changes the tensor. */
export function valuesOf(tensor: Tensor): Tensor {
  return operator("aten", "_values")(tensor) as Tensor;
}

/** internal: other values in the same places. */
export function sparseLike(tensor: Tensor, indices: Tensor, values: Tensor): Tensor {
  return operator("aten", "sparse_coo_tensor")(indices, values, tensor.shape) as Tensor;
}

/** internal: takes the parameters with sparse gradients out of a bucket: the list operators do not take those. */
export function takeSparse(bucket: Bucket): { param: Tensor; grad: Tensor }[] {
  if (!bucket.grads.some((grad) => native().isSparse(grad))) return [];
  const taken: { param: Tensor; grad: Tensor }[] = [];
  const kept = { params: [] as Tensor[], handles: [] as Handle[], grads: [] as Handle[] };
  bucket.grads.forEach((grad, i) => {
    const param = bucket.params[i] as Tensor;
    if (native().isSparse(grad)) {
      taken.push({ param, grad: wrapHandle(grad) });
      return;
    }
    kept.params.push(param);
    kept.handles.push(bucket.handles[i] as Handle);
    kept.grads.push(grad);
  });
  Object.assign(bucket, kept);
  return taken;
}
