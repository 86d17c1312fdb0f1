// Hyper-parameters on their way into loggers: to one level, to plain values, to JSON.
import { Tensor } from "@fabric-ts/torch";
import { setOwn } from "../utilities/apply-to-collection.js";
import { className, describe } from "../utilities/describe.js";
import { isRecord } from "./record.js";
import { maskSecrets, type SecretRule } from "./secrets.js";

/** The hyper-parameters as a plain object: `{}` for none; Maps and objects of classes give their entries. */
export function convertParams(params: unknown): Record<string, unknown> {
  const result: Record<string, unknown> = {};
  if (params === null || params === undefined) return result;
  if (!isMapping(params)) {
    throw new TypeError(
      `Expected the hyper-parameters to be an object, but got ${describe(params)}.\nThey go by name, such as \`logger.logHyperparams({ lr: 0.1 })\`.`,
    );
  }
  for (const [key, value] of entriesOf(params)) setOwn(result, String(key), value);
  return result;
}

/**
 * One level of what is nested: `{ a: { b: 1 } }` becomes `{ "a/b": 1 }`. Objects, Maps, and arrays that hold nothing else are
 * opened (an index becomes a part of the name); other arrays stay.
 */
export function flattenDict(params: unknown, delimiter = "/"): Record<string, unknown> {
  const result: Record<string, unknown> = {};
  flattenInto(result, params, "", delimiter, new Set());
  return result;
}

function flattenInto(
  result: Record<string, unknown>,
  params: unknown,
  prefix: string,
  delimiter: string,
  above: Set<unknown>,
): void {
  above.add(params);
  for (const [key, value] of entriesOf(params)) {
    const name = prefix + String(key);
    const isNested = isMapping(value) || (Array.isArray(value) && value.length > 0 && value.every(isMapping));
    if (!isNested) setOwn(result, name, value);
    else if (above.has(value)) setOwn(result, name, "[Circular]");
    else flattenInto(result, value, name + delimiter, delimiter, above);
  }
  above.delete(params);
}

/** Numbers, texts, booleans and tensors stay; everything else becomes its text. */
export function sanitizeParams(params: Record<string, unknown>): Record<string, unknown> {
  return mapValues(params, (value) => {
    if (value instanceof Tensor) return value;
    switch (typeof value) {
      case "boolean":
      case "number":
      case "string":
        return value;
      case "bigint":
        return Number.isSafeInteger(Number(value)) ? Number(value) : String(value);
      default:
        return textOf(value);
    }
  });
}

/**
 * Classes become their names; functions are called without arguments and give way to their result, or to their name where they
 * fail, return another function, or return a promise.
 */
export function sanitizeCallableParams(params: Record<string, unknown>): Record<string, unknown> {
  return mapValues(params, (value) => {
    if (typeof value !== "function") return value;
    if (/^class\b/.test(Function.prototype.toString.call(value))) return nameOf(value);
    try {
      const result: unknown = (value as () => unknown)();
      if (typeof result === "function") return nameOf(result);
      if (!(result instanceof Promise)) return result;
      result.catch(() => {});
    } catch {
      // It wants arguments, or to be left alone.
    }
    return nameOf(value);
  });
}

/** A copy that JSON can hold: numbers that it has no form for and values that it does not know become texts. */
export function jsonSerializable<T>(value: T): unknown {
  return toJson(value, new Set());
}

function toJson(value: unknown, above: Set<unknown>): unknown {
  if (value === null || value === undefined) return null;
  if (typeof value === "number") return Number.isFinite(value) ? value : String(value);
  if (typeof value === "string" || typeof value === "boolean") return value;
  if (above.has(value)) return "[Circular]";
  above.add(value);
  try {
    if (Array.isArray(value)) return value.map((item) => toJson(item, above));
    if (value instanceof Set) return [...value].map((item) => toJson(item, above));
    if (isMapping(value)) {
      const result: Record<string, unknown> = {};
      for (const [key, item] of entriesOf(value)) setOwn(result, String(key), toJson(item, above));
      return result;
    }
    return textOf(value);
  } finally {
    above.delete(value);
  }
}

/** internal: what all loggers begin with: the secrets masked, one level, plain values. */
export function plainParams(params: unknown, secrets: SecretRule): Record<string, unknown> {
  return sanitizeParams(flattenDict(convertParams(maskSecrets(params, secrets))));
}

/** internal: the text of any value. */
export function textOf(value: unknown): string {
  if (typeof value === "function") return nameOf(value) ?? className(value);
  if (value === undefined) return "null";
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? "Invalid Date" : value.toISOString();
  if (Array.isArray(value) || value instanceof Set || isMapping(value)) return JSON.stringify(jsonSerializable(value));
  return String(value);
}

function isMapping(value: unknown): boolean {
  return value instanceof Map || isRecord(value);
}

function entriesOf(value: unknown): Iterable<[unknown, unknown]> {
  return value instanceof Map ? value : Object.entries(value as object);
}

function mapValues(params: Record<string, unknown>, fn: (value: unknown) => unknown): Record<string, unknown> {
  const result: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(params)) setOwn(result, key, fn(value));
  return result;
}

// A module is a function, too, and may have a property `name` of any kind.
function nameOf(fn: unknown): string | null {
  const { name } = fn as { name?: unknown };
  return typeof name === "string" && name !== "" ? name : null;
}
