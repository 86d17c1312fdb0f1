// Which sampler a data loader gets when its samples have to be shared among processes.
import { data } from "@fabric-ts/torch";
import type { DistributedSamplerOptions } from "../strategies/strategy.js";
import type { AnyDataLoader } from "../wrappers/dataloader.js";
import { hasIterableDataset } from "./dataset-length.js";
import { className } from "./describe.js";

/** Shares what another sampler gives among the processes, in that sampler's order, drawn anew each epoch. */
export class DistributedSamplerWrapper extends data.DistributedSampler {
  /** The sampler whose indices are shared. */
  readonly sampler: data.SamplerLike;

  constructor(sampler: data.SamplerLike, options: data.DistributedSamplerOptions) {
    const { length } = sampler;
    if (typeof length !== "number") {
      throw new TypeError(
        `You seem to have configured a sampler in your DataLoader (${className(sampler)}) which does not provide a length.\nAdd \`get length()\` to it, remove the sampler, or set \`useDistributedSampler: false\` and shard the data yourself.`,
      );
    }
    if (!Number.isFinite(length)) {
      throw new TypeError(
        `The sampler of your DataLoader (${className(sampler)}) is infinite, but sharing it needs a finite \`length\`.\nSet \`useDistributedSampler: false\` and shard the data yourself.`,
      );
    }
    super({ length }, { ...options, shuffle: false });
    this.sampler = sampler;
  }

  override setEpoch(epoch: number): void {
    super.setEpoch(epoch);
    const { setEpoch } = this.sampler as { setEpoch?: unknown };
    if (typeof setEpoch === "function") setEpoch.call(this.sampler, epoch);
  }

  override *[Symbol.iterator](): Generator<number, void> {
    const order = [...this.sampler];
    for (const position of super[Symbol.iterator]()) yield order[position] as number;
  }
}

/** internal: true when the loader's samples are not shared yet and can be: iterable datasets have to shard themselves. */
export function needsDistributedSampler(loader: AnyDataLoader): boolean {
  const sampler = innerSampler(loader);
  return !(sampler instanceof data.DistributedSampler) && !hasIterableDataset(loader);
}

/** internal: a sampler that gives this process its share of what the loader reads. */
export function distributedSampler(loader: AnyDataLoader, options: DistributedSamplerOptions): data.DistributedSampler {
  const sampler = innerSampler(loader);
  const seed = Number(process.env.PL_GLOBAL_SEED ?? 0);
  const shuffle = sampler instanceof data.RandomSampler;
  if (shuffle || sampler instanceof data.SequentialSampler) {
    return new data.DistributedSampler(loader.dataset as unknown as { length: number }, { ...options, shuffle, seed });
  }
  return new DistributedSamplerWrapper(sampler as data.SamplerLike, { ...options, seed });
}

/** The sampler of single samples: that of the batch sampler where there is one. */
function innerSampler(loader: AnyDataLoader): unknown {
  const { sampler, batchSampler } = loader as unknown as {
    sampler?: unknown;
    batchSampler?: { sampler?: unknown } | null;
  };
  return batchSampler?.sampler ?? sampler;
}
