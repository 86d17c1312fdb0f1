// Writes safetensors files: tensors sorted by size of element, then name, so that all are aligned, as the reference does.
import { describe, typeError } from "../../check.js";
import type { Dtype } from "../../dtype.js";
import { native } from "../../native.js";
import { operator } from "../../ops.js";
import { handleOf, Tensor } from "../../tensor.js";
import { crc32 } from "../crc32.js";
import { withoutLazyBits } from "../tensor-records.js";
import { type Checksums, withChecksums } from "./checksums.js";
import { safeDtypes, type TensorEntry } from "./format.js";

/** Tensors by name, such as a state dict. */
export type SafeTensors = Readonly<Record<string, Tensor>> | ReadonlyMap<string, Tensor>;

/** Text by name, kept beside the tensors. */
export type Metadata = Readonly<Record<string, string>>;

const dtypeNames = new Map(Object.entries(safeDtypes).map(([name, dtype]) => [dtype, name]));
const chunkBytes = 1 << 20;
const noBytes = new Uint8Array();

/**
 * internal: the bytes of a file, in pieces that are valid until the next one. Throws a `TypeError` for what cannot be saved. Pieces without
 * bytes come while checksums are computed, which precede all bytes.
 */
export function safetensorsPieces(
  tensors: SafeTensors,
  metadata: Metadata = {},
  { checksums = false } = {},
): Iterable<Uint8Array> {
  if (typeof tensors !== "object" || tensors === null || Array.isArray(tensors) || tensors instanceof Tensor)
    throw typeError("tensors", "an object or Map of tensors by name", tensors, "Pass `model.stateDict()`.");
  const sorted = [...(tensors instanceof Map ? tensors : Object.entries(tensors))] as [string, Tensor][];
  for (const [name, tensor] of sorted) checkTensor(name, tensor);
  checkMetadata(metadata);
  sorted.sort(([a, x], [b, y]) => y.elementSize() - x.elementSize() || (a < b ? -1 : 1));
  const entries = new Map<string, TensorEntry>();
  let at = 0;
  for (const [name, tensor] of sorted) {
    const end = at + tensor.numel() * tensor.elementSize();
    entries.set(name, { dtype: tensor.dtype, shape: tensor.shape, begin: at, end });
    at = end;
  }
  return pieces(entries, metadata, sorted, checksums);
}

// Written by hand: an object would put names such as "0" first and take "__proto__" for something else.
function headerText(entries: ReadonlyMap<string, TensorEntry>, metadata: Metadata): string {
  const parts: string[] = [];
  const texts = Object.entries(metadata).map(([key, text]) => `${JSON.stringify(key)}:${JSON.stringify(text)}`);
  if (texts.length > 0) parts.push(`"__metadata__":{${texts.join(",")}}`);
  for (const [name, { dtype, shape, begin, end }] of entries) {
    const entry = { dtype: dtypeNames.get(dtype), shape, data_offsets: [begin, end] };
    parts.push(`${JSON.stringify(name)}:${JSON.stringify(entry)}`);
  }
  return `{${parts.join(",")}}`;
}

function* pieces(
  entries: ReadonlyMap<string, TensorEntry>,
  metadata: Metadata,
  tensors: readonly [string, Tensor][],
  checksums: boolean,
): Generator<Uint8Array> {
  const all = checksums ? withChecksums(entries, metadata, yield* checksumsOf(tensors)) : metadata;
  const text = Buffer.from(headerText(entries, all));
  const padded = Math.ceil(text.length / 8) * 8;
  const head = Buffer.alloc(8 + padded, " ");
  head.writeBigUInt64LE(BigInt(padded), 0);
  text.copy(head, 8);
  yield head;
  for (const [, tensor] of tensors) yield* elements(tensor);
}

function* elements(tensor: Tensor): Generator<Uint8Array> {
  const own = operator("aten", "contiguous")(withoutLazyBits(tensor)) as Tensor;
  const start = own.storageOffset() * own.elementSize();
  const bytes = own.numel() * own.elementSize();
  // A copy from another device costs the same whether it is large or small.
  const step = own.device === "cpu" ? chunkBytes : 64 * chunkBytes;
  for (let at = 0; at < bytes; at += step)
    yield new Uint8Array(native().readStorage(handleOf(own), start + at, Math.min(step, bytes - at)));
}

function* checksumsOf(tensors: readonly [string, Tensor][]): Generator<Uint8Array, Checksums> {
  const checksums: Checksums = new Map();
  for (const [name, tensor] of tensors) {
    let value = 0;
    for (const piece of elements(tensor)) {
      value = crc32(piece, value);
      yield noBytes;
    }
    checksums.set(name, value);
  }
  return checksums;
}

function checkTensor(name: unknown, tensor: unknown): void {
  if (typeof name !== "string" || name === "__metadata__" || /\p{Surrogate}/u.test(name))
    throw new TypeError(`A tensor cannot be called ${describe(name)} in a safetensors file.\nGive it another name.`);
  if (!(tensor instanceof Tensor))
    throw new TypeError(
      `Expected ${describe(name)} to be a tensor, but got ${describe(tensor)}.\nA safetensors file holds tensors by name; \`torch.save\` takes other values too.`,
    );
  if (!dtypeNames.has(tensor.dtype as Dtype))
    throw new TypeError(
      `${describe(name)} is a tensor of ${tensor.dtype}, which safetensors files cannot hold.\nConvert it first: .to("float32").`,
    );
  if (tensor.device === "meta")
    throw new TypeError(
      `${describe(name)} is a tensor on the meta device, which has no elements to save.\nGive its module memory and values first: module.toEmpty({ device: "cpu" }).`,
    );
}

function checkMetadata(metadata: Metadata): void {
  if (typeof metadata !== "object" || metadata === null)
    throw typeError("metadata", "an object of texts by name", metadata, 'For example { format: "pt" }.');
  for (const [key, value] of Object.entries(metadata)) {
    if (typeof value !== "string")
      throw typeError(`metadata.${key}`, "text", value, "Use JSON.stringify for other values.");
  }
}
