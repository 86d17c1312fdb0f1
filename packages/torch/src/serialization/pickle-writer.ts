// Writes values as a pickle of protocol 2 with the opcodes that torch.save uses, so that torch.load reads them, also with
// `weights_only=True`. Tensors are described by a callback; nothing here knows the engine.
import type { Dtype } from "../dtype.js";
import { storageClass } from "./pickle-globals.js";
import { Counter, markedFloats, PyFloat, Tuple } from "./python-types.js";
import {
  cannotSave,
  checkKey,
  checkPlain,
  containsItself,
  Key,
  mostNesting,
  type Path,
  pathText,
  tooDeep,
} from "./unsavable.js";
import { encodeUtf8 } from "./utf8.js";

/** internal: how a tensor is written: a view of the storage in the record `data/<key>`. */
export interface TensorRecord {
  key: string;
  dtype: Dtype;
  /** The device, such as "cpu" or "cuda:0". */
  location: string;
  /** Elements of the whole storage. */
  numel: number;
  offset: number;
  shape: readonly number[];
  strides: readonly number[];
  requiresGrad: boolean;
  isParameter: boolean;
}

/** internal: describes a tensor; null when the value is none. `path` is where it stands, for errors. */
export type DescribeTensor = (value: object, path: () => string) => TensorRecord | null;

const batch = 1000;

/** internal: the pickle of `value`. Throws a `TypeError` that names the place of anything that cannot be saved. */
export function writePickle(value: unknown, describe: DescribeTensor): Uint8Array {
  return new Writer(describe).run(value);
}

class Writer {
  readonly #describe: DescribeTensor;
  #bytes = Buffer.allocUnsafeSlow(1 << 12);
  #length = 0;
  #noted = 0;
  // Numbers of strings, names and objects that were written before: they are referred to rather than repeated.
  readonly #strings = new Map<string, number>();
  readonly #globals = new Map<string, number>();
  readonly #objects = new Map<object, number>();
  readonly #open = new Set<object>();
  readonly #path: Path = [];

  constructor(describe: DescribeTensor) {
    this.#describe = describe;
  }

  run(value: unknown): Uint8Array {
    this.#op(0x80);
    this.#op(2);
    this.#value(value);
    this.#op(0x2e);
    return this.#bytes.subarray(0, this.#length);
  }

  #room(count: number): number {
    const at = this.#length;
    if (at + count > this.#bytes.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(2 * this.#bytes.length, at + count));
      this.#bytes.copy(larger, 0, 0, at);
      this.#bytes = larger;
    }
    this.#length = at + count;
    return at;
  }
  #op(code: number): void {
    const at = this.#room(1);
    this.#bytes[at] = code;
  }
  #op32(code: number, value: number): void {
    const at = this.#room(5);
    this.#bytes[at] = code;
    this.#bytes.writeUInt32LE(value, at + 1);
  }

  /** Gives what was just written the next number. */
  #note(): number {
    const number = this.#noted++;
    if (number < 256) {
      this.#op(0x71);
      this.#op(number);
    } else this.#op32(0x72, number);
    return number;
  }
  #refer(number: number): void {
    if (number < 256) {
      this.#op(0x68);
      this.#op(number);
    } else this.#op32(0x6a, number);
  }

  #value(value: unknown): void {
    switch (typeof value) {
      case "string":
        this.#string(value);
        return;
      case "number":
        this.#number(value);
        return;
      case "bigint":
        this.#integer(value);
        return;
      case "boolean":
        this.#op(value ? 0x88 : 0x89);
        return;
      case "object":
        if (value === null) this.#op(0x4e);
        else this.#object(value);
        return;
      default:
        throw cannotSave(value, this.#where());
    }
  }

  #string(text: string): void {
    const known = this.#strings.get(text);
    if (known !== undefined) {
      this.#refer(known);
      return;
    }
    this.#raw(text);
    this.#strings.set(text, this.#note());
  }
  #raw(text: string): void {
    const bytes = encodeUtf8(text);
    this.#op32(0x58, bytes.length);
    const at = this.#room(bytes.length);
    bytes.copy(this.#bytes, at);
  }

  #number(value: number): void {
    if (!Number.isSafeInteger(value) || Object.is(value, -0)) {
      this.#float(value);
      return;
    }
    if (value >= 0 && value < 256) {
      this.#op(0x4b);
      this.#op(value);
    } else if (value >= 0 && value < 65536) {
      this.#op(0x4d);
      const at = this.#room(2);
      this.#bytes.writeUInt16LE(value, at);
    } else if (value >= -0x80000000 && value <= 0x7fffffff) {
      this.#op32(0x4a, value >>> 0);
    } else this.#integer(BigInt(value));
  }
  #float(value: number): void {
    const at = this.#room(9);
    this.#bytes[at] = 0x47;
    this.#bytes.writeDoubleBE(value, at + 1);
  }
  #integer(value: bigint): void {
    if (value >= -0x80000000n && value <= 0x7fffffffn) {
      this.#number(Number(value));
      return;
    }
    // The shortest two's complement form: one bit more than the magnitude, for the sign.
    const bits = (value < 0n ? ~value : value).toString(2).length + 1;
    const length = Math.ceil(bits / 8);
    if (length < 256) {
      this.#op(0x8a);
      this.#op(length);
    } else this.#op32(0x8b, length);
    const hex = BigInt.asUintN(8 * length, value)
      .toString(16)
      .padStart(2 * length, "0");
    const at = this.#room(length);
    Buffer.from(hex, "hex").reverse().copy(this.#bytes, at);
  }

  #object(value: object): void {
    if (this.#open.has(value)) throw containsItself(this.#where());
    const known = this.#objects.get(value);
    if (known !== undefined) {
      this.#refer(known);
      return;
    }
    if (value instanceof PyFloat) {
      this.#float(value.value);
      return;
    }
    const tensor = this.#describe(value, () => this.#where());
    if (tensor !== null) {
      this.#tensor(tensor);
      this.#objects.set(value, this.#note());
      return;
    }
    if (this.#open.size >= mostNesting) throw tooDeep(this.#where());
    this.#open.add(value);
    this.#container(value);
    this.#open.delete(value);
  }

  #container(value: object): void {
    if (value instanceof Tuple) {
      this.#tuple(value);
      return;
    }
    if (Array.isArray(value)) {
      this.#list(value);
      return;
    }
    if (value instanceof Counter) {
      this.#counter(value);
      return;
    }
    if (value instanceof Map) {
      this.#map(value);
      return;
    }
    if (value instanceof Set) {
      this.#set(value);
      return;
    }
    this.#plain(checkPlain(value, () => this.#where()));
  }

  #tuple(items: Tuple): void {
    const { length } = items;
    if (length === 0) {
      this.#op(0x29);
      return;
    }
    if (length > 3) this.#op(0x28);
    this.#items(items, 0, length);
    this.#op(length > 3 ? 0x74 : 0x84 + length);
    this.#objects.set(items, this.#note());
  }
  #list(items: readonly unknown[]): void {
    this.#op(0x5d);
    this.#objects.set(items, this.#note());
    for (let start = 0; start < items.length; start += batch) {
      const end = Math.min(start + batch, items.length);
      if (end - start > 1) this.#op(0x28);
      this.#items(items, start, end);
      this.#op(end - start > 1 ? 0x65 : 0x61);
    }
  }
  #items(items: readonly unknown[], start: number, end: number): void {
    const floats = markedFloats(items) === "all";
    for (let i = start; i < end; i++) {
      this.#path.push(i);
      const item = items[i];
      if (floats && typeof item === "number") this.#float(item);
      else this.#value(item);
      this.#path.pop();
    }
  }

  #plain(value: Record<string, unknown>): void {
    const keys = Object.keys(value);
    const floats = markedFloats(value);
    const isFloat = (key: string): boolean => floats instanceof Set && floats.has(key);
    this.#dict(
      value,
      keys.length,
      keys,
      (key) => this.#path.push(key as string),
      (key) => {
        const item = value[key as string];
        return typeof item === "number" && isFloat(key as string) ? new PyFloat(item) : item;
      },
    );
  }
  #map(value: Map<unknown, unknown>): void {
    for (const key of value.keys()) checkKey(key, () => this.#where());
    this.#dict(
      value,
      value.size,
      value.keys(),
      (key) => this.#path.push(new Key(key)),
      (key) => value.get(key),
    );
  }
  #counter(value: Counter): void {
    this.#global("collections", "Counter");
    this.#map(new Map(value));
    this.#op(0x85);
    this.#op(0x52);
    this.#objects.set(value, this.#note());
  }
  #dict(
    owner: object,
    size: number,
    keys: Iterable<unknown>,
    enter: (key: unknown) => void,
    get: (key: unknown) => unknown,
  ): void {
    this.#op(0x7d);
    this.#objects.set(owner, this.#note());
    let left = size;
    let inBatch = 0;
    for (const key of keys) {
      if (inBatch === 0 && left > 1) this.#op(0x28);
      enter(key);
      this.#value(key);
      this.#value(get(key));
      this.#path.pop();
      inBatch++;
      if (inBatch === Math.min(left, batch)) {
        this.#op(left > 1 ? 0x75 : 0x73);
        left -= inBatch;
        inBatch = 0;
      }
    }
  }
  #set(value: Set<unknown>): void {
    const items = [...value];
    for (const item of items) checkKey(item, () => this.#where());
    this.#global("__builtin__", "set");
    this.#list(items);
    this.#op(0x85);
    this.#op(0x52);
    this.#objects.set(value, this.#note());
  }

  #global(module: string, name: string): void {
    const lines = `${module}\n${name}\n`;
    const known = this.#globals.get(lines);
    if (known !== undefined) {
      this.#refer(known);
      return;
    }
    this.#op(0x63);
    const at = this.#room(lines.length);
    this.#bytes.write(lines, at, "latin1");
    this.#globals.set(lines, this.#note());
  }

  // torch._utils._rebuild_tensor_v2(storage, offset, shape, strides, requires_grad, OrderedDict())
  #tensor(tensor: TensorRecord): void {
    if (tensor.isParameter) {
      this.#global("torch._utils", "_rebuild_parameter");
      this.#op(0x28);
    }
    this.#global("torch._utils", "_rebuild_tensor_v2");
    this.#op(0x28);
    this.#op(0x28);
    this.#string("storage");
    this.#global("torch", storageClass(tensor.dtype));
    this.#string(tensor.key);
    this.#string(tensor.location);
    this.#number(tensor.numel);
    this.#op(0x74);
    this.#op(0x51);
    this.#number(tensor.offset);
    this.#sizes(tensor.shape);
    this.#sizes(tensor.strides);
    // A parameter's data is never itself a leaf that wants gradients.
    this.#op(tensor.requiresGrad && !tensor.isParameter ? 0x88 : 0x89);
    this.#noHooks();
    this.#op(0x74);
    this.#op(0x52);
    if (tensor.isParameter) {
      this.#op(tensor.requiresGrad ? 0x88 : 0x89);
      this.#noHooks();
      this.#op(0x74);
      this.#op(0x52);
    }
  }
  #sizes(sizes: readonly number[]): void {
    if (sizes.length === 0) {
      this.#op(0x29);
      return;
    }
    if (sizes.length > 3) this.#op(0x28);
    for (const size of sizes) this.#number(size);
    this.#op(sizes.length > 3 ? 0x74 : 0x84 + sizes.length);
  }
  #noHooks(): void {
    this.#global("collections", "OrderedDict");
    this.#op(0x29);
    this.#op(0x52);
  }

  #where(): string {
    return pathText(this.#path);
  }
}
