// What the main thread and its loader workers say to each other, and the memory that both see.
import type { MessagePort } from "node:worker_threads";
import type { BatchIndex } from "../fetcher.js";
import type { ModuleReference } from "../worker-module.js";
import type { SentError } from "./error-codec.js";
import type { MovedDataset } from "./moved-dataset.js";
import type { Encoded } from "./thread-codec.js";
import type { WorkerRandomState } from "./worker-random.js";

/** internal: a function of the user's that workers call. */
export interface MovedFunction {
  readonly reference: Omit<ModuleReference, "args">;
  readonly args: Encoded;
}

/** internal: what all workers of a loader are told when they start. */
export interface WorkerPlan {
  readonly exchange: number;
  readonly numWorkers: number;
  readonly dataset: MovedDataset;
  readonly isStream: boolean;
  readonly batchSize: number | null;
  readonly dropLast: boolean;
  /** "default" and functions that were moved run in the worker; with "main" samples are collated in the main thread. */
  readonly collate: "default" | "main" | MovedFunction;
  /** True where a batch is a single sample. */
  readonly isSingle: boolean;
  readonly init: MovedFunction | null;
  /** Each pass starts its random numbers from its own seed; this is that of the first. */
  readonly firstBaseSeed: bigint;
  readonly shared: SharedMemory;
}

/** internal: what a worker gets as its `workerData`. */
export interface WorkerStart {
  readonly id: number;
  readonly port: MessagePort;
  readonly plan: WorkerPlan;
}

/** internal: from the main thread to a worker. */
export type Task =
  | { readonly type: "pass"; readonly pass: number; readonly baseSeed: bigint; readonly resume: WorkerPosition | null }
  | { readonly type: "batch"; readonly pass: number; readonly index: BatchIndex }
  /** The next batch of a stream. */
  | { readonly type: "next"; readonly pass: number }
  | { readonly type: "stop" };

/** internal: where a worker was after the last batch that the training loop got of it. */
export interface WorkerPosition {
  /** Batches given in this pass. */
  readonly batches: number;
  /** True when its stream has ended. */
  readonly isOver: boolean;
  readonly random: WorkerRandomState | null;
  /** State of a stream that has `stateDict`. */
  readonly dataset: Encoded | null;
}

/** internal: from a worker to the main thread, one for each task. */
export type Reply =
  | { readonly type: "ready" }
  | {
      readonly type: "batch";
      readonly pass: number;
      readonly value: Encoded;
      /** Where its random numbers are, when it has drawn any for this batch. */
      readonly random: WorkerRandomState | undefined;
      /** State of a stream that has one. */
      readonly dataset: Encoded | undefined;
      /** True when its stream has ended with this batch. */
      readonly isLast: boolean;
    }
  /** The worker's stream is over. */
  | { readonly type: "end"; readonly pass: number; readonly dataset: Encoded | undefined }
  | { readonly type: "error"; readonly pass: number; readonly error: SentError; readonly index: number | null }
  /** The worker could not start, or something in it failed that belongs to no task: it is about to end. */
  | { readonly type: "failed"; readonly error: SentError };

/** internal: memory that all threads of a loader see. */
export class SharedMemory {
  /**
   * Replies sent so far, in total: what the main thread sleeps on. Then the pass under way, 0 once the loader is closed. Then, for each
   * worker: 0 before its program runs, 2 while it does, 1 when its thread has ended; and its exit code or -1.
   */
  readonly words: Int32Array;
  /** For each worker the sample that it is loading, or -1. */
  readonly samples: Float64Array;

  constructor(numWorkers: number);
  constructor(memory: { words: Int32Array; samples: Float64Array });
  constructor(from: number | { words: Int32Array; samples: Float64Array }) {
    if (typeof from === "number") {
      this.words = new Int32Array(new SharedArrayBuffer(4 * (2 + 2 * from)));
      this.samples = new Float64Array(new SharedArrayBuffer(8 * from)).fill(-1);
      for (let id = 0; id < from; id++) this.words[endedAt(id) + 1] = -1;
    } else {
      this.words = from.words;
      this.samples = from.samples;
    }
  }

  get replies(): number {
    return Atomics.load(this.words, 0);
  }
  /** Sleeps until there are more replies than `seen`, or for `milliseconds`. */
  sleep(seen: number, milliseconds: number): void {
    Atomics.wait(this.words, 0, seen, milliseconds);
  }
  announceReply(): void {
    Atomics.add(this.words, 0, 1);
    Atomics.notify(this.words, 0);
  }
  get pass(): number {
    return Atomics.load(this.words, 1);
  }
  set pass(pass: number) {
    Atomics.store(this.words, 1, pass);
  }
  setBegun(id: number): void {
    Atomics.store(this.words, endedAt(id), 2);
  }
  hasBegun(id: number): boolean {
    return Atomics.load(this.words, endedAt(id)) !== 0;
  }
  hasEnded(id: number): boolean {
    return Atomics.load(this.words, endedAt(id)) === 1;
  }
  exitCode(id: number): number | null {
    const code = Atomics.load(this.words, endedAt(id) + 1);
    return code < 0 ? null : code;
  }
  setExitCode(id: number, code: number): void {
    Atomics.store(this.words, endedAt(id) + 1, code);
  }
  /** Notes which sample a worker is loading. */
  setSample(id: number, index: number): void {
    this.samples[id] = index;
  }
  sample(id: number): number | null {
    const index = this.samples[id] as number;
    return index < 0 ? null : index;
  }
}

/** internal: where the end of a worker's thread is noted among the words. */
export function endedAt(id: number): number {
  return 2 + 2 * id;
}
