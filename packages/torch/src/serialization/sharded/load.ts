// A checkpoint that is spread over the files of a folder, as one value.
import { operator } from "../../ops.js";
import { Tensor } from "../../tensor.js";
import { readArchive } from "../archive.js";
import type { ByteSource } from "../byte-source.js";
import { damaged } from "../damaged.js";
import { type Reading, readWaiting } from "../reading.js";
import { type Place, readShardedIndex, type ShardedTensor, type StatePath } from "./metadata.js";

const mostIndexBytes = 1 << 30;

/**
 * Loads a checkpoint that PyTorch's distributed checkpoint (`torch.distributed.checkpoint`) has written: tensors whole, on the CPU. `open`
 * opens a file of the folder by its name, such as `.metadata` or `__0_0.distcp`. Checked like `load`.
 */
export async function loadSharded(
  open: (name: string) => Promise<ByteSource>,
  where: string,
): Promise<Record<string, unknown>> {
  using files = new OpenFiles(open);
  const metadata = await files.get(".metadata");
  if (metadata.size > mostIndexBytes) throw damaged(where, `its index has ${metadata.size} bytes.`);
  const index = readShardedIndex(new Uint8Array(await metadata.read(0, metadata.size)), `${where}: the index`);
  const state = new Assembly(index.values.length + index.tensors.length, where);
  for (const { path, place } of index.values) state.put(path, await files.value(place));
  for (const { path, tensor } of index.tensors) state.put(path, await whole(files, tensor, where));
  return state.finish();
}

async function whole(files: OpenFiles, tensor: ShardedTensor, where: string): Promise<Tensor> {
  const { dtype, shape, chunks } = tensor;
  let result: Tensor | undefined;
  for (const { offsets, sizes, place } of chunks) {
    const part = await files.value(place);
    const fits = part instanceof Tensor && part.dtype === dtype && part.shape.join() === sizes.join();
    if (!fits)
      throw damaged(
        where,
        `the bytes ${place.offset} of ${place.file} are not the part of a tensor that belongs there.`,
      );
    if (sizes.join() === shape.join()) return part;
    result ??= operator("aten", "empty")([...shape], { dtype }) as Tensor;
    let view = result;
    for (const [dim, size] of sizes.entries())
      view = operator("aten", "narrow")(view, dim, offsets[dim], size) as Tensor;
    operator("aten", "copy_")(view, part);
  }
  return result ?? (operator("aten", "empty")([...shape], { dtype }) as Tensor);
}

/** A state that is put together entry by entry. */
class Assembly {
  readonly root = Object.create(null) as Record<string, unknown>;
  readonly #containers = new Set<unknown>([this.root]);
  readonly #mostItems: number;
  readonly #where: string;

  constructor(mostItems: number, where: string) {
    this.#mostItems = mostItems;
    this.#where = where;
  }

  /** Puts a value where its path leads; objects and lists on the way are made. */
  put(path: StatePath, value: unknown): void {
    let holder: Record<string | number, unknown> = this.root;
    for (const [i, step] of path.entries()) {
      const fits = Array.isArray(holder)
        ? typeof step === "number" && step < this.#mostItems
        : typeof step === "string";
      if (!fits || !this.#containers.has(holder)) throw this.#fault(path);
      if (i === path.length - 1) {
        if (Object.hasOwn(holder, step)) throw this.#fault(path);
        holder[step] = value;
      } else {
        if (!Object.hasOwn(holder, step)) holder[step] = this.#container(typeof path[i + 1] === "number");
        holder = holder[step] as Record<string, unknown>;
      }
    }
  }
  /** The state, when no list has holes. */
  finish(): Record<string, unknown> {
    for (const container of this.#containers) {
      if (Array.isArray(container) && Object.keys(container).length !== container.length)
        throw damaged(this.#where, "an item of a list is missing.");
    }
    return this.root;
  }

  #container(isList: boolean): unknown {
    const container: unknown = isList ? [] : Object.create(null);
    this.#containers.add(container);
    return container;
  }
  #fault(path: StatePath): Error {
    return damaged(this.#where, `its entry ${JSON.stringify(path).slice(0, 200)} has no place among the others.`);
  }
}

class OpenFiles {
  readonly #open: (name: string) => Promise<ByteSource>;
  readonly #files = new Map<string, ByteSource>();

  constructor(open: (name: string) => Promise<ByteSource>) {
    this.#open = open;
  }

  async get(name: string): Promise<ByteSource> {
    let file = this.#files.get(name);
    if (!file) {
      file = await this.#open(name);
      this.#files.set(name, file);
    }
    return file;
  }
  /** The value that was saved in a part of a file. */
  async value({ file, offset, length }: Place): Promise<unknown> {
    const source = await this.get(file);
    if (offset + length > source.size) throw damaged(source.name, `it ends before byte ${offset + length}.`);
    const part = { name: `${source.name} (from byte ${offset})`, size: length };
    return await readWaiting(source, shifted(readArchive(part, "cpu"), offset));
  }
  [Symbol.dispose](): void {
    for (const file of this.#files.values()) void file.close?.();
  }
}

/** The same steps in a file in which the part begins later. */
function* shifted<T>(reading: Reading<T>, by: number): Reading<T> {
  for (let step = reading.next(); ; ) {
    if (step.done) return step.value;
    const [offset, length] = step.value;
    step = reading.next(yield [offset + by, length]);
  }
}
