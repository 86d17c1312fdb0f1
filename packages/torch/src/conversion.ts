// Conversions of tensors: to other dtypes and devices, and to JavaScript values.
import { describe, typeError } from "./check.js";
import type { Device, Dtype } from "./dtype.js";
import { UsageError } from "./errors.js";
import { native } from "./native.js";
import type { MemoryFormat } from "./ops.generated.js";
import { operator } from "./ops.js";
import {
  checkDevice,
  checkDtype,
  isDevice,
  isDtype,
  isQuantizedDtype,
  noDtype,
  noDtypeOrDevice,
  noValues,
} from "./target.js";
import { handleOf, type NestedArray, Tensor, type TypedArray } from "./tensor.js";

/** What `Tensor.to` takes by name. */
export interface ToOptions {
  /** Default: the tensor's own. */
  dtype?: Dtype | null | undefined;
  /** Default: the tensor's own. */
  device?: Device | null | undefined;
  /** Copies to a GPU need not have ended when the call returns. Default: false. */
  nonBlocking?: boolean | undefined;
  /** Make a copy even when nothing changes. Default: false. */
  copy?: boolean | undefined;
  /** Default: the tensor's own. */
  memoryFormat?: MemoryFormat | undefined;
}

/** The part of `ToOptions` that may follow a dtype, a device or a tensor. */
export type ToFlags = Pick<ToOptions, "nonBlocking" | "copy" | "memoryFormat">;

declare module "./tensor.js" {
  interface Tensor {
    /** This tensor with another dtype, on another device, or both; the same object when nothing changes. */
    to(dtype: Dtype, flags?: ToFlags): Tensor;
    to(device: Device, flags?: ToFlags): Tensor;
    to(device: Device, dtype: Dtype, flags?: ToFlags): Tensor;
    to(other: Tensor, flags?: ToFlags): Tensor;
    to(options: ToOptions): Tensor;
    /** This tensor in the CPU's memory. */
    cpu(): Tensor;
    /** This tensor on a GPU. Default: the current one. */
    cuda(device?: Device | number, flags?: ToFlags): Tensor;
    /** This tensor as float32. */
    float(): Tensor;
    /** This tensor as float64. */
    double(): Tensor;
    /** This tensor as float16. */
    half(): Tensor;
    /** This tensor as bfloat16. */
    bfloat16(): Tensor;
    /** This tensor as int64. */
    long(): Tensor;
    /** This tensor as int32. */
    int(): Tensor;
    /** This tensor as int16. */
    short(): Tensor;
    /** This tensor as int8. */
    char(): Tensor;
    /** This tensor as uint8. */
    byte(): Tensor;
    /** This tensor as bool: true where it is not zero. */
    bool(): Tensor;
    /** This tensor with another dtype. */
    type(dtype: Dtype): Tensor;
    /** This tensor with the dtype of `other`. */
    typeAs(other: Tensor): Tensor;
    /**
     * The elements as nested arrays; a plain value for a tensor without dimensions. int64 gives numbers, and bigints beyond
     * 2^53; complex numbers are `{ re, im }`.
     */
    // biome-ignore lint/suspicious/noExplicitAny: the element type and the depth are known only at run time
    tolist(): any;
    /**
     * A copy of the elements, row-major. `float16` and `bfloat16` are widened to `Float32Array`, `bool` is a `Uint8Array` of
     * 0 and 1, complex numbers are pairs of real and imaginary part.
     */
    toTypedArray(): TypedArray;
    /** The tensors along the first dimension. */
    [Symbol.iterator](): IterableIterator<Tensor>;
  }
}

const toDtype = operator("aten", "to.dtype");
const toLayout = operator("aten", "to.dtype_layout");

function isSameDevice(own: string, wanted: string): boolean {
  if (own === wanted) return true;
  return wanted === "cuda" && own.startsWith("cuda") && own === `cuda:${native().cudaCurrentDevice()}`;
}

/** internal: `Tensor.to` after its arguments are sorted out; null leaves the dtype or the device as it is. */
export function convertTensor(tensor: Tensor, dtype: Dtype | null, device: Device | null, flags: ToFlags = {}): Tensor {
  const { nonBlocking = false, copy = false, memoryFormat } = flags;
  const moves = device !== null && !isSameDevice(tensor.device, device);
  const casts = dtype !== null && tensor.dtype !== dtype;
  if (moves) {
    checkDevice(device);
    if (tensor.device === "meta") throw noValues("The tensor");
  }
  if (!moves && !casts && !copy && memoryFormat === undefined) return tensor;
  if (!moves && memoryFormat === undefined) return toDtype(tensor, dtype ?? tensor.dtype, nonBlocking, copy) as Tensor;
  const options = { dtype: dtype ?? tensor.dtype, device: device ?? tensor.device, nonBlocking, copy, memoryFormat };
  const result = toLayout(tensor, options) as Tensor;
  // ATen gives back the same tensor when the memory format fits already.
  return result !== tensor && native().isSame(handleOf(result), handleOf(tensor)) ? tensor : result;
}

const toKeys = ["dtype", "device", "nonBlocking", "copy", "memoryFormat"];

function toOptions(args: readonly unknown[]): ToOptions {
  const options: ToOptions = {};
  args.forEach((value, i) => {
    if (typeof value === "string") {
      if (isDtype(value)) options.dtype = value;
      else if (i > 0) throw noDtype("dtype", value);
      else if (isDevice(value)) options.device = value;
      else throw noDtypeOrDevice("dtype or device", value);
    } else if (value instanceof Tensor && i === 0) {
      options.dtype = value.dtype;
      options.device = value.device;
    } else if (typeof value === "object" && value !== null && !(value instanceof Tensor) && i === args.length - 1) {
      for (const key in value) if (!toKeys.includes(key)) throw unknownKey(key);
      Object.assign(options, value);
      const { dtype = null } = options;
      if (dtype !== null) checkDtype(dtype);
    } else if (value !== undefined) {
      throw new TypeError(
        `\`Tensor.to\` takes a dtype, a device or a tensor, but got ${describe(value)}.\nFor example: x.to("float64"), x.to("cuda:0", "bfloat16"), x.to(other, { copy: true }).`,
      );
    }
  });
  return options;
}

function unknownKey(key: string): TypeError {
  return new TypeError(`\`Tensor.to\` has no option named \`${key}\`.\nIt takes ${toKeys.join(", ")}.`);
}

function nest<T>(flat: ArrayLike<T>, shape: readonly number[]): NestedArray<T> {
  let at = 0;
  const level = (depth: number): NestedArray<T> => {
    if (depth === shape.length) return flat[at++] as T;
    const size = shape[depth] as number;
    const list = new Array<NestedArray<T>>(size);
    for (let i = 0; i < size; i++) list[i] = level(depth + 1);
    return list;
  };
  return level(0);
}

/** internal: an int64 as a number where that is exact, else as a bigint. */
export function narrow(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

function listElements(tensor: Tensor): ArrayLike<unknown> {
  const data = tensor.toTypedArray();
  if (data instanceof BigInt64Array) return Array.from(data, narrow);
  if (tensor.dtype === "bool") return Array.from(data, (x) => x !== 0);
  if (!tensor.isComplex()) return data;
  return Array.from({ length: data.length / 2 }, (_, i) => ({ re: data[2 * i], im: data[2 * i + 1] }));
}

// Dtypes that no typed array holds, and what they are widened to.
const widened: Record<string, Dtype> = { float16: "float32", bfloat16: "float32", complex32: "complex64" };

function typedArrayOf(tensor: Tensor): TypedArray {
  const dtype: string = tensor.dtype;
  if (isQuantizedDtype(dtype)) {
    throw new UsageError(`The tensor is quantized (${dtype}): its elements are numbers only together with its scale.`, {
      hint: "Use `x.dequantize()` for the numbers, `x.intRepr()` for the whole numbers that are stored.",
    });
  }
  if (tensor.device === "meta") throw noValues("The tensor");
  const wide = widened[dtype];
  const bytes = native().readBytes(handleOf(wide ? convertTensor(tensor, wide, null) : tensor));
  switch (dtype) {
    case "float16":
    case "bfloat16":
    case "float32":
    case "complex32":
    case "complex64":
      return new Float32Array(bytes);
    case "float64":
    case "complex128":
      return new Float64Array(bytes);
    case "int64":
      return new BigInt64Array(bytes);
    case "int32":
      return new Int32Array(bytes);
    case "int16":
      return new Int16Array(bytes);
    case "int8":
      return new Int8Array(bytes);
    default:
      return new Uint8Array(bytes);
  }
}

const casts: Record<string, Dtype> = {
  float: "float32",
  double: "float64",
  half: "float16",
  bfloat16: "bfloat16",
  long: "int64",
  int: "int32",
  short: "int16",
  char: "int8",
  byte: "uint8",
  bool: "bool",
};

const methods = {
  to(this: Tensor, ...args: unknown[]): Tensor {
    const { dtype, device, ...flags } = toOptions(args);
    return convertTensor(this, dtype ?? null, device ?? null, flags);
  },
  cpu(this: Tensor): Tensor {
    return convertTensor(this, null, "cpu");
  },
  cuda(this: Tensor, device: Device | number = "cuda", flags: ToFlags = {}): Tensor {
    return convertTensor(this, null, typeof device === "number" ? `cuda:${device}` : device, flags);
  },
  type(this: Tensor, dtype: Dtype): Tensor {
    checkDtype(dtype);
    return convertTensor(this, dtype, null);
  },
  typeAs(this: Tensor, other: Tensor): Tensor {
    if (!(other instanceof Tensor)) throw typeError("other", "a Tensor", other);
    return convertTensor(this, other.dtype, other.device);
  },
  tolist(this: Tensor): unknown {
    return nest(listElements(this), this.shape);
  },
  toTypedArray(this: Tensor): TypedArray {
    return typedArrayOf(this);
  },
  [Symbol.iterator](this: Tensor): IterableIterator<Tensor> {
    if (this.ndim === 0)
      throw new TypeError("A tensor without dimensions cannot be iterated over.\nUse `item()` for its value.");
    return (this.unbind(0) as Tensor[]).values();
  },
};

for (const key of Reflect.ownKeys(methods)) {
  const value = methods[key as keyof typeof methods];
  Object.defineProperty(Tensor.prototype, key, { value, writable: true, configurable: true });
}
for (const [name, dtype] of Object.entries(casts)) {
  const value = function (this: Tensor): Tensor {
    return convertTensor(this, dtype, null);
  };
  Object.defineProperty(Tensor.prototype, name, { value, writable: true, configurable: true });
}
