// Random orders against PyTorch's, from the same seed (golden/random.json).
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { beforeEach, test } from "node:test";
import * as torch from "@fabric-ts/torch";
import { data, nn, type Tensor } from "@fabric-ts/torch";

const golden = JSON.parse(readFileSync(new URL("../../test/golden/random.json", import.meta.url), "utf8")) as Record<
  string,
  never[]
>;
const range = (n: number) => Array.from({ length: n }, (_, i) => i);

function entry(name: string): unknown[] {
  const key = Object.keys(golden).find((key) => key.startsWith(name));
  assert.ok(key, name);
  return golden[key] as unknown[];
}

/** float32 values as big-endian hex of their bits. */
function bits(tensor: Tensor): string[] {
  const view = new DataView(new ArrayBuffer(4));
  return Array.from(tensor.toTypedArray() as Float32Array, (value) => {
    view.setFloat32(0, value);
    return view.getUint32(0).toString(16).padStart(8, "0");
  });
}

beforeEach(() => torch.manualSeed(1234));

test("randperm", () => {
  const expected = entry("randperm(10) three times");
  for (const order of expected) assert.deepEqual(torch.randperm(10).tolist(), order);
  torch.manualSeed(1234);
  assert.deepEqual(torch.randperm(100).tolist(), entry("randperm(100)")[0]);
  torch.manualSeed(1234);
  const long = torch.randperm(60000);
  const values = long.toTypedArray() as BigInt64Array;
  const [[hash, first]] = entry("randperm(60000)") as [[string, number[]]];
  assert.equal(
    createHash("sha256")
      .update(new Uint8Array(values.buffer, values.byteOffset, values.byteLength))
      .digest("hex"),
    hash,
  );
  assert.deepEqual(long.tolist().slice(0, 8), first);
});

test("RandomSampler draws a seed each pass", () => {
  const sampler = new data.RandomSampler({ length: 20 });
  for (const order of entry("RandomSampler(20) three epochs")) assert.deepEqual([...sampler], order);
});

test("RandomSampler with replacement", () => {
  const sampler = new data.RandomSampler({ length: 20 }, { replacement: true, numSamples: 50 });
  assert.equal(sampler.length, 50);
  for (const order of entry("RandomSampler(20, replacement, 50)")) assert.deepEqual([...sampler], order);
});

test("RandomSampler with a generator of one's own", () => {
  const sampler = new data.RandomSampler({ length: 20 }, { generator: new torch.Generator().manualSeed(7) });
  for (const order of entry("RandomSampler(20, generator seeded 7)")) assert.deepEqual([...sampler], order);
});

test("BatchSampler", () => {
  const sampler = new data.BatchSampler(new data.RandomSampler({ length: 10 }), 4, false);
  for (const batches of entry("BatchSampler(RandomSampler(10), 4")) assert.deepEqual([...sampler], batches);
});

test("a shuffling DataLoader draws its own seed before the sampler's", () => {
  const loader = new data.DataLoader(range(20), { batchSize: 6, shuffle: true });
  for (const batches of entry("DataLoader(20, batch 6, shuffle)"))
    assert.deepEqual(
      [...loader].map((batch) => batch.tolist()),
      batches,
    );
});

test("the same order comes with for await", async () => {
  const loader = new data.DataLoader(new data.TensorDataset(torch.arange(20)), { batchSize: 6, shuffle: true });
  for (const batches of entry("DataLoader(20, batch 6, shuffle)")) {
    const got: unknown[] = [];
    for await (const [batch] of loader) got.push(batch.tolist());
    assert.deepEqual(got, batches);
  }
});

test("64-bit draws", () => {
  for (const value of entry("int64 random_")) {
    assert.equal(String(torch.empty([], { dtype: "int64" }).random_().item()), value);
  }
});

test("uniform and normal draws", () => {
  assert.deepEqual(bits(torch.rand([20])), entry("rand(20)")[0]);
  torch.manualSeed(1234);
  const [short, long] = entry("randn(15)");
  assert.deepEqual(bits(torch.randn([15])), short);
  assert.deepEqual(bits(torch.randn([20])), long);
  torch.manualSeed(1234);
  assert.deepEqual(bits(torch.empty([20]).uniform_(-0.5, 0.5)), entry("empty(20).uniform_")[0]);
});

test("discrete draws", () => {
  const [first, second] = entry("randint(0, 10, (20,))");
  assert.deepEqual(torch.randint(0, 10, [20]).tolist(), first);
  assert.deepEqual(torch.randint(0, 65, [4]).tolist(), second);
  torch.manualSeed(1234);
  assert.deepEqual(torch.bernoulli(torch.full([20], 0.3)).tolist(), entry("bernoulli")[0]);
  torch.manualSeed(1234);
  assert.deepEqual(nn.functional.dropout(torch.ones([20]), 0.5).tolist(), entry("F.dropout")[0]);
  torch.manualSeed(1234);
  assert.deepEqual([...new data.WeightedRandomSampler([1, 2, 3, 4], 10)], entry("multinomial")[0]);
});
