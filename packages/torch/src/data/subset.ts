// Part of a dataset.
import { describe } from "../check.js";
import {
  type BatchedDataset,
  checkDataset,
  checkIndex,
  Dataset,
  type IndexedDataset,
  itemAt,
  itemsAt,
} from "./dataset.js";

/** The samples of a dataset at the given indices, in their order. */
export class Subset<T> extends Dataset<T> {
  /** The whole dataset. */
  readonly dataset: IndexedDataset<T> | readonly T[];
  /** Where this subset's samples are in it. */
  readonly indices: readonly number[];

  constructor(dataset: IndexedDataset<T> | readonly T[], indices: readonly number[]) {
    super();
    checkDataset(dataset);
    if (!Array.isArray(indices))
      throw new TypeError(`Expected \`indices\` to be an array of numbers, but got ${describe(indices)}.`);
    this.dataset = dataset;
    this.indices = indices;
  }

  get length(): number {
    return this.indices.length;
  }

  get(index: number): T | Promise<T> {
    checkIndex(index, this.indices.length);
    return itemAt(this.dataset, this.indices[index] as number);
  }

  /** The samples of a batch, read at once where the whole dataset can do that. */
  override getItems(indices: readonly number[]): T[] | Promise<T[]> {
    for (const index of indices) checkIndex(index, this.indices.length);
    return itemsAt(
      this.dataset,
      indices.map((index) => this.indices[index] as number),
    );
  }

  /** internal: a batch of the whole dataset, where that can make one at once. */
  getBatch(indices: readonly number[]): unknown {
    const { getBatch } = this.dataset as Partial<BatchedDataset>;
    if (typeof getBatch !== "function") return undefined;
    for (const index of indices) checkIndex(index, this.indices.length);
    return getBatch.call(
      this.dataset,
      indices.map((index) => this.indices[index] as number),
    );
  }
}
