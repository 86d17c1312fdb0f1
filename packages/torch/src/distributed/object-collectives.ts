// Collectives on values of any kind that can be copied, with tensors inside. See object-codec.ts for what that is.
import { typeError } from "../check.js";
import { native } from "../native.js";
import { operator } from "../ops.js";
import { handleOf, type Tensor, wrapHandle } from "../tensor.js";
import {
  allGather,
  broadcast,
  type CollectiveOptions,
  type DestinationOptions,
  gather,
  type SourceOptions,
  scatter,
} from "./collectives.js";
import { decodeObject, encodeObject } from "./object-codec.js";
import { type ProcessGroup, resolveGroup } from "./process-group.js";

// The first message has this size and holds the length and, if it is short, the whole value: one round trip for most.
const firstBytes = 1024;
const lengthBytes = 8;

/** The value of rank `src`, on every rank. On the other ranks `value` is ignored. Rank `src` gets its own value back. */
export async function broadcastObject<T>(value: T, options: SourceOptions = {}): Promise<T> {
  const group = resolveGroup(options.group, "broadcastObject");
  const { label } = options;
  const src = options.src ?? group.ranks[0] ?? 0;
  const isSource = group.ranks[group.rank] === src;
  const bytes = isSource ? encodeObject(value) : new Uint8Array(0);
  const first = await broadcast(toTensor(firstBlock(bytes), group), { group, src, label });
  if (isSource) {
    if (bytes.length > firstBytes - lengthBytes) await broadcast(toTensor(bytes, group), { group, src, label });
    return value;
  }
  return decodeObject(
    await complete(toBytes(first), (length) => broadcast(emptyBytes(length, group), { group, src, label })),
  ) as T;
}

/** The values of all ranks, in the order of ranks, on every rank. */
export async function allGatherObject<T>(value: T, options: CollectiveOptions = {}): Promise<T[]> {
  const group = resolveGroup(options.group, "allGatherObject");
  const { label } = options;
  const bytes = encodeObject(value);
  const blocks = (await allGather(toTensor(firstBlock(bytes), group), { group, label })).map(toBytes);
  const longest = Math.max(...blocks.map(lengthOf));
  let rows = blocks.map((block) => block.subarray(lengthBytes));
  if (longest > firstBytes - lengthBytes) {
    rows = (await allGather(toTensor(padded(bytes, longest), group), { group, label })).map(toBytes);
  }
  return rows.map((row, rank) => {
    if (rank === group.rank) return value;
    return decodeObject(row.subarray(0, lengthOf(blocks[rank] as Uint8Array))) as T;
  });
}

/** The values of all ranks, in the order of ranks, on rank `dst`; null on the others. */
export async function gatherObject<T>(value: T, options: DestinationOptions = {}): Promise<T[] | null> {
  const group = resolveGroup(options.group, "gatherObject");
  const bytes = encodeObject(value);
  const lengths = (await allGather(toTensor(lengthBlock(bytes.length), group), { group })).map(toBytes).map(lengthOf);
  const rows = await gather(toTensor(padded(bytes, Math.max(...lengths)), group), { group, dst: options.dst });
  if (rows === null) return null;
  return rows.map((row, rank) => {
    return rank === group.rank ? value : (decodeObject(toBytes(row).subarray(0, lengths[rank])) as T);
  });
}

/** The value of this rank in the list that rank `src` has: one for each rank, in the order of ranks. The other ranks pass null. */
export async function scatterObject<T>(values: readonly T[] | null, options: SourceOptions = {}): Promise<T> {
  const group = resolveGroup(options.group, "scatterObject");
  const { src = group.ranks[0] as number } = options;
  const isSource = group.ranks[group.rank] === src;
  if (isSource && (!Array.isArray(values) || values.length !== group.size)) {
    throw typeError("values", `an array with one value for each of the ${group.size} ranks`, values);
  }
  const blocks = isSource ? (values as readonly T[]).map(encodeObject) : [];
  const longest = Math.max(0, ...blocks.map((block) => block.length));
  const first = await broadcast(toTensor(lengthBlock(longest), group), { group, src });
  // Every row begins with the length of its value.
  const rowBytes = lengthBytes + lengthOf(toBytes(first));
  const rows = blocks.map((block) => {
    const row = padded(lengthBlock(block.length), rowBytes);
    row.set(block, lengthBytes);
    return toTensor(row, group);
  });
  const row = toBytes(await scatter(emptyBytes(rowBytes, group), isSource ? rows : null, { group, src }));
  if (isSource) return (values as readonly T[])[group.rank] as T;
  return decodeObject(row.subarray(lengthBytes, lengthBytes + lengthOf(row))) as T;
}

function lengthBlock(length: number): Uint8Array {
  const block = new Uint8Array(lengthBytes);
  new DataView(block.buffer).setBigUint64(0, BigInt(length), true);
  return block;
}

function padded(bytes: Uint8Array, length: number): Uint8Array {
  const result = new Uint8Array(length);
  result.set(bytes);
  return result;
}

function firstBlock(bytes: Uint8Array): Uint8Array {
  const block = padded(lengthBlock(bytes.length), firstBytes);
  block.set(bytes.subarray(0, firstBytes - lengthBytes), lengthBytes);
  return block;
}

function lengthOf(block: Uint8Array): number {
  return Number(new DataView(block.buffer, block.byteOffset).getBigUint64(0, true));
}

async function complete(block: Uint8Array, rest: (length: number) => Promise<Tensor>): Promise<Uint8Array> {
  const length = lengthOf(block);
  if (length <= firstBytes - lengthBytes) return block.subarray(lengthBytes, lengthBytes + length);
  return toBytes(await rest(length));
}

function toTensor(bytes: Uint8Array, group: ProcessGroup): Tensor {
  return onDevice(wrapHandle(native().fromBytes(bytes, "uint8", [bytes.length])), group);
}

function emptyBytes(length: number, group: ProcessGroup): Tensor {
  return onDevice(operator("aten", "empty")([length], { dtype: "uint8", device: "cpu" }) as Tensor, group);
}

function onDevice(tensor: Tensor, group: ProcessGroup): Tensor {
  if (group.backend !== "nccl") return tensor;
  return operator("aten", "to")(tensor, { device: "cuda", dtype: "uint8" }) as Tensor;
}

function toBytes(tensor: Tensor): Uint8Array {
  return new Uint8Array(native().readBytes(handleOf(tensor)));
}
