// The options of a loader, and what wrong ones say.
import { availableParallelism } from "node:os";
import { checkOptions, describe, typeError } from "../check.js";
import { ConfigurationError, UsageError } from "../errors.js";
import type { Generator } from "../random.js";
import type { Collated } from "./default-collate.js";
import type { SamplerLike } from "./sampler.js";
import { getWorkerInfo } from "./worker-info.js";

/** Options of `DataLoader`. */
export interface DataLoaderOptions<T = unknown, B = Collated<T>> {
  /** Samples a batch (default 1); null gives single samples, not collated. */
  batchSize?: number | null | undefined;
  /** Another order each pass (default false). */
  shuffle?: boolean | undefined;
  /** Gives the indices; excludes `shuffle`. */
  sampler?: SamplerLike | undefined;
  /** Gives a list of indices for each batch; excludes `batchSize`, `shuffle`, `sampler` and `dropLast`. */
  batchSampler?: SamplerLike<readonly number[]> | undefined;
  /** Threads that load batches ahead (default 0: samples are read in the main thread when they are asked for). */
  numWorkers?: number | undefined;
  /**
   * Makes a batch out of samples (default `defaultCollate`); for `batchSize: null` it gets one sample. With workers it runs in the main
   * thread, on samples that they read, unless `data.workerFunction` says where they find it.
   */
  collateFn?: ((samples: T[]) => B | Promise<B>) | undefined;
  /** Copy batches into page-locked memory when there is a GPU (default false). */
  pinMemory?: boolean | undefined;
  /** Leave out a last batch that is not full (default false). */
  dropLast?: boolean | undefined;
  /** Milliseconds that a batch of the workers may take before that is an error (default 0: any time). Needs workers. */
  timeoutMs?: number | undefined;
  /** Called in each worker when it starts, with its number; made with `data.workerFunction`. */
  workerInitFn?: WorkerInitFn | null | undefined;
  /** Where orders are drawn from (default: the default generator). */
  generator?: Generator | undefined;
  /** Batches that each worker loads ahead (default 2). Needs workers. */
  prefetchFactor?: number | undefined;
  /** Keep workers, and what their datasets hold, between passes (default false). Needs workers. */
  persistentWorkers?: boolean | undefined;
}

/** Called in each worker, with its number. */
export type WorkerInitFn = (workerId: number) => unknown;

type AnyOptions = DataLoaderOptions<unknown, unknown>;

const optionNames: readonly (keyof AnyOptions)[] = [
  "batchSize",
  "shuffle",
  "sampler",
  "batchSampler",
  "numWorkers",
  "collateFn",
  "pinMemory",
  "dropLast",
  "timeoutMs",
  "workerInitFn",
  "generator",
  "prefetchFactor",
  "persistentWorkers",
];

const booleans = ["shuffle", "dropLast", "pinMemory", "persistentWorkers"] as const;

/** internal: refuses options that are wrong or exclude each other. */
export function checkLoaderOptions(options: AnyOptions, isStream: boolean): void {
  checkOptions(options, optionNames, "new data.DataLoader(dataset, { batchSize: 64, shuffle: true })");
  const { sampler, batchSampler, collateFn, workerInitFn } = options;
  for (const name of booleans) {
    if (options[name] !== undefined && typeof options[name] !== "boolean")
      throw typeError(name, "a boolean", options[name]);
  }
  for (const [name, value] of Object.entries({ collateFn, workerInitFn: workerInitFn ?? undefined })) {
    if (value !== undefined && typeof value !== "function") throw typeError(name, "a function", value);
  }
  for (const [name, value] of Object.entries({ sampler, batchSampler })) {
    if (value !== undefined && typeof (value as Iterable<unknown> | null)?.[Symbol.iterator] !== "function") {
      throw typeError(name, "a Sampler or another iterable", value);
    }
  }
  checkWorkerOptions(options);
  checkOrder(options);
  if (isStream) checkStreamOptions(options);
}

function checkOrder({ batchSize, shuffle, sampler, batchSampler, dropLast }: AnyOptions): void {
  if (sampler !== undefined && shuffle)
    throw excludes("sampler", "shuffle", "The sampler decides the order: leave `shuffle` out.");
  if (batchSampler !== undefined) {
    if ((batchSize ?? 1) !== 1 || shuffle || sampler !== undefined || dropLast) {
      throw excludes(
        "batchSampler",
        "batchSize`, `shuffle`, `sampler` and `dropLast",
        "The batch sampler decides all of them: leave them out.",
      );
    }
  } else if (batchSize === null && dropLast) {
    throw excludes("batchSize: null", "dropLast", "Without batches there is no last one: leave `dropLast` out.");
  } else if (
    typeof batchSize === "number" ? !(Number.isInteger(batchSize) && batchSize > 0) : (batchSize ?? null) !== null
  ) {
    throw new ConfigurationError(`\`batchSize\` has to be a positive whole number, but is ${describe(batchSize)}.`, {
      hint: "Type `{ batchSize: 64 }`, or `{ batchSize: null }` for single samples.",
    });
  }
}

function checkWorkerOptions(options: AnyOptions): void {
  const { numWorkers = 0, timeoutMs, prefetchFactor, persistentWorkers } = options;
  checkCount("numWorkers", numWorkers, 0, "0 loads in the main thread.");
  if (timeoutMs !== undefined && !(typeof timeoutMs === "number" && timeoutMs >= 0)) {
    throw new ConfigurationError(`\`timeoutMs\` must not be negative, but is ${describe(timeoutMs)}.`, {
      hint: "It is a number of milliseconds; 0 waits for ever.",
    });
  }
  if (prefetchFactor !== undefined)
    checkCount("prefetchFactor", prefetchFactor, 1, "It counts batches for each worker.");
  if (numWorkers === 0) {
    const needsWorkers = { timeoutMs, prefetchFactor, persistentWorkers };
    for (const [name, value] of Object.entries(needsWorkers)) {
      if (!value) continue;
      throw new ConfigurationError(`\`${name}\` is for workers, but \`numWorkers\` is 0.`, {
        hint: `Leave \`${name}\` out, or set \`numWorkers\`.`,
      });
    }
    return;
  }
  if (getWorkerInfo() !== null) {
    throw new UsageError("A DataLoader in a worker of another DataLoader cannot have workers of its own.", {
      hint: "Leave `numWorkers` out there. If this is the training script, a worker has imported it: move the dataset to a file of its own.",
    });
  }
  warnOfManyWorkers(numWorkers);
}

function checkCount(name: string, value: unknown, least: number, hint: string): void {
  if (Number.isInteger(value) && (value as number) >= least) return;
  throw new ConfigurationError(
    `\`${name}\` has to be a whole number of at least ${least}, but is ${describe(value)}.`,
    { hint },
  );
}

let hasWarned = false;

function warnOfManyWorkers(numWorkers: number): void {
  const cores = availableParallelism();
  if (numWorkers <= cores || hasWarned) return;
  hasWarned = true;
  process.emitWarning(
    `This DataLoader will start ${numWorkers} worker threads, but this process has ${cores} cores: more workers than that make loading slower.`,
    { type: "UserWarning", code: "FABRIC_DATA" },
  );
}

function checkStreamOptions(options: AnyOptions): void {
  for (const name of ["shuffle", "sampler", "batchSampler"] as const) {
    const value = options[name];
    if (value === undefined || value === false) continue;
    throw new ConfigurationError(
      `\`${name}\` cannot be used with an IterableDataset, which decides its order itself.`,
      {
        hint: `Leave \`${name}\` out and order the samples in the stream.`,
      },
    );
  }
}

function excludes(option: string, other: string, hint: string): ConfigurationError {
  return new ConfigurationError(`\`${option}\` and \`${other}\` exclude each other.`, { hint });
}
