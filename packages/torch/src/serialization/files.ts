// `save` and `load`: values with tensors in files that PyTorch reads and writes too, or in memory.
import { fileURLToPath } from "node:url";
import { typeError } from "../check.js";
import type { Device } from "../dtype.js";
import { ArchiveWriter, readArchive, readArchiveSync } from "./archive.js";
import { AtomicFile } from "./atomic-file.js";
import { FileSource, MemorySource } from "./byte-source.js";
import { checkMapLocation } from "./tensor-records.js";

/** How a checkpoint is loaded. */
export interface LoadOptions {
  /**
   * Where the tensors go: a device, or `"saved"` for the device that each was saved from. Default: the CPU.
   */
  mapLocation?: Device | "saved" | null | undefined;
  /** Accepted for likeness with PyTorch. Whatever it is, only data is loaded and no code ever runs. */
  weightsOnly?: boolean | null | undefined;
}

/**
 * Saves a value in PyTorch's format: `torch.load` in Python reads the file. The value may be made of tensors, numbers,
 * bigints, strings, booleans, null, arrays, `Tuple`s, maps, sets and plain objects. Whole numbers become ints (`PyFloat`
 * makes a float of one), objects and maps become dicts, tensors that share memory still share it when loaded, and a view
 * brings the whole memory it looks at (save a `clone()` to avoid that).
 *
 * The file is complete or not there at all: an existing file is replaced only when the new one is on the disk. The value is
 * read before the promise is returned, so it may change while the disk is waited for.
 *
 * Throws a `TypeError` that names the place of a value that cannot be saved, a `CheckpointError` with the system's `code`
 * when the file cannot be written.
 *
 *     await torch.save({ model: model.stateDict(), epoch: 3 }, "last.pt");
 */
export async function save(value: unknown, path: string | URL): Promise<void> {
  await writeFile(value, path).commit();
}

/**
 * `save` that reads the value piece by piece while it writes, so that the thread is never blocked for long. Nobody may change the
 * value before the promise resolves; `copyOf` makes a copy to save.
 *
 *     const saving = serialization.saveInBackground(serialization.copyOf(state), "last.pt");
 */
export async function saveInBackground(value: unknown, path: string | URL): Promise<void> {
  const name = checkPath(path);
  const archive = new ArchiveWriter(value);
  const file = new AtomicFile(name);
  try {
    for await (const piece of archivePieces(archive)) await file.writeAsync(piece);
  } catch (error) {
    file.abort();
    throw error;
  }
  await file.commit();
}

const pieceBytes = 4 << 20;

/** internal: the bytes of an archive in pieces of some megabytes. Each is memory of its own; other work runs between them. */
export async function* archivePieces(archive: ArchiveWriter): AsyncGenerator<Uint8Array> {
  let parts: Uint8Array[] = [];
  let size = 0;
  const steps = archive.writeInSteps((chunk) => {
    parts.push(chunk.slice());
    size += chunk.length;
  });
  for (const _ of steps) {
    if (size < pieceBytes) continue;
    yield Buffer.concat(parts);
    await new Promise(setImmediate);
    parts = [];
    size = 0;
  }
  if (size > 0) yield Buffer.concat(parts);
}

/** `save` that blocks the thread until the file is on the disk. */
export function saveSync(value: unknown, path: string | URL): void {
  writeFile(value, path).commitSync();
}

function writeFile(value: unknown, path: string | URL): AtomicFile {
  const name = checkPath(path);
  const archive = new ArchiveWriter(value);
  const file = new AtomicFile(name);
  try {
    archive.write((chunk) => file.write(chunk));
  } catch (error) {
    file.abort();
    throw error;
  }
  return file;
}

/**
 * Loads what `save`, or `torch.save` in Python (1.6 or newer), has written. Dicts whose keys are all strings become plain
 * objects without a prototype, other dicts Maps; tuples become `Tuple`s; ints beyond 2^53 bigints; bytes Uint8Arrays; dtypes
 * and devices strings. Parameters come back as `nn.Parameter`s. As always in JavaScript, keys that look like array indices
 * (`"0"`) come first in an object.
 *
 * The file is taken for hostile: checksums and all sizes are verified, nothing in it can run code, and names of classes
 * and functions other than those of tensors are refused. Throws a `CheckpointError` that names the file and the fault.
 *
 *     const state = await torch.load("last.pt");
 */
export async function load(path: string | URL, options: LoadOptions = {}): Promise<unknown> {
  const mapLocation = checkOptions(options);
  const source = new FileSource(checkPath(path));
  try {
    return await readArchive(source, mapLocation);
  } finally {
    await source.close();
  }
}

/** `load` that blocks the thread. */
export function loadSync(path: string | URL, options: LoadOptions = {}): unknown {
  const mapLocation = checkOptions(options);
  const source = new FileSource(checkPath(path));
  try {
    return readArchiveSync(source, mapLocation);
  } finally {
    source.closeSync();
  }
}

/** The bytes of the file that `save` would write. */
export function serialize(value: unknown): Uint8Array {
  const archive = new ArchiveWriter(value);
  const bytes = new Uint8Array(archive.bound);
  let length = 0;
  archive.write((chunk) => {
    bytes.set(chunk, length);
    length += chunk.length;
  });
  return bytes.subarray(0, length);
}

/** The value in bytes that `serialize` made or that were read from a checkpoint; checked like `load`. */
export function deserialize(bytes: Uint8Array | ArrayBuffer, options: LoadOptions = {}): unknown {
  const mapLocation = checkOptions(options);
  if (bytes instanceof ArrayBuffer) return readArchiveSync(new MemorySource(new Uint8Array(bytes)), mapLocation);
  if (!(bytes instanceof Uint8Array)) throw typeError("bytes", "a Uint8Array or an ArrayBuffer", bytes);
  return readArchiveSync(new MemorySource(bytes), mapLocation);
}

function checkPath(path: unknown): string {
  if (path instanceof URL) return fileURLToPath(path);
  if (typeof path === "string" && path !== "" && !path.includes("\0")) return path;
  throw typeError("path", "the path of a file", path, "The value comes first: save(value, path).");
}

function checkOptions(options: LoadOptions): ReturnType<typeof checkMapLocation> {
  if (typeof options !== "object" || options === null) throw typeError("options", "an object", options);
  const { weightsOnly } = options;
  if (weightsOnly !== undefined && weightsOnly !== null && typeof weightsOnly !== "boolean") {
    throw typeError("weightsOnly", "a boolean or null", weightsOnly);
  }
  return checkMapLocation(options.mapLocation);
}
