// A stream of samples in batches: the same in the main thread and in workers.
import type { IterableDataset } from "./dataset.js";
import { isPromise, needsAwait } from "./dataset.js";
import { abandoned, type Collate } from "./fetcher.js";

/** internal: how the samples of a stream become batches. */
export interface StreamOptions {
  /** null for single samples. */
  readonly batchSize: number | null;
  readonly dropLast: boolean;
  readonly collate: Collate;
  /** Called with the number of samples read so far, the newest included. */
  readonly onSample?: (count: number) => void;
}

/** internal: the end of a pass. */
export const end = Symbol("end of the pass");

/** internal: one pass over a stream. */
export class StreamReader {
  readonly #options: StreamOptions;
  readonly #samples: Iterator<unknown> | AsyncIterator<unknown>;
  #count = 0;
  #isOver = false;

  /** With `now`, a stream that is only asynchronous is an error that names `for await`. */
  constructor(stream: IterableDataset<unknown>, options: StreamOptions, now: boolean) {
    this.#options = options;
    if (now && stream[Symbol.iterator] === undefined) throw needsAwait("The dataset is an asynchronous stream");
    const later = now ? undefined : stream[Symbol.asyncIterator]?.();
    this.#samples = later ?? (stream as Iterable<unknown>)[Symbol.iterator]();
  }

  /** True when the stream has ended or was closed. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** The next batch, or `end`. */
  nextNow(): unknown {
    return this.#batchOf(this.#collectNow(), (batch) => {
      if (isPromise(batch)) throw abandoned(batch, "The `collateFn` returned a promise");
      return batch;
    });
  }

  /** The next batch, or `end`, waiting for samples and the collate function. */
  async nextLater(): Promise<unknown> {
    return this.#batchOf(await this.#collectLater(), (batch) => batch);
  }

  /** Leaves out batches of a stream that is not asynchronous; promises among its samples are left to themselves. */
  skip(batches: number): void {
    for (let i = batches * (this.#options.batchSize ?? 1); i > 0 && !this.#isOver; i--) {
      const next = (this.#samples as Iterator<unknown>).next();
      if (next.done) this.#isOver = true;
      else if (isPromise(next.value)) next.value.then(undefined, () => {});
    }
  }

  /** Leaves out batches, without collating them, waiting for samples. */
  async skipLater(batches: number): Promise<void> {
    for (let i = 0; i < batches && !this.#isOver; i++) await this.#collectLater();
  }

  /** Closes the stream before its end; a promise where the stream takes time for that. */
  close(): unknown {
    if (this.#isOver) return undefined;
    this.#isOver = true;
    return this.#samples.return?.();
  }

  #batchOf(samples: unknown[], check: (batch: unknown) => unknown): unknown {
    const { batchSize, dropLast, collate } = this.#options;
    const make = collate as (samples: unknown) => unknown;
    if (samples.length === 0) return end;
    if (batchSize === null) return check(make(samples[0]));
    return samples.length < batchSize && dropLast ? end : check(make(samples));
  }

  #collectNow(): unknown[] {
    const wanted = this.#options.batchSize ?? 1;
    const samples: unknown[] = [];
    while (samples.length < wanted && !this.#isOver) {
      const next = (this.#samples as Iterator<unknown>).next();
      if (next.done) this.#isOver = true;
      else if (isPromise(next.value)) {
        this.close();
        throw abandoned(next.value, "The stream gave a promise");
      } else this.#take(samples, next.value);
    }
    return samples;
  }

  async #collectLater(): Promise<unknown[]> {
    const wanted = this.#options.batchSize ?? 1;
    const samples: unknown[] = [];
    while (samples.length < wanted && !this.#isOver) {
      const next = await this.#samples.next();
      if (next.done) this.#isOver = true;
      else this.#take(samples, await next.value);
    }
    return samples;
  }

  #take(samples: unknown[], sample: unknown): void {
    samples.push(sample);
    this.#options.onSample?.(++this.#count);
  }
}
