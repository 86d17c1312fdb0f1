// What `fabric.setupDataLoaders` returns: batches on the right device, another order each epoch.
import type { Device, data } from "@fabric-ts/torch";
import { forwardMembers } from "../utilities/forward-members.js";
import { moveDataToDevice } from "../utilities/move-data-to-device.js";

/** Any data loader. */
// biome-ignore lint/suspicious/noExplicitAny: the only type that every loader is assignable to
export type AnyDataLoader = data.DataLoader<any, any>;

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
}

/** A data loader as `fabric.setupDataLoaders` returns it: everything the loader has, but not an instance of its class. */
export type FabricDataLoader<L extends AnyDataLoader = AnyDataLoader> = Omit<L, keyof FabricDataLoaderMembers<L>> &
  FabricDataLoaderMembers<L>;

interface FabricDataLoaderConstructor {
  new <L extends AnyDataLoader>(loader: L, device?: Device | null): FabricDataLoader<L>;
  readonly prototype: FabricDataLoader;
}

const Wrapper = class FabricDataLoader {
  readonly loader: AnyDataLoader;
  readonly device: Device | null;
  #epoch = 0;

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

  *[Symbol.iterator](): Generator<unknown, void> {
    this.#startEpoch();
    for (const batch of this.loader) yield this.#move(batch);
  }
  async *[Symbol.asyncIterator](): AsyncGenerator<unknown, void> {
    this.#startEpoch();
    for await (const batch of this.loader) yield this.#move(batch);
  }

  #move(batch: unknown): unknown {
    return this.device === null ? batch : moveDataToDevice(batch, this.device);
  }

  // Generators run from their first `next`, so this is when a pass begins and not when it is asked for.
  #startEpoch(): void {
    const epoch = this.#epoch++;
    const { sampler, batchSampler } = this.loader as { sampler?: unknown; batchSampler?: { sampler?: unknown } | null };
    for (const target of new Set([sampler, batchSampler?.sampler])) {
      const { setEpoch } = (target ?? {}) as { setEpoch?: unknown };
      if (typeof setEpoch === "function") setEpoch.call(target, epoch);
    }
  }
};

/** The class of what `fabric.setupDataLoaders` returns. */
export const FabricDataLoader = Wrapper as unknown as FabricDataLoaderConstructor;
