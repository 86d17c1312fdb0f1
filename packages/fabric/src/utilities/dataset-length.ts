// How long loaders and collections are, where they know it.
import { data } from "@fabric-ts/torch";
import type { AnyDataLoader } from "../wrappers/dataloader.js";
import { className } from "./describe.js";
import { rankZeroWarn } from "./rank-zero.js";

/** True when the loader reads a stream. */
export function hasIterableDataset(loader: AnyDataLoader): boolean {
  const dataset: unknown = loader.dataset;
  if (dataset instanceof data.IterableDataset) return true;
  if (typeof dataset !== "object" || dataset === null || Array.isArray(dataset) || "get" in dataset) return false;
  return Symbol.iterator in dataset || Symbol.asyncIterator in dataset;
}

/** The `length` of a collection or loader (the `size` of a Map or Set), or null where there is none. */
export function sizedLen(value: unknown): number | null {
  if (value instanceof Map || value instanceof Set) return value.size;
  try {
    const { length } = (value ?? {}) as { length?: unknown };
    return typeof value !== "function" && typeof length === "number" ? length : null;
  } catch (error) {
    // A loader whose sampler or stream has no length says so with a TypeError.
    if (error instanceof TypeError) return null;
    throw error;
  }
}

/** True when a loader knows its length. Warns when that is 0, and when it comes from a stream, which may be wrong about it. */
export function hasLen(loader: AnyDataLoader): boolean {
  const length = sizedLen(loader);
  if (length === 0)
    rankZeroWarn(`\`${className(loader)}\` returned 0 length. Please make sure this was your intention.`);
  if (length === null) return false;
  if (hasIterableDataset(loader)) {
    rankZeroWarn(
      "Your `IterableDataset` has `length` defined. With several workers it is wrong unless each worker reads a share of its own (`data.getWorkerInfo()`).",
    );
  }
  return true;
}
