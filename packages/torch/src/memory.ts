// Scopes that free tensors at their end, figures about live tensors, and settings of the allocator.
import { typeError } from "./check.js";
import { native } from "./native.js";
import { recordTensors, Tensor } from "./tensor.js";

/** Figures about the tensors of this process. */
export interface MemoryStats {
  /** Tensor handles that are neither disposed nor collected. */
  liveTensors: number;
  /** Bytes of host memory that live handles hold, storages counted once. */
  chargedBytes: number;
  /** The most that `chargedBytes` has been. */
  peakBytes: number;
  /** Garbage collections that were started for the sake of tensors. */
  collections: number;
}

function keep(value: unknown, kept: Set<unknown>): void {
  if (typeof value !== "object" || value === null || kept.has(value)) return;
  kept.add(value);
  if (value instanceof Tensor) return;
  if (Array.isArray(value)) for (const item of value) keep(item, kept);
  else if (value instanceof Map) for (const item of value.values()) keep(item, kept);
  else if (Object.getPrototypeOf(value) === Object.prototype || Object.getPrototypeOf(value) === null) {
    for (const item of Object.values(value)) keep(item, kept);
  }
}

/**
 * Runs `body` and disposes every tensor that was made inside, except those in what it returns (also within arrays, maps
 * and plain objects). Not needed for correctness: a fast path for hot loops. `body` must be synchronous. Tensors that
 * outlive the scope by other ways (a parameter's first `grad`, an assignment to an outer variable) must be returned, or made in
 * `memory.unscoped`.
 */
export function scope<T>(body: () => T): T {
  if (typeof body !== "function") throw typeError("body", "a function", body);
  const made: Tensor[] = [];
  const outer = recordTensors(made);
  const kept = new Set<unknown>();
  try {
    const result = body();
    if (typeof (result as { then?: unknown } | null | undefined)?.then === "function") {
      for (const tensor of made) kept.add(tensor);
      throw new TypeError(
        "`scope()` takes a synchronous function, but its callback returned a promise.\nAwait outside of the scope.",
      );
    }
    keep(result, kept);
    return result;
  } finally {
    recordTensors(outer);
    for (const tensor of made) {
      if (kept.has(tensor)) outer?.push(tensor);
      else tensor.dispose();
    }
  }
}

/** Runs `make` as if outside of every `scope()`: the tensors that it makes outlive them, such as those that an object keeps for later. */
export function unscoped<T>(make: () => T): T {
  if (typeof make !== "function") throw typeError("make", "a function", make);
  const outer = recordTensors(null);
  try {
    return make();
  } finally {
    recordTensors(outer);
  }
}

/** Figures about the tensors of this process. */
export function stats(): MemoryStats {
  return native().memoryStats();
}

/** Starts a minor garbage collection after every `bytes` of new tensors. Default: 20 MiB; 0 for none: only full ones, when much is in use. */
export function setCollectEvery(bytes: number): void {
  if (!Number.isSafeInteger(bytes) || bytes < 0) throw typeError("bytes", "a whole number of bytes, at least 0", bytes);
  native().setCollectEvery(bytes);
}

/** True (the default): big freed blocks are kept for the next tensor. False gives them back to the system at once. */
export function keepFreedBlocks(keepThem: boolean): void {
  if (typeof keepThem !== "boolean") throw typeError("keepThem", "a boolean", keepThem);
  native().keepFreedBlocks(keepThem);
}
