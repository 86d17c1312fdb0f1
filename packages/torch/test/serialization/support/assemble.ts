// Makes pickles and archives by hand, right or wrong ones, without the engine.
import { ZipWriter } from "../../../dist/serialization/zip-writer.js";

/** A part of a pickle: an opcode or bytes by number, Latin-1 text, or bytes. */
export type Part = number | string | Uint8Array | readonly Part[];

/** Joins parts. */
export function bytes(...parts: Part[]): Buffer {
  return Buffer.concat(
    parts.map((part) => {
      if (typeof part === "number") return Buffer.from([part]);
      if (typeof part === "string") return Buffer.from(part, "latin1");
      return part instanceof Uint8Array ? Buffer.from(part) : bytes(...(part as Part[]));
    }),
  );
}

export function u32(value: number): Buffer {
  const out = Buffer.alloc(4);
  out.writeUInt32LE(value >>> 0);
  return out;
}
export function u64(value: bigint): Buffer {
  const out = Buffer.alloc(8);
  out.writeBigUInt64LE(BigInt.asUintN(64, value));
  return out;
}

/** A pickle of protocol 2 with the given body. */
export function pickle(...body: Part[]): Buffer {
  return bytes(0x80, 2, ...body, ".");
}
/** Text (BINUNICODE). */
export function text(value: string): Buffer {
  const utf8 = Buffer.from(value, "utf8");
  return bytes("X", u32(utf8.length), utf8);
}
/** An integer of up to 8 bytes (LONG1). */
export function int(value: number | bigint): Buffer {
  return bytes(0x8a, 8, u64(BigInt(value)));
}
/** A name (GLOBAL). */
export function global(module: string, name: string): string {
  return `c${module}\n${name}\n`;
}
/** A tuple of parts, each of which leaves one value. */
export function tuple(...items: Part[]): Buffer {
  return bytes("(", items, "t");
}
export const emptyTuple = ")";
export const none = "N";
export const yes = 0x88;
export const no = 0x89;
/** A call (REDUCE). */
export function call(callee: Part, ...args: Part[]): Buffer {
  return bytes(callee, tuple(...args), "R");
}
export const noHooks = bytes(global("collections", "OrderedDict"), emptyTuple, "R");

/** A storage by persistent id. */
export function storage(
  options: { tag?: string; type?: Part; key?: string; location?: string; numel?: Part } = {},
): Buffer {
  const {
    tag = "storage",
    type = global("torch", "FloatStorage"),
    key = "0",
    location = "cpu",
    numel = int(4),
  } = options;
  return bytes(tuple(text(tag), type, text(key), text(location), numel), "Q");
}
/** A tensor, by default the 4 floats of the record data/0. */
export function tensor(
  options: {
    storage?: Part;
    offset?: Part;
    shape?: (number | bigint)[];
    strides?: (number | bigint)[];
    grad?: Part;
    rest?: Part[];
  } = {},
): Buffer {
  const { shape = [4], strides = [1], offset = int(0), grad = no, rest = [noHooks] } = options;
  return call(
    global("torch._utils", "_rebuild_tensor_v2"),
    options.storage ?? storage(),
    offset,
    tuple(...shape.map(int)),
    tuple(...strides.map(int)),
    grad,
    ...rest,
  );
}

/** Records of an archive, by full name. */
export type Records = Record<string, Uint8Array>;

/** An archive with exactly these records. */
export function zip(records: Records): Buffer {
  const chunks: Buffer[] = [];
  const writer = new ZipWriter((chunk) => chunks.push(Buffer.from(chunk)));
  for (const [name, data] of Object.entries(records)) writer.add(name, data.length, [data]);
  writer.finish();
  return Buffer.concat(chunks);
}

/** A checkpoint with this pickle and a record data/0 of 16 bytes, and other records. */
export function checkpoint(data: Uint8Array, records: Records = {}): Buffer {
  return zip({
    "archive/data.pkl": data,
    "archive/byteorder": Buffer.from("little"),
    "archive/data/0": Buffer.from(new Float32Array([1, 2, 3, 4]).buffer),
    "archive/version": Buffer.from("3\n"),
    ...records,
  });
}

/** A copy with a part replaced. */
export function patched(file: Buffer, at: number, part: Part): Buffer {
  const copy = Buffer.from(file);
  bytes(part).copy(copy, at);
  return copy;
}
/** Where the directory of an archive without zip64 values starts. */
export function directoryStart(file: Buffer): number {
  return file.readUInt32LE(file.length - 6);
}
/** Where the directory entry number `index` starts. */
export function directoryEntry(file: Buffer, index: number): number {
  let at = directoryStart(file);
  for (let i = 0; i < index; i++) at += 46 + file.readUInt16LE(at + 28) + file.readUInt16LE(at + 30);
  return at;
}
