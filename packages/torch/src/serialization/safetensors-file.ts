// `saveFile` and `loadFile`: tensors by name in the safetensors format. `SafeTensorsFile` reads single tensors when they are asked for.
import { fileURLToPath } from "node:url";
import { typeError } from "../check.js";
import type { Device } from "../dtype.js";
import { native } from "../native.js";
import { operator } from "../ops.js";
import { type Tensor, wrapHandle } from "../tensor.js";
import { AtomicFile } from "./atomic-file.js";
import { type ByteSource, FileSource, MemorySource } from "./byte-source.js";
import { damaged, foreign } from "./damaged.js";
import { mostHeaderBytes, parseHeader, type SafeTensorEntry, type SafeTensorsHeader } from "./safetensors-format.js";
import { type SafeTensors, safetensorsPieces } from "./safetensors-writer.js";
import { checkMapLocation } from "./tensor-records.js";
import { decodeUtf8 } from "./utf8.js";

/** Where the tensors of a safetensors file go. */
export interface LoadFileOptions {
  /** A device (default: the CPU). */
  device?: Device;
}

/**
 * Saves tensors by name as a safetensors file, which is complete or not there at all. `metadata` is text by name. The tensors are
 * read before the promise is returned. Tensors that share memory are written once each.
 *
 *     await serialization.saveFile(model.stateDict(), "model.safetensors", { format: "pt" });
 */
export async function saveFile(
  tensors: SafeTensors,
  path: string | URL,
  metadata: Readonly<Record<string, string>> = {},
): Promise<void> {
  const pieces = safetensorsPieces(tensors, metadata);
  const file = new AtomicFile(checkPath(path));
  try {
    for (const piece of pieces) file.write(piece);
  } catch (error) {
    file.abort();
    throw error;
  }
  await file.commit();
}

/** All tensors of a safetensors file, by name in an object without a prototype. Throws a `CheckpointError` that names the fault. */
export async function loadFile(path: string | URL, options: LoadFileOptions = {}): Promise<Record<string, Tensor>> {
  const file = new SafeTensorsFile(path, options);
  try {
    return await file.loadAll();
  } finally {
    file.close();
  }
}

/** The bytes of the file that `saveFile` would write. */
export function toSafetensors(tensors: SafeTensors, metadata: Readonly<Record<string, string>> = {}): Uint8Array {
  return Buffer.concat([...safetensorsPieces(tensors, metadata)].map((piece) => piece.slice()));
}

/** The tensors in bytes of a safetensors file. */
export async function fromSafetensors(
  bytes: Uint8Array,
  options: LoadFileOptions = {},
): Promise<Record<string, Tensor>> {
  if (!(bytes instanceof Uint8Array)) throw typeError("bytes", "a Uint8Array", bytes);
  return await new SafeTensorsFile(bytes, options).loadAll();
}

/**
 * An open safetensors file. The header is read and checked at once, tensors when they are asked for.
 *
 *     using file = new serialization.SafeTensorsFile("model.safetensors");
 *     const weight = await file.load("layer.weight");
 */
export class SafeTensorsFile {
  readonly #source: ByteSource & { closeSync?(): void };
  readonly #header: SafeTensorsHeader;
  readonly #dataStart: number;
  readonly #device: Device;

  /** @param from a path, or the bytes of a file */
  constructor(from: string | URL | Uint8Array, options: LoadFileOptions = {}) {
    this.#device = checkMapLocation(options.device) as Device;
    this.#source = from instanceof Uint8Array ? new MemorySource(from) : new FileSource(checkPath(from));
    try {
      const { header, dataStart } = readHeader(this.#source);
      this.#header = header;
      this.#dataStart = dataStart;
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Names in the order of the header. */
  get names(): string[] {
    return [...this.#header.tensors.keys()];
  }
  /** Text that was saved beside the tensors. */
  get metadata(): Readonly<Record<string, string>> {
    return this.#header.metadata;
  }
  /** Dtype and shape of a tensor, which is not read. */
  describe(name: string): { dtype: string; shape: number[] } {
    const { dtype, shape } = this.#entry(name);
    return { dtype, shape: [...shape] };
  }
  /** Reads one tensor. */
  async load(name: string): Promise<Tensor> {
    const { dtype, shape, begin, end } = this.#entry(name);
    const bytes = await this.#source.read(this.#dataStart + begin, end - begin);
    if (dtype === "bool" && bytes.some((byte) => byte > 1))
      throw damaged(this.#source.name, `the tensor ${JSON.stringify(name)} has a bool that is neither 0 nor 1.`);
    const tensor = wrapHandle(native().fromBytes(bytes, dtype, [...shape]));
    return this.#device === "cpu"
      ? tensor
      : (operator("aten", "to.dtype_layout")(tensor, { device: this.#device }) as Tensor);
  }
  /** Reads all tensors. */
  async loadAll(): Promise<Record<string, Tensor>> {
    const tensors = Object.create(null) as Record<string, Tensor>;
    for (const name of this.#header.tensors.keys()) tensors[name] = await this.load(name);
    return tensors;
  }
  /** Closes the file; what was loaded stays. */
  close(): void {
    this.#source.closeSync?.();
    this.#source.closeSync = undefined as never;
  }
  [Symbol.dispose](): void {
    this.close();
  }

  #entry(name: string): SafeTensorEntry {
    const entry = this.#header.tensors.get(name);
    if (entry) return entry;
    throw foreign(this.#source.name, `it has no tensor ${JSON.stringify(name)}.`, "`names` lists what it has.");
  }
}

/** internal: reads and checks everything but the elements. */
export function readHeader(source: ByteSource): { header: SafeTensorsHeader; dataStart: number } {
  const { name, size } = source;
  if (size < 8) throw damaged(name, `it has ${size} bytes, which is no safetensors file.`);
  const length = Buffer.from(source.readSync(0, 8)).readBigUInt64LE(0);
  if (length > BigInt(Math.min(mostHeaderBytes, size - 8)) || length < 2n)
    throw damaged(name, `its header should have ${length} bytes, but the file has ${size}.`);
  const dataStart = 8 + Number(length);
  const text = decodeUtf8(source.readSync(8, Number(length)));
  if (text === null || /\p{Surrogate}/u.test(text)) throw damaged(name, "its header is not text.");
  return { header: parseHeader(text, size - dataStart, name), dataStart };
}

function checkPath(path: unknown): string {
  if (path instanceof URL) return fileURLToPath(path);
  if (typeof path === "string" && path !== "" && !path.includes("\0")) return path;
  throw typeError("path", "the path of a file", path, "The tensors come first: saveFile(tensors, path).");
}
