// Reads a dataset in batches: which samples, in which order, and how they become a batch. Loads in the main thread.
import { checkOptions, describe, typeError } from "../check.js";
import { ConfigurationError, NotSupportedError, UsageError } from "../errors.js";
import { native } from "../native.js";
import { operator } from "../ops.js";
import type { Generator as RandomGenerator } from "../random.js";
import { Tensor } from "../tensor.js";
import { BatchSampler, cannotInject } from "./batch-sampler.js";
import {
  type BatchedDataset,
  checkDataset,
  type DatasetLike,
  type IndexedDataset,
  isIterableDataset,
  itemAt,
} from "./dataset.js";
import { type Collated, defaultCollate, defaultConvert } from "./default-collate.js";
import { drawSeed } from "./draw.js";
import { RandomSampler } from "./random-sampler.js";
import type { SamplerLike } from "./sampler.js";
import { SequentialSampler } from "./sequential-sampler.js";

/** Options of `DataLoader`. */
export interface DataLoaderOptions<T = unknown, B = Collated<T>> {
  /** Samples a batch (default 1); null gives single samples, not collated. */
  batchSize?: number | null | undefined;
  /** Another order each pass (default false). */
  shuffle?: boolean | undefined;
  /** Gives the indices; excludes `shuffle`. */
  sampler?: SamplerLike | undefined;
  /** Gives a list of indices for each batch; excludes `batchSize`, `shuffle`, `sampler` and `dropLast`. */
  batchSampler?: SamplerLike<readonly number[]> | undefined;
  /** Worker threads. Only 0 for now: samples are read in the main thread. */
  numWorkers?: number | undefined;
  /** Makes a batch out of samples (default `defaultCollate`); for `batchSize: null` it gets one sample. */
  collateFn?: ((samples: T[]) => B | Promise<B>) | undefined;
  /** Copy batches into page-locked memory when there is a GPU (default false). */
  pinMemory?: boolean | undefined;
  /** Leave out a last batch that is not full (default false). */
  dropLast?: boolean | undefined;
  /** Seconds to wait for a worker. Only 0 without workers. */
  timeout?: number | undefined;
  /** Called in each worker, with its number. */
  workerInitFn?: ((workerId: number) => void) | null | undefined;
  /** Where orders are drawn from (default: the default generator). */
  generator?: RandomGenerator | undefined;
  /** Batches that a worker loads ahead. Needs workers. */
  prefetchFactor?: number | undefined;
  /** Keep workers between passes. Needs workers. */
  persistentWorkers?: boolean | undefined;
}

type AnyOptions = DataLoaderOptions<unknown, unknown>;

const optionNames: readonly (keyof AnyOptions)[] = [
  "batchSize",
  "shuffle",
  "sampler",
  "batchSampler",
  "numWorkers",
  "collateFn",
  "pinMemory",
  "dropLast",
  "timeout",
  "workerInitFn",
  "generator",
  "prefetchFactor",
  "persistentWorkers",
];

/**
 * Gives a dataset batch by batch, in order or shuffled; random orders are those that PyTorch's loader draws from the same seed.
 * Loop over it with `for ... of`, or with `for await` when the dataset or the `collateFn` returns promises.
 *
 *     const loader = new data.DataLoader(dataset, { batchSize: 64, shuffle: true });
 *     for (const [x, y] of loader) { ... }
 */
export class DataLoader<T, B = Collated<T>> implements Iterable<B>, AsyncIterable<B> {
  /** What is read. */
  readonly dataset: DatasetLike<T>;
  /** The options as given. */
  readonly options: DataLoaderOptions<T, B>;
  /** Samples a batch; null when a batch sampler decides, or for single samples. */
  readonly batchSize: number | null;
  readonly dropLast: boolean;
  /** Gives the indices; null for a stream. */
  readonly sampler: SamplerLike | null;
  /** Gives the indices of each batch; null for a stream and for single samples. */
  readonly batchSampler: SamplerLike<readonly number[]> | null;
  readonly numWorkers: number;
  readonly collateFn: (samples: T[]) => B | Promise<B>;
  readonly pinMemory: boolean;
  readonly timeout: number;
  readonly generator: RandomGenerator | undefined;
  readonly prefetchFactor: number | undefined;
  readonly persistentWorkers: boolean;
  /** Called in each worker, with its number. */
  workerInitFn: ((workerId: number) => void) | null;
  // What a stream said of its length, once asked, to warn when it gives more.
  #promisedSamples: number | undefined;

  /** @throws ConfigurationError for options that exclude each other */
  constructor(dataset: DatasetLike<T>, options: DataLoaderOptions<T, B> = {}) {
    checkDataset(dataset);
    checkLoaderOptions(options as AnyOptions);
    const isStream = isIterableDataset(dataset);
    if (isStream) checkStreamOptions(options as AnyOptions);
    this.dataset = dataset;
    this.options = options;
    this.generator = options.generator;
    this.numWorkers = options.numWorkers ?? 0;
    this.pinMemory = options.pinMemory ?? false;
    this.timeout = options.timeout ?? 0;
    this.prefetchFactor = options.prefetchFactor;
    this.persistentWorkers = options.persistentWorkers ?? false;
    this.workerInitFn = options.workerInitFn ?? null;
    this.dropLast = options.dropLast ?? false;
    this.batchSize = options.batchSampler ? null : options.batchSize === undefined ? 1 : options.batchSize;
    this.sampler = isStream ? null : samplerFor(dataset as IndexedDataset<T>, options as AnyOptions);
    this.batchSampler = options.batchSampler ?? null;
    if (this.batchSize !== null && !isStream) {
      this.batchSampler = new BatchSampler(this.sampler as SamplerLike, this.batchSize, this.dropLast);
    }
    const single = this.batchSize === null && this.batchSampler === null;
    this.collateFn =
      options.collateFn ?? ((single ? defaultConvert : defaultCollate) as unknown as (samples: T[]) => B);
  }

  /** Number of batches (of samples for `batchSize: null`); throws a TypeError when the sampler or the stream has no length. */
  get length(): number {
    if (isIterableDataset(this.dataset)) {
      const samples = this.dataset.length;
      if (typeof samples !== "number") throw noLength("dataset", this.dataset);
      this.#promisedSamples = samples;
      if (this.batchSize === null) return samples;
      return this.dropLast ? Math.floor(samples / this.batchSize) : Math.ceil(samples / this.batchSize);
    }
    const source = this.batchSampler ?? this.sampler;
    const length = source?.length;
    if (typeof length !== "number") throw noLength(this.batchSampler ? "batch sampler" : "sampler", source);
    return length;
  }

  /**
   * A loader of the same class, dataset and options that reads in the order of another sampler. A subclass whose
   * constructor takes other arguments than `(dataset, options)` overrides it.
   */
  withSampler(sampler: SamplerLike): DataLoader<T, B> {
    const options: DataLoaderOptions<T, B> = { ...this.options, shuffle: false };
    if (options.batchSampler !== undefined) {
      const { withSampler } = options.batchSampler as Partial<BatchSampler>;
      if (typeof withSampler !== "function") throw cannotInject(options.batchSampler);
      options.batchSampler = withSampler.call(options.batchSampler, sampler);
    } else options.sampler = sampler;

    const Class = this.constructor as new (
      dataset: DatasetLike<T>,
      options: DataLoaderOptions<T, B>,
    ) => DataLoader<T, B>;
    let made: DataLoader<T, B> | undefined;
    let cause: unknown;
    if (Class.length <= 2) {
      try {
        made = new Class(this.dataset, options);
      } catch (error) {
        if (Class === (DataLoader as unknown)) throw error;
        cause = error;
      }
    }
    const took =
      options.batchSampler === undefined ? made?.sampler === sampler : made?.batchSampler === options.batchSampler;
    if (made === undefined || made.dataset !== this.dataset || !took) {
      throw new ConfigurationError(
        `Trying to inject custom \`Sampler\` into the \`${Class.name}\` instance failed: its constructor does not take \`(dataset, options)\` like \`DataLoader\`.`,
        {
          hint: `Define \`withSampler(sampler)\` on ${Class.name}, which returns a new ${Class.name} that uses the sampler.`,
          cause,
        },
      );
    }
    made.workerInitFn = this.workerInitFn;
    return made;
  }

  /** The batches of one pass. For a dataset that returns promises use `for await`. */
  [Symbol.iterator](): Iterator<B> {
    if (isIterableDataset(this.dataset)) {
      const stream = this.dataset;
      if (stream[Symbol.iterator] === undefined) throw needsAwait("The dataset is an asynchronous stream");
      drawSeed(this.generator);
      return this.#streamBatches((stream as Iterable<T>)[Symbol.iterator]());
    }
    return this.#indexedBatches(this.#startPass());
  }

  /** The batches of one pass, waiting for samples that are promises. */
  [Symbol.asyncIterator](): AsyncIterator<B> {
    if (isIterableDataset(this.dataset)) {
      const stream = this.dataset;
      drawSeed(this.generator);
      const samples = stream[Symbol.asyncIterator]?.() ?? (stream as Iterable<T>)[Symbol.iterator]();
      return this.#awaitedStreamBatches(samples);
    }
    return this.#awaitedIndexedBatches(this.#startPass());
  }

  // PyTorch draws a seed for its workers when a pass starts, also without workers, before the sampler draws its own.
  #startPass(): Iterator<number | readonly number[]> {
    const indices = (this.batchSampler ?? (this.sampler as SamplerLike))[Symbol.iterator]();
    drawSeed(this.generator);
    return indices;
  }

  *#indexedBatches(indices: Iterator<number | readonly number[]>): Generator<B, void> {
    for (const index of { [Symbol.iterator]: () => indices }) {
      const ready = this.#batchAtOnce(index);
      if (ready !== undefined) {
        yield this.#finish(ready);
        continue;
      }
      const samples = this.#samplesAt(index);
      const first = Array.isArray(index) ? (samples as unknown[]).find(isPromise) : samples;
      if (isPromise(first)) throw needsAwait("The dataset's `get` returned a promise");
      yield this.#finish(this.collateFn(samples as T[]));
    }
  }

  async *#awaitedIndexedBatches(indices: Iterator<number | readonly number[]>): AsyncGenerator<B, void> {
    for (const index of { [Symbol.iterator]: () => indices }) {
      const ready = this.#batchAtOnce(index);
      if (ready !== undefined) {
        yield this.#finish(ready);
        continue;
      }
      let samples = this.#samplesAt(index);
      if (!Array.isArray(index)) samples = await samples;
      else if ((samples as unknown[]).some(isPromise)) samples = await Promise.all(samples as Promise<T>[]);
      yield this.#finish(await this.collateFn(samples as T[]));
    }
  }

  /** The batch as the dataset makes it at once, or undefined where it cannot or a `collateFn` of the user's wants samples. */
  #batchAtOnce(index: number | readonly number[]): B | undefined {
    if (!Array.isArray(index) || this.options.collateFn !== undefined || index.length === 0) return undefined;
    const dataset = this.dataset as Partial<BatchedDataset>;
    return typeof dataset.getBatch === "function" ? (dataset.getBatch(index) as B | undefined) : undefined;
  }

  #samplesAt(index: number | readonly number[]): unknown {
    const dataset = this.dataset as IndexedDataset<T>;
    return typeof index === "number" ? itemAt(dataset, index) : index.map((at) => itemAt(dataset, at));
  }

  *#streamBatches(samples: Iterator<T>): Generator<B, void> {
    let batch: T[] = [];
    let given = 0;
    for (const sample of { [Symbol.iterator]: () => samples }) {
      if (isPromise(sample)) throw needsAwait("The stream gave a promise");
      this.#countSample(++given);
      if (this.batchSize === null) {
        yield this.#finish(this.collateFn(sample as unknown as T[]));
        continue;
      }
      batch.push(sample);
      if (batch.length < this.batchSize) continue;
      yield this.#finish(this.collateFn(batch));
      batch = [];
    }
    if (batch.length > 0 && !this.dropLast) yield this.#finish(this.collateFn(batch));
  }

  async *#awaitedStreamBatches(samples: Iterator<T> | AsyncIterator<T>): AsyncGenerator<B, void> {
    let batch: T[] = [];
    let given = 0;
    try {
      for (let next = await samples.next(); !next.done; next = await samples.next()) {
        const sample = await next.value;
        this.#countSample(++given);
        if (this.batchSize === null) {
          yield this.#finish(await this.collateFn(sample as unknown as T[]));
          continue;
        }
        batch.push(sample);
        if (batch.length < this.batchSize) continue;
        yield this.#finish(await this.collateFn(batch));
        batch = [];
      }
    } finally {
      await samples.return?.();
    }
    if (batch.length > 0 && !this.dropLast) yield this.#finish(await this.collateFn(batch));
  }

  #countSample(given: number): void {
    const promised = this.#promisedSamples;
    if (promised === undefined || given !== promised + 1) return;
    process.emitWarning(
      `The stream (${describe(this.dataset)}) said that it has ${promised} samples, but gives more.`,
      {
        type: "UserWarning",
        code: "FABRIC_DATA",
      },
    );
  }

  #finish(batch: B | Promise<B>): B {
    if (isPromise(batch)) throw needsAwait("The `collateFn` returned a promise");
    if (!this.pinMemory || native().cudaDeviceCount() === 0) return batch as B;
    return pinned(batch) as B;
  }
}

function samplerFor(dataset: { readonly length: number }, options: AnyOptions): SamplerLike {
  if (options.sampler !== undefined) return options.sampler;
  return options.shuffle
    ? new RandomSampler(dataset, { generator: options.generator })
    : new SequentialSampler(dataset);
}

function checkLoaderOptions(options: AnyOptions): void {
  checkOptions(options, optionNames, "new data.DataLoader(dataset, { batchSize: 64, shuffle: true })");
  const { batchSize, shuffle, sampler, batchSampler, dropLast, collateFn } = options;
  for (const name of ["shuffle", "dropLast", "pinMemory", "persistentWorkers"] as const) {
    if (options[name] !== undefined && typeof options[name] !== "boolean")
      throw typeError(name, "a boolean", options[name]);
  }
  if (collateFn !== undefined && typeof collateFn !== "function") throw typeError("collateFn", "a function", collateFn);
  for (const [name, value] of [
    ["sampler", sampler],
    ["batchSampler", batchSampler],
  ] as const) {
    if (value !== undefined && typeof (value as Iterable<unknown> | null)?.[Symbol.iterator] !== "function") {
      throw typeError(name, "a Sampler or another iterable", value);
    }
  }
  checkWorkerOptions(options);
  if (sampler !== undefined && shuffle)
    throw excludes("sampler", "shuffle", "The sampler decides the order: leave `shuffle` out.");
  if (batchSampler !== undefined) {
    if ((batchSize ?? 1) !== 1 || shuffle || sampler !== undefined || dropLast) {
      throw excludes(
        "batchSampler",
        "batchSize`, `shuffle`, `sampler` and `dropLast",
        "The batch sampler decides all of them: leave them out.",
      );
    }
  } else if (batchSize === null && dropLast) {
    throw excludes("batchSize: null", "dropLast", "Without batches there is no last one: leave `dropLast` out.");
  } else if (
    typeof batchSize === "number" ? !(Number.isInteger(batchSize) && batchSize > 0) : (batchSize ?? null) !== null
  ) {
    throw new ConfigurationError(`\`batchSize\` has to be a positive whole number, but is ${describe(batchSize)}.`, {
      hint: "Type `{ batchSize: 64 }`, or `{ batchSize: null }` for single samples.",
    });
  }
}

function checkWorkerOptions({ numWorkers = 0, timeout = 0, prefetchFactor, persistentWorkers }: AnyOptions): void {
  if (!Number.isInteger(numWorkers) || numWorkers < 0) {
    throw new ConfigurationError(
      `\`numWorkers\` has to be a whole number of at least 0, but is ${describe(numWorkers)}.`,
      {
        hint: "0 loads in the main thread.",
      },
    );
  }
  if (numWorkers > 0) {
    throw new NotSupportedError(
      `\`numWorkers\` is ${numWorkers}, but samples can only be read in the main thread for now.`,
      {
        hint: "Leave `numWorkers` out. A dataset whose `get` returns promises reads a batch's samples concurrently under `for await`.",
      },
    );
  }
  if (typeof timeout !== "number" || !(timeout >= 0))
    throw new ConfigurationError(`\`timeout\` must not be negative, but is ${describe(timeout)}.`);
  const needsWorkers = { timeout: timeout > 0, prefetchFactor: prefetchFactor !== undefined, persistentWorkers };
  for (const [name, isSet] of Object.entries(needsWorkers)) {
    if (isSet)
      throw new ConfigurationError(`\`${name}\` is for workers, but \`numWorkers\` is 0.`, {
        hint: `Leave \`${name}\` out.`,
      });
  }
}

function checkStreamOptions(options: AnyOptions): void {
  for (const name of ["shuffle", "sampler", "batchSampler"] as const) {
    const value = options[name];
    if (value === undefined || value === false) continue;
    throw new ConfigurationError(
      `\`${name}\` cannot be used with an IterableDataset, which decides its order itself.`,
      {
        hint: `Leave \`${name}\` out and order the samples in the stream.`,
      },
    );
  }
}

function excludes(option: string, other: string, hint: string): ConfigurationError {
  return new ConfigurationError(`\`${option}\` and \`${other}\` exclude each other.`, { hint });
}

function noLength(what: string, value: unknown): TypeError {
  return new TypeError(
    `The ${what} of this DataLoader (${describe(value)}) has no length.\nDefine \`get length()\` on it.`,
  );
}

function needsAwait(what: string): UsageError {
  return new UsageError(`${what}, which \`for ... of\` cannot wait for.`, {
    hint: "Write `for await (const batch of loader)`.",
  });
}

function isPromise(value: unknown): value is Promise<unknown> {
  return typeof (value as { then?: unknown } | null | undefined)?.then === "function";
}

function pinned(value: unknown): unknown {
  if (value instanceof Tensor) return value.device === "cpu" ? operator("aten", "pin_memory")(value) : value;
  if (Array.isArray(value)) return value.map(pinned);
  if (typeof value !== "object" || value === null) return value;
  const prototype = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, pinned(item)]));
}
