// `save` and `load`: values with tensors in files that PyTorch reads and writes too, or in memory.
import { typeError } from "../check.js";
import type { Device } from "../dtype.js";
import { ArchiveWriter, readArchive } from "./archive.js";
import { AtomicFile } from "./atomic-file.js";
import { type ByteSource, checkPath, MemorySource, openSource } from "./byte-source.js";
import { type Reading, readAndClose, readAndCloseBlocking, readBlocking } from "./reading.js";
import { isSafetensors } from "./safetensors/contents.js";
import { readState, statePieces } from "./safetensors/state-files.js";
import { checkMapLocation, deviceFor, type MapLocation } from "./tensor-records.js";

const hint = "The value comes first: save(value, path).";
/** internal: how `load` is called. */
export const loadHint = 'For example `await torch.load("last.pt")`.';
const pieceBytes = 4 << 20;
// Milliseconds of work between which others have their turn.
const mostAtOnce = 5;

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

/** How a value is written. */
export interface FormatOptions {
  /** `"torch"` (default) for what Python's `torch.load` reads, `"safetensors"` for what `safetensors.saveState` writes. */
  format?: "torch" | "safetensors";
}

/**
 * `save` that reads the value piece by piece while it writes, so that the thread is never blocked for long. Nobody may change the
 * value before the promise resolves; `copyOf` makes a copy to save.
 *
 *     const saving = serialization.saveInBackground(serialization.copyOf(state), "last.pt");
 */
export async function saveInBackground(value: unknown, path: string | URL, options: FormatOptions = {}): Promise<void> {
  const name = checkPath(path, hint);
  const pieces = serializeInPieces(value, options);
  const file = new AtomicFile(name);
  try {
    for await (const piece of pieces) await file.writeAsync(piece);
  } catch (error) {
    file.abort();
    throw error;
  }
  await file.commit();
}

/**
 * The bytes of the file that `save` would write, in pieces of some megabytes, for files that are not on this machine. Each piece is memory
 * of its own; other work runs between them. Nobody may change the value meanwhile.
 */
export function serializeInPieces(value: unknown, options: FormatOptions = {}): AsyncGenerator<Uint8Array> {
  const { format = "torch" } = options;
  if (format !== "torch" && format !== "safetensors") throw typeError("format", '"torch" or "safetensors"', format);
  return joined(format === "torch" ? archiveChunks(new ArchiveWriter(value)) : statePieces(value));
}

/** Chunks that are valid until the next one. */
function* archiveChunks(archive: ArchiveWriter): Generator<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for (const _ of archive.writeInSteps((chunk) => void chunks.push(chunk))) yield* chunks.splice(0);
  yield* chunks;
}

async function* joined(chunks: Iterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let parts: Uint8Array[] = [];
  let size = 0;
  let breath = performance.now();
  for (const chunk of chunks) {
    parts.push(chunk.slice());
    size += chunk.length;
    if (size >= pieceBytes) {
      yield Buffer.concat(parts);
      parts = [];
      size = 0;
    }
    if (performance.now() - breath < mostAtOnce) continue;
    await new Promise(setImmediate);
    breath = performance.now();
  }
  if (size > 0) yield Buffer.concat(parts);
}

/** `save` that blocks the thread until the file is on the disk. */
export function saveSync(value: unknown, path: string | URL): void {
  writeFile(value, path).commitSync();
}

function writeFile(value: unknown, path: string | URL): AtomicFile {
  const name = checkPath(path, hint);
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
 * Loads what `save`, `safetensors.saveState`, or `torch.save` in Python (1.6 or newer) has written; of other safetensors files all tensors
 * by name. `path` may also be an object with `name`, `size` and `read(offset, length)`. Dicts whose keys are all strings become plain
 * objects without a prototype, other dicts Maps; tuples become `Tuple`s; ints beyond 2^53 bigints; bytes Uint8Arrays; dtypes
 * and devices strings. Parameters come back as `nn.Parameter`s. As always in JavaScript, keys that look like array indices
 * (`"0"`) come first in an object.
 *
 * The file is taken for hostile: checksums and all sizes are verified, nothing in it can run code, and names of classes
 * and functions other than those of tensors are refused. Throws a `CheckpointError` that names the file and the fault.
 *
 *     const state = await torch.load("last.pt");
 */
export async function load(path: string | URL | ByteSource, options: LoadOptions = {}): Promise<unknown> {
  const mapLocation = checkOptions(options);
  const source = openSource(path, loadHint);
  return await readAndClose(source, readAny(source, mapLocation));
}

/** `load` that blocks the thread. */
export function loadSync(path: string | URL | ByteSource, options: LoadOptions = {}): unknown {
  const mapLocation = checkOptions(options);
  const source = openSource(path, loadHint);
  return readAndCloseBlocking(source, readAny(source, mapLocation));
}

function* readAny(source: ByteSource, mapLocation: MapLocation): Reading<unknown> {
  if (yield* isSafetensors(source)) return yield* readState(source, deviceFor(mapLocation));
  return yield* readArchive(source, mapLocation);
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
  const view = bytes instanceof ArrayBuffer ? new Uint8Array(bytes) : bytes;
  if (!(view instanceof Uint8Array)) throw typeError("bytes", "a Uint8Array or an ArrayBuffer", bytes);
  const source = new MemorySource(view);
  return readBlocking(source, readAny(source, mapLocation));
}

/** internal: checks the options of `load` and gives them their defaults. */
export function checkOptions(options: LoadOptions): MapLocation {
  if (typeof options !== "object" || options === null) throw typeError("options", "an object", options);
  const { weightsOnly } = options;
  if (weightsOnly !== undefined && weightsOnly !== null && typeof weightsOnly !== "boolean") {
    throw typeError("weightsOnly", "a boolean or null", weightsOnly);
  }
  return checkMapLocation(options.mapLocation);
}
