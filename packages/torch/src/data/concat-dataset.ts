// Datasets one after another.
import { ConfigurationError } from "../errors.js";
import {
  checkDataset,
  checkIndex,
  Dataset,
  type DatasetLike,
  type IndexedDataset,
  isIterableDataset,
  itemAt,
} from "./dataset.js";

/** The samples of several datasets, one dataset after another. */
export class ConcatDataset<T> extends Dataset<T> {
  /** The datasets. */
  readonly datasets: readonly (IndexedDataset<T> | readonly T[])[];
  /** For each dataset, the number of samples up to its end. */
  readonly cumulativeSizes: readonly number[];

  constructor(datasets: Iterable<IndexedDataset<T> | readonly T[]>) {
    super();
    this.datasets = [...datasets];
    if (this.datasets.length === 0) throw new ConfigurationError("A ConcatDataset needs at least one dataset.");
    let end = 0;
    this.cumulativeSizes = this.datasets.map((dataset) => {
      checkDataset(dataset);
      if (isIterableDataset(dataset as DatasetLike<T>))
        throw new ConfigurationError("A ConcatDataset cannot hold an IterableDataset: it has no indices.");
      end += dataset.length;
      return end;
    });
  }

  get length(): number {
    return this.cumulativeSizes[this.cumulativeSizes.length - 1] as number;
  }

  get(index: number): T | Promise<T> {
    checkIndex(index, this.length);
    const which = this.cumulativeSizes.findIndex((end) => index < end);
    const start = which === 0 ? 0 : (this.cumulativeSizes[which - 1] as number);
    return itemAt(this.datasets[which] as IndexedDataset<T>, index - start);
  }
}
