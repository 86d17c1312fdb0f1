// `lazyLoad`: the value in a file at once, its tensors when they are used.
import { handleOf, Tensor } from "../tensor.js";
import { type OpenArchive, openArchive } from "./archive.js";
import { type ByteSource, openSource } from "./byte-source.js";
import { checkOptions, type LoadOptions, loadHint } from "./files.js";
import { fulfil, type LazyReader, lazyTensor, readerOf } from "./lazy-tensor.js";
import type { PyTensor } from "./pickle-graph.js";
import { finishGraph } from "./pickle-reader.js";
import { type Reading, readWaiting } from "./reading.js";
import { isSafetensors } from "./safetensors/contents.js";
import { readStateLazily } from "./safetensors/state-files.js";
import { SharedSource } from "./shared-source.js";
import { deviceFor, isKnownLocation, type MapLocation, makeViews, type StorageUse } from "./tensor-records.js";

/**
 * Loads what `load` loads, except for the elements of tensors: each tensor is read when it is used for the first time, by an operator or
 * `to`, `contiguous`, `clone` and the like. Before, it knows its `dtype`, `shape`, `requiresGrad` and so on; its `device` is the one that
 * it was saved from. Checksums are verified when a tensor is read. The file stays open until all tensors are read or forgotten, and may be
 * replaced meanwhile.
 *
 *     const state = (await serialization.lazyLoad("large.pt")) as { model: nn.StateDict };
 *     model.layer.weight.data = state.model["layer.weight"].clone(); // reads this one
 */
export async function lazyLoad(path: string | URL | ByteSource, options: LoadOptions = {}): Promise<unknown> {
  const mapLocation = checkOptions(options);
  const source = openSource(path, loadHint);
  try {
    return await readWaiting(source, openLazily(source, mapLocation));
  } catch (error) {
    await source.close?.();
    throw error;
  }
}

/** Reads all tensors in a value that `lazyLoad` gave, which is also what it returns. */
export async function materializeTensors<T>(value: T): Promise<T> {
  for (const tensor of tensorsIn(value, new Set())) await readerOf(tensor)?.readWaiting();
  return value;
}

function* openLazily(source: ByteSource, mapLocation: MapLocation): Reading<unknown> {
  if (yield* isSafetensors(source)) return yield* readStateLazily(source, deviceFor(mapLocation));
  const archive = yield* openArchive(source);
  return new LazyArchive(new SharedSource(source), archive, mapLocation).value;
}

function* tensorsIn(value: unknown, seen: Set<object>): Generator<Tensor> {
  if (typeof value !== "object" || value === null || seen.has(value)) return;
  seen.add(value);
  if (value instanceof Tensor) yield value;
  else if (Array.isArray(value) || value instanceof Set) for (const item of value) yield* tensorsIn(item, seen);
  else if (value instanceof Map) for (const item of value.values()) yield* tensorsIn(item, seen);
  else for (const item of Object.values(value)) yield* tensorsIn(item, seen);
}

class LazyArchive {
  readonly value: unknown;
  readonly source: SharedSource;
  readonly #archive: OpenArchive;
  readonly #mapLocation: MapLocation;
  readonly #storages = new Map<string, LazyStorage>();

  constructor(source: SharedSource, archive: OpenArchive, mapLocation: MapLocation) {
    this.source = source;
    this.#archive = archive;
    this.#mapLocation = mapLocation;
    this.value = finishGraph(archive.root, archive.where, (view) => this.#storage(view).placeholder(view));
    if (this.#storages.size === 0) source.close();
  }

  /** Makes the tensors of a record; after the last one the file is closed. */
  *read(key: string): Reading<void> {
    const { zip, where, uses } = this.#archive;
    makeViews(uses.get(key) as StorageUse, yield* zip.read(`data/${key}`), this.#mapLocation, where);
    this.#storages.delete(key);
    if (this.#storages.size === 0) this.source.close();
  }

  #storage({ storage: { key } }: PyTensor): LazyStorage {
    let storage = this.#storages.get(key);
    if (!storage) {
      storage = new LazyStorage(this, key);
      this.#storages.set(key, storage);
    }
    return storage;
  }
}

/** The tensors that share the memory of one record: they are read together, and share it then. */
class LazyStorage implements LazyReader {
  readonly #archive: LazyArchive;
  readonly #key: string;
  readonly #waiting = new Map<PyTensor, Tensor>();

  constructor(archive: LazyArchive, key: string) {
    this.#archive = archive;
    this.#key = key;
  }

  placeholder(view: PyTensor): Tensor {
    const { dtype, shape, strides, offset, requiresGrad, isParameter, storage } = view;
    const device = isKnownLocation(storage.location) ? storage.location : "cpu";
    const tensor = lazyTensor({ dtype, shape, strides, offset, device, requiresGrad, isParameter, reader: this });
    this.#waiting.set(view, tensor);
    return tensor;
  }
  readBlocking(): void {
    this.#archive.source.readBlocking(this.#read());
  }
  async readWaiting(): Promise<void> {
    await this.#archive.source.readWaiting(this.#read());
  }

  *#read(): Reading<void> {
    if (this.#waiting.size === 0) return;
    yield* this.#archive.read(this.#key);
    for (const [view, tensor] of this.#waiting) fulfil(tensor, handleOf(view.made as Tensor));
    this.#waiting.clear();
  }
}
