// One pass of a loader over its workers: which worker gets which batch, how far ahead they load, and in which order batches come
// out. Batch `i` is loaded by worker `i % numWorkers`, so that the random numbers of each worker do not depend on timing.
import { DataLoaderError, UsageError } from "../../errors.js";
import { isPromise } from "../dataset.js";
import { abandoned, type BatchIndex } from "../fetcher.js";
import type { Pass } from "../pass.js";
import { end } from "../stream-reader.js";
import { decodeError } from "./error-codec.js";
import type { WorkerPosition } from "./protocol.js";
import { decode, encode } from "./thread-codec.js";
import type { WorkerPool, WorkReply } from "./worker-pool.js";
import type { WorkerRandomState } from "./worker-random.js";

/** internal: where the workers of a pass are, as a loader's state has it. */
export interface WorkersPosition {
  /** The worker that gives the next batch. */
  readonly turn: number;
  readonly workers: readonly SavedPosition[];
}

/** internal: where one worker is. */
export interface SavedPosition {
  readonly batches: number;
  /** True when the worker's stream is over. */
  readonly isOver: boolean;
  readonly random: WorkerRandomState | null;
  /** State of its stream, or null. */
  readonly dataset: unknown;
}

/** internal: what a pass needs beside the pool. */
export interface WorkerPassOptions {
  /** The indices of the batches to come, or null for a stream. */
  readonly indices: Iterator<BatchIndex> | null;
  readonly numWorkers: number;
  readonly prefetchFactor: number;
  readonly baseSeed: bigint;
  readonly resume: WorkersPosition | null;
  /** Makes a batch in this thread out of samples that workers read, or null when they collate themselves. */
  readonly collate: ((samples: unknown) => unknown) | null;
  /** End the threads when the pass ends. */
  readonly closesPool: boolean;
}

interface Lane {
  batches: number;
  isOver: boolean;
  random: WorkerRandomState | null;
  dataset: unknown;
  /** What it was asked for and has not given yet; null for the next batch of a stream. */
  readonly asked: (BatchIndex | null)[];
}

const skipped = Symbol("no batch, go on");

/** internal: a pass over the workers of a pool. */
export class WorkerPass implements Pass {
  readonly #pool: WorkerPool;
  readonly #options: WorkerPassOptions;
  readonly #lanes: readonly Lane[];
  readonly #number: number;
  #turn: number;
  // What the sampler threw while batches were asked for ahead of time: an error once the batches before it have been given.
  #samplerError: { error: unknown } | null = null;
  #isOver = false;

  /** Asks the workers for their first batches. */
  constructor(pool: WorkerPool, options: WorkerPassOptions) {
    this.#pool = pool;
    this.#options = options;
    const { resume, baseSeed } = options;
    this.#turn = resume?.turn ?? 0;
    this.#number = pool.startPass();
    this.#lanes = Array.from({ length: options.numWorkers }, (_, id) => {
      const saved = resume?.workers[id];
      const position = saved === undefined ? null : this.#sent(saved);
      pool.post(id, { type: "pass", pass: this.#number, baseSeed, resume: position });
      const { batches = 0, isOver = false, random = null, dataset = null } = saved ?? {};
      return { batches, isOver, random, dataset, asked: [] };
    });
    for (let round = 0; round < options.prefetchFactor; round++) {
      for (let i = 0; i < options.numWorkers; i++) this.#ask((this.#turn + i) % options.numWorkers);
    }
  }

  nextNow(): unknown {
    for (let id = this.#next(); id !== null; id = this.#next()) {
      const batch = this.#accept(id, this.#pool.waitNow(id));
      if (isPromise(batch)) throw abandoned(batch, "The `collateFn` returned a promise");
      if (batch !== skipped) return batch;
    }
    return end;
  }

  async nextLater(): Promise<unknown> {
    for (let id = this.#next(); id !== null; id = this.#next()) {
      const batch = this.#accept(id, await this.#pool.waitLater(id));
      if (batch !== skipped) return batch;
    }
    return end;
  }

  close(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    if (this.#options.closesPool) this.#pool.close();
    else if (this.#pool.pass === this.#number) this.#pool.startPass();
  }

  /** Where the workers were when they loaded the batches that have been given, not those that they loaded ahead. */
  get position(): WorkersPosition {
    return {
      turn: this.#turn,
      workers: this.#lanes.map(({ batches, isOver, random, dataset }) => ({ batches, isOver, random, dataset })),
    };
  }

  /** The worker whose batch is next, or null at the end. */
  #next(): number | null {
    if (this.#pool.isClosed || this.#pool.pass !== this.#number) {
      throw new UsageError(
        "This pass over the DataLoader is over: its workers were closed or another pass has begun.",
        {
          hint: "With `persistentWorkers` a loader gives one pass at a time: make another loader for a second one beside it.",
        },
      );
    }
    if (this.#options.indices === null) {
      for (let i = 0; i < this.#lanes.length && this.#lane(this.#turn).isOver; i++) this.#advance();
      return this.#lane(this.#turn).isOver ? null : this.#turn;
    }
    if (this.#lane(this.#turn).asked.length > 0) return this.#turn;
    if (this.#samplerError !== null) throw this.#samplerError.error;
    return null;
  }

  /** Takes what a worker sent; a batch, or `skipped` at the end of its stream. */
  #accept(id: number, reply: WorkReply): unknown {
    const lane = this.#lane(id);
    const asked = lane.asked.shift() ?? null;
    if (reply.type === "error") throw loadingError(id, reply, asked);
    this.#advance();
    const { exchange } = this.#pool;
    if (reply.dataset !== undefined) lane.dataset = decode(reply.dataset, exchange);
    if (reply.type === "end") {
      lane.isOver = true;
      return skipped;
    }
    const batch = decode(reply.value, exchange);
    lane.batches++;
    lane.isOver = reply.isLast;
    if (reply.random !== undefined) lane.random = reply.random;
    this.#ask(id);
    const { collate } = this.#options;
    return collate === null ? batch : collate(batch);
  }

  // In turn from the first on, so that batch i of an indexed dataset is always asked of worker i % numWorkers.
  #ask(id: number): void {
    const lane = this.#lane(id);
    const { indices } = this.#options;
    if (indices === null) {
      if (lane.isOver) return;
      lane.asked.push(null);
      this.#pool.post(id, { type: "next", pass: this.#number });
      return;
    }
    if (this.#samplerError !== null) return;
    try {
      const next = indices.next();
      if (next.done) return;
      lane.asked.push(next.value);
      this.#pool.post(id, { type: "batch", pass: this.#number, index: next.value });
    } catch (error) {
      this.#samplerError = { error };
    }
  }

  #sent({ batches, isOver, random, dataset }: SavedPosition): WorkerPosition {
    return { batches, isOver, random, dataset: dataset === null ? null : encode(dataset, this.#pool.exchange).value };
  }

  #lane(id: number): Lane {
    return this.#lanes[id] as Lane;
  }

  #advance(): void {
    this.#turn = (this.#turn + 1) % this.#lanes.length;
  }
}

function loadingError(id: number, reply: WorkReply & { type: "error" }, asked: BatchIndex | null): DataLoaderError {
  const cause = decodeError(reply.error);
  const { index } = reply;
  let what: string;
  if (asked === null)
    what = index === null ? "could not read its stream" : `failed after sample ${index} of its stream`;
  else if (index !== null) what = `could not load sample ${index}`;
  else what = `could not make a batch of ${samplesText(asked)}`;
  return new DataLoaderError(`Worker ${id} of the DataLoader ${what}: ${cause.message}`, {
    workerId: id,
    index,
    cause,
  });
}

function samplesText(asked: BatchIndex): string {
  if (typeof asked === "number") return `sample ${asked}`;
  const shown = asked.slice(0, 8).join(", ");
  return `samples ${shown}${asked.length > 8 ? ` and ${asked.length - 8} more` : ""}`;
}
