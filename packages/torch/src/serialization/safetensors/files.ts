// Reading and writing of safetensors files, with the functions of Python's `safetensors.torch`.
import { checkOptions, typeError } from "../../check.js";
import type { Device } from "../../dtype.js";
import { native } from "../../native.js";
import type { AnyModule } from "../../nn/module.js";
import type { LoadResult } from "../../nn/state-dict.js";
import { checkDevice } from "../../target.js";
import { handleOf, type Tensor } from "../../tensor.js";
import { AtomicFile } from "../atomic-file.js";
import { type ByteSource, checkPath, MemorySource, openSource } from "../byte-source.js";
import { type Reading, readAndClose, readAndCloseBlocking, readBlocking, readWaiting } from "../reading.js";
import { SharedSource } from "../shared-source.js";
import { Contents } from "./contents.js";
import { SafetensorsFile } from "./file.js";
import { type Metadata, type SafeTensors, safetensorsPieces } from "./writer.js";

/** Where the tensors of a safetensors file go. */
export interface LoadFileOptions {
  /** A device (default: the CPU). */
  device?: Device;
}

const saveHint = "The tensors come first: saveFile(tensors, path).";
const loadHint = 'For example `await safetensors.loadFile("model.safetensors")`.';

/**
 * Saves tensors by name as a safetensors file, which is complete or not there at all. The tensors are read before the promise is
 * returned; each brings its own elements, also where tensors share memory. Throws a `TypeError` for what the format cannot hold.
 *
 *     await safetensors.saveFile(model.stateDict(), "model.safetensors", { format: "pt" });
 */
export async function saveFile(tensors: SafeTensors, path: string | URL, metadata: Metadata = {}): Promise<void> {
  await write(safetensorsPieces(tensors, metadata), path).commit();
}
/** `saveFile` that blocks the thread until the file is on the disk. */
export function saveFileSync(tensors: SafeTensors, path: string | URL, metadata: Metadata = {}): void {
  write(safetensorsPieces(tensors, metadata), path).commitSync();
}

/** internal: writes a file, except for putting it in place. */
export function write(pieces: Iterable<Uint8Array>, path: string | URL): AtomicFile {
  const file = new AtomicFile(checkPath(path, saveHint));
  try {
    for (const piece of pieces) file.write(piece);
  } catch (error) {
    file.abort();
    throw error;
  }
  return file;
}

/**
 * All tensors of a safetensors file, by name in an object without a prototype. The file is taken for hostile: every rule of the format
 * is checked before memory is taken. Throws a `CheckpointError` that names the file and the fault.
 *
 *     model.loadStateDict(await safetensors.loadFile("model.safetensors"));
 */
export async function loadFile(
  path: string | URL | ByteSource,
  options: LoadFileOptions = {},
): Promise<Record<string, Tensor>> {
  const device = deviceOf(options);
  const source = openSource(path, loadHint);
  return await readAndClose(source, readByName(source, device));
}
/** `loadFile` that blocks the thread. */
export function loadFileSync(path: string | URL | ByteSource, options: LoadFileOptions = {}): Record<string, Tensor> {
  const device = deviceOf(options);
  const source = openSource(path, loadHint);
  return readAndCloseBlocking(source, readByName(source, device));
}

/** The bytes of the file that `saveFile` would write. */
export function save(tensors: SafeTensors, metadata: Metadata = {}): Uint8Array {
  return Buffer.concat(Array.from(safetensorsPieces(tensors, metadata), (piece) => piece.slice()));
}
/** The tensors in the bytes of a safetensors file. */
export function load(bytes: Uint8Array, options: LoadFileOptions = {}): Record<string, Tensor> {
  if (!(bytes instanceof Uint8Array)) throw typeError("bytes", "a Uint8Array", bytes);
  const source = new MemorySource(bytes);
  return readBlocking(source, readByName(source, deviceOf(options)));
}

/** Opens a safetensors file: its header is read and checked, tensors when they are asked for. */
export async function safeOpen(
  path: string | URL | ByteSource,
  options: LoadFileOptions = {},
): Promise<SafetensorsFile> {
  const device = deviceOf(options);
  const source = openSource(path, loadHint);
  try {
    const contents = await readWaiting(source, Contents.open(source, device));
    return new SafetensorsFile(new SharedSource(source), contents);
  } catch (error) {
    await source.close?.();
    throw error;
  }
}

/** Saves a model's state, which is what `saveFile(model.stateDict(), path, metadata)` does. */
export async function saveModel(model: AnyModule, path: string | URL, metadata: Metadata = {}): Promise<void> {
  await saveFile(model.stateDict(), path, { format: "pt", ...metadata });
}
/**
 * Loads a model's state. Of parameters that are one and the same in the model (tied weights) the file may have only one, as those do that
 * Python's `save_model` writes. Returns the names that did not match.
 */
export async function loadModel(
  model: AnyModule,
  path: string | URL | ByteSource,
  options: LoadFileOptions & { strict?: boolean } = {},
): Promise<LoadResult> {
  const { strict = true, ...rest } = options;
  const tensors = await loadFile(path, rest);
  const known = new Map<string, string>();
  const own = Object.entries(model.stateDict()) as [string, Tensor][];
  for (const [name, tensor] of own) if (name in tensors) known.set(memoryOf(tensor), name);
  for (const [name, tensor] of own) {
    const tied = known.get(memoryOf(tensor));
    if (!(name in tensors) && tied !== undefined) tensors[name] = tensors[tied] as Tensor;
  }
  return model.loadStateDict(tensors, { strict });
}

function memoryOf(tensor: Tensor): string {
  const { key } = native().storageInfo(handleOf(tensor));
  return [key, tensor.storageOffset(), tensor.shape.join("x"), tensor.stride().join("x")].join(" ");
}

function* readByName(source: ByteSource, device: Device): Reading<Record<string, Tensor>> {
  const contents = yield* Contents.open(source, device);
  const object = Object.create(null) as Record<string, Tensor>;
  for (const [name, tensor] of yield* contents.readAll()) object[name] = tensor;
  return object;
}

function deviceOf(options: LoadFileOptions): Device {
  checkOptions(options, ["device"], 'safetensors.loadFile("model.safetensors", { device: "cuda" })');
  const { device = "cpu" } = options;
  checkDevice(device);
  return device;
}
