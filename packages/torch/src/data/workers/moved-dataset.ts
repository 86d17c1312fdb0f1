// How a dataset gets to worker threads: tensors are shared, plain data is copied, what `workerDataset` made is made again, and
// datasets of datasets are taken apart. Anything else has methods that a thread cannot be given.
import { describe } from "../../check.js";
import { ConfigurationError } from "../../errors.js";
import type { Tensor } from "../../tensor.js";
import { ChainDataset } from "../chain-dataset.js";
import { ConcatDataset } from "../concat-dataset.js";
import type { DatasetLike, IndexedDataset, IterableDataset } from "../dataset.js";
import { StackDataset } from "../stack-dataset.js";
import { Subset } from "../subset.js";
import { TensorDataset } from "../tensor-dataset.js";
import { followReference, type ModuleReference, referenceOf } from "../worker-module.js";
import { checkSendable, decode, type Encoded, encode } from "./thread-codec.js";

type Indexed = IndexedDataset<unknown> | readonly unknown[];

/** internal: a dataset as it is posted to a worker. */
export type MovedDataset =
  | { readonly kind: "module"; readonly reference: Omit<ModuleReference, "args">; readonly args: Encoded }
  | { readonly kind: "values"; readonly values: Encoded }
  | { readonly kind: "tensors"; readonly tensors: Encoded }
  | { readonly kind: "subset"; readonly dataset: MovedDataset; readonly indices: readonly number[] }
  | {
      readonly kind: "concat" | "chain" | "stack";
      readonly datasets: readonly MovedDataset[];
      readonly names: readonly string[] | null;
    };

/** internal: refuses a dataset that workers cannot get, and says what to type instead. */
export function checkMovable(dataset: DatasetLike<unknown>, numWorkers: number, what = "this dataset"): void {
  const whole = dataset as object;
  if (referenceOf(whole) !== undefined || isExactly(whole, TensorDataset)) return;
  const parts = isExactly(whole, Subset) ? [whole.dataset] : partsOf(whole)?.datasets;
  if (parts !== undefined) {
    for (const part of parts) checkMovable(part, numWorkers, `a dataset in this ${whole.constructor.name}`);
  } else if (!Array.isArray(whole)) throw cannotMove(whole, what, numWorkers);
  else if (whole.length > 0) checkSendable(whole[0], "dataset[0]");
}

/** internal: a dataset for workers. Its tensors wait in the exchange until that is closed. */
export function moveDataset(dataset: DatasetLike<unknown>, exchange: number): MovedDataset {
  const whole = dataset as object;
  const reference = referenceOf(whole);
  if (reference !== undefined) {
    const { args, ...rest } = reference;
    return { kind: "module", reference: rest, args: encode(args, exchange).value };
  }
  if (isExactly(whole, TensorDataset)) return { kind: "tensors", tensors: encode(whole.tensors, exchange).value };
  if (isExactly(whole, Subset)) {
    return { kind: "subset", dataset: moveDataset(whole.dataset, exchange), indices: whole.indices };
  }
  const parts = partsOf(whole);
  if (parts === undefined) return { kind: "values", values: encode(whole, exchange).value };
  return {
    kind: parts.kind,
    names: parts.names,
    datasets: parts.datasets.map((part) => moveDataset(part, exchange)),
  };
}

/** internal: the dataset in a worker. */
export async function makeMoved(moved: MovedDataset, exchange: number): Promise<DatasetLike<unknown>> {
  switch (moved.kind) {
    case "module": {
      const args = decode(moved.args, exchange, true) as unknown[];
      return (await followReference({ ...moved.reference, args })) as DatasetLike<unknown>;
    }
    case "values":
      return decode(moved.values, exchange, true) as readonly unknown[];
    case "tensors":
      return new TensorDataset(...(decode(moved.tensors, exchange, true) as Tensor[]));
    case "subset":
      return new Subset((await makeMoved(moved.dataset, exchange)) as Indexed, moved.indices);
    default: {
      const datasets = await Promise.all(moved.datasets.map((part) => makeMoved(part, exchange)));
      if (moved.kind === "chain") return new ChainDataset(datasets as IterableDataset<unknown>[]);
      if (moved.kind === "concat") return new ConcatDataset(datasets as Indexed[]);
      const { names } = moved;
      if (names === null) return new StackDataset(datasets as Indexed[]);
      return new StackDataset(Object.fromEntries(datasets.map((part, i) => [names[i], part as Indexed])));
    }
  }
}

interface Parts {
  readonly kind: "concat" | "chain" | "stack";
  readonly datasets: readonly DatasetLike<unknown>[];
  /** Names of the datasets where they have any. */
  readonly names: readonly string[] | null;
}

function partsOf(dataset: object): Parts | undefined {
  if (isExactly(dataset, ConcatDataset)) return { kind: "concat", datasets: dataset.datasets, names: null };
  if (isExactly(dataset, ChainDataset)) return { kind: "chain", datasets: dataset.datasets, names: null };
  if (!isExactly(dataset, StackDataset)) return undefined;
  const all = dataset.datasets as Readonly<Record<string, Indexed>> | readonly Indexed[];
  return { kind: "stack", datasets: Object.values(all), names: Array.isArray(all) ? null : Object.keys(all) };
}

// A subclass has methods of its own, which would be lost.
function isExactly<C extends abstract new (...args: never[]) => object>(
  dataset: object,
  Class: C,
): dataset is InstanceType<C> {
  return Object.getPrototypeOf(dataset) === Class.prototype;
}

function cannotMove(dataset: object, what: string, numWorkers: number): ConfigurationError {
  const name = dataset.constructor?.name ?? "Object";
  const isOwnClass = name !== "Object";
  const [export_, make, file] = isOwnClass
    ? [`Export the class ${name} from a file of its own`, name, fileNameOf(name)]
    : ["Export a function that makes the dataset from a file of its own", "makeDataset", "dataset"];
  return new ConfigurationError(
    `\`numWorkers\` is ${numWorkers}, but ${what} (${describe(dataset)}) cannot be sent to worker threads: it has methods, and threads share no functions.`,
    {
      hint:
        `${export_} and type \`data.workerDataset(new URL("./${file}.js", import.meta.url), ${make}, ...)\` with the arguments of ` +
        `${isOwnClass ? "its constructor" : "the function"} in the place of the dots, or leave \`numWorkers\` out.`,
    },
  );
}

function fileNameOf(className: string): string {
  return className.replace(/([a-z0-9])([A-Z])/g, "$1-$2").toLowerCase();
}
