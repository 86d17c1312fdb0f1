// Making a batch out of samples.
import { describe } from "../check.js";
import type { Dtype } from "../dtype.js";
import { ConfigurationError } from "../errors.js";
import { native } from "../native.js";
import { operator } from "../ops.js";
import { Tensor, wrapHandle } from "../tensor.js";

/** A typed array that becomes a tensor. */
type Typed =
  | Float32Array
  | Float64Array
  | BigInt64Array
  | Int32Array
  | Int16Array
  | Int8Array
  | Uint8Array
  | Uint8ClampedArray;

/** What `defaultCollate` makes of samples of type `T`. */
export type Collated<T> = unknown extends T
  ? T
  : T extends Tensor | number | bigint | boolean | Typed
    ? Tensor
    : T extends string
      ? string[]
      : T extends ReadonlyMap<infer K, infer V>
        ? Map<K, Collated<V>>
        : T extends readonly unknown[]
          ? { -readonly [K in keyof T]: Collated<T[K]> }
          : T extends object
            ? { [K in keyof T]: Collated<T[K]> }
            : never;

const stack = operator("aten", "stack");

/**
 * Makes a batch out of samples, as PyTorch's `default_collate`: tensors are stacked, numbers become a tensor (int64 when all
 * of them are whole, float64 otherwise), booleans a bool tensor, typed arrays are stacked, strings stay a list; in arrays,
 * Maps and plain objects each place is collated by itself.
 *
 *     defaultCollate([{ x: 1, name: "a" }, { x: 2, name: "b" }]) // { x: tensor([1, 2]), name: ["a", "b"] }
 */
export function defaultCollate<T>(samples: readonly T[]): Collated<T> {
  if (samples.length === 0) throw new ConfigurationError("An empty list of samples makes no batch.");
  return collate(samples, "") as Collated<T>;
}

function collate(samples: readonly unknown[], path: string): unknown {
  const first = samples[0];
  const kind = kindOf(first);
  samples.forEach((sample, i) => {
    if (kindOf(sample) === kind) return;
    throw new TypeError(
      `The samples of a batch differ${path && ` at \`${path}\``}: sample 0 has ${describe(first)}, sample ${i} has ${describe(sample)}.\nPass a \`collateFn\` that makes a batch of them.`,
    );
  });
  switch (kind) {
    case "tensor":
      return stack(samples, 0);
    case "typed":
      return fromRows(samples as Typed[], path);
    case "number":
      return fromNumbers(samples as number[]);
    case "bigint":
      return made(BigInt64Array.from(samples as bigint[]), "int64", samples.length);
    case "boolean":
      return made(Uint8Array.from(samples as boolean[], Number), "bool", samples.length);
    case "string":
      return [...samples];
    case "array": {
      const lists = samples as unknown[][];
      const width = (first as unknown[]).length;
      lists.forEach((list, i) => {
        if (list.length === width) return;
        throw new ConfigurationError(
          `The lists in a batch have to be equally long, but${path && ` at \`${path}\``} sample 0 has ${width} items and sample ${i} ${list.length}.`,
          { hint: "Pad them in the dataset, or pass a `collateFn`." },
        );
      });
      return Array.from({ length: width }, (_, at) =>
        collate(
          lists.map((list) => list[at]),
          `${path}[${at}]`,
        ),
      );
    }
    case "object":
      return Object.fromEntries(
        Object.keys(first as object).map((key) => [
          key,
          collate(
            (samples as Record<string, unknown>[]).map((sample) => sample[key]),
            path ? `${path}.${key}` : key,
          ),
        ]),
      );
    case "map": {
      const maps = samples as Map<unknown, unknown>[];
      const column = (key: unknown): unknown[] => maps.map((map) => map.get(key));
      const keys = [...(first as Map<unknown, unknown>).keys()];
      return new Map(keys.map((key) => [key, collate(column(key), `${path}.get(${describe(key)})`)]));
    }
    default:
      throw new TypeError(
        `A batch is made of tensors, numbers, booleans, strings, typed arrays of a type that tensors have, arrays, Maps or plain objects, but${path && ` at \`${path}\``} got ${describe(first)}.\nPass a \`collateFn\`.`,
      );
  }
}

function kindOf(value: unknown): string {
  if (typeof value !== "object") return typeof value;
  if (value === null) return "null";
  if (value instanceof Tensor) return "tensor";
  if (Array.isArray(value)) return "array";
  if (typedDtype(value) !== undefined) return "typed";
  if (value instanceof Map) return "map";
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null ? "object" : "other";
}

function typedDtype(value: object): Dtype | undefined {
  if (value instanceof Float32Array) return "float32";
  if (value instanceof Float64Array) return "float64";
  if (value instanceof BigInt64Array) return "int64";
  if (value instanceof Int32Array) return "int32";
  if (value instanceof Int16Array) return "int16";
  if (value instanceof Int8Array) return "int8";
  if (value instanceof Uint8Array || value instanceof Uint8ClampedArray) return "uint8";
  return undefined;
}

function made(values: ArrayBufferView, dtype: Dtype, length: number): Tensor {
  return wrapHandle(native().fromBytes(values, dtype, [length]));
}

function fromRows(rows: readonly Typed[], path: string): unknown {
  const [first] = rows as [Typed];
  const dtype = typedDtype(first) as Dtype;
  rows.forEach((row, i) => {
    if (row.length === first.length) return;
    throw new ConfigurationError(
      `The typed arrays in a batch have to be equally long, but${path && ` at \`${path}\``} sample 0 has ${first.length} elements and sample ${i} ${row.length}.`,
      { hint: "Pad them in the dataset, or pass a `collateFn`." },
    );
  });
  if (rows.every((row) => typedDtype(row) === dtype)) return wrapHandle(native().fromRows(rows, dtype));
  return stack(rows.map(fromTyped), 0);
}

function fromTyped(values: Typed): Tensor {
  return made(values, typedDtype(values) as Dtype, values.length);
}

function fromNumbers(values: readonly number[]): Tensor {
  if (!values.every(Number.isSafeInteger)) return made(Float64Array.from(values), "float64", values.length);
  return made(BigInt64Array.from(values, BigInt), "int64", values.length);
}

/** What a loader without batches does to a sample: typed arrays become tensors, everything else stays. */
export function defaultConvert(sample: unknown): unknown {
  switch (kindOf(sample)) {
    case "typed":
      return fromTyped(sample as Typed);
    case "array":
      return (sample as unknown[]).map(defaultConvert);
    case "map":
      return new Map([...(sample as Map<unknown, unknown>)].map(([key, value]) => [key, defaultConvert(value)]));
    case "object":
      return Object.fromEntries(Object.entries(sample as object).map(([key, value]) => [key, defaultConvert(value)]));
    default:
      return sample;
  }
}
