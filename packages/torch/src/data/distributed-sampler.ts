// Each process its share of the samples.
import { typeError } from "../check.js";
import { getRank, getWorldSize, isInitialized } from "../distributed/index.js";
import { ConfigurationError, UsageError } from "../errors.js";
import { Generator as RandomGenerator } from "../random.js";
import { drawPermutation } from "./draw.js";
import { Sampler } from "./sampler.js";

/** Options of `DistributedSampler`. */
export interface DistributedSamplerOptions {
  /** Number of processes (default: the world size of the process group). */
  numReplicas?: number | undefined;
  /** This process among them (default: the rank in the process group). */
  rank?: number | undefined;
  /** Another order each epoch (default true). */
  shuffle?: boolean | undefined;
  /** Seed of the order, the same in all processes (default 0). */
  seed?: number | undefined;
  /** Leave out samples that cannot be shared evenly, instead of repeating some (default false). */
  dropLast?: boolean | undefined;
}

/**
 * The indices of a dataset that one process of many reads, exactly as `torch.utils.data.DistributedSampler` shares them:
 * every `numReplicas`-th of a common order. Call `setEpoch(epoch)` before each epoch for another order.
 */
export class DistributedSampler extends Sampler {
  /** What is sampled. */
  readonly dataset: { readonly length: number };
  readonly numReplicas: number;
  readonly rank: number;
  readonly shuffle: boolean;
  readonly seed: number;
  readonly dropLast: boolean;
  /** How many indices each process reads. */
  readonly numSamples: number;
  /** How many all processes read together. */
  readonly totalSize: number;
  /** The epoch whose order is given next. */
  epoch = 0;

  constructor(
    dataset: { readonly length: number },
    { numReplicas, rank, shuffle = true, seed = 0, dropLast = false }: DistributedSamplerOptions = {},
  ) {
    super();
    if ((numReplicas === undefined || rank === undefined) && !isInitialized()) {
      throw new UsageError(
        "A DistributedSampler needs the number of processes and the rank, but there is no process group.",
        {
          hint: "Type `new data.DistributedSampler(dataset, { numReplicas: 2, rank: 0 })`, or make it after `initProcessGroup`.",
        },
      );
    }
    if (typeof shuffle !== "boolean") throw typeError("shuffle", "a boolean", shuffle);
    if (typeof dropLast !== "boolean") throw typeError("dropLast", "a boolean", dropLast);
    this.dataset = dataset;
    this.numReplicas = numReplicas ?? getWorldSize();
    this.rank = rank ?? getRank();
    if (!(Number.isInteger(this.rank) && this.rank >= 0 && this.rank < this.numReplicas)) {
      throw new ConfigurationError(
        `The rank of a DistributedSampler has to be from 0 to ${this.numReplicas - 1}, but is ${this.rank}.`,
      );
    }
    this.shuffle = shuffle;
    this.seed = seed;
    this.dropLast = dropLast;
    const share = dataset.length / this.numReplicas;
    this.numSamples = dropLast ? Math.floor(share) : Math.ceil(share);
    this.totalSize = this.numSamples * this.numReplicas;
  }

  override get length(): number {
    return this.numSamples;
  }

  /** Chooses the order of the next pass: the same epoch gives the same order. */
  setEpoch(epoch: number): void {
    if (!Number.isInteger(epoch)) throw typeError("epoch", "a whole number", epoch);
    this.epoch = epoch;
  }

  /** The epoch, for a loader's state. */
  stateDict(): Record<string, unknown> {
    return { epoch: this.epoch };
  }
  /** Goes on with the order of a saved epoch. */
  loadStateDict({ epoch }: Record<string, unknown>): void {
    this.setEpoch(epoch as number);
  }

  override *[Symbol.iterator](): Generator<number, void> {
    const n = this.dataset.length;
    const order = this.shuffle
      ? drawPermutation(n, new RandomGenerator().manualSeed(this.seed + this.epoch))
      : Array.from({ length: n }, (_, i) => i);
    // Beyond the end the order starts again, so that all processes read equally many.
    for (let i = this.rank; i < this.totalSize; i += this.numReplicas) yield order[i % n] as number;
  }
}
