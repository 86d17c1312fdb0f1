// Reads zip archives as PyTorch writes them, from names in the directory to verified bytes. Nothing is ever extracted to a
// path. Everything that a writer of checkpoints never does is refused: compression, encryption, several disks, comments,
// data in front, overlapping or equally named records, a directory that disagrees with the records' own headers.
import type { ByteSource } from "./byte-source.js";
import { crc32 } from "./crc32.js";
import { damaged, foreign, refused } from "./damaged.js";
import { bytesAt, type Reading } from "./reading.js";
import { decodeUtf8 } from "./utf8.js";

/** internal: the file, which the reader asks for bytes. */
export type ZipSource = Pick<ByteSource, "name" | "size">;

interface Entry {
  readonly name: string;
  readonly rawName: Buffer;
  readonly flags: number;
  /** 0 for stored. Others may be in the directory (of TorchScript models, for example), but are not read. */
  readonly method: number;
  readonly crc: number;
  readonly size: number;
  readonly offset: number;
  /** Where the next record or the directory starts. */
  limit: number;
}

const limit32 = 0xffffffff;
// The safetensors file of nothing.
const shortestFile = 10;
const nameAnother = "Name a file that was written by `save` here or by torch.save in Python (1.6 or newer).";
const resave = 'Load it with Python\'s torch.load and save it again with torch.save(state, "new.pt").';

/** internal: the records of an archive, by name within their common folder. */
export class ZipReader {
  readonly #where: string;
  readonly #entries: Map<string, Entry>;
  /** The folder that all records lie in. */
  readonly prefix: string;

  /** Reads and checks the directory; records are checked when they are read. */
  static *open(source: ZipSource): Reading<ZipReader> {
    return new ZipReader(source.name, yield* readDirectory(source));
  }

  private constructor(where: string, entries: readonly Entry[]) {
    this.#where = where;
    const slash = entries[0]?.name.indexOf("/") ?? -1;
    const hasValue = entries.some(({ name }) => /(^|\/)data\.pkl$/.test(name));
    const somethingElse = () => foreign(where, "it is a zip archive of something else.", nameAnother);
    if (slash <= 0) throw hasValue ? foreign(where, "its records do not lie in a folder.", resave) : somethingElse();
    this.prefix = entries[0].name.slice(0, slash);
    this.#entries = new Map();
    for (const entry of entries) {
      if (!entry.name.startsWith(`${this.prefix}/`)) {
        if (!hasValue) throw somethingElse();
        throw refused(where, `its records lie in several folders ("${entry.name}").`, resave);
      }
      const name = entry.name.slice(slash + 1);
      if (this.#entries.has(name)) throw refused(where, `the record "${name}" appears twice.`, resave);
      this.#entries.set(name, entry);
    }
  }

  /** Names without the common folder, in the order of the directory. */
  get names(): string[] {
    return [...this.#entries.keys()];
  }

  has(name: string): boolean {
    return this.#entries.has(name);
  }

  /** Bytes of a record, or null when there is none of that name. */
  size(name: string): number | null {
    return this.#entries.get(name)?.size ?? null;
  }

  /** The verified bytes of a record, valid until the next read. */
  *read(name: string): Reading<Uint8Array> {
    const entry = this.#entries.get(name);
    if (!entry) throw damaged(this.#where, `the record "${name}" is missing.`);
    const start = yield* this.#start(entry);
    return this.#verified(entry, yield* bytesAt(start, entry.size));
  }

  #verified(entry: Entry, bytes: Uint8Array): Uint8Array {
    if (crc32(bytes) === entry.crc) return bytes;
    throw damaged(this.#where, `the checksum of the record "${entry.name}" is wrong; some of its bytes have changed.`);
  }

  // Where the record's data starts. Its own header must agree with the directory.
  *#start(entry: Entry): Reading<number> {
    const fault = (what: string): Error => damaged(this.#where, `the record "${entry.name}" ${what}.`);
    if (entry.method !== 0) throw refused(this.#where, `the record "${entry.name}" is compressed.`, resave);
    const room = entry.limit - entry.offset;
    const fixed = 30 + entry.rawName.length;
    if (room < fixed) throw fault("overlaps the next one");
    const header = asBuffer(yield* bytesAt(entry.offset, fixed));
    if (header.readUInt32LE(0) !== 0x04034b50) throw fault("has no header where the directory says");
    const flags = header.readUInt16LE(6);
    const later = (flags & 8) !== 0;
    const sizes = [header.readUInt32LE(18), header.readUInt32LE(22)];
    const agrees =
      flags === entry.flags &&
      header.readUInt16LE(8) === 0 &&
      header.readUInt16LE(26) === entry.rawName.length &&
      header.subarray(30).equals(entry.rawName) &&
      (later || header.readUInt32LE(14) === entry.crc) &&
      sizes.every((size) => size === Math.min(entry.size, limit32) || (later && size === 0) || size === limit32);
    if (!agrees) throw fault("has a header that differs from the directory");
    const start = entry.offset + fixed + header.readUInt16LE(28);
    if (start + entry.size > entry.limit) throw fault("overlaps the next one");
    return start;
  }
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function* readDirectory(source: ZipSource): Reading<Entry[]> {
  const where = source.name;
  const { size } = source;
  yield* recognise(source);
  const tailLength = Math.min(size, 22 + 20);
  const tail = Buffer.from(yield* bytesAt(size - tailLength, tailLength));
  const end = tailLength - 22;
  if (end < 0 || tail.readUInt32LE(end) !== 0x06054b50 || tail.readUInt16LE(end + 20) !== 0) {
    throw damaged(where, "its end is missing, so it was cut off or not written completely.");
  }
  let directory = {
    disk: tail.readUInt32LE(end + 4),
    count: tail.readUInt16LE(end + 8),
    total: tail.readUInt16LE(end + 10),
    size: tail.readUInt32LE(end + 12),
    start: tail.readUInt32LE(end + 16),
    end: size - 22,
  };
  if (directory.disk !== 0 || directory.count !== directory.total)
    throw refused(where, "it is a part of a split archive.", resave);
  if (end === 20 && tail.readUInt32LE(0) === 0x07064b50) directory = yield* readZip64End(source, tail, directory);
  if (directory.start + directory.size !== directory.end)
    throw damaged(where, "its directory is not where its end says.");
  if (directory.count * 46 > directory.size)
    throw damaged(where, `its directory cannot hold ${directory.count} records.`);
  const bytes = Buffer.from(yield* bytesAt(directory.start, directory.size));
  return parseDirectory(where, bytes, directory.count, directory.start);
}

interface Directory {
  disk: number;
  count: number;
  total: number;
  size: number;
  start: number;
  end: number;
}

function* readZip64End(source: ZipSource, locator: Buffer, plain: Directory): Reading<Directory> {
  const where = source.name;
  const at = toNumber(locator.readBigUInt64LE(8));
  if (at !== source.size - 22 - 20 - 56) throw damaged(where, "its end does not point at its zip64 record.");
  const bytes = asBuffer(yield* bytesAt(at, 56));
  const count = toNumber(bytes.readBigUInt64LE(24));
  const found: Directory = {
    disk: 0,
    count,
    total: toNumber(bytes.readBigUInt64LE(32)),
    size: toNumber(bytes.readBigUInt64LE(40)),
    start: toNumber(bytes.readBigUInt64LE(48)),
    end: at,
  };
  const whole = bytes.readUInt32LE(0) === 0x06064b50 && bytes.readBigUInt64LE(4) === 44n && found.total === count;
  const agrees =
    (plain.count === count || plain.count === 0xffff) &&
    (plain.size === found.size || plain.size === limit32) &&
    (plain.start === found.start || plain.start === limit32);
  if (!whole || !agrees) throw damaged(where, "its two end records disagree.");
  return found;
}

// Beyond 2^53 is beyond every file: such a value fails the checks that follow.
function toNumber(value: bigint): number {
  return Number(value);
}

function parseDirectory(where: string, bytes: Buffer, count: number, directoryStart: number): Entry[] {
  const entries: Entry[] = [];
  let at = 0;
  for (let i = 0; i < count; i++) {
    if (at + 46 > bytes.length || bytes.readUInt32LE(at) !== 0x02014b50)
      throw damaged(where, `entry ${i} of its directory is broken.`);
    const nameLength = bytes.readUInt16LE(at + 28);
    const extraLength = bytes.readUInt16LE(at + 30);
    const next = at + 46 + nameLength + extraLength + bytes.readUInt16LE(at + 32);
    if (next > bytes.length) throw damaged(where, `entry ${i} of its directory is broken.`);
    const rawName = bytes.subarray(at + 46, at + 46 + nameLength);
    const name = checkName(where, rawName);
    const flags = bytes.readUInt16LE(at + 8);
    if (flags & 1) throw refused(where, `the record "${name}" is encrypted.`, resave);
    if (flags & ~0x0808)
      throw refused(where, `the record "${name}" uses zip features that checkpoints do not have.`, resave);
    const method = bytes.readUInt16LE(at + 10);
    const extra = bytes.subarray(at + 46 + nameLength, at + 46 + nameLength + extraLength);
    const [size, stored, offset] = wideFields(
      [bytes.readUInt32LE(at + 24), bytes.readUInt32LE(at + 20), bytes.readUInt32LE(at + 42)],
      extra,
    );
    if (
      size === undefined ||
      stored === undefined ||
      offset === undefined ||
      (size !== stored && method === 0) ||
      bytes.readUInt16LE(at + 34) !== 0
    ) {
      throw damaged(where, `the sizes of the record "${name}" make no sense.`);
    }
    if (offset + 30 + nameLength + stored > directoryStart)
      throw damaged(where, `the record "${name}" reaches beyond the end of the data.`);
    entries.push({
      name,
      rawName,
      flags,
      method,
      crc: bytes.readUInt32LE(at + 16),
      size: stored,
      offset,
      limit: directoryStart,
    });
    at = next;
  }
  if (at !== bytes.length) throw damaged(where, "its directory is longer than its entries.");
  const sorted = [...entries].sort((a, b) => a.offset - b.offset);
  if (sorted[0] && sorted[0].offset !== 0)
    throw refused(where, "it has other data in front of its first record.", resave);
  for (let i = 1; i < sorted.length; i++) {
    const [before, entry] = [sorted[i - 1], sorted[i]];
    before.limit = entry.offset;
    if (before.offset + 30 + before.rawName.length + before.size > entry.offset) {
      throw damaged(where, `the records "${before.name}" and "${entry.name}" overlap.`);
    }
  }
  return entries;
}

// The values of fields at their 32-bit limit are in the extra field 1, in order; undefined where one is missing there.
function wideFields(fields: number[], extra: Buffer): (number | undefined)[] {
  if (!fields.includes(limit32)) return fields;
  for (let at = 0; at + 4 <= extra.length; ) {
    const length = extra.readUInt16LE(at + 2);
    const end = at + 4 + length;
    if (end > extra.length) break;
    if (extra.readUInt16LE(at) === 1) {
      let from = at + 4;
      return fields.map((field) => {
        if (field !== limit32) return field;
        if (from + 8 > end) return undefined;
        from += 8;
        return toNumber(extra.readBigUInt64LE(from - 8));
      });
    }
    at = end;
  }
  return fields.map((field) => (field === limit32 ? undefined : field));
}

// Records are looked up in memory only; a name that could leave a folder is a sign of an attack all the same.
function checkName(where: string, raw: Buffer): string {
  const name = decodeUtf8(raw);
  if (name === null || name === "") throw damaged(where, "the name of a record is not text.");
  const parts = name.split("/");
  const suspicious =
    /^\/|\\/.test(name) ||
    [...name].some((symbol) => symbol < " ") ||
    parts.some((part) => part === "" || part === "." || part === "..");
  if (suspicious) throw refused(where, `a record has the unsafe name ${JSON.stringify(name)}.`, resave);
  return name;
}

// Says what a file is that is no zip archive.
function* recognise(source: ZipSource): Reading<void> {
  const where = source.name;
  if (source.size === 0) throw damaged(where, "it is empty.");
  const head = Buffer.from(yield* bytesAt(0, Math.min(source.size, 512)));
  if (head.length >= 4 && head.readUInt32LE(0) === 0x04034b50) return;
  const text = head.toString("latin1");
  // The magic number of PyTorch's format before 1.6, pickled.
  if (head.includes(Buffer.from("6cfc9c46f9206aa85019", "hex"))) {
    throw foreign(where, "it has the format of PyTorch before 1.6 (raw pickles).", resave);
  }
  if (text.slice(257, 262) === "ustar") throw foreign(where, "it has the tar format of PyTorch before 0.1.10.", resave);
  if (head[0] === 0x80 && (head[1] ?? 0) <= 5) throw foreign(where, "it is a bare Python pickle.", resave);
  if (text.startsWith("\x89HDF"))
    throw foreign(where, "it is an HDF5 file.", "Convert its weights with Python and torch.save.");
  if (text.startsWith("\x1f\x8b"))
    throw foreign(where, "it is compressed with gzip.", "Unpack it with `gunzip` first.");
  if (text.startsWith("PK\x05\x06")) throw damaged(where, "it is an archive without records.");
  if (source.size < shortestFile) throw damaged(where, `it has only ${source.size} bytes.`);
  throw foreign(where, "it is neither a zip archive nor a safetensors file.", nameAnother);
}
