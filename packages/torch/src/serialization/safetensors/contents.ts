// What is in a safetensors file, as steps of a reader: the header, then any tensor.
import type { Device } from "../../dtype.js";
import { native } from "../../native.js";
import { operator } from "../../ops.js";
import { type Tensor, wrapHandle } from "../../tensor.js";
import type { ByteSource } from "../byte-source.js";
import { crc32 } from "../crc32.js";
import { damaged, foreign } from "../damaged.js";
import { bytesAt, type Reading } from "../reading.js";
import { decodeUtf8 } from "../utf8.js";
import { type Checksums, readChecksums } from "./checksums.js";
import { type Header, mostHeaderBytes, parseHeader, type TensorEntry } from "./format.js";

/** internal: true when a file begins as safetensors files do, also when it is cut off. */
export function* isSafetensors({ size }: Pick<ByteSource, "size">): Reading<boolean> {
  if (size < 10) return false;
  const head = Buffer.from(yield* bytesAt(0, 9));
  return head[8] === 0x7b && head.readBigUInt64LE(0) <= mostHeaderBytes && head.readUInt32LE(0) !== 0x04034b50;
}

/** internal: a file whose header is read and checked. */
export class Contents {
  readonly #dataStart: number;
  readonly #checksums: Checksums | null;

  /** Reads and checks everything but the elements. */
  static *open({ name, size }: Pick<ByteSource, "name" | "size">, device: Device = "cpu"): Reading<Contents> {
    if (size < 8) throw damaged(name, `it has ${size} bytes, which is no safetensors file.`);
    const length = Buffer.from(yield* bytesAt(0, 8)).readBigUInt64LE(0);
    if (length > BigInt(Math.min(mostHeaderBytes, size - 8)) || length < 2n)
      throw damaged(name, `its safetensors header should have ${length} bytes, but the file has ${size}.`);
    const dataStart = 8 + Number(length);
    const text = decodeUtf8(yield* bytesAt(8, Number(length)));
    if (text === null || /\p{Surrogate}/u.test(text)) throw damaged(name, "its header is not text.");
    return new Contents(name, parseHeader(text, size - dataStart, name), dataStart, device);
  }

  private constructor(
    /** What error texts call the file. */
    readonly name: string,
    readonly header: Header,
    dataStart: number,
    /** Where tensors go. */
    readonly device: Device,
  ) {
    this.#dataStart = dataStart;
    this.#checksums = readChecksums(header, name);
  }

  /** Names in the order of the header. */
  get keys(): string[] {
    return [...this.header.tensors.keys()];
  }
  /** A tensor's place in the file. */
  entry(name: string): TensorEntry {
    const entry = this.header.tensors.get(name);
    if (entry) return entry;
    throw foreign(this.name, `it has no tensor ${JSON.stringify(name)}.`, "`keys()` lists what it has.");
  }
  /** Reads a tensor. */
  *read(name: string): Reading<Tensor> {
    const { dtype, shape, begin, end } = this.entry(name);
    const bytes = yield* bytesAt(this.#dataStart + begin, end - begin);
    const fault = (what: string): Error => damaged(this.name, `the tensor ${JSON.stringify(name)} ${what}.`);
    if (this.#checksums !== null && crc32(bytes) !== this.#checksums.get(name))
      throw fault("does not have its checksum; some of its bytes have changed");
    if (dtype === "bool" && bytes.some((byte) => byte > 1)) throw fault("has a bool that is neither 0 nor 1");
    const tensor = wrapHandle(native().fromBytes(bytes, dtype, [...shape]));
    if (this.device === "cpu") return tensor;
    return operator("aten", "to.dtype_layout")(tensor, { device: this.device }) as Tensor;
  }
  /** Reads all tensors, in the order of the header. */
  *readAll(): Reading<Map<string, Tensor>> {
    const tensors = new Map<string, Tensor>();
    for (const name of this.keys) tensors.set(name, yield* this.read(name));
    return tensors;
  }
}
