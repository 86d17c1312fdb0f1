// Where the ranks meet before they talk: a file on one machine, a TCP store on several, and a check that all have come.
import { DistributedError, distributed, NotSupportedError } from "@fabric-ts/torch";
import { sharedPage, words } from "../utilities/activity.js";
import type { ClusterEnvironment } from "./cluster-environment.js";
import { reportPhase } from "./rank-channel.js";

/** internal: what `createStore` needs to know. */
export interface RendezvousOptions {
  environment: ClusterEnvironment;
  worldSize: number;
  rank: number;
  /** How long the ranks wait for each other. */
  timeoutMs: number;
}

// A program may make, destroy and make again its process group; all ranks count alike, and old keys are not seen again.
let rendezvousCount = 0;

/**
 * internal: the store through which the ranks set up their process group. Resolves when all ranks are there; throws a `DistributedError`
 * that says which ranks came and which did not when the time is over. Who goes on to make the process group says `reportPhase("joined")` then.
 */
export async function createStore(options: RendezvousOptions): Promise<distributed.Store> {
  const meeting = beginMeeting(options);
  for (;;) {
    try {
      return await meet(options, meeting);
    } catch (error) {
      if (!meeting.mayTryAgain(error)) throw error;
      await new Promise((resolve) => setTimeout(resolve, retryMs));
    }
  }
}

/** internal: the same with a blocked JavaScript thread, for constructors. */
export function createStoreSync(options: RendezvousOptions): distributed.Store {
  const meeting = beginMeeting(options);
  for (;;) {
    try {
      return meetSync(options, meeting);
    } catch (error) {
      if (!meeting.mayTryAgain(error)) throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, retryMs);
    }
  }
}

const retryMs = 200;

interface Meeting {
  prefix: string;
  /** One for each rank. */
  keys: string[];
  leftMs(): number;
  /** In a restarted run rank 0 of the last attempt may still be ending: who had come to it comes again. */
  mayTryAgain(error: unknown): boolean;
}

function beginMeeting(options: RendezvousOptions): Meeting {
  const { environment, worldSize, timeoutMs } = options;
  reportPhase("rendezvous");
  // Loads the engine, which is not part of the waiting.
  if (!distributed.isAvailable()) {
    throw new NotSupportedError("torch.distributed is not available: this LibTorch was built without Gloo and NCCL.", {
      hint: "Use another LibTorch, or one device.",
    });
  }
  if (sharedPage) distributed.showWaiting(sharedPage, words.waiting);
  const started = performance.now();
  const leftMs = (): number => Math.max(1, timeoutMs - (performance.now() - started));
  const isRestarted = environment.attempt !== "0";
  return {
    prefix: `fabric/${environment.jobKey}/${environment.attempt}/${rendezvousCount++}`,
    keys: Array.from({ length: worldSize }, (_, other) => presenceKey(other)),
    leftMs,
    mayTryAgain: (error) =>
      isRestarted && !isServer(options) && (error as DistributedError).code === "ERR_STORE" && leftMs() > 2 * retryMs,
  };
}

async function meet(options: RendezvousOptions, meeting: Meeting): Promise<distributed.Store> {
  const store = new distributed.PrefixStore(meeting.prefix, await openStore(options, meeting));
  await store.set(presenceKey(options.rank), String(process.pid));
  try {
    await store.wait(meeting.keys, { timeoutMs: meeting.leftMs() });
  } catch (cause) {
    if ((cause as DistributedError).code !== "ERR_STORE_TIMEOUT") throw cause;
    const present: boolean[] = [];
    for (const key of meeting.keys) present.push(await store.check([key]).catch(() => false));
    throw absenceError(options, present, cause);
  }
  await options.environment.exchange(store);
  return store;
}

function meetSync(options: RendezvousOptions, meeting: Meeting): distributed.Store {
  const store = new distributed.PrefixStore(meeting.prefix, openStoreSync(options, meeting));
  store.setSync(presenceKey(options.rank), String(process.pid));
  try {
    store.waitSync(meeting.keys, { timeoutMs: meeting.leftMs() });
  } catch (cause) {
    if ((cause as DistributedError).code !== "ERR_STORE_TIMEOUT") throw cause;
    const isSet = (key: string): boolean => {
      try {
        return store.checkSync([key]);
      } catch {
        return false;
      }
    };
    throw absenceError(options, meeting.keys.map(isSet), cause);
  }
  return store;
}

async function openStore(options: RendezvousOptions, { leftMs }: Meeting): Promise<distributed.Store> {
  const local = localStore(options);
  if (local) return local;
  const { worldSize } = options;
  const { mainAddress, mainPort } = announcePlace(options);
  try {
    const store = new distributed.TCPStore(mainAddress, mainPort, worldSize, isServer(options), {
      timeoutMs: connectMs(leftMs()),
    });
    await store.connected();
    return store;
  } catch (cause) {
    throw connectionError(options, cause);
  }
}

function openStoreSync(options: RendezvousOptions, { leftMs }: Meeting): distributed.Store {
  const local = localStore(options);
  if (local) return local;
  const { worldSize } = options;
  const { mainAddress, mainPort } = announcePlace(options);
  try {
    const how = { timeoutMs: connectMs(leftMs()), sync: true };
    return new distributed.TCPStore(mainAddress, mainPort, worldSize, isServer(options), how);
  } catch (cause) {
    throw connectionError(options, cause);
  }
}

/** LibTorch 1.13 counts the time to connect in whole seconds. */
function connectMs(leftMs: number): number {
  return Math.max(1000, leftMs);
}

/** On one machine no port is needed. */
function localStore({ environment, worldSize }: RendezvousOptions): distributed.Store | null {
  if (worldSize === 1) return new distributed.HashStore();
  const path = process.env.FABRIC_RENDEZVOUS_FILE || environment.rendezvousFile;
  return path === undefined ? null : new distributed.FileStore(path, worldSize);
}

/** Libraries below, and programs of the user's own, look for the meeting point in these variables. */
function announcePlace({ environment }: RendezvousOptions): { mainAddress: string; mainPort: number } {
  const { mainAddress, mainPort } = environment;
  process.env.MASTER_ADDR = mainAddress;
  process.env.MASTER_PORT = String(mainPort);
  return { mainAddress, mainPort };
}

function isServer({ rank, environment }: RendezvousOptions): boolean {
  return rank === 0 && !environment.isStoreHosted;
}

function connectionError(options: RendezvousOptions, cause: unknown): DistributedError {
  const { environment, rank } = options;
  const place = `${environment.mainAddress}:${environment.mainPort}`;
  const what = isServer(options) ? `Rank 0 cannot listen at ${place}` : `Rank ${rank} cannot reach rank 0 at ${place}`;
  // What follows the first line is advice, and so is the hint.
  return new DistributedError(`${what}: ${(cause as Error).message.split("\n", 1)[0]}`, {
    hint: isServer(options)
      ? "MASTER_ADDR has to name this machine, and no other program may use the port MASTER_PORT. Both have to be the same on every machine."
      : "Is rank 0 running, and are MASTER_ADDR and MASTER_PORT the same on every machine and reachable from here?",
    cause,
  });
}

function absenceError({ rank, timeoutMs }: RendezvousOptions, isPresent: readonly boolean[], cause: unknown): unknown {
  const ranks = [...isPresent.keys()];
  const missing = ranks.filter((other) => !isPresent[other]);
  // Everybody came after all: the store itself failed.
  if (missing.length === 0) return cause;
  const present = ranks.filter((other) => isPresent[other]);
  return new DistributedError(
    `Rank ${rank} waited ${formatSeconds(timeoutMs)} for all ${ranks.length} ranks to meet: present are ${list(present)}, missing are ${list(missing)}.`,
    {
      code: "ERR_RANK_MISSING",
      hint: "Look at the output of the missing ranks: they have not started, ended early or are still on their way.",
    },
  );
}

function presenceKey(rank: number): string {
  return `present/${rank}`;
}

function formatSeconds(milliseconds: number): string {
  return `${Math.round(milliseconds / 100) / 10} s`;
}

// Runs of neighbours are joined: "0-3, 7".
function list(ranks: readonly number[]): string {
  if (ranks.length === 0) return "none";
  const parts: string[] = [];
  for (let i = 0; i < ranks.length; ) {
    let end = i;
    while (end + 1 < ranks.length && ranks[end + 1] === ranks[end] + 1) end++;
    parts.push(end === i ? String(ranks[i]) : `${ranks[i]}-${ranks[end]}`);
    i = end + 1;
  }
  return parts.slice(0, 20).join(", ") + (parts.length > 20 ? ", ..." : "");
}
