// Datasets and how samples become batches.
import assert from "node:assert/strict";
import { test } from "node:test";
import * as torch from "@fabric-ts/torch";
import { data, type Tensor } from "@fabric-ts/torch";

const x = torch.tensor([
  [0, 1],
  [2, 3],
  [4, 5],
]);
const y = torch.tensor([10, 11, 12]);

test("TensorDataset gives rows, and batches with the bits of stacked rows", () => {
  const wide = torch.randn([50, 3, 2]).transpose(1, 2);
  const dataset = new data.TensorDataset(wide, torch.arange(50), wide.gt(0));
  assert.equal(dataset.length, 50);
  assert.deepEqual(dataset.get(7)[0].tolist(), (wide.tolist() as unknown[])[7]);
  assert.equal(dataset.get(7)[1].item(), 7);
  const indices = [4, 4, 49, 0];
  const batch = dataset.getBatch(indices);
  const stacked = data.defaultCollate(indices.map((i) => dataset.get(i)));
  assert.deepEqual(
    batch.map((t) => [t.shape, t.dtype, t.tolist()]),
    stacked.map((t) => [t.shape, t.dtype, t.tolist()]),
  );
});

test("TensorDataset refuses tensors that do not fit", () => {
  assert.throws(
    () => new data.TensorDataset(x, torch.zeros([4])),
    /agree in their first size, but have the shapes \[3, 2\] and \[4\]/,
  );
  assert.throws(() => new data.TensorDataset(torch.tensor(1)), /first size/);
  assert.throws(() => new data.TensorDataset([1] as never), /new data\.TensorDataset\(x, y\)/);
  assert.throws(() => new data.TensorDataset(x).get(3), /Index 3 is out of range for a dataset of 3 samples/);
  assert.throws(() => new data.TensorDataset(x).getBatch([0, -1]), RangeError);
});

test("Subset, ConcatDataset", () => {
  const dataset = new data.TensorDataset(x, y);
  const subset = new data.Subset(dataset, [2, 0]);
  assert.equal(subset.length, 2);
  const values = [...new data.DataLoader(subset, { batchSize: 2 })].map(([, labels]) => labels.tolist());
  assert.deepEqual(values, [[12, 10]]);
  const both = new data.ConcatDataset([["a", "b"], ["c"], ["d"]]);
  assert.equal(both.length, 4);
  assert.deepEqual(
    [0, 1, 2, 3].map((i) => both.get(i)),
    ["a", "b", "c", "d"],
  );
  assert.throws(() => both.get(4), RangeError);
  assert.throws(() => new data.ConcatDataset([]), /at least one dataset/);
});

test("StackDataset reads several datasets together, as a list or under names", async () => {
  const list = new data.StackDataset([new data.TensorDataset(x, y), ["a", "b", "c"]]);
  const [[row, label], name]: [[Tensor, Tensor], string] = list.get(1) as Awaited<ReturnType<typeof list.get>>;
  assert.deepEqual([row.tolist(), label.item(), name, list.length], [[2, 3], 11, "b", 3]);
  const named = new data.StackDataset({ x: new data.Subset([1, 2, 3], [2, 0]), y: [true, false] });
  assert.deepEqual(
    [named.get(0), named.get(1)],
    [
      { x: 3, y: true },
      { x: 1, y: false },
    ],
  );
  assert.deepEqual(named.getItems([1, 0]), [
    { x: 1, y: false },
    { x: 3, y: true },
  ]);
  const waits = new data.StackDataset({ n: [1, 2], later: { length: 2, get: async (i: number) => `later ${i}` } });
  assert.deepEqual(await waits.get(1), { n: 2, later: "later 1" });
  assert.deepEqual(await waits.getItems([0, 1]), [
    { n: 1, later: "later 0" },
    { n: 2, later: "later 1" },
  ]);
  assert.throws(() => named.get(2), RangeError);
  assert.throws(() => new data.StackDataset([]), /at least one dataset/);
  assert.throws(() => new data.StackDataset({ a: [1], b: [1, 2] }), /equally long, but have 1 \(a\), 2 \(b\) samples/);
  assert.throws(() => new data.StackDataset([new Numbers(1) as never]), /cannot hold an IterableDataset/);
  assert.throws(() => new data.StackDataset(3 as never), /StackDataset\(\[images, texts\]\)/);
});

class Numbers extends data.IterableDataset<number> {
  readonly #count: number;
  constructor(count: number) {
    super();
    this.#count = count;
  }
  override get length(): number {
    return this.#count;
  }
  override *[Symbol.iterator](): Generator<number> {
    for (let i = 0; i < this.#count; i++) yield i;
  }
}

class Later extends data.IterableDataset<number> {
  override async *[Symbol.asyncIterator](): AsyncGenerator<number> {
    yield 7;
  }
}

test("ChainDataset gives streams one after another", async () => {
  const chain = new data.ChainDataset([new Numbers(2), new Numbers(3)]);
  assert.equal(chain.length, 5);
  const lists = (loader: Iterable<Tensor>) => [...loader].map((batch) => batch.tolist());
  assert.deepEqual(lists(new data.DataLoader(chain, { batchSize: 2 })), [[0, 1], [0, 1], [2]]);
  const mixed = new data.ChainDataset([new Numbers(1), new Later()]);
  assert.equal(mixed.length, undefined);
  const seen: unknown[] = [];
  for await (const batch of new data.DataLoader(mixed, { batchSize: 2 })) seen.push(batch.tolist());
  assert.deepEqual(seen, [[0, 7]]);
  assert.throws(() => [...mixed], { name: "UsageError", message: /asynchronous[\s\S]*for await/ });
  assert.throws(() => new data.ChainDataset([]), /at least one dataset/);
  assert.throws(() => new data.ChainDataset([[1, 2] as never]), /joins streams[\s\S]*ConcatDataset/);
});

test("randomSplit in PyTorch's order, by counts and by shares", () => {
  // random_split(range(10), [3, 7], torch.Generator().manual_seed(42)), then of range(31) with [0.3, 0.3, 0.4]
  const indices = (parts: data.Subset<number>[]) => parts.map((part) => [...part.indices]);
  const range = (n: number) => Array.from({ length: n }, (_, i) => i);
  const generator = () => new torch.Generator().manualSeed(42);
  assert.deepEqual(indices(data.randomSplit(range(10), [3, 7], { generator: generator() })), [
    [2, 6, 1],
    [8, 4, 5, 0, 9, 3, 7],
  ]);
  assert.deepEqual(indices(data.randomSplit(range(31), [0.3, 0.3, 0.4], { generator: generator() })), [
    [19, 18, 23, 29, 13, 16, 26, 27, 9, 22],
    [17, 25, 15, 4, 12, 0, 21, 30, 20],
    [3, 10, 7, 2, 1, 5, 6, 24, 28, 14, 8, 11],
  ]);
  assert.throws(() => data.randomSplit(range(10), [3, 8]), /do not add up to the 10 samples/);
});

test("default collate stacks, converts and keeps structure", () => {
  const batch = data.defaultCollate([
    { x: torch.ones([2]), n: 1, f: 1, name: "a", flag: true, big: 1n, pair: [1, 2.5], raw: new Uint8Array([1, 2]) },
    {
      x: torch.zeros([2]),
      n: 2,
      f: 0.5,
      name: "b",
      flag: false,
      big: 2n ** 60n,
      pair: [3, 4],
      raw: new Uint8Array([3, 4]),
    },
  ]);
  assert.deepEqual(batch.x.tolist(), [
    [1, 1],
    [0, 0],
  ]);
  assert.deepEqual([batch.n.dtype, batch.n.tolist()], ["int64", [1, 2]]);
  assert.deepEqual([batch.f.dtype, batch.f.tolist()], ["float64", [1, 0.5]]);
  assert.deepEqual(batch.name, ["a", "b"]);
  assert.deepEqual([batch.flag.dtype, batch.flag.tolist()], ["bool", [true, false]]);
  assert.equal(batch.big.dtype, "int64");
  const [first, second] = batch.pair as unknown as [Tensor, Tensor];
  assert.deepEqual(
    [first.tolist(), second.tolist()],
    [
      [1, 3],
      [2.5, 4],
    ],
  );
  assert.deepEqual([batch.raw.dtype, batch.raw.shape], ["uint8", [2, 2]]);
});

test("default collate takes Maps apart, and copies equal typed arrays once", () => {
  const batch = data.defaultCollate([new Map([["n", 1]]), new Map([["n", 2]])]);
  assert.deepEqual(batch.get("n")?.tolist(), [1, 2]);
  for (const [Kind, dtype] of [
    [Float32Array, "float32"],
    [Float64Array, "float64"],
    [Int32Array, "int32"],
    [Int16Array, "int16"],
    [Int8Array, "int8"],
    [Uint8Array, "uint8"],
    [Uint8ClampedArray, "uint8"],
  ] as const) {
    const whole = new Kind([9, 1, 2, 3, 4]);
    const rows = data.defaultCollate([whole.subarray(1, 3), whole.subarray(3)]);
    assert.deepEqual(
      [rows.dtype, rows.tolist()],
      [
        dtype,
        [
          [1, 2],
          [3, 4],
        ],
      ],
    );
  }
  assert.deepEqual(data.defaultCollate([BigInt64Array.of(2n ** 60n), BigInt64Array.of(1n)]).shape, [2, 1]);
  assert.deepEqual(data.defaultCollate([new Float32Array(0), new Float32Array(0)]).shape, [2, 0]);
  assert.equal(data.defaultCollate([Float32Array.of(1), Float64Array.of(2)]).dtype, "float64");
  const converted = data.defaultConvert(new Map([["a", Int8Array.of(1)]])) as Map<string, Tensor>;
  assert.deepEqual([converted.get("a")?.dtype, converted.get("a")?.tolist()], ["int8", [1]]);
});

test("default collate says what it cannot do", () => {
  assert.throws(() => data.defaultCollate([[1], [1, 2]]), /sample 0 has 1 items and sample 1 2/);
  assert.throws(
    () => data.defaultCollate<unknown>([{ a: 1 }, { a: "b" }]),
    /differ at `a`: sample 0 has 1, sample 1 has "b"/,
  );
  assert.throws(() => data.defaultCollate([new Date()]), /got a Date[\s\S]*collateFn/);
  assert.throws(() => data.defaultCollate([null]), TypeError);
  assert.throws(
    () => data.defaultCollate([new Uint32Array(1)]),
    /typed arrays of a type that tensors have[\s\S]*Uint32Array/,
  );
  assert.throws(
    () => data.defaultCollate([{ row: new Int8Array(2) }, { row: new Int8Array(3) }]),
    /equally long, but at `row` sample 0 has 2 elements and sample 1 3\.[\s\S]*Pad them/,
  );
});
