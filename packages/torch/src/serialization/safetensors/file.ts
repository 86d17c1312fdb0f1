// An open safetensors file: the header is read and checked at once, tensors when they are asked for.
import type { Device, Dtype } from "../../dtype.js";
import { native } from "../../native.js";
import { operator } from "../../ops.js";
import { type Tensor, wrapHandle } from "../../tensor.js";
import type { ByteSource } from "../byte-source.js";
import { crc32 } from "../crc32.js";
import { damaged, foreign } from "../damaged.js";
import { bytesAt, type Reading, readBlocking, readWaiting } from "../reading.js";
import { decodeUtf8 } from "../utf8.js";
import { type Checksums, readChecksums } from "./checksums.js";
import { type Header, mostHeaderBytes, parseHeader, type TensorEntry } from "./format.js";

/**
 * An open safetensors file, from `safeOpen`. Tensors are read when they are asked for; those of files with checksums are verified.
 *
 *     using file = await safetensors.safeOpen("model.safetensors");
 *     const weight = await file.getTensor("layer.weight");
 */
export class SafetensorsFile {
  readonly #source: ByteSource;
  readonly #header: OpenHeader;
  readonly #device: Device;
  // One read at a time: the source's bytes are valid until its next read.
  #reading: Promise<unknown> = Promise.resolve();

  /** internal: `safeOpen` opens a file. */
  constructor(source: ByteSource, header: OpenHeader, device: Device) {
    this.#source = source;
    this.#header = header;
    this.#device = device;
  }

  /** The names of the tensors, in the order of the header. */
  keys(): string[] {
    return [...this.#header.tensors.keys()];
  }
  /** The text that was saved beside the tensors; an object without a prototype. */
  metadata(): Readonly<Record<string, string>> {
    return this.#header.metadata;
  }
  /** Dtype and shape of a tensor, which is not read. */
  describe(name: string): { dtype: Dtype; shape: number[] } {
    const { dtype, shape } = this.#entry(name);
    return { dtype, shape: [...shape] };
  }
  /** Reads one tensor. */
  async getTensor(name: string): Promise<Tensor> {
    const entry = this.#entry(name);
    const reading = this.#reading.then(() => readWaiting(this.#source, this.#read(name, entry)));
    this.#reading = reading.catch(() => {});
    return await reading;
  }
  /** The same while the thread waits. */
  getTensorSync(name: string): Tensor {
    return readBlocking(this.#source, this.#read(name, this.#entry(name)));
  }
  /** Closes the file; what was read stays. */
  close(): void {
    void this.#source.close?.();
  }
  [Symbol.dispose](): void {
    this.close();
  }

  #entry(name: string): TensorEntry {
    const entry = this.#header.tensors.get(name);
    if (entry) return entry;
    throw foreign(this.#source.name, `it has no tensor ${JSON.stringify(name)}.`, "`keys()` lists what it has.");
  }
  *#read(name: string, { dtype, shape, begin, end }: TensorEntry): Reading<Tensor> {
    const { dataStart, checksums } = this.#header;
    const bytes = yield* bytesAt(dataStart + begin, end - begin);
    const fault = (what: string): Error => damaged(this.#source.name, `the tensor ${JSON.stringify(name)} ${what}.`);
    if (checksums !== null && crc32(bytes) !== checksums.get(name))
      throw fault("does not have its checksum; some of its bytes have changed");
    if (dtype === "bool" && bytes.some((byte) => byte > 1)) throw fault("has a bool that is neither 0 nor 1");
    const tensor = wrapHandle(native().fromBytes(bytes, dtype, [...shape]));
    if (this.#device === "cpu") return tensor;
    return operator("aten", "to.dtype_layout")(tensor, { device: this.#device }) as Tensor;
  }
}

/** internal: a header, and where the elements begin. */
export interface OpenHeader extends Header {
  readonly dataStart: number;
  readonly checksums: Checksums | null;
}

/** internal: reads and checks everything but the elements. */
export function* readHeader({ name, size }: Pick<ByteSource, "name" | "size">): Reading<OpenHeader> {
  if (size < 8) throw damaged(name, `it has ${size} bytes, which is no safetensors file.`);
  const length = Buffer.from(yield* bytesAt(0, 8)).readBigUInt64LE(0);
  if (length > BigInt(Math.min(mostHeaderBytes, size - 8)) || length < 2n)
    throw damaged(name, `its header should have ${length} bytes, but the file has ${size}.`);
  const dataStart = 8 + Number(length);
  const text = decodeUtf8(yield* bytesAt(8, Number(length)));
  if (text === null || /\p{Surrogate}/u.test(text)) throw damaged(name, "its header is not text.");
  const header = parseHeader(text, size - dataStart, name);
  return { ...header, dataStart, checksums: readChecksums(header, name) };
}
