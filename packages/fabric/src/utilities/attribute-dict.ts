// A dictionary for hyper-parameters and checkpoint state that prints one entry a line.
import { inspect } from "node:util";

/**
 * A dictionary whose entries are its properties, typed as they were given. Prints its entries sorted by key, one a line; usable as the
 * `state` of `save` and `load`.
 */
export type AttributeDict<T extends object = object> = T & Record<string, unknown>;

interface AttributeDictConstructor {
  /** @param entries copied into the new dictionary */
  new <T extends object = object>(entries?: T): AttributeDict<T>;
  readonly prototype: AttributeDict;
}

const Dictionary = class AttributeDict {
  [name: string]: unknown;

  constructor(entries: object = {}) {
    Object.assign(this, entries);
  }

  /** One line an entry, sorted by key: `"key":   value`. */
  toString(): string {
    const keys = Object.keys(this).sort();
    const width = Math.max(0, ...keys.map((key) => key.length)) + 3;
    return keys.map((key) => `${`"${key}":`.padEnd(width)} ${textOf(this[key])}`).join("\n");
  }

  [inspect.custom](): string {
    return `AttributeDict {\n${this.toString()}\n}`;
  }
};

/** The class of dictionaries whose entries are properties. */
export const AttributeDict = Dictionary as AttributeDictConstructor;

function textOf(value: unknown): string {
  return typeof value === "object" && value !== null ? inspect(value) : String(value);
}
