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

test("default collate says what it cannot do", () => {
  assert.throws(() => data.defaultCollate([[1], [1, 2]]), /sample 0 has 1 items and sample 1 2/);
  assert.throws(
    () => data.defaultCollate<unknown>([{ a: 1 }, { a: "b" }]),
    /differ at `a`: sample 0 has 1, sample 1 has "b"/,
  );
  assert.throws(() => data.defaultCollate([new Date()]), /got a Date[\s\S]*collateFn/);
  assert.throws(() => data.defaultCollate([null]), TypeError);
});
