// Process groups: the default one, which holds all processes of the job, and groups of some of them.
import { describe, typeError } from "../check.js";
import { ConfigurationError, type DistributedError, UsageError } from "../errors.js";
import { native } from "../native.js";
import { awaited } from "./awaited.js";
import { distributedNative, type GroupHandle, type StoreHandle } from "./native.js";
import { checkTimeout, checkWorldSize, PrefixStore, Store } from "./stores.js";

/** What carries the data between processes: Gloo for CPUs, NCCL for CUDA devices. */
export type Backend = "gloo" | "nccl";

/** What is common to the ways of making a group. */
export interface GroupOptions {
  /** Default: that of the default group. */
  backend?: Backend | undefined;
  /** A collective fails after this many milliseconds without an answer. Default: 30 minutes. */
  timeoutMs?: number | undefined;
  /**
   * The network interface that Gloo listens on. Default: loopback when all ranks share this host, otherwise that of
   * GLOO_SOCKET_IFNAME or the one that leads to MASTER_ADDR.
   */
  interface?: string | undefined;
  /**
   * A collective that is waited for longer than this is compared with what the other ranks are in, and ranks that made different calls
   * end with an error that names both. Default: FABRIC_LATE_AFTER_MS, or 30 seconds.
   */
  lateAfterMs?: number | undefined;
}

/** How the default group is made. */
export interface InitOptions extends GroupOptions {
  /** This process, from 0 to `worldSize - 1`. */
  rank: number;
  /** The number of processes. */
  worldSize: number;
  /** Where the processes meet. */
  store: Store;
}

const defaultTimeoutMs = 30 * 60_000;
const defaultLateAfterMs = 30_000;

let handle: (group: ProcessGroup) => GroupHandle;
let construct: (native: GroupHandle, facts: GroupFacts) => ProcessGroup;

// Where the members of each group meet outside of collectives.
const storeOf = new WeakMap<ProcessGroup, Store>();

interface GroupFacts {
  name: string;
  backend: Backend;
  rank: number;
  ranks: readonly number[];
  timeoutMs: number;
}

/** Processes that take part in collectives together. Made by `initProcessGroup` and `newGroup`. */
export class ProcessGroup {
  readonly #handle: GroupHandle;
  /** A name for error texts. */
  readonly name: string;
  /** What carries the data. */
  readonly backend: Backend;
  /** This process within the group. */
  readonly rank: number;
  /** The members as ranks of the default group, in order. */
  readonly ranks: readonly number[];
  /** How long a collective may take, in milliseconds. */
  readonly timeoutMs: number;

  private constructor(native: GroupHandle, facts: GroupFacts) {
    this.#handle = native;
    this.name = facts.name;
    this.backend = facts.backend;
    this.rank = facts.rank;
    this.ranks = facts.ranks;
    this.timeoutMs = facts.timeoutMs;
  }

  static {
    handle = (group) => group.#handle;
    construct = (native, facts) => new ProcessGroup(native, facts);
  }

  /** The number of members. */
  get size(): number {
    return this.ranks.length;
  }
}

/** internal: the native group. */
export function groupHandle(group: ProcessGroup): GroupHandle {
  return handle(group);
}

/** internal: a store that the members of a group share. */
export function groupStore(group: ProcessGroup): Store {
  return storeOf.get(group) as Store;
}

interface World {
  group: ProcessGroup;
  store: Store;
  others: Set<ProcessGroup>;
  made: number;
}

let world: World | null = null;
// A store may serve several default groups one after the other; every process counts them alike.
const uses = new WeakMap<Store, number>();

/** True when this LibTorch can run several processes with some backend. */
export function isAvailable(): boolean {
  return isBackendAvailable("gloo") || isBackendAvailable("nccl");
}

/** True when the addon was built with a backend. */
export function isBackendAvailable(backend: Backend): boolean {
  const versions = native().versions();
  return backend === "gloo" ? versions.gloo : backend === "nccl" ? versions.nccl : false;
}

/** True between `initProcessGroup` and `destroyProcessGroup`. */
export function isInitialized(): boolean {
  return world !== null;
}

/**
 * Meets the other processes of the job and makes the default group. Every process calls it with the same `worldSize` and a
 * rank of its own. When ranks stay away, the error says which.
 */
export async function initProcessGroup(options: InitOptions): Promise<ProcessGroup> {
  const { store, ...plan } = planWorld(options);
  return beginWorld(await connect(store, plan), plan.turn, options.store);
}

/** The same with a blocked JavaScript thread: for places where nothing can be awaited. A TCP store has to be connected already. */
export function initProcessGroupSync(options: InitOptions): ProcessGroup {
  const { store, ...plan } = planWorld(options);
  return beginWorld(connectSync(store, plan), plan.turn, options.store);
}

function planWorld(options: InitOptions): GroupPlan & { store: Store; turn: number } {
  if (world) {
    throw new UsageError("The default process group has been initialized already.", {
      hint: "Call `initProcessGroup()` once, or `destroyProcessGroup()` before calling it again.",
    });
  }
  if (!(options.store instanceof Store))
    throw typeError("store", "a Store, such as new FileStore(path, worldSize)", options.store);
  const worldSize = checkWorldSize(options.worldSize);
  const rank = options.rank;
  if (!Number.isInteger(rank) || rank < 0 || rank >= worldSize) {
    throw new ConfigurationError(`\`rank\` is ${describe(rank)} in a world of ${worldSize}.`, {
      hint: `Ranks are whole numbers from 0 to ${worldSize - 1}.`,
    });
  }
  const { store } = options;
  const turn = (uses.get(store) ?? 0) + 1;
  uses.set(store, turn);
  const ranks = Array.from({ length: worldSize }, (_, index) => index);
  return { ...planGroup("default", rank, ranks, options), store: new PrefixStore(`default${turn}/`, store), turn };
}

function beginWorld(group: ProcessGroup, turn: number, store: Store): ProcessGroup {
  world = { group, store: new PrefixStore(`groups${turn}/`, store), others: new Set(), made: 0 };
  return group;
}

/**
 * Makes a group of some processes. All processes of the default group call it, in the same order, members or not; those
 * that are not get null. `ranks` default to all.
 */
export async function newGroup(
  ranks?: readonly number[] | null,
  options: GroupOptions = {},
): Promise<ProcessGroup | null> {
  const current = requireWorld();
  const { size, rank: own } = current.group;
  const members = [...(ranks ?? current.group.ranks)].sort((a, b) => a - b);
  for (const [index, member] of members.entries()) {
    if (!Number.isInteger(member) || member < 0 || member >= size || members[index - 1] === member) {
      throw new ConfigurationError(`\`ranks\` is ${describe(ranks)} in a world of ${size}.`, {
        hint: `Give different whole numbers from 0 to ${size - 1}.`,
      });
    }
  }
  const number = ++current.made;
  const rank = members.indexOf(own);
  if (rank < 0) return null;
  const name = `group ${number} (ranks ${members.join(", ")})`;
  const plan = planGroup(name, rank, members, {
    ...options,
    backend: options.backend ?? current.group.backend,
    timeoutMs: options.timeoutMs ?? current.group.timeoutMs,
  });
  const group = await connect(new PrefixStore(`${number}/`, current.store), plan);
  current.others.add(group);
  return group;
}

interface GroupPlan extends GroupFacts {
  interface: string;
  peerHost: string;
  lateAfterMs: number;
}

function planGroup(name: string, rank: number, ranks: readonly number[], options: GroupOptions): GroupPlan {
  const backend = options.backend ?? "gloo";
  if (backend !== "gloo" && backend !== "nccl") {
    throw new ConfigurationError(`\`backend\` is ${describe(backend)}.`, {
      hint: 'Choose "gloo" (CPU) or "nccl" (CUDA).',
    });
  }
  return {
    name,
    backend,
    rank,
    ranks,
    timeoutMs: checkTimeout(options.timeoutMs ?? defaultTimeoutMs),
    interface: options.interface ?? "",
    peerHost: process.env.MASTER_ADDR ?? "",
    lateAfterMs: checkLateAfter(options.lateAfterMs),
  };
}

async function connect(store: Store, plan: GroupPlan): Promise<ProcessGroup> {
  const meeting = await store.handle();
  const made = await awaited(createGroup(meeting, plan, false));
  const { keys, own, nothing, failed } = leaveTogether(made, plan);
  try {
    await awaited(distributedNative().storeSet(meeting, own, nothing, false));
    await awaited(distributedNative().storeWait(meeting, keys, plan.timeoutMs, false));
  } catch (error) {
    failed(error);
  }
  return watched(made, store, meeting, plan);
}

function connectSync(store: Store, plan: GroupPlan): ProcessGroup {
  const meeting = store.handleSync();
  const made = createGroup(meeting, plan, true);
  const { keys, own, nothing, failed } = leaveTogether(made, plan);
  try {
    distributedNative().storeSet(meeting, own, nothing, true);
    distributedNative().storeWait(meeting, keys, plan.timeoutMs, true);
  } catch (error) {
    failed(error);
  }
  return watched(made, store, meeting, plan);
}

/** Nobody goes on, perhaps to its end, while others are still connecting to it. */
function leaveTogether(made: GroupHandle, { ranks, rank }: GroupPlan) {
  const key = (member: number): string => `connected/${member}`;
  return {
    keys: ranks.map((_, member) => key(member)),
    own: key(rank),
    nothing: new Uint8Array(),
    failed: (error: unknown): void => {
      // Whoever holds the store has seen all of them, and has ended.
      if ((error as DistributedError).code === "ERR_STORE") return;
      distributedNative().destroyProcessGroup(made);
      throw error;
    },
  };
}

function createGroup<S extends boolean>(meeting: StoreHandle, plan: GroupPlan, sync: S) {
  const { backend, rank, ranks, timeoutMs, name, peerHost } = plan;
  const binding = distributedNative();
  return binding.createProcessGroup(
    meeting,
    backend,
    rank,
    ranks.length,
    timeoutMs,
    name,
    plan.interface,
    peerHost,
    sync,
  );
}

function watched(made: GroupHandle, store: Store, meeting: StoreHandle, plan: GroupPlan): ProcessGroup {
  distributedNative().watchGroup(made, distributedNative().prefixStore("watch/", meeting), plan.lateAfterMs);
  const group = construct(made, plan);
  storeOf.set(group, new PrefixStore("barrier/", store));
  return group;
}

function checkLateAfter(given: number | undefined): number {
  const text = process.env.FABRIC_LATE_AFTER_MS;
  const value = given ?? (text === undefined || text === "" ? defaultLateAfterMs : Number(text));
  if (typeof value === "number" && value > 0) return Math.min(Math.ceil(value), 1e12);
  throw new ConfigurationError(
    `${given === undefined ? "FABRIC_LATE_AFTER_MS" : "`lateAfterMs`"} is ${describe(given ?? text)}.`,
    { hint: "Give a number of milliseconds above 0; the default is 30000." },
  );
}

/**
 * Ends a group, or without an argument all of them: sockets and threads are given back, later collectives are errors. It
 * waits for nobody.
 */
export function destroyProcessGroup(group?: ProcessGroup | null): void {
  if (group === null) return;
  const current = requireWorld();
  if (group !== undefined && group !== current.group) {
    current.others.delete(group);
    distributedNative().destroyProcessGroup(handle(group));
    return;
  }
  world = null;
  for (const one of [...current.others, current.group]) distributedNative().destroyProcessGroup(handle(one));
}

/** All groups of this process that are not destroyed, the default group first. */
export function getGroups(): ProcessGroup[] {
  return world === null ? [] : [world.group, ...world.others];
}

/** The default group. */
export function getDefaultGroup(): ProcessGroup {
  return requireWorld().group;
}

/** This process' rank within a group (default: all processes); -1 when it is no member. */
export function getRank(group?: ProcessGroup | null): number {
  return group === null ? -1 : (group ?? requireWorld().group).rank;
}

/** The number of processes in a group (default: all of them); -1 when this process is no member. */
export function getWorldSize(group?: ProcessGroup | null): number {
  return group === null ? -1 : (group ?? requireWorld().group).size;
}

/** The backend of a group (default: the group of all processes). */
export function getBackend(group?: ProcessGroup | null): Backend {
  return resolveGroup(group, "getBackend").backend;
}

/** internal: the group that a collective runs in. */
export function resolveGroup(group: ProcessGroup | null | undefined, call: string): ProcessGroup {
  if (group === undefined) return requireWorld().group;
  if (group === null) {
    throw new UsageError(`\`${call}\` got the group null: this process is no member of it.`, {
      hint: "`newGroup` returns null to processes outside of the group; only members take part in its collectives.",
    });
  }
  if (!(group instanceof ProcessGroup)) throw typeError("group", "a ProcessGroup", group);
  return group;
}

function requireWorld(): World {
  if (world) return world;
  throw new UsageError("The default process group has not been initialized.", {
    hint: "Call `await distributed.initProcessGroup({ rank, worldSize, store })` in every process first.",
  });
}
