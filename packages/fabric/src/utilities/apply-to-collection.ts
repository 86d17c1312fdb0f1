// Maps the leaves of nested arrays, plain objects and Maps. Instances of classes are leaves.
import { AttributeDict } from "./attribute-dict.js";

/**
 * Applies `fn` to each leaf for which `matches` is true, however deeply it sits in arrays, plain objects, `AttributeDict`s
 * and Maps. Containers keep their kind and the order of their entries; what `fn` leaves alone keeps its identity, so a
 * collection in which nothing changes is returned as the same object.
 */
export function applyToCollection(
  data: unknown,
  matches: (leaf: unknown) => boolean,
  fn: (leaf: never) => unknown,
): unknown {
  if (matches(data)) return fn(data as never);
  if (Array.isArray(data)) {
    let result: unknown[] | undefined;
    for (let i = 0; i < data.length; i++) {
      const value = applyToCollection(data[i], matches, fn);
      if (value === data[i]) continue;
      result ??= data.slice();
      result[i] = value;
    }
    return result ?? data;
  }
  if (data instanceof Map) {
    let changed = false;
    const result = new Map<unknown, unknown>();
    for (const [key, item] of data) {
      const value = applyToCollection(item, matches, fn);
      if (value !== item) changed = true;
      result.set(key, value);
    }
    return changed ? result : data;
  }
  if (isPlainObject(data)) {
    let result: Record<string, unknown> | undefined;
    for (const key of Object.keys(data)) {
      const value = applyToCollection(data[key], matches, fn);
      if (value === data[key]) continue;
      result ??= Object.assign(Object.create(Object.getPrototypeOf(data)), data) as Record<string, unknown>;
      setOwn(result, key, value);
    }
    return result ?? data;
  }
  return data;
}

/** internal: true for object literals, objects without a prototype and `AttributeDict`s. */
export function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || prototype === Object.prototype || value instanceof AttributeDict;
}

/** internal: sets an own property, also one that is called `__proto__`. */
export function setOwn(target: object, key: string, value: unknown): void {
  Object.defineProperty(target, key, { value, writable: true, enumerable: true, configurable: true });
}
