// A loader's state: taken anywhere, also in the middle of a pass, it makes another loader give exactly the batches that were still to
// come, and leaves all random numbers as they would have been.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import * as torch from "@fabric-ts/torch";
import { data, Tensor } from "@fabric-ts/torch";
import { Counting, Position, Random, Slow } from "./support/datasets.js";

const module = new URL("./support/datasets.js", import.meta.url);
const range = (n: number) => Array.from({ length: n }, (_, i) => i);
const passes = 3;

type State = Record<string, unknown>;
// biome-ignore lint/suspicious/noExplicitAny: any loader
type Loader = data.DataLoader<any, any>;

function plain(value: unknown): unknown {
  if (value instanceof Tensor) return value.tolist();
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plain(item)]));
}

/** What a training loop sees at each step: the batch and a random number of its own. */
interface Step {
  pass: number;
  batch: unknown;
  drawn: number;
}

/** Trains from pass `first` on, and shows each step when it has happened. */
async function* train(loader: Loader, first: number, isAsync: boolean): AsyncGenerator<Step> {
  for (let pass = first; pass < passes; pass++) {
    if (loader.sampler instanceof data.DistributedSampler) loader.sampler.setEpoch(pass);
    const step = (batch: unknown): Step => ({ pass, batch: plain(batch), drawn: torch.rand([1]).item() });
    if (isAsync) for await (const batch of loader) yield step(batch);
    else for (const batch of loader) yield step(batch);
  }
}

/** The state after a trip through a checkpoint file. */
function throughFile(state: unknown): State {
  const folder = mkdtempSync(join(tmpdir(), "fabric-loader-state-"));
  try {
    torch.saveSync(state, join(folder, "state.pt"));
    return torch.loadSync(join(folder, "state.pt")) as State;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Runs through once, then again from each of the given steps (default: every one) in a loader of its own. */
async function resumesExactly(make: () => Loader, steps?: number[], isAsync = false): Promise<void> {
  const undisturbed: Step[] = [];
  const states: { state: State; rng: Tensor }[] = [];
  torch.manualSeed(21);
  const loader = make();
  for await (const step of train(loader, 0, isAsync)) {
    undisturbed.push(step);
    states.push({ state: throughFile(loader.stateDict()), rng: torch.getRngState() });
  }
  loader.close();
  assert.ok(undisturbed.length > passes, "there are passes with a middle");
  for (const at of steps ?? range(undisturbed.length)) {
    const { state, rng } = states[at] as (typeof states)[0];
    torch.manualSeed(99);
    const resumed = make();
    resumed.loadStateDict(state);
    assert.deepEqual(plain(throughFile(resumed.stateDict())), plain(state), "what was loaded can be saved again");
    torch.setRngState(rng);
    const rest: Step[] = [];
    for await (const step of train(resumed, (undisturbed[at] as Step).pass, isAsync)) rest.push(step);
    resumed.close();
    assert.deepEqual(rest, undisturbed.slice(at + 1), `resumed after step ${at}`);
  }
}

const loaders: Record<string, () => Loader> = {
  "in order": () => new data.DataLoader(range(7), { batchSize: 2 }),
  "that shuffles": () => new data.DataLoader(range(7), { batchSize: 2, shuffle: true }),
  "of single samples": () => new data.DataLoader(range(3), { batchSize: null, shuffle: true }),
  "that draws with replacement": () =>
    new data.DataLoader(range(50), {
      batchSize: 20,
      sampler: new data.RandomSampler(range(50), { replacement: true, numSamples: 70 }),
    }),
  "with a generator of its own": () =>
    new data.DataLoader(range(7), { batchSize: 3, shuffle: true, generator: new torch.Generator() }),
  "whose sampler has a generator": () => {
    const sampler = new data.SubsetRandomSampler([1, 3, 5], { generator: new torch.Generator().manualSeed(1) });
    return new data.DataLoader(range(7), { sampler });
  },
  "that draws by weight": () =>
    new data.DataLoader(range(4), { sampler: new data.WeightedRandomSampler([1, 2, 3, 4], 5), batchSize: 2 }),
  "with a batch sampler": () =>
    new data.DataLoader(range(7), { batchSampler: new data.BatchSampler(new data.RandomSampler(range(7)), 3) }),
  "that shares with other processes": () =>
    new data.DataLoader(range(11), {
      batchSize: 2,
      sampler: new data.DistributedSampler(range(11), { numReplicas: 2, rank: 1, seed: 5 }),
    }),
  "of a stream": () => new data.DataLoader(new Counting(7), { batchSize: 2 }),
  "of a stream that knows where it is": () => new data.DataLoader(new Position(), { batchSize: 3 }),
};

for (const [name, make] of Object.entries(loaders)) {
  test(`a loader ${name} goes on after any batch`, () => resumesExactly(make));
}

test("the same holds for for await, and for asynchronous streams", async () => {
  await resumesExactly(loaders["that shuffles"] as () => Loader, undefined, true);
  await resumesExactly(loaders["of a stream"] as () => Loader, undefined, true);
  await resumesExactly(() => new data.DataLoader(new Slow(), { batchSize: 2 }), undefined, true);
});

const workerLoaders: Record<string, () => Loader> = {
  "that shuffle": () => new data.DataLoader(range(9), { batchSize: 2, shuffle: true, numWorkers: 2 }),
  "that draw at random": () => new data.DataLoader(data.workerDataset(module, Random), { numWorkers: 2 }),
  "that are kept and draw at random": () =>
    new data.DataLoader(data.workerDataset(module, Random), {
      batchSize: 2,
      numWorkers: 2,
      persistentWorkers: true,
      prefetchFactor: 1,
    }),
  "that share a stream": () =>
    new data.DataLoader(data.workerDataset(module, Counting, 11), { batchSize: 2, numWorkers: 2 }),
  "whose streams know where they are": () =>
    new data.DataLoader(data.workerDataset(module, Position), {
      batchSize: 3,
      numWorkers: 2,
      persistentWorkers: true,
    }),
};

for (const [name, make] of Object.entries(workerLoaders)) {
  test(`workers ${name} go on after a batch, though they had loaded ahead`, () => resumesExactly(make, [0, 4, 5]));
}

test("a sampler with a state of its own is asked for it when a pass begins", async () => {
  class Rotating extends data.Sampler {
    turn = 0;
    override get length(): number {
      return 4;
    }
    override *[Symbol.iterator](): Generator<number> {
      const start = this.turn++;
      for (let i = 0; i < 4; i++) yield (start + i) % 4;
    }
    stateDict(): State {
      return { turn: this.turn };
    }
    loadStateDict({ turn }: State): void {
      this.turn = turn as number;
    }
  }
  await resumesExactly(() => new data.DataLoader(range(4), { sampler: new Rotating() }));
  await resumesExactly(() => {
    const batchSampler = new data.BatchSampler(new Rotating(), 3);
    return new data.DataLoader(range(4), { batchSampler, numWorkers: 1 });
  }, [0, 2]);
});

test("between two passes, and after one that was left with break, the next pass begins anew", () => {
  const make = () => new data.DataLoader(range(6), { batchSize: 2, shuffle: true, generator: new torch.Generator() });
  const lists = (loader: Loader) => [...loader].map((batch) => batch.tolist());
  const first = make();
  for (const _ of first);
  const second = make();
  second.loadStateDict(throughFile(first.stateDict()));
  assert.deepEqual(lists(second), lists(first));
  for (const _ of first) break;
  assert.equal(first.stateDict().pass, null);
  second.loadStateDict(first.stateDict());
  assert.deepEqual(lists(second), lists(first));
});

test("what streams of kept workers know is kept between two passes as well", () => {
  const make = () =>
    new data.DataLoader(data.workerDataset(module, Position), { batchSize: 8, numWorkers: 1, persistentWorkers: true });
  const rounds = (loader: Loader) => [...loader].map(([, round]) => round.tolist()[0]);
  using first = make();
  assert.deepEqual([rounds(first), rounds(first)], [[0], [1]]);
  using second = make();
  second.loadStateDict(throughFile(first.stateDict()));
  assert.deepEqual([rounds(second), rounds(first)], [[2], [2]]);
});

test("workers may be more or fewer after resuming: the samples are the same", () => {
  const make = (numWorkers: number) => new data.DataLoader(range(20), { batchSize: 3, shuffle: true, numWorkers });
  const rests = [0, 1, 3].map((before) => {
    torch.manualSeed(2);
    const loader = make(before);
    const given = loader[Symbol.iterator]();
    for (let i = 0; i < 3; i++) given.next();
    const state = loader.stateDict();
    const rest = [...given].map((batch) => batch.tolist());
    for (const after of [0, 2]) {
      const resumed = make(after);
      resumed.loadStateDict(state);
      assert.deepEqual(
        [...resumed].map((batch) => batch.tolist()),
        rest,
      );
    }
    return rest;
  });
  assert.deepEqual(rests[1], rests[0]);
  assert.deepEqual(rests[2], rests[0]);
});

test("the newest pass is the one whose place is saved", () => {
  const loader = new data.DataLoader(range(6));
  const first = loader[Symbol.iterator]();
  first.next();
  const second = loader[Symbol.iterator]();
  for (let i = 0; i < 3; i++) second.next();
  first.next();
  const resumed = new data.DataLoader(range(6));
  resumed.loadStateDict(loader.stateDict());
  assert.deepEqual(
    [...resumed].map((batch) => batch.item()),
    [3, 4, 5],
  );
});

test("a state that does not fit is refused, and nothing is changed", () => {
  const within = (loader: Loader): State => {
    loader[Symbol.iterator]().next();
    return loader.stateDict();
  };
  const refused = (loader: Loader, state: unknown, message: RegExp) => {
    torch.manualSeed(1);
    const before = plain(loader.stateDict());
    assert.throws(() => loader.loadStateDict(state as State), { name: "CheckpointError", message });
    assert.deepEqual(plain(loader.stateDict()), before);
  };
  const plainLoader = () => new data.DataLoader(range(6), { batchSize: 2 });
  const state = within(plainLoader());
  for (const wrong of [
    null,
    3,
    {},
    [],
    { batch_size: 2 },
    { ...state, generators: [1] },
    { ...state, pass: { num_yielded: 1 } },
  ])
    refused(plainLoader(), wrong, /Expected the state of a DataLoader, but got/);
  refused(
    new data.DataLoader(range(6), { batchSize: 3 }),
    state,
    /batches of 2, but this DataLoader makes batches of 3/,
  );
  refused(
    new data.DataLoader(range(6), { batchSize: 2, shuffle: true, generator: new torch.Generator() }),
    state,
    /with 0 generators of its own, but this one has 1/,
  );
  const streams = (numWorkers: number) => new data.DataLoader(data.workerDataset(module, Counting, 9), { numWorkers });
  refused(streams(1), within(streams(2)), /over a stream with `numWorkers: 2`, but this DataLoader has 1/);

  const shorter = new data.DataLoader(range(2), { batchSize: 2 });
  const loader = plainLoader();
  const pass = loader[Symbol.iterator]();
  for (let i = 0; i < 3; i++) pass.next();
  shorter.loadStateDict(loader.stateDict());
  const rng = torch.getRngState().tolist();
  assert.throws(() => [...shorter], { name: "CheckpointError", message: /saved after 3 batches .* has only 1/ });
  assert.deepEqual(torch.getRngState().tolist(), rng);
});

test("a copy of a loader with another sampler begins anew", () => {
  const loader = new data.DataLoader(range(4));
  loader[Symbol.iterator]().next();
  assert.equal(loader.withSampler([3, 2]).stateDict().pass, null);
});
