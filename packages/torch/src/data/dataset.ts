// What a loader reads from: items by index, or a stream of items.
import { describe } from "../check.js";
import { UsageError } from "../errors.js";
import { Tensor } from "../tensor.js";

/**
 * A collection of samples read by index. Subclass it, or pass any array or object that has `length` and `get(index)`.
 *
 *     class Squares extends data.Dataset<[Tensor, Tensor]> {
 *       get length() { return 100; }
 *       get(i: number): [Tensor, Tensor] { return [torch.tensor(i), torch.tensor(i * i)]; }
 *     }
 */
// biome-ignore lint/suspicious/noUnsafeDeclarationMerging: the optional member is declared below, without a value
export abstract class Dataset<T> {
  /** Number of samples. */
  abstract get length(): number;
  /** The sample at `index`, from 0; a promise of it for a dataset that waits, which only `for await` can read. */
  abstract get(index: number): T | Promise<T>;
}
export interface Dataset<T> {
  /** The samples of a batch at once, in the order of `indices`: define it where that is faster than one by one. */
  getItems?(indices: readonly number[]): T[] | Promise<T[]>;
}

/** A stream of samples: define `*[Symbol.iterator]()` or `async *[Symbol.asyncIterator]()`, and `length` if it is known. */
export interface IterableDataset<T> {
  /** Number of samples, where it is known. */
  readonly length?: number | undefined;
  [Symbol.iterator]?(): Iterator<T>;
  [Symbol.asyncIterator]?(): AsyncIterator<T>;
}
/**
 * A stream of samples, for data that is read in order. It starts anew for each pass of the loader and is neither shuffled
 * nor divided among processes: that is up to the stream.
 *
 *     class Lines extends data.IterableDataset<string> {
 *       override *[Symbol.iterator]() { yield* readFileSync("input.txt", "utf8").split("\n"); }
 *     }
 */
// biome-ignore lint/suspicious/noUnsafeDeclarationMerging: the optional members are declared above, without a value
// biome-ignore lint/correctness/noUnusedVariables: merged declarations have the same type parameters
export abstract class IterableDataset<T> {}

/** What is read by index: `length` and `get(index)`. */
export interface IndexedDataset<T> {
  readonly length: number;
  get(index: number): T | Promise<T>;
  getItems?(indices: readonly number[]): T[] | Promise<T[]>;
}

/** Everything that a loader can read. */
export type DatasetLike<T> = IndexedDataset<T> | readonly T[] | IterableDataset<T>;

/** internal: a dataset that makes a whole batch at once, equal to what collating its items would give, or undefined. */
export interface BatchedDataset {
  getBatch(indices: readonly number[]): unknown;
}

/** internal: true for streams. */
export function isIterableDataset<T>(dataset: DatasetLike<T>): dataset is IterableDataset<T> {
  if (dataset instanceof IterableDataset) return true;
  if (typeof dataset !== "object" || dataset === null || Array.isArray(dataset) || "get" in dataset) return false;
  return Symbol.iterator in dataset || Symbol.asyncIterator in dataset;
}

/** internal: refuses what is no dataset. */
export function checkDataset(dataset: unknown): void {
  if (!(dataset instanceof Tensor) && (Array.isArray(dataset) || isIterableDataset(dataset as DatasetLike<unknown>)))
    return;
  const candidate = dataset as { length?: unknown; get?: unknown } | null | undefined;
  if (typeof candidate?.get === "function" && typeof candidate.length === "number") return;
  throw new TypeError(
    `Expected \`dataset\` to be a Dataset (with \`length\` and \`get(index)\`), an array or a stream, but got ${describe(dataset)}.\n` +
      "Wrap tensors as `new data.TensorDataset(x, y)`.",
  );
}

/** internal: true for promises and other thenables. */
export function isPromise(value: unknown): value is Promise<unknown> {
  return typeof (value as { then?: unknown } | null | undefined)?.then === "function";
}

/** internal: what `for ... of` says when it would have to wait. */
export function needsAwait(what: string): UsageError {
  return new UsageError(`${what}, which \`for ... of\` cannot wait for.`, {
    hint: "Write `for await (const batch of loader)`.",
  });
}

/** internal: the sample at an index, of a dataset or an array. */
export function itemAt<T>(dataset: IndexedDataset<T> | readonly T[], index: number): T | Promise<T> {
  if (!Array.isArray(dataset)) return (dataset as IndexedDataset<T>).get(index);
  checkIndex(index, dataset.length);
  return dataset[index] as T;
}

/** internal: the samples at several indices: at once where the dataset offers that, and as a promise when one is. */
export function itemsAt<T>(dataset: IndexedDataset<T> | readonly T[], indices: readonly number[]): T[] | Promise<T[]> {
  const { getItems } = dataset as Partial<IndexedDataset<T>>;
  if (typeof getItems === "function") return getItems.call(dataset, indices) as T[] | Promise<T[]>;
  const items = indices.map((index) => itemAt(dataset, index));
  return items.some(isPromise) ? Promise.all(items) : (items as T[]);
}

/** internal: refuses an index outside of 0 ... length - 1. */
export function checkIndex(index: number, length: number): void {
  if (Number.isInteger(index) && index >= 0 && index < length) return;
  throw new RangeError(`Index ${describe(index)} is out of range for a dataset of ${length} samples.`);
}
