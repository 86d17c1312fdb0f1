// The loader: batches, streams, promises, re-creation with another sampler, and what wrong options say.
import assert from "node:assert/strict";
import { test } from "node:test";
import * as torch from "@fabric-ts/torch";
import { data, type Tensor } from "@fabric-ts/torch";

const range = (n: number) => Array.from({ length: n }, (_, i) => i);
const lists = (loader: Iterable<Tensor>) => [...loader].map((batch) => batch.tolist());

class Later extends data.Dataset<[Tensor, number]> {
  get length(): number {
    return 5;
  }
  async get(index: number): Promise<[Tensor, number]> {
    await new Promise((resolve) => setTimeout(resolve, 5 - index));
    return [torch.tensor([index]), index * 2];
  }
}

class Stream extends data.IterableDataset<number> {
  passes = 0;
  override *[Symbol.iterator](): Generator<number, void> {
    this.passes++;
    yield* range(5);
  }
}

class SlowStream extends data.IterableDataset<number> {
  closed = 0;
  override async *[Symbol.asyncIterator](): AsyncGenerator<number, void> {
    try {
      yield* range(5);
    } finally {
      this.closed++;
    }
  }
}

test("batches come in order, the last one as it is or left out", () => {
  const dataset = new data.TensorDataset(torch.arange(10).view([5, 2]), torch.arange(5));
  const loader = new data.DataLoader(dataset, { batchSize: 2 });
  assert.equal(loader.length, 3);
  const shapes: number[][] = [];
  for (const [x, y] of loader) shapes.push([...x.shape, ...y.shape]);
  assert.deepEqual(shapes, [
    [2, 2, 2],
    [2, 2, 2],
    [1, 2, 1],
  ]);
  const full = new data.DataLoader(dataset, { batchSize: 2, dropLast: true });
  assert.equal(full.length, 2);
  assert.equal([...full].length, 2);
});

test("without options a batch is one sample; batchSize null gives samples", () => {
  assert.deepEqual(lists(new data.DataLoader(range(2))), [[0], [1]]);
  assert.deepEqual([...new data.DataLoader(["a", "b"], { batchSize: null })], ["a", "b"]);
  assert.equal(new data.DataLoader(["a", "b"], { batchSize: null }).length, 2);
});

test("a sampler, a batch sampler and a collate function of one's own", () => {
  assert.deepEqual(lists(new data.DataLoader(range(9), { sampler: [8, 1, 3], batchSize: 2 })), [[8, 1], [3]]);
  assert.deepEqual(lists(new data.DataLoader(range(9), { batchSampler: [[8], [1, 3]] })), [[8], [1, 3]]);
  const joined = new data.DataLoader(["a", "b", "c"], { batchSize: 2, collateFn: (samples) => samples.join("") });
  assert.deepEqual([...joined], ["ab", "c"]);
});

test("a collate function gets single samples of a TensorDataset", () => {
  const dataset = new data.TensorDataset(torch.arange(4));
  const loader = new data.DataLoader(dataset, { batchSize: 2, collateFn: (samples) => samples.map(([v]) => v.item()) });
  assert.deepEqual(
    [...loader],
    [
      [0, 1],
      [2, 3],
    ],
  );
});

test("a dataset of promises is read with for await, its order kept", async () => {
  const loader = new data.DataLoader(new Later(), { batchSize: 3 });
  const seen: unknown[] = [];
  for await (const [x, n] of loader) seen.push([x.tolist(), n.tolist()]);
  assert.deepEqual(seen, [
    [
      [[0], [1], [2]],
      [0, 2, 4],
    ],
    [
      [[3], [4]],
      [6, 8],
    ],
  ]);
  assert.throws(() => [...loader], { name: "UsageError", message: /for await \(const batch of loader\)/ });
});

test("an asynchronous collate function is awaited", async () => {
  const loader = new data.DataLoader(range(2), { batchSize: 2, collateFn: async (samples) => samples.length });
  for await (const batch of loader) assert.equal(batch, 2);
  assert.throws(() => [...loader], /`collateFn` returned a promise/);
});

test("a stream is batched and starts anew each pass", () => {
  const stream = new Stream();
  const loader = new data.DataLoader(stream, { batchSize: 2 });
  assert.deepEqual(lists(loader), [[0, 1], [2, 3], [4]]);
  assert.deepEqual(lists(new data.DataLoader(stream, { batchSize: 2, dropLast: true })), [
    [0, 1],
    [2, 3],
  ]);
  assert.equal(stream.passes, 2);
  assert.throws(() => loader.length, { name: "TypeError", message: /has no length/ });
  assert.deepEqual([...new data.DataLoader(stream, { batchSize: null })], [0, 1, 2, 3, 4]);
});

test("an asynchronous stream is read with for await and closed on a break", async () => {
  const stream = new SlowStream();
  const loader = new data.DataLoader(stream, { batchSize: 2 });
  const seen: unknown[] = [];
  for await (const batch of loader) seen.push(batch.tolist());
  assert.deepEqual(seen, [[0, 1], [2, 3], [4]]);
  for await (const _ of loader) break;
  assert.equal(stream.closed, 2);
  assert.throws(() => [...loader], /for await/);
});

test("withSampler keeps everything but the order", () => {
  class MyLoader extends data.DataLoader<number> {}
  const generator = new torch.Generator();
  const loader = new MyLoader(range(6), { batchSize: 2, shuffle: true, dropLast: true, generator });
  loader.workerInitFn = () => {};
  const made = loader.withSampler([5, 4, 3]);
  assert.ok(made instanceof MyLoader);
  assert.deepEqual(lists(made), [[5, 4]]);
  assert.equal(made.generator, generator);
  assert.equal(made.workerInitFn, loader.workerInitFn);
});

test("withSampler takes along what was added to the loader, and says why its class refused", () => {
  const loader = Object.assign(new data.DataLoader(range(4)), { tag: ["mine"] });
  const made = loader.withSampler([1]) as typeof loader;
  assert.ok(made.tag === loader.tag);
  assert.deepEqual(lists(made), [[1]]);
  class Strict extends data.DataLoader<number> {
    constructor(dataset: number[], options: data.DataLoaderOptions<number> = {}) {
      if (options.sampler) throw new RangeError("no samplers");
      super(dataset, options);
    }
  }
  assert.throws(
    () => new Strict(range(3)).withSampler([1]),
    (error: Error) => {
      assert.match(error.message, /Trying to inject custom `Sampler` into the `Strict` instance/);
      assert.equal((error.cause as Error).message, "no samplers");
      return true;
    },
  );
});

test("withSampler goes into a batch sampler", () => {
  class Reversed extends data.BatchSampler {
    override *[Symbol.iterator](): Generator<number[], void> {
      for (const batch of super[Symbol.iterator]()) yield batch.reverse();
    }
  }
  const loader = new data.DataLoader(range(6), { batchSampler: new Reversed(new data.SequentialSampler(range(6)), 2) });
  assert.deepEqual(lists(loader.withSampler([1, 2, 3])), [[2, 1], [3]]);
  const plain = new data.DataLoader(range(6), { batchSampler: [[1]] });
  assert.throws(() => plain.withSampler([1]), /can't inject a \(distributed\) sampler into your batch sampler/);
});

test("a subclass with other arguments is told to define withSampler", () => {
  class NeedsMore extends data.DataLoader<number> {
    constructor(_name: string, dataset: number[], options: data.DataLoaderOptions<number>) {
      super(dataset, options);
    }
  }
  class Fixed extends data.DataLoader<number> {
    constructor(dataset: number[]) {
      super(dataset, { batchSize: 2 });
    }
  }
  const message =
    /Trying to inject custom `Sampler` into the `(NeedsMore|Fixed)` instance[\s\S]*Define `withSampler\(sampler\)`/;
  assert.throws(() => new NeedsMore("a", range(3), {}).withSampler([1]), { name: "ConfigurationError", message });
  assert.throws(() => new Fixed(range(3)).withSampler([1]), { name: "ConfigurationError", message });
});

test("wrong options are refused with what to do", () => {
  const refused = (options: object, message: RegExp, name = "ConfigurationError") =>
    assert.throws(() => new data.DataLoader(range(4), options), { name, message });
  refused({ batch_size: 2 }, /Unknown option `batch_size`/, "TypeError");
  refused({ batchSize: 0 }, /`batchSize` has to be a positive whole number, but is 0/);
  refused({ batchSize: 1.5 }, /positive whole number/);
  refused({ shuffle: true, sampler: [1] }, /`sampler` and `shuffle` exclude each other/);
  refused({ batchSampler: [[1]], batchSize: 2 }, /`batchSampler`/);
  refused({ batchSampler: [[1]], dropLast: true }, /`batchSampler`/);
  refused({ batchSize: null, dropLast: true }, /exclude each other/);
  refused({ numWorkers: -1 }, /at least 0, but is -1/);
  refused({ numWorkers: 1.5 }, /at least 0, but is 1\.5/);
  refused({ numWorkers: 1, prefetchFactor: 0 }, /`prefetchFactor` has to be a whole number of at least 1, but is 0/);
  refused({ numWorkers: 1, workerInitFn: 3 }, /`workerInitFn` to be a function/, "TypeError");
  refused({ collateFn: 3 }, /`collateFn` to be a function/, "TypeError");
  refused({ prefetchFactor: 2 }, /`prefetchFactor` is for workers/);
  refused({ persistentWorkers: true }, /`persistentWorkers` is for workers/);
  refused({ numWorkers: 1, timeoutMs: -1 }, /must not be negative, but is -1/);
  refused({ timeoutMs: 10 }, /`timeoutMs` is for workers/);
  refused({ numWorkers: 1, timeout: 5 }, /Unknown option `timeout`\.\nDid you mean `timeoutMs`\?/, "TypeError");
  refused({ shuffle: "yes" }, /`shuffle` to be a boolean/, "TypeError");
  refused({ sampler: 3 }, /`sampler`/, "TypeError");
  assert.throws(() => new data.DataLoader(new Stream(), { shuffle: true }), /cannot be used with an IterableDataset/);
  assert.throws(() => new data.DataLoader(torch.ones([3]) as never), /got a Tensor[\s\S]*TensorDataset/);
  assert.throws(() => new data.DataLoader(range(3), 4 as never), /batchSize: 64/);
});

test("a dataset may read the samples of a batch at once", async () => {
  const asked: number[][] = [];
  class Table extends data.Dataset<string> {
    get length(): number {
      return 5;
    }
    get(index: number): string {
      return `row ${index}`;
    }
    override getItems(indices: readonly number[]): string[] {
      asked.push([...indices]);
      return indices.map((index) => `rows ${index}`);
    }
  }
  const expected = [["rows 0", "rows 1"], ["rows 2", "rows 3"], ["rows 4"]];
  assert.deepEqual([...new data.DataLoader(new Table(), { batchSize: 2 })], expected);
  assert.deepEqual(asked, [[0, 1], [2, 3], [4]]);
  const part = new data.DataLoader(new data.Subset(new Table(), [4, 2]), { batchSize: 2 });
  assert.deepEqual([...part], [["rows 4", "rows 2"]]);
  assert.deepEqual(
    [...new data.DataLoader(new Table(), { batchSize: null })],
    range(5).map((i) => `row ${i}`),
  );
});

test("in the main thread there is no worker to ask about", () => {
  assert.equal(data.getWorkerInfo(), null);
});

test("more workers than cores are warned of, once", async () => {
  const warnings: string[] = [];
  const listen = (warning: Error): unknown => warnings.push(warning.message);
  process.on("warning", listen);
  for (let i = 0; i < 2; i++) new data.DataLoader([1], { numWorkers: 1000 });
  await new Promise((resolve) => setImmediate(resolve));
  process.off("warning", listen);
  assert.equal(warnings.length, 1);
  assert.match(warnings[0] as string, /will start 1000 worker threads, but this process has \d+ cores/);
});

test("batch types follow from the dataset", () => {
  const pairs = new data.DataLoader(new data.TensorDataset(torch.ones([2]), torch.ones([2])));
  for (const batch of pairs) {
    const [x, y]: [Tensor, Tensor] = batch;
    assert.equal(x.shape[0], y.shape[0]);
    // @ts-expect-error a batch has two tensors
    batch[2];
  }
  const maps = new data.DataLoader([new Map([["a", 1]])]);
  for (const batch of maps) {
    const found: Map<string, Tensor> = batch;
    assert.deepEqual(found.get("a")?.tolist(), [1]);
  }
  const stacked = new data.StackDataset({ n: [1, 2], x: new data.TensorDataset(torch.ones([2])) });
  for (const batch of new data.DataLoader(stacked)) {
    const { n, x }: { n: Tensor; x: [Tensor] } = batch;
    assert.deepEqual([n.dtype, x[0].shape], ["int64", [1]]);
    // @ts-expect-error there is no such dataset
    batch.y;
  }
  const collated = new data.DataLoader([1, 2], { collateFn: (samples) => samples.map((n) => `${n.toFixed(1)}`) });
  for (const batch of collated) {
    const texts: string[] = batch;
    assert.equal(texts.length, 1);
    // @ts-expect-error the batch is what the collate function returns
    batch.shape;
  }
  for (const batch of new data.DataLoader([{ image: torch.ones([2]), name: "a" }])) {
    const { image, name }: { image: Tensor; name: string[] } = batch;
    assert.deepEqual([image.shape, name], [[1, 2], ["a"]]);
  }
});
