// Writes zip archives as PyTorch lays them out: records stored uncompressed, their data at multiples of 64 bytes (an extra
// field takes up the slack), sizes and checksum after the data, zip64 fields where 4 GiB are exceeded. Bytes go out in order
// and are never held: a file descriptor, a socket or a buffer can receive them.
import { crc32 } from "./crc32.js";
import { encodeUtf8 } from "./utf8.js";

/** internal: takes the archive's bytes in order; must be done with a chunk when it returns. */
export type Sink = (chunk: Uint8Array) => void;

const alignment = 64;
const limit32 = 0xffffffff;
// Sizes after the data (bit 3), names in UTF-8 (bit 11).
const flags = 0x0808;

interface Entry {
  name: Buffer;
  crc: number;
  size: number;
  offset: number;
}

/** internal: an upper bound on the bytes of an archive with such records. */
export function archiveBound(records: readonly { name: string; size: number }[]): number {
  let bound = 128;
  for (const { name, size } of records) bound += size + 2 * Buffer.byteLength(name) + 30 + 24 + 46 + 2 * 32 + alignment;
  return bound;
}

/** internal: one archive; call `add` for each record, then `finish`. */
export class ZipWriter {
  readonly #write: Sink;
  readonly #entries: Entry[] = [];
  readonly #names = new Set<string>();
  #position = 0;

  constructor(write: Sink) {
    this.#write = write;
  }

  /** Bytes written so far. */
  get position(): number {
    return this.#position;
  }

  /** Writes a record of `size` bytes that come in any number of chunks. */
  add(name: string, size: number, chunks: Iterable<Uint8Array>): void {
    for (const _ of this.addInSteps(name, size, chunks));
  }

  /** The same; pauses after each chunk, so that the caller may wait until the sink has room again. */
  *addInSteps(name: string, size: number, chunks: Iterable<Uint8Array>): Generator<void> {
    if (this.#names.has(name)) throw new Error(`internal: the record ${name} was added twice`);
    this.#names.add(name);
    const entry: Entry = { name: encodeUtf8(name), crc: 0, size, offset: this.#position };
    this.#put(this.#localHeader(entry));
    let written = 0;
    for (const chunk of chunks) {
      entry.crc = crc32(chunk, entry.crc);
      written += chunk.length;
      this.#put(chunk);
      yield;
    }
    if (written !== size) throw new Error(`internal: the record ${name} has ${written} bytes instead of ${size}`);
    this.#put(descriptor(entry));
    this.#entries.push(entry);
  }

  /** Writes the directory; the archive is complete afterwards. */
  finish(): void {
    const start = this.#position;
    for (const entry of this.#entries) this.#put(directoryEntry(entry));
    const size = this.#position - start;
    const count = this.#entries.length;
    // Readers look for the zip64 records only when a field of the plain one is at its limit, but PyTorch always writes them.
    const end = Buffer.alloc(56 + 20 + 22);
    end.writeUInt32LE(0x06064b50, 0);
    end.writeBigUInt64LE(44n, 4);
    end.writeUInt16LE(45, 12);
    end.writeUInt16LE(45, 14);
    end.writeBigUInt64LE(BigInt(count), 24);
    end.writeBigUInt64LE(BigInt(count), 32);
    end.writeBigUInt64LE(BigInt(size), 40);
    end.writeBigUInt64LE(BigInt(start), 48);
    end.writeUInt32LE(0x07064b50, 56);
    end.writeBigUInt64LE(BigInt(start + size), 64);
    end.writeUInt32LE(1, 72);
    end.writeUInt32LE(0x06054b50, 76);
    end.writeUInt16LE(Math.min(count, 0xffff), 84);
    end.writeUInt16LE(Math.min(count, 0xffff), 86);
    end.writeUInt32LE(Math.min(size, limit32), 88);
    end.writeUInt32LE(Math.min(start, limit32), 92);
    this.#put(end);
  }

  #put(chunk: Uint8Array): void {
    if (chunk.length === 0) return;
    this.#write(chunk);
    this.#position += chunk.length;
  }

  #localHeader(entry: Entry): Buffer {
    const zip64 = entry.size >= limit32;
    const fixed = 30 + entry.name.length + (zip64 ? 20 : 0) + 4;
    const start = this.#position + fixed;
    const padding = (alignment - (start % alignment)) % alignment;
    const header = Buffer.alloc(fixed + padding, "Z");
    header.fill(0, 0, 30);
    header.writeUInt32LE(0x04034b50, 0);
    header.writeUInt16LE(zip64 ? 45 : 0, 4);
    header.writeUInt16LE(flags, 6);
    if (zip64) {
      header.writeUInt32LE(limit32, 18);
      header.writeUInt32LE(limit32, 22);
    }
    header.writeUInt16LE(entry.name.length, 26);
    header.writeUInt16LE(fixed + padding - 30 - entry.name.length, 28);
    let at = 30 + entry.name.copy(header, 30);
    if (zip64) {
      header.writeUInt16LE(1, at);
      header.writeUInt16LE(16, at + 2);
      header.writeBigUInt64LE(BigInt(entry.size), at + 4);
      header.writeBigUInt64LE(BigInt(entry.size), at + 12);
      at += 20;
    }
    header.write("FB", at, "latin1");
    header.writeUInt16LE(padding, at + 2);
    return header;
  }
}

/** Checksum and sizes behind a record's data. */
function descriptor({ crc, size }: Entry): Buffer {
  const zip64 = size >= limit32;
  const bytes = Buffer.alloc(zip64 ? 24 : 16);
  bytes.writeUInt32LE(0x08074b50, 0);
  bytes.writeUInt32LE(crc, 4);
  if (zip64) {
    bytes.writeBigUInt64LE(BigInt(size), 8);
    bytes.writeBigUInt64LE(BigInt(size), 16);
  } else {
    bytes.writeUInt32LE(size, 8);
    bytes.writeUInt32LE(size, 12);
  }
  return bytes;
}

function directoryEntry({ name, crc, size, offset }: Entry): Buffer {
  const wide: number[] = [];
  if (size >= limit32) wide.push(size, size);
  if (offset >= limit32) wide.push(offset);
  const extra = wide.length > 0 ? 4 + 8 * wide.length : 0;
  const bytes = Buffer.alloc(46 + name.length + extra);
  bytes.writeUInt32LE(0x02014b50, 0);
  bytes.writeUInt16LE(extra > 0 ? 45 : 0, 4);
  bytes.writeUInt16LE(extra > 0 ? 45 : 0, 6);
  bytes.writeUInt16LE(flags, 8);
  bytes.writeUInt32LE(crc, 16);
  bytes.writeUInt32LE(Math.min(size, limit32), 20);
  bytes.writeUInt32LE(Math.min(size, limit32), 24);
  bytes.writeUInt16LE(name.length, 28);
  bytes.writeUInt16LE(extra, 30);
  bytes.writeUInt32LE(Math.min(offset, limit32), 42);
  name.copy(bytes, 46);
  if (extra > 0) {
    let at = 46 + name.length;
    bytes.writeUInt16LE(1, at);
    bytes.writeUInt16LE(extra - 4, at + 2);
    at += 4;
    for (const value of wide) {
      bytes.writeBigUInt64LE(BigInt(value), at);
      at += 8;
    }
  }
  return bytes;
}
