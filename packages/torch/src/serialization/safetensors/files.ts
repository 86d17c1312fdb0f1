// Reading and writing of safetensors files, with the functions of Python's `safetensors.torch`.
import { checkOptions } from "../../check.js";
import type { Device } from "../../dtype.js";
import { native } from "../../native.js";
import type { AnyModule } from "../../nn/module.js";
import type { LoadResult } from "../../nn/state-dict.js";
import { checkDevice } from "../../target.js";
import { handleOf, type Tensor } from "../../tensor.js";
import { AtomicFile } from "../atomic-file.js";
import { type ByteSource, checkPath, MemorySource, openSource } from "../byte-source.js";
import { readBlocking, readWaiting } from "../reading.js";
import { readHeader, SafetensorsFile } from "./file.js";
import { flatten, unflatten } from "./state.js";
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

function write(pieces: Iterable<Uint8Array>, path: string | URL): AtomicFile {
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
  using file = await safeOpen(path, options);
  return byName(await allTensors(file));
}
/** `loadFile` that blocks the thread. */
export function loadFileSync(path: string | URL | ByteSource, options: LoadFileOptions = {}): Record<string, Tensor> {
  using file = openSync(openSource(path, loadHint), options);
  return byName(allTensorsSync(file));
}

/** The bytes of the file that `saveFile` would write. */
export function save(tensors: SafeTensors, metadata: Metadata = {}): Uint8Array {
  return Buffer.concat(Array.from(safetensorsPieces(tensors, metadata), (piece) => piece.slice()));
}
/** The tensors in the bytes of a safetensors file. */
export function load(bytes: Uint8Array, options: LoadFileOptions = {}): Record<string, Tensor> {
  return byName(allTensorsSync(openSync(new MemorySource(bytes), options)));
}

/** Opens a safetensors file: its header is read and checked, tensors when they are asked for. */
export async function safeOpen(
  path: string | URL | ByteSource,
  options: LoadFileOptions = {},
): Promise<SafetensorsFile> {
  const device = deviceOf(options);
  const source = openSource(path, loadHint);
  try {
    return new SafetensorsFile(source, await readWaiting(source, readHeader(source)), device);
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

/** internal: the bytes of a file that holds any value that `torch.save` takes, with checksums; in pieces that are valid until the next one. */
export function statePieces(value: unknown): Iterable<Uint8Array> {
  const { tensors, metadata } = flatten(value);
  return safetensorsPieces(tensors, metadata, { checksums: true });
}

/**
 * Saves any value that `torch.save` takes: its tensors by their place in it (`"optimizer.state.0.exp_avg"`), all else as JSON in the
 * metadata. Other programs see the tensors, `loadState` gives the value back. Tensors that share memory do not share it then.
 */
export async function saveState(value: unknown, path: string | URL): Promise<void> {
  await write(statePieces(value), path).commit();
}
/** The value that `saveState` has saved; of other safetensors files all tensors by name. Checksums are verified. */
export async function loadState(path: string | URL | ByteSource, options: LoadFileOptions = {}): Promise<unknown> {
  const source = openSource(path, loadHint);
  using file = await safeOpen(source, options);
  return unflatten(file.metadata(), await allTensors(file), source.name);
}

function openSync(source: ByteSource, options: LoadFileOptions): SafetensorsFile {
  const device = deviceOf(options);
  try {
    return new SafetensorsFile(source, readBlocking(source, readHeader(source)), device);
  } catch (error) {
    void source.close?.();
    throw error;
  }
}

async function allTensors(file: SafetensorsFile): Promise<Map<string, Tensor>> {
  const tensors = new Map<string, Tensor>();
  for (const name of file.keys()) tensors.set(name, await file.getTensor(name));
  return tensors;
}
function allTensorsSync(file: SafetensorsFile): Map<string, Tensor> {
  return new Map(file.keys().map((name) => [name, file.getTensorSync(name)]));
}

function byName(tensors: ReadonlyMap<string, Tensor>): Record<string, Tensor> {
  const object = Object.create(null) as Record<string, Tensor>;
  for (const [name, tensor] of tensors) object[name] = tensor;
  return object;
}

function deviceOf(options: LoadFileOptions): Device {
  checkOptions(options, ["device"], 'safetensors.loadFile("model.safetensors", { device: "cuda" })');
  const { device = "cpu" } = options;
  checkDevice(device);
  return device;
}
