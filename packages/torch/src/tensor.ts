// The Tensor class: a handle on a native tensor, its metadata, data access and lifetime. Operators are mixed in by
// ops.generated.ts; creation from JavaScript values is in creation.ts; printing in printing.ts.
import { typeError } from "./check.js";
import type { Device, Dtype } from "./dtype.js";
import { type Handle, native } from "./native.js";
import type { TensorMethods } from "./ops.generated.js";
import { noValues } from "./target.js";

/** Nested arrays of a tensor's values; a plain value for a tensor without dimensions. */
export type NestedArray<T> = T | NestedArray<T>[];

/** A typed array that holds a tensor's elements. `float16` and `bfloat16` are widened to `Float32Array`. */
export type TypedArray = Float32Array | Float64Array | BigInt64Array | Int32Array | Int16Array | Int8Array | Uint8Array;

let handle: (tensor: Tensor) => Handle;
let setHandle: (tensor: Tensor, native: Handle) => void;
let loadHandle: (tensor: Tensor) => Handle;

/** internal: `load` makes the handle of a tensor that has none yet, when it is used for the first time. */
export function onFirstUse(load: (tensor: Tensor) => Handle): void {
  loadHandle = load;
}

// Tensors made while a scope is open are recorded here; null outside of scopes.
let recorder: Tensor[] | null = null;

/** internal: makes `list` (or null) record every new tensor; returns what recorded before. */
export function recordTensors(list: Tensor[] | null): Tensor[] | null {
  const before = recorder;
  recorder = list;
  return before;
}

/**
 * An n-dimensional array of one element type on one device, with gradient history when asked for. Made by `tensor()`,
 * `zeros()` and the like, never by `new`. Memory is freed by garbage collection; `dispose()`, `using` and `scope()` free it earlier.
 */
// biome-ignore lint/suspicious/noUnsafeDeclarationMerging: the operators are mixed into the prototype by ops.generated.ts
export class Tensor {
  // None yet for tensors that are read from a file when they are used.
  #handle: Handle | null;

  static {
    handle = (tensor) => tensor.#handle ?? loadHandle(tensor);
    setHandle = (tensor, native) => {
      tensor.#handle = native;
    };
  }

  /** internal: use `tensor()` or an operator. */
  constructor(native: Handle | null) {
    this.#handle = native;
    if (recorder !== null) recorder.push(this);
  }

  /** Sizes of the dimensions. */
  get shape(): number[] {
    return native().shape(handle(this));
  }
  /** The element type. */
  get dtype(): Dtype {
    return native().dtype(handle(this)) as Dtype;
  }
  /** Where the elements live. */
  get device(): Device {
    return native().device(handle(this)) as Device;
  }
  /** Number of dimensions. */
  get ndim(): number {
    return native().shape(handle(this)).length;
  }
  /** True when operations on this tensor are recorded for `backward`. Settable on leaves. */
  get requiresGrad(): boolean {
    return native().requiresGrad(handle(this));
  }
  set requiresGrad(value: boolean) {
    if (typeof value !== "boolean") throw typeError("requiresGrad", "a boolean", value);
    native().setRequiresGrad(handle(this), value);
  }
  /** True for tensors that the user made rather than an operation with history. */
  get isLeaf(): boolean {
    return native().isLeaf(handle(this));
  }
  /** Name of the function that produced this tensor, such as `"AddmmBackward0"`, or null for leaves. */
  get gradFn(): string | null {
    return native().gradFnName(handle(this));
  }
  // The gradient's own wrapper, kept so that reading `grad` twice gives the same object.
  #grad: Tensor | null = null;
  /** The accumulated gradient, or null. */
  get grad(): Tensor | null {
    const found = native().grad(handle(this));
    if (found === null) {
      this.#grad = null;
      return null;
    }
    const known = this.#grad;
    if (known !== null && !native().isReleased(handle(known)) && native().isSame(handle(known), found)) return known;
    this.#grad = new Tensor(found);
    return this.#grad;
  }
  set grad(value: Tensor | null) {
    if (value !== null && !(value instanceof Tensor)) throw typeError("grad", "a Tensor or null", value);
    native().setGrad(handle(this), value === null ? null : handle(value));
    this.#grad = value;
  }
  /** The same elements without gradient history. Assigning points this tensor at other data and keeps its identity. */
  get data(): Tensor {
    return new Tensor(native().data(handle(this)));
  }
  set data(value: Tensor) {
    if (!(value instanceof Tensor)) throw typeError("data", "a Tensor", value);
    native().setData(handle(this), handle(value));
  }
  /** Transposed view of a tensor with two dimensions. */
  get T(): Tensor {
    return (this as unknown as { numpyT(): Tensor }).numpyT();
  }
  /** True when `dispose()` has been called. */
  get isDisposed(): boolean {
    return native().isReleased(handle(this));
  }

  /** Number of elements. */
  numel(): number {
    return native().numel(handle(this));
  }
  /** Number of dimensions. */
  dim(): number {
    return this.ndim;
  }
  /** All sizes, or the size of dimension `dim` (negative counts from the end). */
  size(): number[];
  size(dim: number): number;
  size(dim?: number): number | number[] {
    const shape = this.shape;
    if (dim === undefined) return shape;
    const size = shape[dim < 0 ? dim + shape.length : dim];
    if (size === undefined)
      throw new RangeError(`Dimension ${dim} is out of range for a tensor with ${shape.length} dimensions.`);
    return size;
  }
  /** Steps between neighbours along each dimension, in elements. */
  stride(): number[] {
    return native().strides(handle(this));
  }
  /** Position of the first element in the storage, in elements. */
  storageOffset(): number {
    return native().storageOffset(handle(this));
  }
  /** Bytes of one element. */
  elementSize(): number {
    return native().elementSize(handle(this));
  }
  /** True when the elements lie in row-major order without gaps. */
  isContiguous(): boolean {
    return native().isContiguous(handle(this));
  }
  /** True for the floating-point dtypes. */
  isFloatingPoint(): boolean {
    const d = this.dtype;
    return d === "float32" || d === "float64" || d === "float16" || d === "bfloat16";
  }
  /** True for `complex64` and `complex128`. */
  isComplex(): boolean {
    return this.dtype.startsWith("complex");
  }

  /** The only element, as a number, boolean, or bigint beyond 2^53. Throws when there is more than one. */
  item(): number {
    try {
      return native().item(handle(this)) as number;
    } catch (error) {
      if (!this.isDisposed && this.device === "meta") throw noValues("The tensor");
      throw error;
    }
  }

  /** `Number(x)` is the value of a tensor with one element; `x + y` is an error that names the method to use. */
  [Symbol.toPrimitive](hint: string): number | string {
    if (hint === "string") return this.toString();
    if (hint === "number" && this.numel() === 1) return this.item();
    throw new TypeError(
      "JavaScript's operators do not work on tensors.\nUse the methods: `x.add(y)`, `x.sub(y)`, `x.mul(y)`, `x.div(y)`, `x.eq(y)`; to print one, a template literal or `x.item()`.",
    );
  }

  /** Frees this handle now. Using the tensor afterwards is an error; disposing twice is harmless. What autograd or views hold stays. */
  dispose(): void {
    native().release(handle(this));
  }
  [Symbol.dispose](): void {
    this.dispose();
  }
}
export interface Tensor extends TensorMethods {}

/** internal: the native handle of a tensor. */
export function handleOf(tensor: Tensor): Handle {
  return handle(tensor);
}

/** internal: gives a tensor that has none yet its handle. */
export function giveHandle(tensor: Tensor, native: Handle): void {
  setHandle(tensor, native);
}

/** internal: true for what the addon returns as a tensor handle; its other results are primitives and arrays. */
export function isHandle(value: unknown): value is Handle {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** internal: a new Tensor around a handle. */
export function wrapHandle(native: Handle): Tensor {
  return new Tensor(native);
}

/** internal: the same for what may be absent. */
export function wrapOptional(native: Handle | null | undefined): Tensor | null {
  return native === null || native === undefined ? null : new Tensor(native);
}
