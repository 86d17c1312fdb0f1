// Where the ranks meet before they talk: a file on one machine, a TCP store on several, and a check that all have come.
import { DistributedError, distributed } from "@fabric-ts/torch";
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
  const { worldSize, rank, timeoutMs } = options;
  reportPhase("rendezvous");
  // Loads the engine, which is not part of the waiting.
  distributed.isAvailable();
  const started = performance.now();
  const base = await openStore(options);
  const prefix = `fabric/${options.environment.attempt}/${rendezvousCount++}`;
  const store = new distributed.PrefixStore(prefix, base);
  await store.set(presenceKey(rank), String(process.pid));
  await waitForAll(store, worldSize, rank, Math.max(1, timeoutMs - (performance.now() - started)), timeoutMs);
  return store;
}

async function openStore(options: RendezvousOptions): Promise<distributed.Store> {
  const { environment, worldSize, rank, timeoutMs } = options;
  if (worldSize === 1) return new distributed.HashStore();
  const path = process.env.FABRIC_RENDEZVOUS_FILE;
  if (path !== undefined && path !== "") return new distributed.FileStore(path, worldSize);
  const host = environment.mainAddress;
  const port = environment.mainPort;
  const isServer = rank === 0 && !environment.isStoreHosted;
  try {
    const store = new distributed.TCPStore(host, port, worldSize, isServer, { timeoutMs });
    await store.connected();
    return store;
  } catch (cause) {
    const what = isServer
      ? `Rank 0 cannot listen at ${host}:${port}`
      : `Rank ${rank} cannot reach rank 0 at ${host}:${port}`;
    throw new DistributedError(`${what}: ${(cause as Error).message}`, {
      hint: isServer
        ? "Another program may use this port: set MASTER_PORT to a free one, the same on every machine."
        : "Is rank 0 running, and are MASTER_ADDR and MASTER_PORT the same on every machine and reachable from here?",
      cause,
    });
  }
}

async function waitForAll(
  store: distributed.Store,
  worldSize: number,
  rank: number,
  leftMs: number,
  timeoutMs: number,
): Promise<void> {
  const keys = Array.from({ length: worldSize }, (_, other) => presenceKey(other));
  try {
    await store.wait(keys, { timeoutMs: leftMs });
    return;
  } catch (cause) {
    const present: number[] = [];
    const missing: number[] = [];
    for (const [other, key] of keys.entries()) ((await isSet(store, key)) ? present : missing).push(other);
    // Everybody came after all: the store itself failed.
    if (missing.length === 0) throw cause;
    throw new DistributedError(
      `Rank ${rank} waited ${formatSeconds(timeoutMs)} for all ${worldSize} ranks to meet: present are ${list(present)}, missing are ${list(missing)}.`,
      {
        hint: "Look at the output of the missing ranks: they have not started, ended early or are still on their way.",
      },
    );
  }
}

async function isSet(store: distributed.Store, key: string): Promise<boolean> {
  try {
    return await store.check([key]);
  } catch {
    return false;
  }
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
