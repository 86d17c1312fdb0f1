// Streams one after another.
import { describe } from "../check.js";
import { ConfigurationError } from "../errors.js";
import { IterableDataset, isIterableDataset, needsAwait } from "./dataset.js";

/** The samples of several streams, one stream after another. */
export class ChainDataset<T> extends IterableDataset<T> {
  /** The streams. */
  readonly datasets: readonly IterableDataset<T>[];

  constructor(datasets: Iterable<IterableDataset<T>>) {
    super();
    this.datasets = [...datasets];
    if (this.datasets.length === 0) throw new ConfigurationError("A ChainDataset needs at least one dataset.");
    for (const dataset of this.datasets) {
      if (isIterableDataset(dataset)) continue;
      throw new TypeError(
        `A ChainDataset joins streams, but got ${describe(dataset)}.\nJoin datasets that are read by index with \`new data.ConcatDataset([a, b])\`.`,
      );
    }
  }

  /** Number of samples; undefined when a stream does not know its own. */
  override get length(): number | undefined {
    let total = 0;
    for (const { length } of this.datasets) {
      if (typeof length !== "number") return undefined;
      total += length;
    }
    return total;
  }

  override *[Symbol.iterator](): Generator<T, void> {
    for (const dataset of this.datasets) {
      if (dataset[Symbol.iterator] === undefined) throw needsAwait("A stream of the ChainDataset is asynchronous");
      yield* dataset as Iterable<T>;
    }
  }

  override async *[Symbol.asyncIterator](): AsyncGenerator<T, void> {
    for (const dataset of this.datasets) yield* dataset as AsyncIterable<T> | Iterable<T>;
  }
}
