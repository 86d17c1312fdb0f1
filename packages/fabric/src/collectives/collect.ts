// Collectives over the tensors of a nested collection.
import { type Device, Tensor, type TypedArray } from "@fabric-ts/torch";
import { applyToCollection } from "../utilities/apply-to-collection.js";
import { convertToTensors } from "../utilities/convert.js";

/** What a collective returns for what it is given: numbers, booleans and typed arrays become tensors, containers stay. */
export type Collected<T> = T extends number | bigint | boolean | TypedArray
  ? Tensor
  : T extends Tensor | string | null | undefined
    ? T
    : T extends object
      ? { [K in keyof T]: Collected<T[K]> }
      : T;

/** What gathering without stacking returns: the tensors of all ranks in an array, by rank, in the place of each tensor. */
export type CollectedParts<T> = T extends number | bigint | boolean | TypedArray | Tensor
  ? Tensor[]
  : T extends string | null | undefined
    ? T
    : T extends object
      ? { [K in keyof T]: CollectedParts<T[K]> }
      : T;

/** internal: converts to tensors on `device`, runs the collective on one after the other, and rebuilds the collection. */
export async function collect<T, R extends Tensor | Tensor[]>(
  data: T,
  device: Device,
  collective: (tensor: Tensor) => Promise<R>,
): Promise<R extends Tensor[] ? CollectedParts<T> : Collected<T>> {
  const converted = convertToTensors(data, device);
  const isTensor = (value: unknown): boolean => value instanceof Tensor;
  const given: Tensor[] = [];
  applyToCollection(converted, isTensor, (tensor: Tensor) => {
    given.push(tensor);
    return tensor;
  });
  const results: R[] = [];
  // In order, so that all ranks exchange the same tensor at the same time.
  for (const tensor of given) results.push(await collective(tensor));
  let next = 0;
  return applyToCollection(converted, isTensor, () => results[next++]) as never;
}
