// Random numbers in loader workers: each worker has generators of its own, seeded as PyTorch seeds its workers.
import assert from "node:assert/strict";
import { test } from "node:test";
import * as torch from "@fabric-ts/torch";
import { data } from "@fabric-ts/torch";
import { HostRandom } from "../../dist/data/workers/host-random.js";
import { drawing, refused } from "../../dist/data/workers/worker-random.js";
import { native } from "../../dist/native.js";
import { draws, Random, reseed } from "./support/datasets.js";

const module = new URL("./support/datasets.js", import.meta.url);
type Drawn = ReturnType<typeof draws> & { worker: number };
const options = { batchSize: null, numWorkers: 2 } as const;
const random = () => data.workerDataset(module, Random) as unknown as data.DatasetLike<Drawn>;
const pass = (loader: data.DataLoader<Drawn, unknown>) => [...loader] as Drawn[];

/** What a thread draws whose generators start from `seed`. */
function drawnFrom(seed: bigint): Record<string, unknown> {
  torch.manualSeed(seed);
  const host = new HostRandom();
  host.seed(seed);
  return { ...draws(), host: host.next() };
}

test("a worker draws what the engine draws from the loader's seed plus its number, and the training loop's numbers stay", () => {
  torch.manualSeed(11);
  // The loader draws its base seed when the pass begins.
  const base = BigInt(torch.zeros([], { dtype: "int64" }).random_().item());
  const after = torch.rand([3]).tolist();
  torch.manualSeed(11);
  const drawn = pass(new data.DataLoader(random(), options));
  assert.deepEqual(torch.rand([3]).tolist(), after);
  assert.deepEqual(
    drawn.map(({ worker }) => worker),
    [0, 1, 0, 1, 0, 1],
  );
  for (const worker of [0, 1]) {
    const { worker: _, ...first } = drawn[worker] as Drawn;
    assert.deepEqual(first, drawnFrom(base + BigInt(worker)));
  }
});

test("the same seed gives the same numbers again, another pass others, and workers that are kept those of new ones", () => {
  const passes = (persistentWorkers: boolean) => {
    torch.manualSeed(3);
    using loader = new data.DataLoader(random(), { ...options, persistentWorkers });
    return [pass(loader), pass(loader)];
  };
  const [first, second] = passes(false);
  assert.notDeepEqual(first, second);
  assert.deepEqual(passes(false), [first, second]);
  assert.deepEqual(passes(true), [first, second]);
});

test("manualSeed in workerInitFn is the seed of that worker's numbers, in every pass another", () => {
  const passes = (persistentWorkers: boolean) => {
    torch.manualSeed(3);
    const workerInitFn = data.workerFunction(module, reseed);
    using loader = new data.DataLoader(random(), { ...options, workerInitFn, persistentWorkers });
    return [pass(loader), pass(loader)] as [Drawn[], Drawn[]];
  };
  const [first, second] = passes(true);
  const { worker: _, ...drawn } = first[1] as Drawn;
  assert.deepEqual(drawn, drawnFrom(1001n));
  assert.notDeepEqual(first, second);
});

test("a loader's generator is where the workers' seed comes from", () => {
  const seeded = () => new data.DataLoader(random(), { ...options, generator: new torch.Generator().manualSeed(9) });
  torch.manualSeed(1);
  const first = pass(seeded());
  torch.manualSeed(2);
  assert.deepEqual(pass(seeded()), first);
});

test("every operator that takes a generator is known to workers", () => {
  const taking = new Set<string>();
  for (const schema of native().schemas()) {
    const name = schema.match(/^aten::(\w+)[.(].*Generator\? generator/)?.[1];
    if (name !== undefined) taking.add(name);
  }
  assert.ok(taking.has("randn"));
  // What only newer engines or other backends have is not offered as an operator to draw with.
  const internal = /^_philox|_cudnn|^_/;
  assert.deepEqual(
    [...taking].filter((name) => !drawing.has(name) && !internal.test(name)),
    [],
  );
  for (const name of refused) assert.ok(!taking.has(name), name);
});

test("the seeded Math.random is even, and close seeds are far apart", () => {
  const host = new HostRandom();
  const means = Array.from({ length: 4 }, (_, seed) => {
    host.seed(BigInt(seed));
    let sum = 0;
    for (let i = 0; i < 20_000; i++) {
      const value = host.next();
      assert.ok(value >= 0 && value < 1);
      sum += value;
    }
    return sum / 20_000;
  });
  for (const mean of means) assert.ok(Math.abs(mean - 0.5) < 0.01, String(mean));
  assert.equal(new Set(means).size, 4);
  host.seed(7n);
  const { state } = host;
  const next = [host.next(), host.next()];
  host.state = state;
  assert.deepEqual([host.next(), host.next()], next);
});

test("xoshiro128** gives the numbers of its authors' program", () => {
  // From state 1, 2, 3, 4 the first words are 11520, 0, 5927040 and 70819200.
  const host = new HostRandom();
  host.state = [1, 2, 3, 4];
  const double = (high: number, low: number) => ((high >>> 5) * 0x4000000 + (low >>> 6)) / 2 ** 53;
  assert.equal(host.next(), double(11520, 0));
  assert.equal(host.next(), double(5927040, 70819200));
});
