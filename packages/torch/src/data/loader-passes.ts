// The passes of a loader: starting one, also in the middle where a state says so, with or without workers, and saying where it is.
import { CheckpointError } from "../errors.js";
import type { Generator } from "../random.js";
import { getRngState } from "../random.js";
import type { Tensor } from "../tensor.js";
import { type DatasetLike, isIterableDataset } from "./dataset.js";
import { drawSeed } from "./draw.js";
import { type BatchIndex, type Collate, Fetcher } from "./fetcher.js";
import type { DataLoaderOptions, WorkerInitFn } from "./loader-options.js";
import {
  checkLoaderState,
  isStateful,
  type LoaderState,
  OrderSources,
  restoreWorkers,
  type SavedPass,
  saveWorkers,
} from "./loader-state.js";
import { IndexedPass, type Pass, StreamPass } from "./pass.js";
import type { SamplerLike } from "./sampler.js";
import { cannotMoveFunction, referenceOf } from "./worker-module.js";
import { moveDataset } from "./workers/moved-dataset.js";
import type { MovedFunction, WorkerPlan } from "./workers/protocol.js";
import { encode } from "./workers/thread-codec.js";
import { WorkerPass, type WorkersPosition } from "./workers/worker-pass.js";
import { WorkerPool } from "./workers/worker-pool.js";

/** internal: what is needed of a loader. */
export interface LoaderParts {
  readonly dataset: DatasetLike<unknown>;
  readonly options: DataLoaderOptions<unknown, unknown>;
  readonly batchSize: number | null;
  readonly dropLast: boolean;
  readonly sampler: SamplerLike | null;
  readonly batchSampler: SamplerLike<readonly number[]> | null;
  readonly numWorkers: number;
  readonly collateFn: (samples: unknown[]) => unknown;
  readonly timeoutMs: number;
  readonly generator: Generator | undefined;
  readonly prefetchFactor: number | null;
  readonly persistentWorkers: boolean;
  readonly workerInitFn: WorkerInitFn | null;
}

/** internal: a pass under way. */
export interface Running {
  readonly pass: Pass;
  readonly sources: OrderSources;
  /** Batches given. */
  given: number;
  /** The samplers' states and the generators before the iterator of the sampler was made. */
  readonly samplers: readonly unknown[];
  readonly beforeIterator: readonly Tensor[];
  /** The generators before it gave its first index; null as long as it has not. */
  beforeFirst: readonly Tensor[] | null;
  readonly baseSeed: bigint;
  /** The base seed of the first pass of the same workers. */
  readonly firstBaseSeed: bigint;
}

/** Worker threads and the base seed of their first pass. */
interface Workers {
  readonly pool: WorkerPool;
  readonly firstBaseSeed: bigint;
}

/** internal: the passes of one loader. */
export class LoaderPasses {
  readonly #loader: LoaderParts;
  #running: Running | null = null;
  // What the next pass goes on from.
  #saved: LoaderState | null = null;
  // Workers that outlive a pass, and the states of their streams after the last one.
  #kept: Workers | null = null;
  #keptStreams: readonly unknown[] | null = null;

  constructor(loader: LoaderParts) {
    this.#loader = loader;
    if (loader.numWorkers > 0) this.#checkInitFn();
  }

  /** Where the loader is. */
  get state(): LoaderState {
    if (this.#saved !== null) return this.#saved;
    const { batchSize, dataset, numWorkers } = this.#loader;
    const hasState = numWorkers === 0 && isIterableDataset(dataset) && isStateful(dataset);
    return {
      batch_size: batchSize,
      generators: new OrderSources(this.#loader).generators.slice(1),
      dataset: hasState ? dataset.stateDict() : null,
      kept_streams: this.#keptStreams,
      pass: this.#running === null ? null : savePass(this.#running),
    };
  }

  /** Makes the next pass go on from a state. */
  load(value: unknown): void {
    const { batchSize, numWorkers, dataset } = this.#loader;
    const isStream = isIterableDataset(dataset);
    const state = checkLoaderState(value, { batchSize, numWorkers, isStream });
    const sources = new OrderSources(this.#loader);
    sources.check(state.generators.length, state.pass?.samplers.length);
    if (state.pass === null) {
      sources.generators = [getRngState(), ...state.generators];
      if (state.dataset !== null && isStateful(dataset)) dataset.loadStateDict(state.dataset as never);
    }
    this.#saved = state.pass === null && state.kept_streams === null ? null : state;
  }

  /** Ends kept workers. */
  close(): void {
    this.#kept?.pool.close();
    this.#kept = null;
    this.#keptStreams = null;
  }

  /** Starts a pass. With `now` nothing may be waited for. */
  begin(now: boolean): Running {
    const saved = this.#saved;
    const sources = new OrderSources(this.#loader);
    let running: Running;
    if (saved === null || saved.pass === null) running = this.#begin(sources, saved, null, now);
    else {
      // The order is drawn again as it was; afterwards all generators are as they were when the state was taken.
      const outside = getRngState();
      try {
        running = this.#begin(sources, saved, saved.pass, now);
      } finally {
        sources.generators = [outside, ...saved.generators];
      }
    }
    this.#saved = null;
    this.#keptStreams = null;
    this.#running = running;
    return running;
  }

  /** Notes that a pass is over; `isWhole` when it has given everything. */
  end(running: Running, isWhole: boolean): void {
    if (this.#running !== running) return;
    this.#running = null;
    if (!isWhole || !this.#loader.persistentWorkers || !(running.pass instanceof WorkerPass)) return;
    const streams = running.pass.position.workers.map(({ dataset }) => dataset);
    this.#keptStreams = streams.some((state) => state !== null) ? streams : null;
  }

  #begin(sources: OrderSources, saved: LoaderState | null, savedPass: SavedPass | null, now: boolean): Running {
    const { dataset, batchSampler, sampler, generator, numWorkers } = this.#loader;
    if (savedPass !== null) {
      sources.samplers = savedPass.samplers;
      sources.generators = savedPass.before_iterator;
    }
    const samplers = sources.samplers;
    const beforeIterator = sources.generators;
    const indices = isIterableDataset(dataset) ? null : (batchSampler ?? (sampler as SamplerLike))[Symbol.iterator]();
    // PyTorch draws a seed for its workers when a pass starts, also without workers, before the sampler draws its own.
    const baseSeed = savedPass === null ? drawSeed(generator) : BigInt(savedPass.base_seed);
    if (savedPass !== null) sources.generators = savedPass.before_first;
    const beforeFirst = savedPass !== null || numWorkers > 0 ? sources.generators : null;
    if (savedPass !== null && indices !== null) skip(indices, savedPass.num_yielded);

    const workers =
      numWorkers > 0 ? this.#workers(savedPass === null ? baseSeed : BigInt(savedPass.first_base_seed)) : null;
    const pass =
      workers === null
        ? this.#passHere(indices, saved, now)
        : this.#passOfWorkers(workers.pool, indices, baseSeed, saved);
    const firstBaseSeed = workers?.firstBaseSeed ?? baseSeed;
    const given = savedPass?.num_yielded ?? 0;
    return { pass, sources, given, samplers, beforeIterator, beforeFirst, baseSeed, firstBaseSeed };
  }

  #passHere(indices: Iterator<BatchIndex> | null, saved: LoaderState | null, now: boolean): Pass {
    const { dataset, batchSize, dropLast, collateFn, options } = this.#loader;
    const collate = collateFn as Collate;
    if (!isIterableDataset(dataset)) {
      const fetcher = new Fetcher(dataset, collate, options.collateFn === undefined);
      return new IndexedPass(indices as Iterator<BatchIndex>, fetcher);
    }
    const pass = new StreamPass(dataset, { batchSize, dropLast, collate });
    if (saved === null || saved.pass === null) return pass;
    if (saved.dataset !== null && isStateful(dataset)) {
      dataset.loadStateDict(saved.dataset as never);
      if (saved.pass.is_over) pass.finish();
    } else pass.skip(saved.pass.num_yielded, now);
    return pass;
  }

  #passOfWorkers(
    pool: WorkerPool,
    indices: Iterator<BatchIndex> | null,
    baseSeed: bigint,
    saved: LoaderState | null,
  ): Pass {
    const { numWorkers, prefetchFactor, collateFn, persistentWorkers } = this.#loader;
    return new WorkerPass(pool, {
      indices,
      numWorkers,
      prefetchFactor: prefetchFactor as number,
      baseSeed,
      resume: saved === null ? null : resumeWorkers(saved, numWorkers),
      collate: this.#workerCollate(pool.exchange) === "main" ? (collateFn as (samples: unknown) => unknown) : null,
      closesPool: !persistentWorkers,
    });
  }

  #workers(firstBaseSeed: bigint): Workers {
    if (this.#kept !== null && !this.#kept.pool.isClosed) return this.#kept;
    this.#checkInitFn();
    const { dataset, batchSize, dropLast, numWorkers, timeoutMs, workerInitFn, batchSampler, persistentWorkers } =
      this.#loader;
    const makePlan = (exchange: number): Omit<WorkerPlan, "exchange" | "shared"> => ({
      numWorkers,
      dataset: moveDataset(dataset, exchange),
      isStream: isIterableDataset(dataset),
      batchSize,
      dropLast,
      collate: this.#workerCollate(exchange),
      isSingle: batchSize === null && batchSampler === null,
      init: workerInitFn === null ? null : (moveFunction(workerInitFn, exchange) ?? null),
      firstBaseSeed,
    });
    const made = { pool: new WorkerPool(makePlan, { timeoutMs }), firstBaseSeed };
    if (persistentWorkers) {
      this.#kept = made;
      forgotten.register(this.#loader, made.pool);
    }
    return made;
  }

  #workerCollate(exchange: number): WorkerPlan["collate"] {
    const { collateFn } = this.#loader.options;
    if (collateFn === undefined) return "default";
    return moveFunction(collateFn, exchange) ?? "main";
  }

  #checkInitFn(): void {
    const { workerInitFn } = this.#loader;
    if (workerInitFn === null || referenceOf(workerInitFn) !== undefined) return;
    throw cannotMoveFunction("workerInitFn", workerInitFn);
  }
}

// Passes whose iterator was dropped in the middle, and workers that were kept for a loader that is gone.
const forgotten = new FinalizationRegistry<{ close(): unknown }>((one) => {
  void one.close();
});

/** internal: ends the workers of a pass when its iterator is collected before its end. */
export function closeWhenForgotten(iterator: object, pass: Pass): void {
  if (pass instanceof WorkerPass) forgotten.register(iterator, pass);
}

function savePass({
  pass,
  sources,
  given,
  samplers,
  beforeIterator,
  beforeFirst,
  baseSeed,
  firstBaseSeed,
}: Running): SavedPass {
  return {
    num_yielded: given,
    base_seed: baseSeed,
    first_base_seed: firstBaseSeed,
    samplers,
    before_iterator: beforeIterator,
    before_first: beforeFirst ?? sources.generators,
    is_over: pass instanceof StreamPass && pass.isOver,
    workers: pass instanceof WorkerPass ? saveWorkers(pass.position) : null,
  };
}

function resumeWorkers({ pass, kept_streams }: LoaderState, numWorkers: number): WorkersPosition | null {
  if (pass?.workers?.workers.length === numWorkers) return restoreWorkers(pass.workers);
  if (pass !== null) return { turn: pass.num_yielded % numWorkers, workers: [] };
  const workers = kept_streams?.map((dataset) => ({ batches: 0, isOver: false, random: null, dataset }));
  return workers?.length === numWorkers ? { turn: 0, workers } : null;
}

function skip(indices: Iterator<BatchIndex>, batches: number): void {
  for (let i = 0; i < batches; i++) {
    if (!indices.next().done) continue;
    throw new CheckpointError(
      `The state was saved after ${batches} batches of a pass, but this DataLoader has only ${i}: its dataset or sampler is another.`,
      { hint: "Make the loader as it was made when the state was saved." },
    );
  }
}

function moveFunction(fn: (...args: never[]) => unknown, exchange: number): MovedFunction | undefined {
  const found = referenceOf(fn);
  if (found === undefined) return undefined;
  const { args, ...reference } = found;
  return { reference, args: encode(args, exchange).value };
}
