// Samples by index, and batches out of samples: the same in the main thread and in workers.
import { type BatchedDataset, type IndexedDataset, isPromise, itemAt, needsAwait } from "./dataset.js";

/** internal: what a sampler or batch sampler gives: the index of a single sample, or those of a batch. */
export type BatchIndex = number | readonly number[];

/** internal: a list of samples as a batch, or a single sample as the loader gives it. */
export type Collate = (samples: never) => unknown;

/** internal: reads the samples of a dataset and collates them. */
export class Fetcher {
  /** The index that was read last, or null when no sample is being read: what an error is about. */
  at: number | null = null;
  /** Called with each index before its sample is read. */
  onSample: ((index: number) => void) | null = null;
  readonly #dataset: IndexedDataset<unknown> | readonly unknown[];
  readonly #collate: (samples: unknown) => unknown;
  readonly #getBatch: ((indices: readonly number[]) => unknown) | undefined;
  readonly #getItems: ((indices: readonly number[]) => unknown) | undefined;

  /** With `isDefaultCollate`, datasets that make a batch at once may do so. */
  constructor(dataset: object, collate: Collate, isDefaultCollate: boolean) {
    this.#dataset = dataset as IndexedDataset<unknown>;
    this.#collate = collate as (samples: unknown) => unknown;
    const { getBatch, getItems } = dataset as Partial<BatchedDataset & IndexedDataset<unknown>>;
    if (isDefaultCollate && typeof getBatch === "function") this.#getBatch = getBatch;
    if (typeof getItems === "function") this.#getItems = getItems;
  }

  /** The batch of the indices, or a promise of it; with `now` a promise is an error that names `for await`. */
  fetch(index: BatchIndex, now: boolean): unknown {
    if (typeof index !== "number" && this.#getBatch !== undefined && index.length > 0) {
      const batch = this.#getBatch.call(this.#dataset, index);
      if (batch !== undefined) return batch;
    }
    const samples = typeof index === "number" ? this.#sample(index) : this.#samples(index);
    if (!isPromise(samples)) return this.#collated(samples, now);
    if (now) throw abandoned(samples, "The dataset's `get` returned a promise");
    return samples.then((all) => this.#collated(all, now));
  }

  #sample(index: number): unknown {
    this.#begin(index);
    return itemAt(this.#dataset, index);
  }

  #samples(indices: readonly number[]): unknown {
    if (this.#getItems !== undefined) {
      this.at = null;
      return this.#getItems.call(this.#dataset, indices);
    }
    const samples: unknown[] = [];
    try {
      for (const index of indices) {
        this.#begin(index);
        samples.push(itemAt(this.#dataset, index));
      }
    } catch (error) {
      // Nobody waits for those that were begun.
      for (const sample of samples) if (isPromise(sample)) sample.then(undefined, () => {});
      throw error;
    }
    if (!samples.some(isPromise)) return samples;
    return Promise.all(samples.map((sample, i) => this.#watched(sample, indices[i] as number)));
  }

  #begin(index: number): void {
    this.at = index;
    if (this.onSample !== null) this.onSample(index);
  }

  // Samples that are awaited together fail one by one.
  async #watched(sample: unknown, index: number): Promise<unknown> {
    try {
      return await sample;
    } catch (error) {
      this.at = index;
      throw error;
    }
  }

  #collated(samples: unknown, now: boolean): unknown {
    this.at = null;
    const batch = this.#collate(samples);
    if (now && isPromise(batch)) throw abandoned(batch, "The `collateFn` returned a promise");
    return batch;
  }
}

/** internal: the error for a promise that nobody will wait for; its own failure is dropped. */
export function abandoned(promise: Promise<unknown>, what: string): Error {
  promise.then(undefined, () => {});
  return needsAwait(what);
}
