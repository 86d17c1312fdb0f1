// What `fabric.setupDataLoaders` returns: batches on the right device, another order each epoch.
import { type InspectOptions, inspect } from "node:util";
import { CheckpointError, type Device, data } from "@fabric-ts/torch";
import { duringAsyncPass, duringPass } from "../utilities/activity.js";
import { describe } from "../utilities/describe.js";
import { forwardMembers } from "../utilities/forward-members.js";
import { moveDataToDevice } from "../utilities/move-data-to-device.js";
import { areWorkersSeeded } from "../utilities/seed.js";
import { workerInitFunction } from "../utilities/worker-seed.js";

/** Any data loader, or any that gives batches `B`, whatever its samples are. */
// biome-ignore lint/suspicious/noExplicitAny: the only type that every loader is assignable to
export type AnyDataLoader<B = any> = data.DataLoader<any, B>;

/** What a loader gives. */
export type BatchOf<L extends AnyDataLoader> = L extends data.DataLoader<infer _T, infer B> ? B : never;

/** What the wrapper does itself. */
export interface FabricDataLoaderMembers<L extends AnyDataLoader>
  extends Iterable<BatchOf<L>>,
    AsyncIterable<BatchOf<L>> {
  /** The loader inside: the one that was given, or its copy with a distributed sampler. */
  readonly loader: L;
  /** Where batches are moved; null when they stay where they are. */
  readonly device: Device | null;
  /** Number of batches on this process. */
  readonly length: number;
  /** The epoch that the next pass is: counts passes from 0. */
  readonly epoch: number;
  /** Makes the next pass the epoch `epoch`, for a run that is resumed. */
  setEpoch(epoch: number): void;
  /** True: each process has a state of its own, which `fabric.save` stores for all of them. */
  readonly perRank: true;
  /** The epoch, and where the loader is in it: in the middle of a pass too, so that a resumed run gets the batches that were to come. */
  stateDict(): Record<string, unknown>;
  /** Makes the next pass go on where `stateDict` was taken. */
  loadStateDict(state: Record<string, unknown>): void;
}

/** A data loader as `fabric.setupDataLoaders` returns it: everything the loader has, but not an instance of its class. */
export type FabricDataLoader<L extends AnyDataLoader = AnyDataLoader> = Omit<L, keyof FabricDataLoaderMembers<L>> &
  FabricDataLoaderMembers<L>;

interface FabricDataLoaderConstructor {
  new <L extends AnyDataLoader>(loader: L, device?: Device | null): FabricDataLoader<L>;
  readonly prototype: FabricDataLoader;
}

/**
 * internal: gives the workers of a loader seeds that differ from rank to rank, when `seedEverything` was asked for that and the loader has no
 * `workerInitFn` of its own.
 */
export function seedWorkers(loader: AnyDataLoader, rank: number): void {
  if (!areWorkersSeeded() || loader.workerInitFn !== null) return;
  const module = new URL("../utilities/worker-seed.js", import.meta.url);
  loader.workerInitFn = data.workerFunction(module, workerInitFunction, rank);
}

const Wrapper = class FabricDataLoader {
  readonly loader: AnyDataLoader;
  readonly device: Device | null;
  readonly perRank = true;
  #epoch = 0;
  // The newest pass that has begun and is not over.
  #pass: { readonly epoch: number } | null = null;

  constructor(loader: AnyDataLoader, device: Device | null = null) {
    this.loader = loader;
    this.device = device;
    forwardMembers(this, loader);
  }

  get length(): number {
    return this.loader.length;
  }
  get epoch(): number {
    return this.#epoch;
  }
  setEpoch(epoch: number): void {
    if (!Number.isInteger(epoch) || epoch < 0)
      throw new TypeError(`Expected \`epoch\` to be a whole number from 0, but got ${String(epoch)}.`);
    this.#epoch = epoch;
  }

  stateDict(): Record<string, unknown> {
    return { epoch: this.#pass?.epoch ?? this.#epoch, loader: this.loader.stateDict() };
  }
  loadStateDict(state: Record<string, unknown>): void {
    const { epoch, loader } = state ?? {};
    if (typeof epoch !== "number" || typeof loader !== "object" || loader === null) {
      throw new CheckpointError(
        `Expected the state of a data loader that Fabric has set up, but got ${describe(state)}.`,
        { hint: "Pass what `stateDict()` of such a loader returned; it has the keys `epoch` and `loader`." },
      );
    }
    this.loader.loadStateDict(loader as Record<string, unknown>);
    this.setEpoch(epoch);
    this.#pass = null;
  }

  *[Symbol.iterator](): Generator<unknown, void> {
    const pass = this.#startPass();
    try {
      for (const batch of duringPass(this.loader)) yield this.#move(batch);
    } finally {
      this.#endPass(pass);
    }
  }
  async *[Symbol.asyncIterator](): AsyncGenerator<unknown, void> {
    const pass = this.#startPass();
    try {
      for await (const batch of duringAsyncPass(this.loader)) yield this.#move(batch);
    } finally {
      this.#endPass(pass);
    }
  }

  [inspect.custom](_depth: number, options: InspectOptions): string {
    const { loader, device, epoch } = this;
    return `FabricDataLoader ${inspect({ loader, device, epoch }, options)}`;
  }

  #move(batch: unknown): unknown {
    return this.device === null ? batch : moveDataToDevice(batch, this.device);
  }

  // Generators run from their first `next`, so this is when a pass begins and not when it is asked for.
  #startPass(): object {
    const epoch = this.#epoch++;
    this.#pass = { epoch };
    const pass = this.#pass;
    const { sampler, batchSampler } = this.loader as { sampler?: unknown; batchSampler?: { sampler?: unknown } | null };
    for (const target of new Set([sampler, batchSampler?.sampler])) {
      const { setEpoch } = (target ?? {}) as { setEpoch?: unknown };
      if (typeof setEpoch === "function") setEpoch.call(target, epoch);
    }
    return pass;
  }

  #endPass(pass: object): void {
    if (this.#pass === pass) this.#pass = null;
  }
};

/** The class of what `fabric.setupDataLoaders` returns. */
export const FabricDataLoader = Wrapper as unknown as FabricDataLoaderConstructor;
