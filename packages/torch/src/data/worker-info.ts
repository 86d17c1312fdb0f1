// Where a dataset's code can ask which loader worker it runs in.
import type { DatasetLike } from "./dataset.js";

/** What a loader worker knows of itself. */
export interface WorkerInfo {
  /** Number of this worker, from 0. */
  readonly id: number;
  /** How many workers the loader has. */
  readonly numWorkers: number;
  /** The seed of this worker's random numbers: the loader's base seed plus `id`. */
  readonly seed: bigint;
  /** The dataset as this worker has it; null while it is being made. */
  readonly dataset: DatasetLike<unknown> | null;
}

let current: WorkerInfo | null = null;

/**
 * The loader worker in which this code runs, or null in the main thread. A stream uses it to give each worker its share:
 *
 *     *[Symbol.iterator]() {
 *       const { id, numWorkers } = data.getWorkerInfo() ?? { id: 0, numWorkers: 1 };
 *       for (let i = id; i < this.files.length; i += numWorkers) yield* read(this.files[i]);
 *     }
 */
export function getWorkerInfo(): WorkerInfo | null {
  return current;
}

/** internal: says in which worker this thread is. */
export function setWorkerInfo(info: WorkerInfo): void {
  current = info;
}
