// Collectives on values of any kind that can be copied, with tensors inside. See object-codec.ts for what that is.

import { native } from "../native.js";
import { operator } from "../ops.js";
import { handleOf, type Tensor, wrapHandle } from "../tensor.js";
import { allGather, broadcast, type CollectiveOptions, type SourceOptions } from "./collectives.js";
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
    const padded = new Uint8Array(longest);
    padded.set(bytes);
    rows = (await allGather(toTensor(padded, group), { group, label })).map(toBytes);
  }
  return rows.map((row, rank) => {
    if (rank === group.rank) return value;
    return decodeObject(row.subarray(0, lengthOf(blocks[rank] as Uint8Array))) as T;
  });
}

function firstBlock(bytes: Uint8Array): Uint8Array {
  const block = new Uint8Array(firstBytes);
  new DataView(block.buffer).setBigUint64(0, BigInt(bytes.length), true);
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
