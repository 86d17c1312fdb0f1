// The tensors inside what a forward pass returns: a tensor, or arrays, plain objects and maps of such.
import type { Handle } from "../../native.js";
import { Tensor, wrapHandle } from "../../tensor.js";

/** internal: all tensors inside a value, in order. */
export function findTensors(value: unknown, found: Tensor[] = []): Tensor[] {
  if (value instanceof Tensor) found.push(value);
  else if (Array.isArray(value)) for (const item of value) findTensors(item, found);
  else if (value instanceof Map) for (const item of value.values()) findTensors(item, found);
  else if (isPlain(value)) for (const item of Object.values(value)) findTensors(item, found);
  return found;
}

/** internal: a copy of the value with `tensors[i]` replaced by a tensor around `handles[i]`. */
export function replaceTensors<T>(value: T, tensors: readonly Tensor[], handles: readonly Handle[]): T {
  const replacements = new Map(tensors.map((tensor, index) => [tensor, wrapHandle(handles[index] as Handle)]));
  return replace(value, replacements) as T;
}

function replace(value: unknown, replacements: ReadonlyMap<Tensor, Tensor>): unknown {
  if (value instanceof Tensor) return replacements.get(value) ?? value;
  if (Array.isArray(value)) {
    // Subclasses of Array (tuples) stay what they are.
    return value.map((item) => replace(item, replacements));
  }
  if (value instanceof Map) return new Map([...value].map(([key, item]) => [key, replace(item, replacements)]));
  if (!isPlain(value)) return value;
  const copy = Object.create(Object.getPrototypeOf(value) as object | null) as Record<string, unknown>;
  for (const [key, item] of Object.entries(value)) copy[key] = replace(item, replacements);
  return copy;
}

/** internal: true for objects that are dictionaries. */
export function isPlain(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null) return false;
  const prototype = Object.getPrototypeOf(value) as unknown;
  return prototype === Object.prototype || prototype === null;
}
