// Collectives on tensors. Every process of the group makes the same calls in the same order, with tensors of the same shape
// and dtype. Each call starts at once and returns a promise; the `Sync` forms block and are for code that cannot wait.
import { typeError } from "../check.js";
import { UsageError } from "../errors.js";
import { native } from "../native.js";
import { operator } from "../ops.js";
import { handleOf, Tensor, wrapHandle } from "../tensor.js";
import { awaited } from "./awaited.js";
import { barrierWithDeadline } from "./deadline-barrier.js";
import { type CollectiveName, distributedNative } from "./native.js";
import { groupHandle, type ProcessGroup, resolveGroup } from "./process-group.js";
import type { ReduceOp } from "./reduce-op.js";
import { checkTimeout } from "./stores.js";
import { Work } from "./work.js";

/** Options of every collective. */
export interface CollectiveOptions {
  /** The group; default: all processes. */
  group?: ProcessGroup | null | undefined;
  /** internal: what the user called, for error texts. */
  label?: string | undefined;
}
/** Options of a collective that combines values. */
export interface ReduceOptions extends CollectiveOptions {
  /** How values are combined. Default: `"sum"`. */
  op?: ReduceOp | undefined;
}
/** Options of a collective from one rank. */
export interface SourceOptions extends CollectiveOptions {
  /** The rank that gives the data, as a rank of the default group. Default: 0. */
  src?: number | undefined;
}
/** Options of a collective to one rank. */
export interface DestinationOptions extends CollectiveOptions {
  /** The rank that gets the result, as a rank of the default group. Default: 0. */
  dst?: number | undefined;
}

/** Sums `tensor` over all ranks, or combines it as `op` says, in place. Returns it. */
export async function allReduce(tensor: Tensor, options: ReduceOptions = {}): Promise<Tensor> {
  return await startAllReduce(tensor, options).wait();
}
/** internal: the same, blocking. */
export function allReduceSync(tensor: Tensor, options: ReduceOptions = {}): Tensor {
  return startAllReduce(tensor, options).waitSync();
}
/** internal: started and not waited for. */
export function startAllReduce(tensor: Tensor, options: ReduceOptions): Work<Tensor> {
  checkTensor("tensor", tensor);
  const group = resolveGroup(options.group, "allReduce");
  return start(group, "allReduce", [tensor], [], { op: options.op, label: options.label }, () => tensor);
}

/** Copies `tensor` of rank `src` into that of every rank, in place. Returns it. */
export async function broadcast(tensor: Tensor, options: SourceOptions = {}): Promise<Tensor> {
  return await startBroadcast(tensor, options).wait();
}
/** internal: the same, blocking. */
export function broadcastSync(tensor: Tensor, options: SourceOptions = {}): Tensor {
  return startBroadcast(tensor, options).waitSync();
}
function startBroadcast(tensor: Tensor, options: SourceOptions): Work<Tensor> {
  checkTensor("tensor", tensor);
  const group = resolveGroup(options.group, "broadcast");
  const peer = memberOf(group, options.src ?? group.ranks[0], "src");
  return start(group, "broadcast", [tensor], [], { peer, label: options.label }, () => tensor);
}

/** The sum (or what `op` says) over all ranks arrives in `tensor` of rank `dst`; the others keep theirs. Returns `tensor`. */
export async function reduce(tensor: Tensor, options: ReduceOptions & DestinationOptions = {}): Promise<Tensor> {
  checkTensor("tensor", tensor);
  const group = resolveGroup(options.group, "reduce");
  const peer = memberOf(group, options.dst ?? group.ranks[0], "dst");
  return await start(group, "reduce", [tensor], [], { op: options.op, peer }, () => tensor).wait();
}

/** The tensors of all ranks, in the order of ranks, on every rank. Without gradients: see `allGatherWithGrad`. */
export async function allGather(tensor: Tensor, options: CollectiveOptions = {}): Promise<Tensor[]> {
  return (await allGatherStacked(tensor, options)).unbind(0) as Tensor[];
}
/** internal: the same, blocking. */
export function allGatherSync(tensor: Tensor, options: CollectiveOptions = {}): Tensor[] {
  return startAllGather(tensor, options).waitSync().unbind(0) as Tensor[];
}
/** The tensors of all ranks stacked into one of shape `[worldSize, ...shape]`, on every rank. Without gradients. */
export async function allGatherStacked(tensor: Tensor, options: CollectiveOptions = {}): Promise<Tensor> {
  return await startAllGather(tensor, options).wait();
}
function startAllGather(tensor: Tensor, options: CollectiveOptions): Work<Tensor> {
  checkTensor("tensor", tensor);
  const group = resolveGroup(options.group, "allGather");
  const rows = emptyRows(tensor, group.size);
  return start(group, "allGather", [rows], [tensor], { label: options.label }, () => rows);
}

/**
 * The tensors of all ranks stacked into one of shape `[worldSize, ...shape]`, through which gradients flow: backward sums
 * the gradients of all ranks for this rank's own tensor. Every rank has to run that backward pass.
 */
export async function allGatherWithGrad(tensor: Tensor, options: CollectiveOptions = {}): Promise<Tensor> {
  const group = resolveGroup(options.group, "allGatherWithGrad");
  const rows = await startAllGather(tensor, options).wait();
  if (!tensor.requiresGrad || !native().isGradEnabled()) return rows;
  return wrapHandle(distributedNative().attachGather(groupHandle(group), handleOf(tensor), handleOf(rows)));
}

/** The tensors of all ranks, in the order of ranks, on rank `dst`; null on the others. */
export async function gather(tensor: Tensor, options: DestinationOptions = {}): Promise<Tensor[] | null> {
  checkTensor("tensor", tensor);
  const group = resolveGroup(options.group, "gather");
  const peer = memberOf(group, options.dst ?? group.ranks[0], "dst");
  const rows = group.rank === peer ? emptyRows(tensor, group.size) : null;
  return await start(
    group,
    "gather",
    rows ? [rows] : [],
    [tensor],
    { peer },
    () => rows && (rows.unbind(0) as Tensor[]),
  ).wait();
}

/** Gives rank i the i-th tensor of rank `src`'s list, in `tensor`. The other ranks pass null. Returns `tensor`. */
export async function scatter(
  tensor: Tensor,
  tensors: readonly Tensor[] | null,
  options: SourceOptions = {},
): Promise<Tensor> {
  checkTensor("tensor", tensor);
  const group = resolveGroup(options.group, "scatter");
  const peer = memberOf(group, options.src ?? group.ranks[0], "src");
  const inputs = group.rank === peer ? checkTensors("tensors", tensors) : [];
  return await start(group, "scatter", [tensor], inputs, { peer }, () => tensor).wait();
}

/** Combines the i-th tensors of all ranks into `output` of rank i. Returns `output`. */
export async function reduceScatter(
  output: Tensor,
  tensors: readonly Tensor[],
  options: ReduceOptions = {},
): Promise<Tensor> {
  checkTensor("output", output);
  const group = resolveGroup(options.group, "reduceScatter");
  return await start(
    group,
    "reduceScatter",
    [output],
    checkTensors("tensors", tensors),
    { op: options.op },
    () => output,
  ).wait();
}

/** Sends the i-th tensor of the list to rank i. Returns what the ranks sent here, in the order of ranks. */
export async function allToAll(tensors: readonly Tensor[], options: CollectiveOptions = {}): Promise<Tensor[]> {
  const group = resolveGroup(options.group, "allToAll");
  const outputs = checkTensors("tensors", tensors).map((tensor) => emptyRows(tensor));
  return await start(group, "allToAll", outputs, tensors, {}, () => outputs).wait();
}

/** Options of `send` and `recv`. */
export interface PointToPointOptions extends CollectiveOptions {
  /** Tells messages between the same two ranks apart. Default: 0. */
  tag?: number | undefined;
}

/** Sends a tensor to rank `dst`, which has to call `recv`. */
export async function send(tensor: Tensor, dst: number, options: PointToPointOptions = {}): Promise<void> {
  checkTensor("tensor", tensor);
  const group = resolveGroup(options.group, "send");
  const peer = memberOf(group, dst, "dst");
  if (peer === group.rank)
    throw new UsageError(`Rank ${dst} cannot send to itself.`, { hint: "Give another rank as `dst`." });
  await start(group, "send", [], [tensor], { peer, tag: options.tag }, () => undefined).wait();
}

/** Receives into `tensor` what rank `src` (null: any rank) sends. Returns the rank that sent it. */
export async function recv(
  tensor: Tensor,
  src: number | null = null,
  options: PointToPointOptions = {},
): Promise<number> {
  checkTensor("tensor", tensor);
  const group = resolveGroup(options.group, "recv");
  const peer = src === null ? -1 : memberOf(group, src, "src");
  if (peer === group.rank)
    throw new UsageError(`Rank ${src} cannot receive from itself.`, { hint: "Give another rank as `src`." });
  const work = start(group, "recv", [tensor], [], { peer, tag: options.tag }, () => undefined);
  await work.wait();
  return group.ranks[work.source] ?? -1;
}

/** Options of `barrier`. */
export interface BarrierOptions extends CollectiveOptions {
  /** End with a `DistributedError` that names the ranks that did not come when one has waited for so long. Default: the group's timeout, without names. */
  timeoutMs?: number | undefined;
  /** Tells barriers with a `timeoutMs` apart: ranks meet in those with the same name. */
  name?: string | undefined;
}

/** Waits until every rank of the group has come here. Does nothing for the group null, of which this process is no member. */
export async function barrier(options: BarrierOptions = {}): Promise<void> {
  if (options.group === null) return;
  if (options.timeoutMs === undefined) return await startBarrier(options).wait();
  const group = resolveGroup(options.group, "barrier");
  const name = options.label ?? (options.name === undefined ? "barrier" : `barrier ${options.name}`);
  await barrierWithDeadline(group, name, checkTimeout(options.timeoutMs));
}
/** internal: the same, blocking. */
export function barrierSync(options: CollectiveOptions = {}): void {
  if (options.group !== null) startBarrier(options).waitSync();
}
function startBarrier(options: CollectiveOptions): Work<undefined> {
  const group = resolveGroup(options.group, "barrier");
  const peer = group.backend === "nccl" ? native().cudaCurrentDevice() : 0;
  return start(group, "barrier", [], [], { peer, label: options.label }, () => undefined);
}

/** A barrier after which rank 0 knows who did not come; only with Gloo. `waitAllRanks` names all of them, not just the first. */
export async function monitoredBarrier(
  options: CollectiveOptions & { timeoutMs?: number | undefined; waitAllRanks?: boolean | undefined } = {},
): Promise<void> {
  if (options.group === null) return;
  const group = resolveGroup(options.group, "monitoredBarrier");
  const timeoutMs = checkTimeout(options.timeoutMs ?? group.timeoutMs);
  await awaited(distributedNative().monitoredBarrier(groupHandle(group), timeoutMs, options.waitAllRanks ?? false));
}

interface Details {
  op?: ReduceOp | undefined;
  peer?: number | undefined;
  tag?: number | undefined;
  label?: string | undefined;
}

function start<T>(
  group: ProcessGroup,
  name: CollectiveName,
  outputs: readonly Tensor[],
  inputs: readonly Tensor[],
  details: Details,
  result: () => T,
): Work<T> {
  const { op = "sum", peer = 0, tag = 0, label = "" } = details;
  const work = distributedNative().startCollective(
    groupHandle(group),
    name,
    outputs.map(handleOf),
    inputs.map(handleOf),
    op,
    peer,
    tag,
    label,
  );
  return new Work(work, result);
}

/** An uninitialized tensor like `tensor`, or of that many of them. */
function emptyRows(tensor: Tensor, rows?: number): Tensor {
  const shape = rows === undefined ? tensor.shape : [rows, ...tensor.shape];
  return operator("aten", "empty")(shape, { dtype: tensor.dtype, device: tensor.device }) as Tensor;
}

/** The group's rank of a process that is given by its rank in the default group. */
function memberOf(group: ProcessGroup, rank: number | undefined, name: string): number {
  if (!Number.isInteger(rank)) throw typeError(name, "a rank", rank);
  const member = group.ranks.indexOf(rank as number);
  if (member < 0) {
    throw new UsageError(`\`${name}\` is ${rank}, which is not a rank of the group "${group.name}".`, {
      hint: `Its ranks are ${group.ranks.join(", ")}.`,
    });
  }
  return member;
}

function checkTensor(name: string, value: unknown): void {
  if (!(value instanceof Tensor)) throw typeError(name, "a Tensor", value);
}

function checkTensors(name: string, value: unknown): readonly Tensor[] {
  if (!Array.isArray(value)) throw typeError(name, "an array of Tensors", value);
  for (const item of value) if (!(item instanceof Tensor)) throw typeError(name, "an array of Tensors", item);
  return value as readonly Tensor[];
}
