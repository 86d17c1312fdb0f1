// Operators whose tensors PyTorch takes one after the other as well as in a list.

import type {
  blockDiag as blockDiagOfList,
  broadcastTensors as broadcastList,
  cartesianProd as cartesianProdOfList,
  einsum as einsumOfList,
  meshgrid as meshgridOfList,
} from "./ops.generated.js";
import { operator } from "./ops.js";
import { Tensor } from "./tensor.js";

type Listed<F> = F & ((...tensors: Tensor[]) => F extends (tensors: readonly Tensor[]) => infer R ? R : never);

// The tensors of a call in a list of their own, with what follows them.
function gathered(args: readonly unknown[]): unknown[] {
  const count = args.findIndex((arg) => !(arg instanceof Tensor));
  const tensors = count < 0 ? args : args.slice(0, count);
  return tensors.length === 0 ? [...args] : [tensors, ...args.slice(tensors.length)];
}

function variadic(name: string, before = 0): (...args: unknown[]) => unknown {
  const call = operator("aten", name);
  return (...args) => call(...args.slice(0, before), ...gathered(args.slice(before)));
}

/**
 * Sums of products by the names of the dimensions: `einsum("ij,jk->ik", a, b)` is a matrix product. Tensors one after the
 * other, or in a list.
 */
export const einsum: typeof einsumOfList & ((equation: string, ...tensors: Tensor[]) => Tensor) = variadic(
  "einsum",
  1,
) as never;

/** Coordinates of a grid, one tensor for each axis. Tensors one after the other, or in a list; `{ indexing: "xy" }` swaps the first two. */
export const meshgrid: typeof meshgridOfList &
  ((...tensors: Tensor[]) => Tensor[]) &
  ((...args: [...tensors: Tensor[], options: { indexing: "ij" | "xy" }]) => Tensor[]) = variadic("meshgrid") as never;

/** The tensors expanded to one shape. One after the other, or in a list. */
export const broadcastTensors: Listed<typeof broadcastList> = variadic("broadcast_tensors") as never;

/** All combinations of elements of one-dimensional tensors. One after the other, or in a list. */
export const cartesianProd: Listed<typeof cartesianProdOfList> = variadic("cartesian_prod") as never;

/** A matrix with the tensors along its diagonal. One after the other, or in a list. */
export const blockDiag: Listed<typeof blockDiagOfList> = variadic("block_diag") as never;
