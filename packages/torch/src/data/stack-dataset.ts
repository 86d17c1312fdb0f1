// Datasets side by side.
import { describe } from "../check.js";
import { ConfigurationError } from "../errors.js";
import {
  checkDataset,
  checkIndex,
  Dataset,
  type DatasetLike,
  type IndexedDataset,
  isIterableDataset,
  isPromise,
  itemAt,
  itemsAt,
} from "./dataset.js";

type Indexed = IndexedDataset<unknown> | readonly unknown[];
type Stackable = readonly Indexed[] | Readonly<Record<string, Indexed>>;

/** The samples of a dataset. */
type SampleOf<D> = D extends readonly (infer T)[] ? T : D extends { get(index: number): infer R } ? Awaited<R> : never;
/** A sample of datasets side by side: one of each, under its place or name. */
type Stacked<D extends Stackable> = { -readonly [K in keyof D]: SampleOf<D[K]> };

/**
 * Several datasets of equal length read together: sample `i` has the `i`-th sample of each, as a list or under names.
 *
 *     new data.StackDataset([images, texts]).get(0);                 // [image, text]
 *     new data.StackDataset({ image: images, text: texts }).get(0);  // { image, text }
 */
export class StackDataset<const D extends Stackable> extends Dataset<Stacked<D>> {
  /** The datasets, as given. */
  readonly datasets: D;
  readonly #length: number;

  /** @throws ConfigurationError when the lengths differ */
  constructor(datasets: D) {
    super();
    if (typeof datasets !== "object" || datasets === null) {
      throw new TypeError(
        `Expected \`datasets\` to be a list or an object of datasets, but got ${describe(datasets)}.\nType \`new data.StackDataset([images, texts])\`.`,
      );
    }
    const all = Object.entries(datasets as Readonly<Record<string, Indexed>>);
    if (all.length === 0) throw new ConfigurationError("A StackDataset needs at least one dataset.");
    for (const [, dataset] of all) {
      checkDataset(dataset);
      if (isIterableDataset(dataset as DatasetLike<unknown>))
        throw new ConfigurationError("A StackDataset cannot hold an IterableDataset: it has no indices.");
    }
    const lengths = all.map(([, dataset]) => dataset.length);
    if (new Set(lengths).size > 1) {
      throw new ConfigurationError(
        `The datasets of a StackDataset have to be equally long, but have ${all.map(([name, dataset]) => `${dataset.length} (${name})`).join(", ")} samples.`,
      );
    }
    this.datasets = datasets;
    this.#length = lengths[0] as number;
  }

  get length(): number {
    return this.#length;
  }

  get(index: number): Stacked<D> | Promise<Stacked<D>> {
    checkIndex(index, this.#length);
    return this.#join((dataset) => itemAt(dataset, index)) as Stacked<D> | Promise<Stacked<D>>;
  }

  /** The samples of a batch, read at once from the datasets that can do that. */
  override getItems(indices: readonly number[]): Stacked<D>[] | Promise<Stacked<D>[]> {
    for (const index of indices) checkIndex(index, this.#length);
    const columns = this.#join((dataset) => itemsAt(dataset, indices));
    const rows = (of: object): Stacked<D>[] =>
      indices.map((_, i) => mapValues(of, (column) => (column as unknown[])[i]) as Stacked<D>);
    return isPromise(columns) ? columns.then((of) => rows(of as object)) : rows(columns as object);
  }

  /** What `read` gives for each dataset, in the places of the datasets; a promise when one of them is. */
  #join(read: (dataset: Indexed) => unknown): unknown {
    const joined = mapValues(this.datasets, (dataset) => read(dataset as Indexed));
    const values = Object.values(joined);
    if (!values.some(isPromise)) return joined;
    return Promise.all(values).then((all) => {
      let next = 0;
      return mapValues(joined, () => all[next++]);
    });
  }
}

function mapValues(of: object, map: (value: unknown) => unknown): object {
  if (Array.isArray(of)) return of.map(map);
  return Object.fromEntries(Object.entries(of).map(([key, value]) => [key, map(value)]));
}
