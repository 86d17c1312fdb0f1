// Samples in batches.
import { describe, typeError } from "../check.js";
import { ConfigurationError } from "../errors.js";
import { Sampler, type SamplerLike } from "./sampler.js";

/** Groups what another sampler gives into lists of `batchSize`. */
export class BatchSampler<T = number> extends Sampler<T[]> {
  /** Gives the single values. */
  readonly sampler: SamplerLike<T>;
  readonly batchSize: number;
  /** Leave out a last batch that is not full. */
  readonly dropLast: boolean;

  constructor(sampler: SamplerLike<T>, batchSize: number, dropLast = false) {
    super();
    if (!Number.isInteger(batchSize) || batchSize <= 0) {
      throw new ConfigurationError(`\`batchSize\` has to be a positive whole number, but is ${describe(batchSize)}.`);
    }
    if (typeof dropLast !== "boolean") throw typeError("dropLast", "a boolean", dropLast);
    this.sampler = sampler;
    this.batchSize = batchSize;
    this.dropLast = dropLast;
  }

  /** Number of batches; throws where the sampler has no length. */
  override get length(): number {
    const length = this.sampler.length;
    if (typeof length !== "number")
      throw new TypeError(`The sampler (${describe(this.sampler)}) has no length.\nDefine \`get length()\` on it.`);
    return this.dropLast ? Math.floor(length / this.batchSize) : Math.ceil(length / this.batchSize);
  }

  /**
   * The same class over another sampler. A subclass whose constructor takes other arguments than
   * `(sampler, batchSize, dropLast)` overrides it.
   */
  withSampler(sampler: SamplerLike<T>): BatchSampler<T> {
    const Class = this.constructor as new (
      sampler: SamplerLike<T>,
      batchSize: number,
      dropLast: boolean,
    ) => BatchSampler<T>;
    let made: BatchSampler<T> | undefined;
    let cause: unknown;
    if (Class.length <= 3) {
      try {
        made = new Class(sampler, this.batchSize, this.dropLast);
      } catch (error) {
        cause = error;
      }
    }
    if (made?.sampler === sampler && made.batchSize === this.batchSize && made.dropLast === this.dropLast) return made;
    throw cannotInject(this, cause);
  }

  override *[Symbol.iterator](): Generator<T[], void> {
    let batch: T[] = [];
    for (const value of this.sampler) {
      batch.push(value);
      if (batch.length < this.batchSize) continue;
      yield batch;
      batch = [];
    }
    if (batch.length > 0 && !this.dropLast) yield batch;
  }
}

/** internal: a batch sampler that cannot be made again with another sampler. */
export function cannotInject(batchSampler: unknown, cause?: unknown): TypeError {
  const name = (batchSampler as object).constructor?.name ?? "object";
  return new TypeError(
    `Fabric can't inject a (distributed) sampler into your batch sampler (${name}): it cannot be made again with another sampler.\n` +
      `Define \`withSampler(sampler)\` on ${name}, or take the arguments (sampler, batchSize, dropLast) of \`BatchSampler\`, ` +
      "or shard in the batch sampler yourself and switch `useDistributedSampler` off.",
    cause === undefined ? undefined : { cause },
  );
}
