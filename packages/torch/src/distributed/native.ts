// The part of the addon's interface that concerns several processes. Everything in it is internal.
import { type Handle, native } from "../native.js";

declare const brand: unique symbol;
/** internal: an external around a native store. */
export interface StoreHandle {
  readonly [brand]: "store";
}
/** internal: an external around a native process group. */
export interface GroupHandle {
  readonly [brand]: "group";
}
/** internal: an external around a collective on its way. */
export interface WorkHandle {
  readonly [brand]: "work";
}
/** internal: an external around the native half of DistributedDataParallel. */
export interface ReducerHandle {
  readonly [brand]: "reducer";
}

/** internal: the names by which the addon starts collectives. */
export type CollectiveName =
  | "broadcast"
  | "allReduce"
  | "reduce"
  | "allGather"
  | "gather"
  | "scatter"
  | "reduceScatter"
  | "allToAll"
  | "send"
  | "recv"
  | "barrier";

/** internal: `T` for `sync: true`, a promise of it for `sync: false`. */
type MaybeLater<S extends boolean, T> = S extends true ? T : Promise<T>;

/** internal: what may block takes a last argument `sync`: in place, or on another thread with a promise. */
export interface DistributedBinding {
  // stores.cc
  fileStore(path: string, worldSize: number): StoreHandle;
  hashStore(): StoreHandle;
  prefixStore(prefix: string, store: StoreHandle): StoreHandle;
  tcpStore<S extends boolean>(
    host: string,
    port: number,
    worldSize: number,
    isMaster: boolean,
    timeoutMs: number,
    sync: S,
  ): MaybeLater<S, { store: StoreHandle; port: number }>;
  storeSet<S extends boolean>(store: StoreHandle, key: string, value: Uint8Array, sync: S): MaybeLater<S, void>;
  storeGet(store: StoreHandle, key: string, timeoutMs: number, sync: false): Promise<Uint8Array>;
  storeWait<S extends boolean>(
    store: StoreHandle,
    keys: readonly string[],
    timeoutMs: number,
    sync: S,
  ): MaybeLater<S, void>;
  storeAdd(store: StoreHandle, key: string, amount: number, sync: false): Promise<number>;
  storeCheck<S extends boolean>(store: StoreHandle, keys: readonly string[], sync: S): MaybeLater<S, boolean>;
  storeDeleteKey(store: StoreHandle, key: string, sync: false): Promise<boolean>;
  storeNumKeys(store: StoreHandle, sync: false): Promise<number>;

  // groups.cc
  createProcessGroup<S extends boolean>(
    store: StoreHandle,
    backend: string,
    rank: number,
    worldSize: number,
    timeoutMs: number,
    name: string,
    networkInterface: string,
    peerHost: string,
    sync: S,
  ): MaybeLater<S, GroupHandle>;
  /** Gives sockets and threads back; never blocks. */
  destroyProcessGroup(group: GroupHandle): void;
  monitoredBarrier(group: GroupHandle, timeoutMs: number, waitAllRanks: boolean): Promise<void>;

  // group-watch.cc
  /** Compares the ranks' calls through the store when one of them is waited for longer than `lateMs`. */
  watchGroup(group: GroupHandle, store: StoreHandle, lateMs: number): void;

  // waiting.cc
  showWaiting(words: Int32Array, index: number): void;

  // works.cc
  /** `peer` is the root, source or destination as a rank of the group; `label` is what the user called, for error texts. */
  startCollective(
    group: GroupHandle,
    name: CollectiveName,
    outputs: readonly Handle[],
    inputs: readonly Handle[],
    op: string,
    peer: number,
    tag: number,
    label: string,
  ): WorkHandle;
  workWait(work: WorkHandle): Promise<void>;
  workWaitSync(work: WorkHandle): void;
  /** The rank of the group that sent what `recv` got. */
  workSource(work: WorkHandle): number;
  // gather-gradient.cc
  /** Makes rows gathered from all ranks a function of `input`, this rank's own. */
  attachGather(group: GroupHandle, input: Handle, rows: Handle): Handle;

  // model-agreement.cc
  /** Throws on every rank when the parameters differ between ranks. Blocks. */
  verifyModels(group: GroupHandle, parameters: readonly Handle[], names: readonly string[]): void;
  /** Copies rank `source`'s tensors to all ranks. Blocks. */
  broadcastTensors(group: GroupHandle, tensors: readonly Handle[], bufferBytes: number, source: number): void;
  // reducer.cc
  createReducer(
    group: GroupHandle,
    parameters: readonly Handle[],
    names: readonly string[],
    sparse: readonly number[],
    bucketBytes: number,
    findUnused: boolean,
    gradientAsBucketView: boolean,
    staticGraph: boolean,
  ): ReducerHandle;
  reducerBeforeForward(reducer: ReducerHandle, synced: boolean): void;
  reducerBeforeBackward(reducer: ReducerHandle, outputs: readonly Handle[]): void;
  /** 1 on entering `noSync`, -1 on leaving it: inside, gradients may stay on this rank whatever they come from. */
  reducerAllowLocal(reducer: ReducerHandle, delta: 1 | -1): void;
  /**
   * Replaces the averaging of buckets. "js" takes two functions that run in the backward pass: `run` gives a tensor, or a collective on
   * its way, of which `finish` gives the tensor when it has ended.
   */
  reducerCommHook(
    reducer: ReducerHandle,
    kind: "fp16" | "bf16" | "js",
    run?: (
      index: number,
      isLast: boolean,
      buffer: Handle,
      gradients: Handle[],
      parameters: number[],
    ) => [Handle, null] | [null, WorkHandle],
    finish?: (index: number) => Handle,
  ): void;
  reducerSink(reducer: ReducerHandle, outputs: readonly Handle[], delay: boolean): Handle[];
}

/**
 * internal: from now on `words[index]` is the number of waits of this process for others, `words[index + 1]` how many have begun. The memory
 * has to stay as long as the process.
 */
export function showWaiting(words: Int32Array, index: number): void {
  distributedNative().showWaiting(words, index);
}

/** internal: the addon, loaded once. */
export function distributedNative(): DistributedBinding {
  return native() as unknown as DistributedBinding;
}
