// Where a loader is: what has to be known to give exactly the batches that were still to come. The order of a pass is not stored but
// drawn again, from the states in which the generators and samplers were when the pass began.
import { describe } from "../check.js";
import { fromTypedArray } from "../creation.js";
import { CheckpointError } from "../errors.js";
import { Generator, getRngState, setRngState } from "../random.js";
import { Tensor } from "../tensor.js";
import type { WorkersPosition } from "./workers/worker-pass.js";

interface Stateful {
  stateDict(): unknown;
  loadStateDict(state: never): unknown;
}

/** internal: true for what saves and takes back a state of its own. */
export function isStateful(value: unknown): value is Stateful {
  const { stateDict, loadStateDict } = (value ?? {}) as Partial<Stateful>;
  return typeof stateDict === "function" && typeof loadStateDict === "function";
}

/** internal: the sources of a loader's order. */
export class OrderSources {
  readonly #generators: readonly Generator[];
  readonly #samplers: readonly Stateful[];

  /** Finds generators and stateful samplers, also in samplers around other samplers. */
  constructor(loader: { generator: unknown; sampler: unknown; batchSampler: unknown }) {
    const generators = new Set([loader.generator]);
    const samplers = new Set<unknown>();
    for (let next of [loader.batchSampler, loader.sampler]) {
      while (typeof next === "object" && next !== null && !samplers.has(next)) {
        samplers.add(next);
        const inner: { generator?: unknown; sampler?: unknown } = next;
        generators.add(inner.generator);
        next = inner.sampler;
      }
    }
    this.#generators = [...generators].filter((one) => one instanceof Generator);
    this.#samplers = [...samplers].filter(isStateful);
  }

  get generators(): Tensor[] {
    return [getRngState(), ...this.#generators.map((one) => one.getState())];
  }
  set generators(states: readonly Tensor[]) {
    setRngState(states[0] as Tensor);
    this.#generators.forEach((one, i) => {
      one.setState(states[i + 1] as Tensor);
    });
  }

  get samplers(): unknown[] {
    return this.#samplers.map((one) => one.stateDict());
  }
  set samplers(states: readonly unknown[]) {
    this.#samplers.forEach((one, i) => {
      one.loadStateDict(states[i] as never);
    });
  }

  /** Refuses a state of other sources: `generators` beside the default one, and `samplers` with a state, within a pass. */
  check(generators: number, samplers: number | undefined): void {
    const refuse = (saved: number, own: number, what: string): void => {
      if (saved === own) return;
      throw new CheckpointError(`The state is of a DataLoader with ${saved} ${what}, but this one has ${own}.`, {
        hint: "Make the loader as it was made when the state was saved.",
      });
    };
    refuse(generators, this.#generators.length, "generators of its own");
    if (samplers !== undefined) refuse(samplers, this.#samplers.length, "samplers with a state");
  }
}

/** internal: a loader's state, with the spelling that it has in a checkpoint. */
export interface LoaderState {
  readonly batch_size: number | null;
  /** Generators of one's own as they were when the state was taken. */
  readonly generators: readonly Tensor[];
  /** State of a stream that has one and is read in the main thread, else null. */
  readonly dataset: unknown;
  /** Between two passes of workers that are kept: the states of their streams. */
  readonly kept_streams: readonly unknown[] | null;
  /** The pass under way, or null between two passes. */
  readonly pass: SavedPass | null;
}

/** internal: a pass under way. */
export interface SavedPass {
  /** Batches given. */
  readonly num_yielded: number;
  readonly base_seed: bigint | number;
  readonly first_base_seed: bigint | number;
  readonly samplers: readonly unknown[];
  readonly before_iterator: readonly Tensor[];
  readonly before_first: readonly Tensor[];
  /** True when the stream has ended and its last batch was given. */
  readonly is_over: boolean;
  readonly workers: SavedWorkers | null;
}

/** internal: where the workers of a pass are. */
export interface SavedWorkers {
  readonly turn: number;
  readonly workers: readonly {
    readonly num_yielded: number;
    readonly is_over: boolean;
    /** The engine's generator of the worker, and the four words of its `Math.random`; null where nothing was drawn. */
    readonly engine: Tensor | null;
    readonly host: readonly number[] | null;
    readonly dataset: unknown;
  }[];
}

/** internal: the workers' position as it is saved. */
export function saveWorkers({ turn, workers }: WorkersPosition): SavedWorkers {
  return {
    turn,
    workers: workers.map(({ batches, isOver, random, dataset }) => ({
      num_yielded: batches,
      is_over: isOver,
      engine: random === null || random.engine === null ? null : fromTypedArray(random.engine),
      host: random === null ? null : [...random.host],
      dataset: dataset ?? null,
    })),
  };
}

/** internal: the workers' position from what was saved. */
export function restoreWorkers({ turn, workers }: SavedWorkers): WorkersPosition {
  return {
    turn,
    workers: workers.map(({ num_yielded, is_over, engine, host, dataset }) => ({
      batches: num_yielded,
      isOver: is_over,
      random:
        host === null
          ? null
          : { engine: engine === null ? null : (engine.toTypedArray() as Uint8Array), host: [...host] as never },
      dataset,
    })),
  };
}

/** internal: checks that a state was saved by a loader like this one. */
export function checkLoaderState(
  value: unknown,
  loader: { batchSize: number | null; numWorkers: number; isStream: boolean },
): LoaderState {
  if (!isLoaderState(value)) {
    throw new CheckpointError(`Expected the state of a DataLoader, but got ${describe(value)}.`, {
      hint: "Pass what `loader.stateDict()` returned.",
    });
  }
  const state = value;
  const { batch_size, pass } = state;
  if (pass === null) return state;
  if (batch_size !== loader.batchSize) {
    throw new CheckpointError(
      `The state was saved within a pass of batches of ${batch_size}, but this DataLoader makes batches of ${loader.batchSize}.`,
      { hint: `Give it \`batchSize: ${batch_size}\` until the pass is over, or leave its state out.` },
    );
  }
  const saved = pass.workers?.workers.length ?? 0;
  if (saved === loader.numWorkers) return state;
  if (loader.isStream) {
    throw new CheckpointError(
      `The state was saved within a pass over a stream with \`numWorkers: ${saved}\`, but this DataLoader has ${loader.numWorkers}: the workers' shares are others.`,
      { hint: `Give it \`numWorkers: ${saved}\` until the pass is over, or leave its state out.` },
    );
  }
  if (pass.workers?.workers.some(({ host }) => host !== null)) {
    process.emitWarning(
      `The state of the DataLoader was saved with ${saved} workers and goes on with ${loader.numWorkers}: the batches hold the samples that they would have held, but what the workers draw at random differs.`,
      { type: "UserWarning", code: "FABRIC_DATA" },
    );
  }
  return state;
}

function isLoaderState(value: unknown): value is LoaderState {
  const { batch_size, generators, dataset, kept_streams, pass } = (value ?? {}) as Partial<LoaderState>;
  const isComplete = batch_size !== undefined && dataset !== undefined && isTensors(generators);
  if (!isComplete || !(kept_streams === null || Array.isArray(kept_streams))) return false;
  return pass === null || isSavedPass(pass);
}

function isSavedPass(value: unknown): value is SavedPass {
  const { num_yielded, base_seed, first_base_seed, samplers, before_iterator, before_first, workers } = (value ??
    {}) as Partial<SavedPass>;
  return (
    Number.isInteger(num_yielded) &&
    [base_seed, first_base_seed].every((seed) => typeof seed === "bigint" || Number.isInteger(seed)) &&
    Array.isArray(samplers) &&
    isTensors(before_iterator) &&
    isTensors(before_first) &&
    (workers === null || Array.isArray(workers?.workers))
  );
}

function isTensors(value: unknown): value is readonly Tensor[] {
  return Array.isArray(value) && value.every((one) => one instanceof Tensor);
}
