// Values as bytes, to send them to other processes: what `structuredClone` copies (plain objects, arrays, Map, Set, Date,
// typed arrays, BigInt, errors), with tensors anywhere inside. Reading evaluates nothing and checks every size.
import { builtins } from "../builtins.js";
import { describe } from "../check.js";
import { type Device, type Dtype, dtypes, itemSize } from "../dtype.js";
import { DistributedError } from "../errors.js";
import { native } from "../native.js";
import { operator } from "../ops.js";
import { handleOf, Tensor, wrapHandle } from "../tensor.js";

// Layout: u32 length of the header, header (JSON), value (V8's serialization), elements of the tensors one after another.
// In the value a tensor is the text `<mark><index>`, with a mark that is new in every message.
interface Header {
  mark: string;
  value: number;
  tensors: TensorHeader[];
}
interface TensorHeader {
  dtype: Dtype;
  shape: number[];
  device: string;
  requiresGrad: boolean;
}

/** A value with tensors anywhere inside as bytes, for another process. Throws a `TypeError` for what cannot be sent, such as functions. */
export function encodeObject(value: unknown): Uint8Array {
  const mark = `tensor:${builtins.crypto.randomBytes(12).toString("hex")}:`;
  const tensors: Tensor[] = [];
  const tree = mapTree(value, (leaf) => (leaf instanceof Tensor ? `${mark}${tensors.push(leaf) - 1}` : leaf));
  let body: Buffer;
  try {
    body = builtins.v8.serialize(tree);
  } catch (error) {
    throw new TypeError(
      `Expected a value that can be sent to other processes, but got ${describe(value)}: ${(error as Error).message}\nSend plain data and tensors: no functions, symbols, promises or modules (send \`module.stateDict()\`).`,
    );
  }
  const header: Header = { mark, value: body.length, tensors: tensors.map(headerOf) };
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(4);
  length.writeUInt32LE(text.length);
  return Buffer.concat([length, text, body, ...tensors.map(elementsOf)]);
}

/** The value that `encodeObject` made bytes of. Damaged bytes are a `DistributedError`. */
export function decodeObject(bytes: Uint8Array): unknown {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  try {
    const textLength = buffer.readUInt32LE(0);
    const header = JSON.parse(slice(buffer, 4, textLength).toString()) as Header;
    const body = builtins.v8.deserialize(slice(buffer, 4 + textLength, header.value)) as unknown;
    let offset = 4 + textLength + header.value;
    const tensors = header.tensors.map((one) => {
      const size = byteSize(one);
      offset += size;
      return tensorFrom(one, slice(buffer, offset - size, size));
    });
    return mapTree(body, (leaf) => {
      if (typeof leaf !== "string" || !leaf.startsWith(header.mark)) return leaf;
      return tensors[Number(leaf.slice(header.mark.length))];
    });
  } catch (cause) {
    throw new DistributedError(`An object from another process could not be read: ${(cause as Error).message}`, {
      hint: "Every rank has to make the same calls in the same order, with the same version of this package.",
      cause,
    });
  }
}

function headerOf(tensor: Tensor): TensorHeader {
  return { dtype: tensor.dtype, shape: tensor.shape, device: tensor.device, requiresGrad: tensor.requiresGrad };
}

function elementsOf(tensor: Tensor): Uint8Array {
  return new Uint8Array(native().readBytes(handleOf(tensor)));
}

function byteSize(header: TensorHeader): number {
  if (!dtypes.includes(header.dtype)) throw new Error(`unknown dtype ${describe(header.dtype)}`);
  let size = itemSize(header.dtype);
  for (const length of header.shape) {
    if (!Number.isSafeInteger(length) || length < 0) throw new Error(`impossible shape ${describe(header.shape)}`);
    size *= length;
  }
  return size;
}

/** A tensor of another process' device comes back on the current device of that type. */
function tensorFrom(header: TensorHeader, elements: Buffer): Tensor {
  let tensor = wrapHandle(native().fromBytes(elements, header.dtype, header.shape));
  const type = header.device.split(":")[0] as Device;
  if (type !== "cpu") tensor = operator("aten", "to")(tensor, { device: type, dtype: header.dtype }) as Tensor;
  if (header.requiresGrad) tensor.requiresGrad = true;
  return tensor;
}

function slice(buffer: Buffer, start: number, length: number): Buffer {
  if (!Number.isSafeInteger(length) || length < 0 || start + length > buffer.length) {
    throw new Error(`${length} bytes expected at ${start}, but there are ${buffer.length} in all`);
  }
  return buffer.subarray(start, start + length);
}

/** A copy of arrays, plain objects, maps and sets with `leaf` applied to all else. Shared and circular parts stay so. */
function mapTree(root: unknown, leaf: (value: unknown) => unknown): unknown {
  const known = new Map<object, unknown>();
  const visit = (value: unknown): unknown => {
    if (typeof value !== "object" || value === null) return leaf(value);
    if (known.has(value)) return known.get(value);
    const remember = <T>(copy: T): T => {
      known.set(value, copy);
      return copy;
    };
    if (Array.isArray(value)) {
      const copy: unknown[] = remember([]);
      for (const item of value) copy.push(visit(item));
      return copy;
    }
    if (value instanceof Map) {
      const copy = remember(new Map<unknown, unknown>());
      for (const [key, item] of value) copy.set(visit(key), visit(item));
      return copy;
    }
    if (value instanceof Set) {
      const copy = remember(new Set<unknown>());
      for (const item of value) copy.add(visit(item));
      return copy;
    }
    const prototype = Object.getPrototypeOf(value) as unknown;
    if (prototype !== Object.prototype && prototype !== null) return remember(leaf(value));
    const copy = remember(Object.create(prototype as object | null) as Record<string, unknown>);
    for (const key of Object.keys(value)) {
      // A key called "__proto__" is data.
      Object.defineProperty(copy, key, {
        value: visit((value as Record<string, unknown>)[key]),
        configurable: true,
        enumerable: true,
        writable: true,
      });
    }
    return copy;
  };
  return visit(root);
}
