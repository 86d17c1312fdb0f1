// Python values that JavaScript cannot tell apart from others: tuples beside lists, floats beside ints.
import { describe, typeError } from "../check.js";

/**
 * A Python tuple: an array that is saved as a tuple rather than a list. Tuples in a loaded file are of this class.
 * Methods that make arrays (`map`, `slice`...) return plain arrays.
 *
 *     await torch.save({ betas: Tuple.of(0.9, 0.999) }, "options.pt");
 */
export class Tuple<T = unknown> extends Array<T> {
  static override get [Symbol.species](): ArrayConstructor {
    return Array;
  }

  /** A tuple of the given items. */
  static override of<T>(...items: T[]): Tuple<T> {
    return Tuple.from(items);
  }

  /** A tuple of the items of an array or another iterable. */
  static override from<T>(items: Iterable<T> | ArrayLike<T>): Tuple<T>;
  static override from<T, U>(items: Iterable<T> | ArrayLike<T>, map: (item: T, index: number) => U): Tuple<U>;
  static override from(
    items: Iterable<unknown> | ArrayLike<unknown>,
    map?: (item: unknown, index: number) => unknown,
  ): Tuple {
    const list = map ? Array.from(items, map) : Array.isArray(items) ? items : Array.from(items);
    const tuple = new Tuple();
    // Not `new Tuple(...list)`: one number would be taken for a length.
    for (const item of list) tuple.push(item);
    return tuple;
  }
}

/**
 * A number that is saved as a Python float even when it is whole. (Plain whole numbers are saved as ints.) It counts as a
 * number in arithmetic; loading gives a plain number.
 *
 *     await torch.save({ lr: new PyFloat(1) }, "options.pt");  // 1.0 in Python
 */
export class PyFloat {
  /** The number. */
  readonly value: number;

  constructor(value: number) {
    if (typeof value !== "number") throw typeError("value", "a number", value);
    this.value = value;
  }

  valueOf(): number {
    return this.value;
  }
  toString(): string {
    return `PyFloat(${describe(this.value)})`;
  }
  toJSON(): number {
    return this.value;
  }
}

/** A Python `collections.Counter`: a Map of counts that is saved as one. A Counter in a loaded file becomes a plain dict. */
export class Counter extends Map<unknown, number> {}

const floats = new WeakMap<object, ReadonlySet<string> | "all">();

/**
 * internal: saves the numbers under `keys` of an object, or all numbers of an array, as floats even when they are whole. The
 * container keeps plain numbers, and copies of it are not marked.
 */
export function markFloats<T extends object>(container: T, keys: ReadonlySet<string> | "all"): T {
  floats.set(container, keys);
  return container;
}

/** internal: which numbers of a container are floats in Python. */
export function markedFloats(container: object): ReadonlySet<string> | "all" | undefined {
  return floats.get(container);
}
