// The safetensors format has no checksums. Files that Fabric writes carry them in the metadata, where other readers overlook them.
import { crc32 } from "../crc32.js";
import { damaged } from "../damaged.js";
import type { Header, TensorEntry } from "./format.js";

const elementsKey = "fabric_crc32";
const headerKey = "fabric_header_crc32";

/** internal: CRC-32 of the elements of each tensor. */
export type Checksums = Map<string, number>;

/** internal: the metadata with checksums in it. */
export function withChecksums(
  entries: ReadonlyMap<string, TensorEntry>,
  metadata: Readonly<Record<string, string>>,
  checksums: Checksums,
): Record<string, string> {
  const all = { ...metadata, [elementsKey]: JSON.stringify([...checksums].map(([name, value]) => [name, hex(value)])) };
  return { ...all, [headerKey]: headerChecksum(entries, all) };
}

/** internal: the checksums of a file that carries some, once they are found to agree with its header; null in other files. */
export function readChecksums(header: Header, where: string): Checksums | null {
  const { [headerKey]: expected, [elementsKey]: text, ...rest } = header.metadata;
  if (expected === undefined || text === undefined) return null;
  if (headerChecksum(header.tensors, { ...rest, [elementsKey]: text }) !== expected)
    throw damaged(where, "the checksum of its header is wrong; some of its bytes have changed.");
  const checksums: Checksums = new Map();
  for (const pair of parsedPairs(text)) {
    if (!Array.isArray(pair) || !/^[0-9a-f]{8}$/.test(String(pair[1]))) continue;
    checksums.set(String(pair[0]), Number.parseInt(pair[1] as string, 16));
  }
  for (const name of header.tensors.keys())
    if (!checksums.has(name)) throw damaged(where, `the tensor ${JSON.stringify(name.slice(0, 100))} has no checksum.`);
  return checksums;
}

function parsedPairs(text: string): unknown[] {
  try {
    const pairs: unknown = JSON.parse(text);
    return Array.isArray(pairs) ? pairs : [];
  } catch {
    return [];
  }
}

function headerChecksum(entries: ReadonlyMap<string, TensorEntry>, metadata: Readonly<Record<string, string>>): string {
  const tensors = [...entries].map(([name, { dtype, shape, begin, end }]) => [name, dtype, shape, begin, end]);
  const texts = Object.entries(metadata).sort(([a], [b]) => (a < b ? -1 : 1));
  return hex(crc32(Buffer.from(JSON.stringify([tensors, texts]))));
}

function hex(value: number): string {
  return value.toString(16).padStart(8, "0");
}
