// One pass of a loader in the main thread, batch by batch. A pass over workers is in workers/worker-pass.ts.
import type { IterableDataset } from "./dataset.js";
import type { BatchIndex, Fetcher } from "./fetcher.js";
import { end, type StreamOptions, StreamReader } from "./stream-reader.js";

/** internal: gives the batches of one pass. */
export interface Pass {
  /** The next batch, or `end`. Throws where it would have to wait for a promise. */
  nextNow(): unknown;
  /** The next batch, or `end`. */
  nextLater(): Promise<unknown>;
  /** Frees what the pass holds; a promise where a stream takes time to close. */
  close(): unknown;
}

/** internal: a pass over a dataset that is read by index. */
export class IndexedPass implements Pass {
  readonly #indices: Iterator<BatchIndex>;
  readonly #fetcher: Fetcher;

  constructor(indices: Iterator<BatchIndex>, fetcher: Fetcher) {
    this.#indices = indices;
    this.#fetcher = fetcher;
  }

  nextNow(): unknown {
    const next = this.#indices.next();
    return next.done ? end : this.#fetcher.fetch(next.value, true);
  }

  async nextLater(): Promise<unknown> {
    const next = this.#indices.next();
    return next.done ? end : this.#fetcher.fetch(next.value, false);
  }

  close(): void {
    this.#indices.return?.();
  }
}

/** internal: a pass over a stream, which is opened with the first batch. */
export class StreamPass implements Pass {
  readonly #stream: IterableDataset<unknown>;
  readonly #options: StreamOptions;
  #reader: StreamReader | null = null;
  #skipLater = 0;
  #isFinished = false;

  constructor(stream: IterableDataset<unknown>, options: StreamOptions) {
    this.#stream = stream;
    this.#options = options;
  }

  /** Leaves out batches: at once, unless the stream is asynchronous. */
  skip(batches: number, now: boolean): void {
    if (!now && this.#stream[Symbol.asyncIterator] !== undefined) this.#skipLater = batches;
    else this.#open(true).skip(batches);
  }

  /** True when the stream has ended, so that there is no further batch. */
  get isOver(): boolean {
    return this.#isFinished || (this.#reader?.isOver ?? false);
  }

  /** Makes this pass over at once. */
  finish(): void {
    this.#isFinished = true;
  }

  nextNow(): unknown {
    return this.#isFinished ? end : this.#open(true).nextNow();
  }

  async nextLater(): Promise<unknown> {
    if (this.#isFinished) return end;
    const reader = this.#open(false);
    const batches = this.#skipLater;
    this.#skipLater = 0;
    if (batches > 0) await reader.skipLater(batches);
    return reader.nextLater();
  }

  close(): unknown {
    return this.#reader?.close();
  }

  #open(now: boolean): StreamReader {
    this.#reader ??= new StreamReader(this.#stream, this.#options, now);
    return this.#reader;
  }
}
