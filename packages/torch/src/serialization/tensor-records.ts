// Tensors to records and back. Writing: each storage once, however many tensors view it. Reading: one storage for all its
// views, checked before any memory is taken.
import { describe as describeValue } from "../check.js";
import { type Device, type Dtype, dtypes, itemSize } from "../dtype.js";
import { UsageError } from "../errors.js";
import { native } from "../native.js";
import { Parameter } from "../nn/parameter.js";
import { operator } from "../ops.js";
import { isQuantizedDtype } from "../target.js";
import { handleOf, Tensor, wrapHandle } from "../tensor.js";
import { damaged, refused } from "./damaged.js";
import { viewFault } from "./pickle-globals.js";
import type { PyStorage, PyTensor } from "./pickle-graph.js";
import type { TensorRecord } from "./pickle-writer.js";

interface SavedStorage {
  key: string;
  tensor: Tensor;
  dtype: Dtype;
  nbytes: number;
}

// Copied out of the storage a piece at a time; small enough to be still in the cache when the checksum is taken.
const chunkBytes = 1 << 20;

/** internal: collects the storages of the tensors in a value, then yields their bytes. */
export class StorageTable {
  readonly #byIdentity = new Map<bigint, SavedStorage>();
  readonly #storages: SavedStorage[] = [];

  /** Storages in the order in which they are written. */
  get records(): readonly { key: string; nbytes: number }[] {
    return this.#storages;
  }

  /** The description of a tensor for the pickle, or null when `value` is no tensor. */
  describe(value: object, path: () => string): TensorRecord | null {
    if (!(value instanceof Tensor)) return null;
    try {
      return this.#describe(value, path);
    } catch (error) {
      if (error instanceof TypeError || !(error instanceof Error)) throw error;
      if (value.isDisposed) {
        throw new UsageError(`${path()} is a tensor that has been disposed, so it cannot be saved.`, {
          code: "ERR_DISPOSED",
          hint: "Save before `dispose()`, before its `using` block or `scope()` ends, or return it from the scope.",
          cause: error,
        });
      }
      throw new TypeError(`${path()} is a tensor that cannot be saved: ${error.message}`, { cause: error });
    }
  }

  #describe(value: Tensor, path: () => string): TensorRecord {
    const tensor = withoutLazyBits(value);
    const { dtype, device } = tensor;
    if (!dtypes.includes(dtype)) {
      const convert = isQuantizedDtype(dtype) ? ".dequantize()" : '.to("float32")';
      throw new TypeError(`${path()} is a tensor of ${dtype}, which cannot be saved.\nConvert it first: ${convert}.`);
    }
    if (device === "meta") {
      throw new TypeError(
        `${path()} is a tensor on the meta device, which has no elements to save.\nGive its module memory and values first: module.toEmpty({ device: "cpu" }).`,
      );
    }
    const storage = this.#storage(tensor, dtype, path);
    return {
      key: storage.key,
      dtype,
      location: device,
      numel: storage.nbytes / itemSize(dtype),
      offset: tensor.storageOffset(),
      shape: tensor.shape,
      strides: tensor.stride(),
      requiresGrad: value.requiresGrad,
      isParameter: value instanceof Parameter,
    };
  }

  #storage(tensor: Tensor, dtype: Dtype, path: () => string): SavedStorage {
    const info = native().storageInfo(handleOf(tensor));
    const known = info.nbytes > 0 ? this.#byIdentity.get(info.key) : undefined;
    if (known) {
      if (known.dtype === dtype) return known;
      throw new TypeError(
        `${path()} is a tensor of ${dtype} that shares its memory with a tensor of ${known.dtype}, which the format cannot express.\n` +
          "Save a copy of one of them: .clone().",
      );
    }
    const nbytes = info.nbytes - (info.nbytes % itemSize(dtype));
    const made = { key: String(this.#storages.length), tensor, dtype, nbytes };
    this.#storages.push(made);
    this.#byIdentity.set(info.key, made);
    return made;
  }

  /** The bytes of a storage, in pieces that are valid until the next one. */
  *chunks(key: string): Generator<Uint8Array> {
    const { tensor, nbytes } = this.#storages[Number(key)];
    const handle = handleOf(tensor);
    // A copy from another device costs the same whether it is large or small.
    const step = tensor.device === "cpu" ? chunkBytes : 64 * chunkBytes;
    for (let at = 0; at < nbytes; at += step) {
      yield new Uint8Array(native().readStorage(handle, at, Math.min(step, nbytes - at)));
    }
  }
}

// A conjugate or negative view holds the elements of another tensor; what is saved are its own.
/** internal: a tensor whose own memory holds its elements. */
export function withoutLazyBits(tensor: Tensor): Tensor {
  let result = tensor;
  if (tensor.isComplex() && operator("aten", "is_conj")(result))
    result = operator("aten", "resolve_conj")(result) as Tensor;
  if (operator("aten", "is_neg")(result)) result = operator("aten", "resolve_neg")(result) as Tensor;
  return result;
}

/** internal: where loaded tensors go: a device, or "saved" for the device that each was saved from. */
export type MapLocation = Device | "saved";

/** internal: checks `mapLocation` and gives it its default, the CPU. */
export function checkMapLocation(value: unknown): MapLocation {
  if (value === undefined || value === null) return "cpu";
  if (typeof value === "string" && /^(saved|cpu|meta|(cuda|mps)(:\d+)?)$/.test(value)) return value as MapLocation;
  throw new TypeError(
    `Expected \`mapLocation\` to be a device or "saved", but got ${describeValue(value)}.\nPass "cpu", "cuda:0" or the like.`,
  );
}

/** internal: where tensors go whose file does not tell a device. */
export function deviceFor(mapLocation: MapLocation): Device {
  return mapLocation === "saved" ? "cpu" : mapLocation;
}

/** internal: a storage of a file and the tensors that view it. */
export interface StorageUse {
  storage: PyStorage;
  dtype: Dtype;
  views: PyTensor[];
}

/**
 * internal: groups the tensors of a file by storage. `sizeOf` tells the bytes of a record in the file, null when it is
 * missing. All sizes, offsets and strides are checked against it.
 */
export function planStorages(
  tensors: readonly PyTensor[],
  sizeOf: (key: string) => number | null,
  where: string,
): Map<string, StorageUse> {
  const uses = new Map<string, StorageUse>();
  for (const tensor of tensors) {
    const { storage, dtype } = tensor;
    let use = uses.get(storage.key);
    if (!use) {
      const bytes = sizeOf(storage.key);
      if (bytes === null) throw damaged(where, `the record "data/${storage.key}" of a tensor is missing.`);
      const declared = storage.numel * (storage.dtype === "untyped" ? 1 : itemSize(storage.dtype));
      if (declared !== bytes) {
        throw damaged(
          where,
          `a tensor's storage should have ${declared} bytes, but the record "data/${storage.key}" has ${bytes}.`,
        );
      }
      use = { storage, dtype, views: [] };
      uses.set(storage.key, use);
    }
    const same =
      use.storage.dtype === storage.dtype &&
      use.storage.numel === storage.numel &&
      use.storage.location === storage.location;
    if (!same) throw damaged(where, `the record "data/${storage.key}" is described in two ways.`);
    if (use.dtype !== dtype) {
      throw refused(
        where,
        `the record "data/${storage.key}" is used as ${use.dtype} and as ${dtype}.`,
        "Save copies of such tensors: .clone().",
      );
    }
    const fault = viewFault(tensor, storage.dtype === "untyped" ? storage.numel : storage.numel * itemSize(dtype));
    if (fault !== null) throw damaged(where, `a tensor in the record "data/${storage.key}" has ${fault}.`);
    use.views.push(tensor);
  }
  return uses;
}

/** internal: true for devices that a tensor can be put back on. */
export function isKnownLocation(location: string): location is Device {
  return /^(cpu|(cuda|mps)(:\d{1,4})?)$/.test(location);
}

/** internal: makes the tensors of one storage from its bytes and puts them into their descriptions. */
export function makeViews(use: StorageUse, bytes: Uint8Array, mapLocation: MapLocation, where: string): void {
  const { location } = use.storage;
  if (mapLocation === "saved" && !isKnownLocation(location)) {
    throw refused(
      where,
      `a tensor was saved from the device ${describeValue(location)}, which is not known.`,
      'Name a device: { mapLocation: "cpu" }.',
    );
  }
  const device = mapLocation === "saved" ? (location as Device) : mapLocation;
  const { dtype } = use;
  const count = Math.floor(bytes.length / itemSize(dtype));
  const whole = bytes.subarray(0, count * itemSize(dtype));
  const lone = use.views.length === 1 && coversAll(use.views[0], count) ? use.views[0] : null;
  let base = wrapHandle(native().fromBytes(whole, dtype, lone ? [...lone.shape] : [count]));
  if (device !== "cpu") base = operator("aten", "to.dtype_layout")(base, { device }) as Tensor;
  for (const view of use.views) view.made = finishTensor(lone ? base : asView(base, view), view);
}

/** True when a view is the whole storage in row-major order. */
function coversAll(view: PyTensor, count: number): boolean {
  if (view.offset !== 0) return false;
  let step = 1;
  for (let i = view.shape.length - 1; i >= 0; i--) {
    if (view.shape[i] !== 1 && view.strides[i] !== step) return false;
    step *= view.shape[i];
  }
  return step === count && count > 0;
}

function asView(base: Tensor, view: PyTensor): Tensor {
  const strided = operator("aten", "as_strided")(base, [...view.shape], [...view.strides], view.offset) as Tensor;
  // Independent tensors that share memory, as they were before saving, rather than views that autograd relates.
  return wrapHandle(native().data(handleOf(strided)));
}

function finishTensor(tensor: Tensor, view: PyTensor): Tensor {
  let result = tensor;
  if (view.isConj) result = operator("aten", "_conj")(result) as Tensor;
  if (view.isNeg) result = operator("aten", "_neg_view")(result) as Tensor;
  if (view.isParameter) return new Parameter(result, view.requiresGrad);
  if (view.requiresGrad) result.requiresGrad = true;
  return result;
}
