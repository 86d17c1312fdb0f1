// A copy of what is to be saved, on the CPU, so that training may change the original while the copy is being written.
import { type Dtype, dtypes, itemSize } from "../dtype.js";
import { native } from "../native.js";
import { Parameter } from "../nn/parameter.js";
import { operator } from "../ops.js";
import { handleOf, recordTensors, Tensor, wrapHandle } from "../tensor.js";
import { markedFloats, markFloats, Tuple } from "./python-types.js";
import { withoutLazyBits } from "./tensor-records.js";

/**
 * Copies a value that can be saved: arrays, maps, sets and plain objects anew, tensors to the CPU. Tensors that share memory do so
 * in the copy. Other objects are taken over as they are.
 */
export function copyOf<T>(value: T): T {
  // The copy outlives any `scope()` around the call.
  const open = recordTensors(null);
  try {
    return new Copier().copy(value) as T;
  } finally {
    recordTensors(open);
  }
}

class Copier {
  readonly #made = new Map<object, unknown>();
  readonly #storages = new Map<string, Tensor>();

  copy(value: unknown): unknown {
    if (typeof value !== "object" && !(value instanceof Tensor)) return value;
    if (value === null) return value;
    const known = this.#made.get(value);
    if (known !== undefined) return known;
    if (value instanceof Tensor) return this.#remember(value, this.#tensor(value));
    if (Array.isArray(value)) {
      const copy: unknown[] = this.#remember(value, value instanceof Tuple ? Tuple.from(value) : [...value]);
      for (let i = 0; i < copy.length; i++) copy[i] = this.copy(copy[i]);
      return this.#marked(value, copy);
    }
    if (value instanceof Map) {
      const copy = this.#remember(value, new Map<unknown, unknown>());
      for (const [key, item] of value) copy.set(key, this.copy(item));
      return copy;
    }
    if (value instanceof Set) return this.#remember(value, new Set(value));
    if (value instanceof Uint8Array) return this.#remember(value, value.slice());
    const prototype: unknown = Object.getPrototypeOf(value);
    if (prototype !== null && prototype !== Object.prototype) return value;
    const copy = this.#remember(value, Object.create(prototype as object | null) as object);
    for (const [key, item] of Object.entries(value)) {
      const copied = { value: this.copy(item), writable: true, enumerable: true, configurable: true };
      Object.defineProperty(copy, key, copied);
    }
    return this.#marked(value, copy);
  }

  #remember<V>(original: object, copy: V): V {
    this.#made.set(original, copy);
    return copy;
  }
  #marked<V extends object>(original: object, copy: V): V {
    const floats = markedFloats(original);
    return floats === undefined ? copy : markFloats(copy, floats);
  }

  #tensor(original: Tensor): Tensor {
    const { requiresGrad } = original;
    const data = this.#data(withoutLazyBits(original));
    if (original instanceof Parameter) return new Parameter(data, requiresGrad);
    if (requiresGrad) data.requiresGrad = true;
    return data;
  }

  #data(tensor: Tensor): Tensor {
    const plain = wrapHandle(native().data(handleOf(tensor)));
    // Saving will say what is wrong with these.
    if (!dtypes.includes(plain.dtype as Dtype) || plain.device === "meta") return plain;
    const { key, nbytes } = native().storageInfo(handleOf(plain));
    const name = `${plain.device} ${key} ${plain.dtype}`;
    let whole = nbytes === 0 ? undefined : this.#storages.get(name);
    if (!whole) {
      const count = Math.floor(nbytes / itemSize(plain.dtype as Dtype));
      const flat = operator("aten", "as_strided")(plain, [count], [1], 0) as Tensor;
      whole = operator("aten", "_to_copy")(flat, { device: "cpu" }) as Tensor;
      this.#storages.set(name, whole);
    }
    const view = operator("aten", "as_strided")(whole, plain.shape, plain.stride(), plain.storageOffset()) as Tensor;
    return wrapHandle(native().data(handleOf(view)));
  }
}
