// The index of a folder that PyTorch's distributed checkpoint has written: which tensors there are, and in which bytes of which files
// their parts are. It is a pickle; its classes are read as plain records, after the same allow-list as everything else.
import { type Dtype, itemSize } from "../../dtype.js";
import { damaged, refused } from "../damaged.js";
import { PyDict, PyGlobal, PyRecord } from "../pickle-graph.js";
import { readPickle } from "../pickle-reader.js";
import { Tuple } from "../python-types.js";

/** internal: a run of bytes in one of the folder's files. */
export interface Place {
  readonly file: string;
  readonly offset: number;
  readonly length: number;
}

/** internal: a box of a tensor's elements. */
export interface Chunk {
  readonly offsets: readonly number[];
  readonly sizes: readonly number[];
  readonly place: Place;
}

/** internal: a tensor that is spread over chunks. */
export interface ShardedTensor {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly chunks: readonly Chunk[];
}

/** internal: where in the state an entry belongs: keys of dicts, and numbers for lists. */
export type StatePath = readonly (string | number)[];

/** internal: an index, checked. */
export interface ShardedIndex {
  readonly tensors: { path: StatePath; tensor: ShardedTensor }[];
  /** Everything that is no tensor. */
  readonly values: { path: StatePath; place: Place }[];
}

const records = new Set([
  ...["Metadata", "TensorStorageMetadata", "BytesStorageMetadata", "ChunkStorageMetadata", "TensorProperties"].map(
    inMetadata,
  ),
  ...["_MEM_FORMAT_ENCODING", "MetadataIndex", "StorageMeta"].map(inMetadata),
  "torch.distributed.checkpoint.filesystem._StorageInfo",
  "torch.distributed._shard.sharded_tensor.metadata.TensorProperties",
  "torch.distributed._shard.sharded_tensor.metadata.MEM_FORMAT_ENCODING",
  "torch.serialization._get_layout",
  "pathlib.PosixPath",
  "pathlib.WindowsPath",
  "pathlib._local.PosixPath",
  "pathlib._local.WindowsPath",
  // How Python 3.11 pickles the members of an enumeration.
  "builtins.getattr",
]);

function inMetadata(name: string): string {
  return `torch.distributed.checkpoint.metadata.${name}`;
}

const safePath = /^[A-Za-z0-9_-][A-Za-z0-9._-]*(\/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$/;
const mostDimensions = 64;
// Each part is compared with the others. One for each process is what strategies write.
const mostParts = 10_000;

/** internal: reads the pickle `.metadata`. */
export function readShardedIndex(bytes: Uint8Array, where: string): ShardedIndex {
  return new IndexReader(where).read(readPickle(bytes, where, records).root);
}

class IndexReader {
  readonly #where: string;
  readonly #places = new Map<string, Place>();

  constructor(where: string) {
    this.#where = where;
  }

  read(root: unknown): ShardedIndex {
    const metadata = this.#fields(root, "Metadata");
    for (const [key, value] of this.#entries(metadata.get("storage_data"))) this.#readPlace(key, value);
    const paths = new Map<string, StatePath>();
    const planner = metadata.get("planner_data");
    if (planner instanceof PyDict)
      for (const [name, path] of this.#entries(planner)) paths.set(this.#text(name), this.#path(path));
    const index: ShardedIndex = { tensors: [], values: [] };
    for (const [key, value] of this.#entries(metadata.get("state_dict_metadata"))) {
      const name = this.#text(key);
      const path = paths.get(name) ?? [name];
      if (this.#isOf(value, "BytesStorageMetadata")) index.values.push({ path, place: this.#place(name, []) });
      else index.tensors.push({ path, tensor: this.#tensor(name, value) });
    }
    return index;
  }

  #tensor(name: string, value: unknown): ShardedTensor {
    const fields = this.#fields(value, "TensorStorageMetadata");
    const shape = this.#sizes(fields.get("size"));
    const dtype = this.#dtype(name, fields.get("properties"));
    const chunks = this.#list(fields.get("chunks")).map((chunk): Chunk => {
      const parts = this.#fields(chunk, "ChunkStorageMetadata");
      const offsets = this.#sizes(parts.get("offsets"));
      const sizes = this.#sizes(parts.get("sizes"));
      const place = this.#place(name, offsets);
      const isInside =
        sizes.length === shape.length &&
        offsets.length === shape.length &&
        shape.every((size, i) => (offsets[i] as number) + (sizes[i] as number) <= size);
      if (!isInside) throw this.#fault(`a part of ${shown(name)} lies outside of it`);
      if (product(sizes) * itemSize(dtype) > place.length)
        throw this.#fault(`a part of ${shown(name)} has too few bytes`);
      return { offsets, sizes, place };
    });
    if (chunks.length > mostParts)
      throw refused(
        this.#where,
        `${shown(name)} has ${chunks.length} parts; at most ${mostParts} are read.`,
        "Save it again from fewer processes.",
      );
    if (!covers(shape, chunks)) throw this.#fault(`the parts of ${shown(name)} do not make the whole of it`);
    return { dtype, shape, chunks };
  }

  #dtype(name: string, value: unknown): Dtype {
    const state = value instanceof PyRecord ? value.state : null;
    // A tuple of dtype, layout, requires_grad, memory format, pin_memory.
    const [dtype, layout] = state instanceof Tuple ? state : [];
    if (!(dtype instanceof PyGlobal) || dtype.meaning.dtype === undefined)
      throw refused(
        this.#where,
        `${shown(name)} has an element type that the engine does not have.`,
        "Convert it first.",
      );
    if (!(layout instanceof PyRecord) || layout.args[0] !== "torch.strided")
      throw refused(this.#where, `${shown(name)} is no dense tensor.`, "Convert it first: .to_dense().");
    return dtype.meaning.dtype;
  }

  #readPlace(key: unknown, value: unknown): void {
    const index = this.#fields(key, "MetadataIndex");
    const info = this.#fields(value, "_StorageInfo");
    const offsets = index.get("offset");
    const transforms = info.get("transform_descriptors");
    if (transforms !== undefined && transforms !== null)
      throw refused(this.#where, "its files are compressed.", "Save it again without extensions of the storage.");
    const file = this.#text(info.get("relative_path"));
    if (!safePath.test(file))
      throw refused(this.#where, `it names the file ${shown(file)}.`, "Only files inside of the folder are read.");
    const place = { file, offset: this.#count(info.get("offset")), length: this.#count(info.get("length")) };
    const isBytes = offsets === undefined || offsets === null;
    this.#places.set(placeKey(this.#text(index.get("fqn")), isBytes ? [] : this.#sizes(offsets)), place);
  }
  #place(name: string, offsets: readonly number[]): Place {
    const place = this.#places.get(placeKey(name, offsets));
    if (place) return place;
    throw this.#fault(`it does not say where ${shown(name)} is`);
  }

  #isOf(value: unknown, name: string): value is PyRecord {
    return value instanceof PyRecord && value.name.endsWith(`.${name}`);
  }
  #fields(value: unknown, name: string): Map<unknown, unknown> {
    if (!this.#isOf(value, name)) throw this.#fault(`something else stands where a ${name} belongs`);
    return new Map(value.state === null ? [] : this.#entries(value.state));
  }
  #entries(value: unknown): [unknown, unknown][] {
    if (!(value instanceof PyDict)) throw this.#fault("something else stands where a dict belongs");
    const entries: [unknown, unknown][] = [];
    for (let i = 0; i < value.items.length; i += 2) entries.push([value.items[i], value.items[i + 1]]);
    return entries;
  }
  #list(value: unknown): readonly unknown[] {
    if (Array.isArray(value)) return value;
    throw this.#fault("something else stands where a list belongs");
  }
  #text(value: unknown): string {
    if (typeof value === "string") return value;
    throw this.#fault("something else stands where text belongs");
  }
  #count(value: unknown): number {
    if (Number.isSafeInteger(value) && (value as number) >= 0) return value as number;
    throw this.#fault("something else stands where a size belongs");
  }
  #sizes(value: unknown): number[] {
    const sizes = this.#list(value).map((size) => this.#count(size));
    if (sizes.length > mostDimensions || !Number.isSafeInteger(8 * product(sizes.map((size) => Math.max(size, 1)))))
      throw this.#fault("a tensor has a shape that is too large");
    return sizes;
  }
  #path(value: unknown): StatePath {
    const path = this.#list(value);
    const isPath = path.every(
      (step) => typeof step === "string" || (Number.isSafeInteger(step) && (step as number) >= 0),
    );
    if (path.length === 0 || path.length > 100 || !isPath) throw this.#fault("an entry has no place in the state");
    return path as StatePath;
  }
  #fault(what: string): Error {
    return damaged(this.#where, `${what}.`);
  }
}

function placeKey(name: string, offsets: readonly number[]): string {
  return JSON.stringify([name, ...offsets]);
}
function product(sizes: readonly number[]): number {
  return sizes.reduce((total, size) => total * size, 1);
}

/** True when boxes that lie inside of a shape fill it: as many elements, and none in two of them. */
function covers(shape: readonly number[], chunks: readonly Chunk[]): boolean {
  const filled = chunks.filter(({ sizes }) => product(sizes) > 0);
  if (filled.reduce((total, { sizes }) => total + product(sizes), 0) !== product(shape)) return false;
  return filled.every((a, i) => filled.slice(i + 1).every((b) => areApart(a, b)));
}
function areApart(a: Chunk, b: Chunk): boolean {
  return a.offsets.some((start, i) => {
    const other = b.offsets[i] as number;
    return start + (a.sizes[i] as number) <= other || other + (b.sizes[i] as number) <= start;
  });
}

function shown(name: string): string {
  return JSON.stringify(name.length > 100 ? `${name.slice(0, 97)}...` : name);
}
