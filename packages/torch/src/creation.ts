// Tensors from JavaScript values. Tensors from sizes (zeros, randn, full, arange...) are ATen's own, in ops.generated.ts.
import { checkOptions, describe, typeError } from "./check.js";
import { convertTensor } from "./conversion.js";
import type { Device, Dtype } from "./dtype.js";
import { native } from "./native.js";
import { getDefaultDevice } from "./settings.js";
import { checkDevice, checkDtype } from "./target.js";
import { Tensor, type TypedArray, wrapHandle } from "./tensor.js";

/** A complex number, as `item()` and `tolist()` give it. */
export interface Complex {
  re: number;
  im: number;
}

/** What one element of a tensor can be made of. */
export type Element = number | bigint | boolean | Complex;

/** What `tensor()` takes: a value, nested arrays of equal lengths, or a typed array. */
export type TensorData = Element | TypedArray | Uint8ClampedArray | readonly TensorData[] | Tensor;

/** Options of `tensor()`. */
export interface TensorOptions {
  /** Element type. Default: the typed array's; `"bool"` for booleans, `"int64"` for whole numbers, else the default dtype. */
  dtype?: Dtype | null | undefined;
  /** Default: the default device. */
  device?: Device | null | undefined;
  /** Record operations for `backward`. Default: false. */
  requiresGrad?: boolean | undefined;
}

/** Options of `fromTypedArray()`, and of `tensor()` for typed arrays. */
export interface TypedArrayOptions extends TensorOptions {
  /** Sizes of the dimensions. Default: one dimension. */
  shape?: readonly number[] | undefined;
}

const arrayDtypes = new Map<unknown, Dtype>([
  [Float32Array, "float32"],
  [Float64Array, "float64"],
  [BigInt64Array, "int64"],
  [Int32Array, "int32"],
  [Int16Array, "int16"],
  [Int8Array, "int8"],
  [Uint8Array, "uint8"],
  [Uint8ClampedArray, "uint8"],
]);

type Numbers = Exclude<TypedArray, BigInt64Array> | Uint8ClampedArray;

function isTypedArray(value: unknown): value is TypedArray | Uint8ClampedArray {
  return ArrayBuffer.isView(value) && !(value instanceof DataView);
}

// Subclasses such as Buffer count as what they extend.
function dtypeOfArray(array: ArrayBufferView): Dtype {
  for (let proto: unknown = Object.getPrototypeOf(array); proto; proto = Object.getPrototypeOf(proto)) {
    const found = arrayDtypes.get((proto as { constructor: unknown }).constructor);
    if (found) return found;
  }
  throw typeError(
    "data",
    "a typed array of a type that tensors have",
    array,
    "Use Float32Array, Float64Array, BigInt64Array, Int32Array, Int16Array, Int8Array or Uint8Array.",
  );
}

// What a walk over nested arrays finds out.
interface Found {
  values: Float64Array | BigInt64Array;
  imaginary: Float64Array | null;
  booleans: boolean;
  others: boolean;
  fractions: boolean;
  bigints: boolean;
  /** The one dtype of all typed arrays among the rows; null when rows differ or are plain. */
  rows: Dtype | null | undefined;
}

type Nested = readonly unknown[] | TypedArray | Uint8ClampedArray;

function isNested(value: unknown): value is Nested {
  return Array.isArray(value) || isTypedArray(value);
}

function shapeOf(data: unknown): number[] {
  const shape: number[] = [];
  for (let level = data; isNested(level); level = level[0]) {
    shape.push(level.length);
    if (level.length === 0) break;
  }
  return shape;
}

function pathText(path: readonly number[]): string {
  return path.map((index) => `[${index}]`).join("");
}

function badElement(value: unknown, path: readonly number[]): TypeError {
  const where = path.length === 0 ? "data" : `data${pathText(path)}`;
  if (value instanceof Tensor) {
    return typeError(where, "a number", value, "Use `torch.stack` or `torch.cat` to join tensors.");
  }
  return typeError(where, "a number, a boolean or a bigint", value);
}

// Reads nested arrays row by row into one array; every row must have the length that the shape says.
class Flattener {
  readonly found: Found;
  #next = 0;

  constructor(
    readonly shape: readonly number[],
    big: boolean,
  ) {
    const count = shape.reduce((a, b) => a * b, 1);
    this.found = {
      values: big ? new BigInt64Array(count) : new Float64Array(count),
      imaginary: null,
      booleans: false,
      others: false,
      fractions: false,
      bigints: big,
      rows: undefined,
    };
  }

  read(data: unknown, depth: number, path: number[]): void {
    const length = this.shape[depth];
    if (length === undefined) {
      if (isNested(data)) throw this.#ragged(data, depth, path);
      this.#element(data, path);
      return;
    }
    if (!isNested(data) || data.length !== length) throw this.#ragged(data, depth, path);
    this.#noteRow(data, depth);
    const last = depth === this.shape.length - 1;
    if (last && isTypedArray(data) && !(data instanceof BigInt64Array) && this.found.values instanceof Float64Array) {
      this.#typedRow(data);
      return;
    }
    for (let i = 0; i < length; i++) {
      path.push(i);
      if (last && !isNested(data[i])) this.#element(data[i], path);
      else this.read(data[i], depth + 1, path);
      path.pop();
    }
  }

  #noteRow(data: Nested, depth: number): void {
    const dtype = isTypedArray(data) ? dtypeOfArray(data) : null;
    if (dtype === null && depth !== this.shape.length - 1) return;
    if (this.found.rows === undefined) this.found.rows = dtype;
    else if (this.found.rows !== dtype) this.found.rows = null;
  }

  #typedRow(data: Numbers): void {
    (this.found.values as Float64Array).set(data, this.#next);
    this.#next += data.length;
    this.found.others = true;
    if (data instanceof Float32Array || data instanceof Float64Array) this.found.fractions = true;
  }

  #element(value: unknown, path: readonly number[]): void {
    const { found } = this;
    const at = this.#next++;
    if (typeof value === "number") {
      found.others = true;
      if (!Number.isSafeInteger(value)) found.fractions = true;
      if (found.values instanceof Float64Array) found.values[at] = value;
      else if (Number.isSafeInteger(value)) found.values[at] = BigInt(value);
    } else if (typeof value === "boolean") {
      found.booleans = true;
      if (found.values instanceof Float64Array) found.values[at] = value ? 1 : 0;
      else found.values[at] = value ? 1n : 0n;
    } else if (typeof value === "bigint") {
      if (BigInt.asIntN(64, value) !== value)
        throw new RangeError(`${value} at data${pathText(path)} does not fit into 64 bits.`);
      found.others = true;
      found.bigints = true;
      if (found.values instanceof Float64Array) found.values[at] = Number(value);
      else found.values[at] = value;
    } else if (isComplexNumber(value)) {
      found.imaginary ??= new Float64Array(found.values.length);
      found.imaginary[at] = value.im;
      found.others = true;
      found.fractions = true;
      if (found.values instanceof Float64Array) found.values[at] = value.re;
    } else {
      throw badElement(value, path);
    }
  }

  #ragged(data: unknown, depth: number, path: readonly number[]): TypeError {
    const expected = this.shape[depth];
    const where = path.length === 0 ? "data" : `data${pathText(path)}`;
    if (expected === undefined) {
      const first = `${where.slice(0, where.lastIndexOf("["))}[0]`;
      return new TypeError(
        `\`${where}\` is an array, but \`${first}\` is not.\nNested arrays must have equal lengths at each level.`,
      );
    }
    const got = isNested(data) ? `has length ${data.length}` : `is ${describe(data)}`;
    return new TypeError(
      `\`${where}\` ${got}, but the first array at its level has length ${expected}.\nNested arrays must have equal lengths at each level.`,
    );
  }
}

function isComplexNumber(value: unknown): value is Complex {
  return (
    typeof value === "object" &&
    value !== null &&
    typeof (value as Complex).re === "number" &&
    typeof (value as Complex).im === "number"
  );
}

function flatten(data: unknown): { found: Found; shape: number[] } {
  const shape = shapeOf(data);
  const first = new Flattener(shape, false);
  first.read(data, 0, []);
  // Doubles do not hold every 64-bit integer: read again into integers when a bigint was among whole numbers.
  if (!first.found.bigints || first.found.fractions) return { found: first.found, shape };
  const second = new Flattener(shape, true);
  second.read(data, 0, []);
  return { found: second.found, shape };
}

function inferred(found: Found): Dtype {
  if (found.rows) return found.rows;
  if (found.imaginary) return native().getDefaultDtype() === "float64" ? "complex128" : "complex64";
  if (found.fractions) return native().getDefaultDtype() as Dtype;
  if (found.others) return "int64";
  return found.booleans ? "bool" : (native().getDefaultDtype() as Dtype);
}

const integerRanges: { [K in Dtype]?: readonly [number, number] } = {
  uint8: [0, 255],
  int8: [-128, 127],
  int16: [-32768, 32767],
  int32: [-2147483648, 2147483647],
  int64: [-(2 ** 63), 2 ** 63],
};

// Like PyTorch, refuses numbers that the integer type cannot hold rather than wrapping them.
function checkRange(values: Float64Array | BigInt64Array, dtype: Dtype): void {
  const range = integerRanges[dtype];
  if (!range) return;
  const [low, high] = range;
  for (const value of values) {
    const number = Math.trunc(Number(value));
    if (!(number >= low && number <= high)) throw new RangeError(`${value} does not fit into ${dtype}.`);
  }
}

function fromFlat(values: Float64Array | BigInt64Array, shape: number[], dtype: Dtype): Tensor {
  checkRange(values, dtype);
  if (values instanceof BigInt64Array)
    return convertTensor(wrapHandle(native().fromBytes(values, "int64", shape)), dtype, null);
  if (dtype === "float32") return wrapHandle(native().fromBytes(Float32Array.from(values), "float32", shape));
  if (dtype === "float64") return wrapHandle(native().fromBytes(values, "float64", shape));
  return convertTensor(wrapHandle(native().fromBytes(values, "float64", shape)), dtype, null);
}

function fromComplex(real: Float64Array, imaginary: Float64Array, shape: number[], dtype: Dtype): Tensor {
  if (!dtype.startsWith("complex")) {
    throw typeError("dtype", `"complex64" or "complex128" for complex numbers`, dtype, "Take the real part first.");
  }
  const pairs = new Float64Array(real.length * 2);
  for (let i = 0; i < real.length; i++) {
    pairs[2 * i] = real[i] as number;
    pairs[2 * i + 1] = imaginary[i] as number;
  }
  return convertTensor(wrapHandle(native().fromBytes(pairs, "complex128", shape)), dtype, null);
}

function finish(made: Tensor, options: TensorOptions): Tensor {
  const device = options.device ?? getDefaultDevice();
  const placed = device === "cpu" ? made : convertTensor(made, null, device);
  if (options.requiresGrad) placed.requiresGrad = true;
  return placed;
}

const optionNames = ["dtype", "device", "requiresGrad", "shape"];

function checkTensorOptions(options: TypedArrayOptions): void {
  checkOptions(options, optionNames, 'torch.tensor([1, 2], { dtype: "float32", requiresGrad: true })');
  const { dtype, device, requiresGrad } = options;
  if (dtype !== undefined && dtype !== null) checkDtype(dtype);
  if (device !== undefined && device !== null) checkDevice(device);
  if (requiresGrad !== undefined && typeof requiresGrad !== "boolean")
    throw typeError("requiresGrad", "a boolean", requiresGrad);
}

/**
 * A tensor that owns a copy of `data`. Whole numbers give int64, any fraction (or NaN, or infinity) the default dtype, booleans
 * bool, bigints int64; typed arrays keep their type. PyTorch's `torch.tensor`.
 *
 *     tensor([[1, 2], [3, 4.5]]);
 *     tensor(new Float32Array(6), { shape: [2, 3], requiresGrad: true });
 */
export function tensor(data: TensorData, options: TypedArrayOptions = {}): Tensor {
  checkTensorOptions(options);
  if (data instanceof Tensor) {
    const copy = (data.detach() as Tensor).clone() as Tensor;
    const converted = convertTensor(copy, options.dtype ?? null, options.device ?? null);
    if (options.requiresGrad) converted.requiresGrad = true;
    return converted;
  }
  if (isTypedArray(data)) return fromTypedArray(data, options);
  if (options.shape !== undefined) throw typeError("shape", "left out unless `data` is a typed array", options.shape);
  const { found, shape } = flatten(data);
  const dtype = options.dtype ?? inferred(found);
  const made = found.imaginary
    ? fromComplex(found.values as Float64Array, found.imaginary, shape, dtype)
    : fromFlat(found.values, shape, dtype);
  return finish(made, options);
}

/** A tensor that owns a copy of a typed array's elements, with its element type unless `dtype` is given. */
export function fromTypedArray(array: TypedArray | Uint8ClampedArray, options: TypedArrayOptions = {}): Tensor {
  checkTensorOptions(options);
  if (!isTypedArray(array)) throw typeError("array", "a typed array", array);
  const dtype = dtypeOfArray(array);
  const shape = [...(options.shape ?? [array.length])];
  if (!shape.every((size) => Number.isSafeInteger(size) && size >= 0))
    throw typeError("shape", "an array of whole numbers", shape);
  const count = shape.reduce((a, b) => a * b, 1);
  if (count !== array.length) {
    throw new TypeError(
      `A typed array of ${array.length} elements does not fill the shape [${shape.join(", ")}], which has ${count}.`,
    );
  }
  const made = wrapHandle(native().fromBytes(array, dtype, shape));
  return finish(convertTensor(made, options.dtype ?? null, null), options);
}

/** `data` itself when it is a tensor of the wanted dtype and device, otherwise what `tensor()` makes of it. */
export function asTensor(data: TensorData, options: Omit<TypedArrayOptions, "requiresGrad"> = {}): Tensor {
  checkTensorOptions(options);
  if (data instanceof Tensor) return convertTensor(data, options.dtype ?? null, options.device ?? null);
  return tensor(data, options);
}

/** True when `value` is a tensor. */
export function isTensor(value: unknown): value is Tensor {
  return value instanceof Tensor;
}
