// Maps the leaves of nested arrays, plain objects, Maps and registered classes. Other instances of classes, and Sets, are leaves.
import { ConfigurationError } from "@fabric-ts/torch";
import { AttributeDict } from "./attribute-dict.js";
import { className, describe } from "./describe.js";

type Class<T = unknown> = abstract new (...args: never[]) => T;
// `Number` stands for numbers, not for the objects around them.
// biome-ignore-start lint/complexity/noBannedTypes: what the constructors make
type InstanceOf<T> = T extends Number ? number : T extends String ? string : T extends Boolean ? boolean : T;
// biome-ignore-end lint/complexity/noBannedTypes: what the constructors make

/** Which leaves are meant: a class (`Tensor`, `Number`), several, or a function that tells. */
export type LeafType = Class | readonly Class[] | ((leaf: unknown) => boolean);

/** Options of `applyToCollection`. */
export interface ApplyOptions {
  /** Leaves that are left alone although they are of the type. */
  wrongDtype?: LeafType | undefined;
  /** Keep the entries of arrays, objects and Maps for which the function gives null or undefined (default true). */
  includeNone?: boolean | undefined;
  /** Leave frozen instances of registered classes as they are; otherwise they are an error (default false). */
  allowFrozen?: boolean | undefined;
}

/** How instances of a registered class are taken apart and put together. */
export interface DataclassOptions<T> {
  /** The properties whose values are walked (default: all own enumerable ones). The others are kept. */
  fields?: readonly (keyof T & string)[] | undefined;
  /**
   * Makes a new instance from an old one and the changed values of its fields (default: a copy of the old one's properties, without running
   * the constructor; classes with private fields need this).
   */
  rebuild?: ((instance: T, values: Record<string, unknown>) => T) | undefined;
}

const dataclasses = new Map<object, DataclassOptions<never>>();

/** Makes collections of the instances of a class and its subclasses, so that batches made of them are moved and converted like plain objects. */
export function registerDataclass<T extends object>(type: Class<T>, options: DataclassOptions<T> = {}): void {
  dataclasses.set(type.prototype as object, options as unknown as DataclassOptions<never>);
}

interface Walk {
  matches: (leaf: unknown) => boolean;
  fn: (leaf: unknown) => unknown;
  includeNone: boolean;
  allowFrozen: boolean;
}

/**
 * Applies `fn` to each leaf of the type, however deeply it sits in arrays, plain objects, `AttributeDict`s, Maps and registered
 * classes. Containers keep their kind and the order of their entries; what `fn` leaves alone keeps its identity, so a collection in
 * which nothing changes is returned as the same object.
 */
export function applyToCollection(
  data: unknown,
  dtype: (leaf: unknown) => boolean,
  fn: (leaf: never) => unknown,
  options?: ApplyOptions,
): unknown;
export function applyToCollection<T>(
  data: unknown,
  dtype: Class<T> | readonly Class<T>[],
  fn: (leaf: InstanceOf<T>) => unknown,
  options?: ApplyOptions,
): unknown;
export function applyToCollection(
  data: unknown,
  dtype: LeafType,
  fn: (leaf: never) => unknown,
  options: ApplyOptions = {},
): unknown {
  if (typeof fn !== "function") {
    throw new TypeError(
      `Expected the third argument of \`applyToCollection\` to be a function, but got ${describe(fn)}.\nType \`applyToCollection(data, Tensor, (tensor) => tensor.cpu())\`.`,
    );
  }
  const isOfType = matcherOf(dtype);
  const isWrong = options.wrongDtype === undefined ? undefined : matcherOf(options.wrongDtype);
  const how: Walk = {
    matches: isWrong ? (leaf) => isOfType(leaf) && !isWrong(leaf) : isOfType,
    fn: fn as (leaf: unknown) => unknown,
    includeNone: options.includeNone ?? true,
    allowFrozen: options.allowFrozen ?? false,
  };
  try {
    return walk(data, how);
  } catch (error) {
    const path = error instanceof RangeError ? cycleIn(data) : undefined;
    if (path === undefined) throw error;
    throw new ConfigurationError(`The collection contains itself: ${path} is an object that it lies in.`, {
      hint: "Take that entry out. What refers to what holds it cannot be moved, converted or saved.",
      cause: error,
    });
  }
}

/** The way to the first object that lies in itself. Looked for only once the stack has overflowed, so without recursion. */
function cycleIn(data: unknown): string | undefined {
  const above = new Set<unknown>();
  const searched = new Set<unknown>();
  const toDo: { value: unknown; path: string; isLeft?: boolean }[] = [{ value: data, path: "" }];
  for (let step = toDo.pop(); step !== undefined; step = toDo.pop()) {
    const { value, path } = step;
    if (step.isLeft) {
      above.delete(value);
      searched.add(value);
      continue;
    }
    if (searched.has(value)) continue;
    if (above.has(value)) return `\`${path}\``;
    if (!Array.isArray(value) && !(value instanceof Map) && !isPlainObject(value) && !dataclassOf(value)) continue;
    above.add(value);
    toDo.push({ value, path, isLeft: true });
    for (const [key, item] of value instanceof Map ? value : Object.entries(value as object)) {
      if (typeof item === "object" && item !== null) {
        toDo.push({ value: item, path: path === "" ? String(key) : `${path}.${String(key)}` });
      }
    }
  }
  return undefined;
}

function walk(data: unknown, how: Walk): unknown {
  if (how.matches(data)) return how.fn(data);
  if (Array.isArray(data)) return walkArray(data, how);
  if (data instanceof Map) return walkMap(data, how);
  if (isPlainObject(data)) return walkObject(data, how);
  const dataclass = dataclassOf(data);
  return dataclass ? walkDataclass(data as object, dataclass, how) : data;
}

function walkArray(data: unknown[], how: Walk): unknown[] {
  let result: unknown[] | undefined;
  for (let i = 0; i < data.length; i++) {
    const value = walk(data[i], how);
    const isDropped = isNone(value) && !how.includeNone;
    if (!result && (value !== data[i] || isDropped)) result = data.slice(0, i);
    if (result && !isDropped) result.push(value);
  }
  return result ?? data;
}

function walkMap(data: Map<unknown, unknown>, how: Walk): unknown {
  let changed = false;
  const entries: [unknown, unknown][] = [];
  for (const [key, item] of data) {
    const value = walk(item, how);
    const isDropped = isNone(value) && !how.includeNone;
    if (value !== item || isDropped) changed = true;
    if (!isDropped) entries.push([key, value]);
  }
  if (!changed) return data;
  // A Map of the same class with its other properties; the class' constructor may want something else than entries.
  const result = Reflect.construct(Map, [entries], data.constructor as new () => unknown) as object;
  return Object.assign(result, data);
}

function walkObject(data: Record<string, unknown>, how: Walk): unknown {
  let result: Record<string, unknown> | undefined;
  for (const key of Object.keys(data)) {
    const value = walk(data[key], how);
    const isDropped = isNone(value) && !how.includeNone;
    if (value === data[key] && !isDropped) continue;
    result ??= Object.assign(Object.create(Object.getPrototypeOf(data)), data) as Record<string, unknown>;
    if (isDropped) delete result[key];
    else setOwn(result, key, value);
  }
  return result ?? data;
}

function walkDataclass(data: object, dataclass: DataclassOptions<never>, how: Walk): unknown {
  if (Object.isFrozen(data)) {
    if (how.allowFrozen) return data;
    throw new ConfigurationError(
      `A frozen dataclass was passed to \`applyToCollection\` but this is not allowed: ${className(data)} is frozen.`,
      {
        hint: "Do not freeze what is to be moved or converted, or pass `{ allowFrozen: true }` to leave it as it is.",
      },
    );
  }
  const fields: readonly string[] = dataclass.fields ?? Object.keys(data);
  const values: Record<string, unknown> = {};
  for (const field of fields) {
    const item = (data as Record<string, unknown>)[field];
    const value = walk(item, how);
    if (value !== item && (how.includeNone || !isNone(value))) setOwn(values, field, value);
  }
  if (Object.keys(values).length === 0) return data;
  if (dataclass.rebuild) return dataclass.rebuild(data as never, values);
  const copy = Object.create(Object.getPrototypeOf(data), Object.getOwnPropertyDescriptors(data)) as object;
  for (const field of Object.keys(values)) setOwn(copy, field, values[field]);
  return copy;
}

function dataclassOf(data: unknown): DataclassOptions<never> | undefined {
  if (dataclasses.size === 0 || typeof data !== "object" || data === null) return undefined;
  for (let level: object | null = Object.getPrototypeOf(data); level !== null; level = Object.getPrototypeOf(level)) {
    const found = dataclasses.get(level);
    if (found) return found;
  }
  return undefined;
}

function matcherOf(dtype: LeafType): (leaf: unknown) => boolean {
  if (typeof dtype === "function") return isClass(dtype) ? instanceMatcher(dtype) : dtype;
  if (!Array.isArray(dtype)) {
    throw new TypeError(
      `Expected the type of \`applyToCollection\` to be a class, several or a function, but got ${describe(dtype)}.\nFor example \`Tensor\`, \`Number\` or \`(leaf) => typeof leaf === "string"\`.`,
    );
  }
  const matchers = dtype.map(instanceMatcher);
  return (leaf) => matchers.some((matches) => matches(leaf));
}

const primitives = new Map<unknown, string>([
  [Number, "number"],
  [String, "string"],
  [Boolean, "boolean"],
  [BigInt, "bigint"],
]);

function instanceMatcher(type: Class): (leaf: unknown) => boolean {
  const primitive = primitives.get(type);
  return primitive === undefined ? (leaf) => leaf instanceof type : (leaf) => typeof leaf === primitive;
}

/** Classes, the built-in ones too, have a prototype that cannot be replaced; functions have another or none. */
function isClass(value: LeafType): value is Class {
  return Object.getOwnPropertyDescriptor(value, "prototype")?.writable === false;
}

function isNone(value: unknown): boolean {
  return value === null || value === undefined;
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
