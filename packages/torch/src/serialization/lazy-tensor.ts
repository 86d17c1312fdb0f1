// Tensors that are read from a file when they are used. Until then they know their dtype, shape and the like; afterwards they are
// tensors like any others, the same objects.
import { inspect } from "node:util";
import { type Device, type Dtype, itemSize } from "../dtype.js";
import { UsageError } from "../errors.js";
import type { Handle } from "../native.js";
import { Parameter } from "../nn/parameter.js";
import { giveHandle, handleOf, onFirstUse, recordTensors, Tensor } from "../tensor.js";

/** internal: what is known of a tensor before it is read. */
export interface LazyInfo {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
  readonly offset: number;
  /** The device that it was saved from. */
  readonly device: Device;
  readonly requiresGrad: boolean;
  readonly isParameter: boolean;
  readonly reader: LazyReader;
}

/** internal: reads a tensor, or several at once, and hands them to `fulfil`. */
export interface LazyReader {
  readBlocking(): void;
  readWaiting(): Promise<void>;
}

const waiting = new WeakMap<Tensor, LazyInfo>();
const dropped = new WeakSet<Tensor>();

function infoOf(tensor: Tensor): LazyInfo {
  const info = waiting.get(tensor);
  if (info) return info;
  throw new UsageError("A tensor that was to be read from a file has been disposed.", { code: "ERR_DISPOSED" });
}

class LazyTensor extends Tensor {
  override get shape(): number[] {
    return [...infoOf(this).shape];
  }
  override get dtype(): Dtype {
    return infoOf(this).dtype;
  }
  override get device(): Device {
    return infoOf(this).device;
  }
  override get ndim(): number {
    return infoOf(this).shape.length;
  }
  override get requiresGrad(): boolean {
    return infoOf(this).requiresGrad;
  }
  override set requiresGrad(value: boolean) {
    super.requiresGrad = value;
  }
  override get isLeaf(): boolean {
    return true;
  }
  override get gradFn(): null {
    return null;
  }
  override get grad(): Tensor | null {
    return null;
  }
  override set grad(value: Tensor | null) {
    super.grad = value;
  }
  // Files hold no others.
  override get isSparse(): boolean {
    return false;
  }
  override get isDisposed(): boolean {
    return dropped.has(this);
  }
  override numel(): number {
    return infoOf(this).shape.reduce((product, size) => product * size, 1);
  }
  override stride(): number[] {
    return [...infoOf(this).strides];
  }
  override storageOffset(): number {
    return infoOf(this).offset;
  }
  override elementSize(): number {
    return itemSize(infoOf(this).dtype);
  }
  override isContiguous(): boolean {
    const { shape, strides } = infoOf(this);
    return this.numel() === 0 || contiguousStrides(shape).every((step, i) => shape[i] === 1 || strides[i] === step);
  }
  override dispose(): void {
    waiting.delete(this);
    dropped.add(this);
  }
  override toString(): string {
    if (this.isDisposed) return "tensor(<disposed>)";
    const { shape, dtype, device } = infoOf(this);
    return `tensor(<not read yet>, size=[${shape.join(", ")}], dtype=${dtype}, device=${device})`;
  }
  [inspect.custom](): string {
    return this.toString();
  }
}

// Instances of `Parameter`, as parameters are, with the members of a LazyTensor.
function LazyParameter(): void {}
LazyParameter.prototype = Object.create(Parameter.prototype, {
  ...Object.getOwnPropertyDescriptors(LazyTensor.prototype),
  toString: {
    value(this: Tensor): string {
      return `Parameter containing:\n${LazyTensor.prototype.toString.call(this)}`;
    },
  },
}) as object;

/** internal: a tensor that is read when it is used. */
export function lazyTensor(info: LazyInfo): Tensor {
  const kind = info.isParameter ? LazyParameter : LazyTensor;
  const tensor = Reflect.construct(Tensor, [null], kind) as Tensor;
  waiting.set(tensor, info);
  return tensor;
}

/** internal: what has been read takes the place of what was waiting. Does nothing for tensors that are not waiting. */
export function fulfil(tensor: Tensor, handle: Handle): void {
  const info = waiting.get(tensor);
  if (!info) return;
  waiting.delete(tensor);
  giveHandle(tensor, handle);
  Object.setPrototypeOf(tensor, info.isParameter ? Parameter.prototype : Tensor.prototype);
}

/** internal: how a tensor will be read; undefined for tensors that have been. */
export function readerOf(tensor: Tensor): LazyReader | undefined {
  return waiting.get(tensor)?.reader;
}

/** internal: the steps of a tensor in row-major order. */
export function contiguousStrides(shape: readonly number[]): number[] {
  const strides: number[] = [];
  let step = 1;
  for (const size of [...shape].reverse()) {
    strides.unshift(step);
    step *= Math.max(size, 1);
  }
  return strides;
}

onFirstUse((tensor) => {
  const { reader } = infoOf(tensor);
  // What is made meanwhile must outlive any `scope()` around the first use.
  const open = recordTensors(null);
  try {
    reader.readBlocking();
  } finally {
    recordTensors(open);
  }
  if (waiting.has(tensor)) throw new Error("internal: a tensor was not read");
  return handleOf(tensor);
});
