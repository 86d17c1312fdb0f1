// Reads a dataset in batches: which samples, in which order, and how they become a batch. Passes are started in loader-passes.ts; reading
// is in pass.ts and, for worker threads, in workers/.
import { describe } from "../check.js";
import { ConfigurationError } from "../errors.js";
import { native } from "../native.js";
import { operator } from "../ops.js";
import type { Generator as RandomGenerator } from "../random.js";
import { Tensor } from "../tensor.js";
import { BatchSampler, cannotInject } from "./batch-sampler.js";
import { checkDataset, type DatasetLike, type IndexedDataset, isIterableDataset } from "./dataset.js";
import { type Collated, defaultCollate, defaultConvert } from "./default-collate.js";
import { checkLoaderOptions, type DataLoaderOptions, type WorkerInitFn } from "./loader-options.js";
import { closeWhenForgotten, type LoaderParts, LoaderPasses, type Running } from "./loader-passes.js";
import { RandomSampler } from "./random-sampler.js";
import type { SamplerLike } from "./sampler.js";
import { SequentialSampler } from "./sequential-sampler.js";
import { end } from "./stream-reader.js";
import { checkMovable } from "./workers/moved-dataset.js";

type AnyOptions = DataLoaderOptions<unknown, unknown>;

/**
 * Gives a dataset batch by batch, in order or shuffled; random orders are those that PyTorch's loader draws from the same seed.
 * Loop over it with `for ... of`, or with `for await`, which also waits for datasets and collate functions that return promises.
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
  readonly timeoutMs: number;
  readonly generator: RandomGenerator | undefined;
  /** Batches that each worker loads ahead; null without workers. */
  readonly prefetchFactor: number | null;
  readonly persistentWorkers: boolean;
  /** Called in each worker when it starts, with its number. */
  workerInitFn: WorkerInitFn | null;
  // What a stream said of its length, once asked, to warn when it gives more.
  #promisedSamples: number | undefined;
  readonly #passes: LoaderPasses;
  /** @throws ConfigurationError for options that exclude each other, and for a dataset that workers cannot get */
  constructor(dataset: DatasetLike<T>, options: DataLoaderOptions<T, B> = {}) {
    checkDataset(dataset);
    const isStream = isIterableDataset(dataset);
    checkLoaderOptions(options as AnyOptions, isStream);
    this.dataset = dataset;
    this.options = options;
    this.generator = options.generator;
    this.numWorkers = options.numWorkers ?? 0;
    this.pinMemory = options.pinMemory ?? false;
    this.timeoutMs = options.timeoutMs ?? 0;
    this.prefetchFactor = this.numWorkers === 0 ? null : (options.prefetchFactor ?? 2);
    this.persistentWorkers = options.persistentWorkers ?? false;
    this.workerInitFn = options.workerInitFn ?? null;
    this.dropLast = options.dropLast ?? false;
    this.batchSize = options.batchSampler ? null : options.batchSize === undefined ? 1 : options.batchSize;
    this.sampler = isStream ? null : samplerFor(dataset as IndexedDataset<T>, options as AnyOptions);
    this.batchSampler = options.batchSampler ?? null;
    if (this.batchSize !== null && !isStream) {
      this.batchSampler = new BatchSampler(this.sampler as SamplerLike, this.batchSize, this.dropLast);
    }
    this.collateFn =
      options.collateFn ?? ((this.#isSingle ? defaultConvert : defaultCollate) as unknown as (samples: T[]) => B);
    if (this.numWorkers > 0) checkMovable(dataset, this.numWorkers);
    this.#passes = new LoaderPasses(this as unknown as LoaderParts);
  }

  /** Number of batches (of samples for `batchSize: null`); throws a TypeError when the sampler or the stream has no length. */
  get length(): number {
    if (isIterableDataset(this.dataset)) {
      const samples = this.dataset.length;
      if (typeof samples !== "number") throw noLength("dataset", this.dataset);
      this.#promisedSamples = samples;
      return this.#batchesOf(samples);
    }
    const source = this.batchSampler ?? this.sampler;
    const length = source?.length;
    if (typeof length !== "number") throw noLength(this.batchSampler ? "batch sampler" : "sampler", source);
    return length;
  }

  /**
   * A loader of the same class, dataset and options that reads in the order of another sampler; what was added to this one since it was made
   * is on that one, too. A subclass whose constructor takes other arguments than `(dataset, options)` overrides it.
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
    const members = made as unknown as Record<string, unknown>;
    for (const [name, value] of Object.entries(this)) members[name] ??= value;
    return made;
  }

  /** The batches of one pass. What returns promises needs `for await`, unless workers read it. */
  [Symbol.iterator](): IterableIterator<B> {
    const running = this.#passes.begin(true);
    const { pass } = running;
    let isOver = false;
    const finish = (isWhole: boolean): void => {
      isOver = true;
      this.#passes.end(running, isWhole);
      pass.close();
    };
    const iterator: IterableIterator<B> = {
      next: () => {
        if (isOver) return { value: undefined, done: true };
        try {
          running.beforeFirst ??= running.sources.generators;
          const batch = pass.nextNow();
          if (batch !== end) return { value: this.#give(running, batch), done: false };
        } catch (error) {
          try {
            finish(false);
          } catch {
            // What closing a stream threw is not what went wrong first.
          }
          throw error;
        }
        finish(true);
        return { value: undefined, done: true };
      },
      return: () => {
        if (!isOver) finish(false);
        return { value: undefined, done: true };
      },
      [Symbol.iterator]: () => iterator,
    };
    closeWhenForgotten(iterator, pass);
    return iterator;
  }

  /** The batches of one pass, waiting for samples that are promises. */
  [Symbol.asyncIterator](): AsyncIterableIterator<B> {
    const running = this.#passes.begin(false);
    const { pass } = running;
    let isOver = false;
    const finish = async (isWhole: boolean): Promise<void> => {
      isOver = true;
      this.#passes.end(running, isWhole);
      await pass.close();
    };
    const next = async (): Promise<IteratorResult<B>> => {
      if (isOver) return { value: undefined, done: true };
      try {
        running.beforeFirst ??= running.sources.generators;
        const batch = await pass.nextLater();
        if (batch !== end) return { value: this.#give(running, batch), done: false };
      } catch (error) {
        await finish(false).catch(() => {});
        throw error;
      }
      await finish(true);
      return { value: undefined, done: true };
    };
    const close = async (): Promise<IteratorResult<B>> => {
      if (!isOver) await finish(false);
      return { value: undefined, done: true };
    };
    // One at a time, as an asynchronous generator would.
    let last: Promise<unknown> = Promise.resolve();
    const inTurn = <R>(call: () => Promise<R>): Promise<R> => {
      const result = last.then(call, call);
      last = result;
      return result;
    };
    const iterator: AsyncIterableIterator<B> = {
      next: () => inTurn(next),
      return: () => inTurn(close),
      [Symbol.asyncIterator]: () => iterator,
    };
    closeWhenForgotten(iterator, pass);
    return iterator;
  }

  /**
   * Where the loader is. After `loadStateDict` in a loader made alike, also in another process, the next pass gives exactly the batches
   * that were still to come, drawn at random as they would have been. Take it within the loop for the middle of a pass: a pass that
   * was left with `break` is over.
   */
  stateDict(): Record<string, unknown> {
    return { ...this.#passes.state };
  }

  /** Makes the next pass go on where `stateDict` was taken. A pass that is under way now is not changed. */
  loadStateDict(state: Record<string, unknown>): void {
    this.#passes.load(state);
  }

  /** Ends the workers that `persistentWorkers` has kept; the next pass starts new ones. */
  close(): void {
    this.#passes.close();
  }
  [Symbol.dispose](): void {
    this.close();
  }

  get #isSingle(): boolean {
    return this.batchSize === null && this.batchSampler === null;
  }

  #batchesOf(samples: number): number {
    if (this.batchSize === null) return samples;
    return this.dropLast ? Math.floor(samples / this.batchSize) : Math.ceil(samples / this.batchSize);
  }

  #give(running: Running, batch: unknown): B {
    running.given++;
    if (this.#promisedSamples !== undefined) this.#checkPromise(running.given, this.#promisedSamples);
    if (!this.pinMemory || native().cudaDeviceCount() === 0) return batch as B;
    return pinned(batch) as B;
  }

  #checkPromise(given: number, promised: number): void {
    if (given !== this.#batchesOf(promised) + 1) return;
    const shares =
      this.numWorkers > 0
        ? " Each worker reads the whole stream, unless the stream asks `data.getWorkerInfo()` which share is its own."
        : "";
    process.emitWarning(
      `The stream (${describe(this.dataset)}) said that it has ${promised} samples, but gives more.${shares}`,
      { type: "UserWarning", code: "FABRIC_DATA" },
    );
  }
}

function samplerFor(dataset: { readonly length: number }, options: AnyOptions): SamplerLike {
  if (options.sampler !== undefined) return options.sampler;
  return options.shuffle
    ? new RandomSampler(dataset, { generator: options.generator })
    : new SequentialSampler(dataset);
}

function noLength(what: string, value: unknown): TypeError {
  return new TypeError(
    `The ${what} of this DataLoader (${describe(value)}) has no length.\nDefine \`get length()\` on it.`,
  );
}

function pinned(value: unknown): unknown {
  if (value instanceof Tensor) return value.device === "cpu" ? operator("aten", "pin_memory")(value) : value;
  if (Array.isArray(value)) return value.map(pinned);
  if (value instanceof Map) return new Map([...value].map(([key, item]) => [key, pinned(item)]));
  if (typeof value !== "object" || value === null) return value;
  const prototype = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, pinned(item)]));
}
