// Loader workers: the same batches in the same order as without them, for every dataset that workers can get.
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import * as torch from "@fabric-ts/torch";
import { data, Tensor } from "@fabric-ts/torch";
import { native } from "../../dist/native.js";
import { Counting, Mixed, madeLater, note, Slow, summarize, Watched, Writer } from "./support/datasets.js";

const module = new URL("./support/datasets.js", import.meta.url);
const range = (n: number) => Array.from({ length: n }, (_, i) => i);
const sharedInts = (n: number) => new Int32Array(new SharedArrayBuffer(4 * n));

/** Tensors as lists, with dtype and shape. */
function plain(value: unknown): unknown {
  if (value instanceof Tensor) return { dtype: value.dtype, shape: value.shape, values: value.tolist() };
  if (Array.isArray(value)) return value.map(plain);
  if (value instanceof Map) return [...value].map(plain);
  if (typeof value !== "object" || value === null || ArrayBuffer.isView(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plain(item)]));
}

async function awaited<B>(loader: AsyncIterable<B>): Promise<B[]> {
  const all: B[] = [];
  for await (const batch of loader) all.push(batch);
  return all;
}

/** Waits for what happens in other threads. */
async function eventually(what: string, check: () => boolean): Promise<void> {
  for (let i = 0; i < 500; i++) {
    if (check()) return;
    await sleep(20);
  }
  assert.fail(`this never came about: ${what}`);
}

const x = torch.randn([23, 3]);
const y = torch.arange(23);
const mixed = () => data.workerDataset(module, Mixed, 23);
const datasets: Record<string, () => data.DatasetLike<unknown>> = {
  "of a module": mixed,
  "of tensors": () => new data.TensorDataset(x, y),
  "that is a list": () => range(23).map((i) => ({ i, row: new Int16Array([i, i]), text: [`t${i}`] })),
  "that is a list of tensors": () => [...range(23)].map((i) => x.select(0, i)),
  "that is part of another": () => new data.Subset(mixed(), [3, 1, 22, 8, 9, 0]),
  "of datasets one after another": () => new data.ConcatDataset<unknown>([range(3), [7, 8]]),
  "of datasets side by side": () => new data.StackDataset([mixed(), range(23)]),
  "of named datasets side by side": () => new data.StackDataset({ a: range(23), b: new data.TensorDataset(y) }),
  "divided at random": () => data.randomSplit(mixed(), [13, 10])[0] as data.Subset<unknown>,
};

for (const [name, make] of Object.entries(datasets)) {
  test(`workers give the batches of a dataset ${name} as one thread does`, async () => {
    const loader = (numWorkers: number) => {
      torch.manualSeed(5);
      return new data.DataLoader(make(), { batchSize: 4, shuffle: true, numWorkers });
    };
    const here = plain([...loader(0)]);
    const stateAfter = torch.rand([1]).item();
    assert.deepEqual(plain([...loader(2)]), here);
    assert.equal(torch.rand([1]).item(), stateAfter);
    assert.deepEqual(plain(await awaited(loader(2))), here);
    assert.equal(torch.rand([1]).item(), stateAfter);
  });
}

test("batch sizes, samplers, dropLast and single samples are the same with workers", () => {
  const options: data.DataLoaderOptions<{ row: Float32Array; n: number; name: string; square: Tensor }>[] = [
    { batchSize: 5, dropLast: true },
    { sampler: [20, 2, 11], batchSize: 2 },
    { batchSampler: [[1], [2, 3], [4, 5, 6]] },
    { batchSize: null },
    { batchSize: null, shuffle: true, generator: new torch.Generator() },
    {},
  ];
  for (const one of options) {
    const generator = (): object => (one.generator ? { generator: new torch.Generator().manualSeed(4) } : {});
    const here = plain([...new data.DataLoader(mixed(), { ...one, ...generator() })]);
    for (const numWorkers of [1, 3])
      assert.deepEqual(plain([...new data.DataLoader(mixed(), { ...one, ...generator(), numWorkers })]), here);
  }
});

test("persistent workers give pass after pass, also after one that was left", () => {
  const loader = new data.DataLoader(mixed(), { batchSize: 4, numWorkers: 2, persistentWorkers: true });
  const names = (batches: Iterable<{ name: string[] }>) => [...batches].map(({ name }) => name.join(""));
  const first = names(loader);
  assert.equal(first.length, 6);
  for (const _ of loader) break;
  assert.deepEqual(names(loader), first);
  loader.close();
  assert.deepEqual(names(loader), first);
  loader.close();
});

test("a second pass ends the first where workers are kept, and says so", () => {
  using loader = new data.DataLoader(mixed(), { numWorkers: 1, persistentWorkers: true });
  const first = loader[Symbol.iterator]();
  first.next();
  const second = loader[Symbol.iterator]();
  assert.deepEqual(second.next().value?.name, ["s0"]);
  assert.throws(() => first.next(), { name: "UsageError", message: /another pass has begun[\s\S]*one pass at a time/ });
  assert.deepEqual(second.next().value?.name, ["s1"]);
});

test("two passes at once have workers of their own where they are not kept", () => {
  const loader = new data.DataLoader(range(4), { numWorkers: 1 });
  const [a, b] = [loader[Symbol.iterator](), loader[Symbol.iterator]()];
  const next = (one: Iterator<Tensor>): unknown => one.next().value?.item();
  assert.deepEqual([next(a), next(a), next(b), next(a), next(b)], [0, 1, 0, 2, 1]);
  a.return?.();
  b.return?.();
});

test("calls of next that overlap come in turn", async () => {
  const loader = new data.DataLoader(range(5), { batchSize: 2, numWorkers: 2 });
  const pass = loader[Symbol.asyncIterator]();
  const results = await Promise.all([pass.next(), pass.next(), pass.next(), pass.next()]);
  assert.deepEqual(
    results.map(({ value, done }) => [value?.tolist(), done]),
    [
      [[0, 1], false],
      [[2, 3], false],
      [[4], false],
      [undefined, true],
    ],
  );
});

test("workers load as far ahead as they are told and no further, and stop when the loop is left", async () => {
  const notes = sharedInts(2);
  const dataset = data.workerDataset(module, Watched, notes);
  const loader = new data.DataLoader(dataset, { batchSize: 2, numWorkers: 2, prefetchFactor: 2 });
  let taken = 0;
  for await (const _ of loader) {
    taken++;
    // One batch was taken, four more are on their way.
    await eventually("loading ahead", () => notes[0] === 10);
    await sleep(50);
    break;
  }
  assert.deepEqual([taken, notes[0]], [1, 10]);
  await eventually("both threads ending", () => notes[1] === 2);
  assert.equal(notes[0], 10);
  assert.equal(native().tensorsInExchanges(), 0);
});

test("workers of a pass that is forgotten end when it is collected", async () => {
  const { setFlagsFromString } = await import("node:v8");
  setFlagsFromString("--expose-gc");
  const gc = (await import("node:vm")).runInNewContext("gc") as () => void;
  const notes = sharedInts(2);
  const begin = (): void => {
    const loader = new data.DataLoader(data.workerDataset(module, Watched, notes), { numWorkers: 1 });
    loader[Symbol.iterator]().next();
  };
  begin();
  await eventually("the thread ending", () => {
    gc();
    return notes[1] === 1;
  });
  assert.equal(native().tensorsInExchanges(), 0);
});

test("a stream gives each worker its share, in turn, until the last is over", async () => {
  const loader = new data.DataLoader(data.workerDataset(module, Counting, 11), { batchSize: 2, numWorkers: 3 });
  // Shares 0 3 6 9, 1 4 7 10 and 2 5 8.
  const expected = [[0, 3], [1, 4], [2, 5], [6, 9], [7, 10], [8]];
  const lists = (batches: Tensor[]) => batches.map((batch) => batch.tolist());
  assert.deepEqual(lists([...loader]), expected);
  assert.deepEqual(lists(await awaited(loader)), expected);
  const full = new data.DataLoader(data.workerDataset(module, Counting, 11), {
    batchSize: 2,
    numWorkers: 3,
    dropLast: true,
  });
  assert.deepEqual(lists([...full]), expected.slice(0, 5));
  const single = new data.DataLoader(data.workerDataset(module, Counting, 3), { batchSize: null, numWorkers: 2 });
  assert.deepEqual([...single], [0, 1, 2]);
});

test("an asynchronous stream needs no for await where a worker reads it", () => {
  const loader = new data.DataLoader(data.workerDataset(module, Slow), { batchSize: 3, numWorkers: 1 });
  assert.deepEqual(
    [...loader].map((batch) => batch.tolist()),
    [
      [0, 1, 2],
      [3, 4],
    ],
  );
});

test("streams in workers are closed when the loop is left", async () => {
  const closed = sharedInts(1);
  const loader = new data.DataLoader(data.workerDataset(module, Counting, 1000, closed), { numWorkers: 2 });
  let taken = 0;
  for (const _ of loader) if (++taken === 2) break;
  await eventually("both streams closing", () => closed[0] === 2);
});

test("a stream that gives more than it said, because workers do not share it, is warned of", async () => {
  const warnings: string[] = [];
  const listen = (warning: Error): unknown => warnings.push(warning.message);
  process.on("warning", listen);
  // The stream is that of a module; only the length is this class's.
  const stream = data.workerDataset(module, Counting, 4);
  Object.defineProperty(stream, "length", { value: 2 });
  const loader = new data.DataLoader(stream, { numWorkers: 1 });
  assert.equal(loader.length, 2);
  for (const _ of loader);
  await sleep(10);
  process.off("warning", listen);
  assert.match(warnings.join(), /said that it has 2 samples, but gives more\. .*getWorkerInfo/);
});

test("a collate function of the module runs in the workers, any other in the main thread on their samples", () => {
  const there = new data.DataLoader(range(4), {
    batchSize: 2,
    numWorkers: 2,
    collateFn: data.workerFunction(module, summarize, "mine"),
  });
  assert.deepEqual(
    [...there],
    [
      { sum: 1, worker: 0, extra: "mine" },
      { sum: 5, worker: 1, extra: "mine" },
    ],
  );
  let calls = 0;
  const here = new data.DataLoader(range(4), {
    batchSize: 2,
    numWorkers: 2,
    collateFn: (samples) => `${samples.join("+")} #${++calls}`,
  });
  assert.deepEqual([...here], ["0+1 #1", "2+3 #2"]);
});

test("an asynchronous collate function in the main thread needs for await", async () => {
  const loader = new data.DataLoader(range(2), {
    batchSize: 2,
    numWorkers: 1,
    collateFn: async (samples: number[]) => samples.length,
  });
  assert.deepEqual(await awaited(loader), [2]);
  assert.throws(() => [...loader], { name: "UsageError", message: /`collateFn` returned a promise/ });
});

test("workerInitFn runs once in each worker, and again in new ones only", () => {
  const calls = sharedInts(2);
  using loader = new data.DataLoader(range(4), {
    numWorkers: 2,
    persistentWorkers: true,
    workerInitFn: data.workerFunction(module, note, calls, 10),
  });
  for (let pass = 0; pass < 2; pass++) for (const _ of loader);
  assert.deepEqual([...calls], [10, 10]);
  loader.close();
  for (const _ of loader);
  assert.deepEqual([...calls], [20, 20]);
});

test("samples of any plain kind arrive as they are", () => {
  const shared: Record<string, unknown> = { n: 1 };
  const sample = {
    list: [1, "a", null, undefined, true, 2n ** 70n, Number.NaN],
    map: new Map<unknown, unknown>([["k", new Map([[1, [2]]])]]),
    set: new Set([1, "b"]),
    date: new Date(5),
    bytes: Buffer.from("abc"),
    part: new Float64Array([1, 2, 3, 4]).subarray(1, 3),
    bare: Object.assign(Object.create(null), { __proto__x: 1 }),
    twice: [shared, shared],
    tensor: torch.tensor([[1, 2]], { dtype: "int32" }),
    leaf: torch.ones([2], { requiresGrad: true }),
  };
  shared.self = shared;
  const [got] = [
    ...new data.DataLoader([sample], { batchSize: null, numWorkers: 1, collateFn: (s) => s }),
  ] as unknown as [typeof sample];
  const { tensor, leaf, ...rest } = got;
  const { tensor: _t, leaf: _l, ...expected } = sample;
  assert.deepStrictEqual(rest, expected);
  assert.deepEqual([tensor.dtype, tensor.tolist(), leaf.requiresGrad], ["int32", [[1, 2]], true]);
  assert.equal(got.part.buffer.byteLength, 16);
  assert.ok(Buffer.isBuffer(got.bytes));
});

test("tensors are shared with the workers, not copied", () => {
  const target = torch.zeros([4]);
  const loader = new data.DataLoader(data.workerDataset(module, Writer, target), { numWorkers: 2 });
  for (const _ of loader);
  assert.deepEqual(target.tolist(), [1, 2, 3, 4]);
});

test("a batch is a tensor of the training loop alone, which can be changed and outlives the workers", () => {
  const kept: Tensor[] = [];
  for (const [batch] of new data.DataLoader(new data.TensorDataset(torch.ones([6])), { batchSize: 2, numWorkers: 2 })) {
    batch.add_(kept.length);
    kept.push(batch);
  }
  assert.deepEqual(
    kept.map((batch) => batch.tolist()),
    [
      [1, 1],
      [2, 2],
      [3, 3],
    ],
  );
});

test("memory stays flat over many batches", () => {
  const loader = new data.DataLoader(new data.TensorDataset(torch.ones([400, 1000])), { batchSize: 2, numWorkers: 2 });
  for (let pass = 0; pass < 2; pass++) for (const _ of loader);
  assert.equal(native().tensorsInExchanges(), 0);
});

test("a dataset of a module may be made in time", async () => {
  const dataset = await data.workerDataset(module, madeLater, 5);
  const loader = new data.DataLoader(dataset, { batchSize: 5, numWorkers: 1 });
  assert.deepEqual([...loader][0]?.name, ["s0", "s1", "s2", "s3", "s4"]);
});

test("types follow from the class or function that workers find", () => {
  const dataset: Mixed = data.workerDataset(module, Mixed, 2);
  const later: () => Promise<Mixed> = () => data.workerDataset(module, madeLater, 2);
  assert.equal(typeof later, "function");
  for (const batch of new data.DataLoader(dataset, { batchSize: 2, numWorkers: 1 })) {
    const { row, n, name, square }: { row: Tensor; n: Tensor; name: string[]; square: Tensor } = batch;
    assert.deepEqual([row.shape, n.shape, name.length, square.shape], [[2, 2], [2], 2, [2, 1]]);
    // @ts-expect-error a sample has no such part
    batch.label;
  }
  const collateFn: (samples: number[]) => { sum: number } = data.workerFunction(module, summarize, "x");
  assert.equal(collateFn([1, 2]).sum, 3);
  const wrong = [
    // @ts-expect-error the constructor takes a number
    () => data.workerDataset(module, Mixed, "two"),
    // @ts-expect-error the constructor needs its argument
    () => data.workerDataset(module, Mixed),
    // @ts-expect-error a text follows the samples
    () => data.workerFunction(module, summarize, 3),
  ];
  assert.equal(wrong.length, 3);
});
