// Samplers: orders, lengths and what wrong arguments say. Random orders are in random-golden.test.ts.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import * as torch from "@fabric-ts/torch";
import { data } from "@fabric-ts/torch";

type Epochs = Record<string, number[][]>;
const path = new URL("../../test/golden/distributed_sampler.json", import.meta.url);
const golden = JSON.parse(readFileSync(path, "utf8")) as Record<string, Record<string, never>>;
const rows = { length: 10 };

for (const [title, ranks] of Object.entries(golden.DistributedSampler as unknown as Record<string, Epochs>)) {
  test(`DistributedSampler ${title} as in PyTorch`, () => {
    const setting = (name: string) => (title.match(new RegExp(`${name}=(\\w+)`)) as RegExpMatchArray)[1] as string;
    for (const [name, epochs] of Object.entries(ranks)) {
      const sampler = new data.DistributedSampler(
        { length: Number(setting("n")) },
        {
          numReplicas: Number(setting("replicas")),
          rank: Number(name.slice(5)),
          shuffle: setting("shuffle") === "True",
          dropLast: setting("drop_last") === "True",
          seed: Number(setting("seed")),
        },
      );
      epochs.forEach((order, epoch) => {
        sampler.setEpoch(epoch);
        assert.deepEqual([...sampler], order);
        assert.equal(sampler.length, order.length);
      });
    }
  });
}

test("a loader over a DistributedSampler gives each rank its batches", () => {
  const key = Object.keys(golden).find((key) => key.startsWith("fabric.setup_dataloaders")) as string;
  for (const [name, epochs] of Object.entries(golden[key] as unknown as Record<string, number[][][]>)) {
    const dataset = Array.from({ length: 100 }, (_, i) => i);
    const sampler = new data.DistributedSampler(dataset, { numReplicas: 2, rank: Number(name.slice(5)) });
    const loader = new data.DataLoader(dataset, { batchSize: 8, shuffle: true }).withSampler(sampler);
    epochs.forEach((batches, epoch) => {
      sampler.setEpoch(epoch);
      assert.deepEqual(
        [...loader].map((batch) => batch.tolist()),
        batches,
      );
    });
  }
});

test("DistributedSampler repeats the order when there are fewer samples than processes", () => {
  const all = [0, 1, 2, 3, 4].map((rank) => [
    ...new data.DistributedSampler({ length: 2 }, { numReplicas: 5, rank, shuffle: false }),
  ]);
  assert.deepEqual(all, [[0], [1], [0], [1], [0]]);
});

test("DistributedSampler refuses what it cannot share", () => {
  assert.throws(() => new data.DistributedSampler(rows), { name: "UsageError", message: /numReplicas: 2, rank: 0/ });
  assert.throws(() => new data.DistributedSampler(rows, { numReplicas: 2, rank: 2 }), /from 0 to 1, but is 2/);
});

test("SequentialSampler and BatchSampler", () => {
  const sampler = new data.SequentialSampler(rows);
  assert.deepEqual([...sampler], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  const batches = new data.BatchSampler(sampler, 4);
  assert.deepEqual(
    [...batches],
    [
      [0, 1, 2, 3],
      [4, 5, 6, 7],
      [8, 9],
    ],
  );
  assert.equal(batches.length, 3);
  const full = new data.BatchSampler(sampler, 4, true);
  assert.deepEqual(
    [...full],
    [
      [0, 1, 2, 3],
      [4, 5, 6, 7],
    ],
  );
  assert.equal(full.length, 2);
});

test("BatchSampler takes another sampler, also as a subclass", () => {
  class Pairs extends data.BatchSampler {}
  const made = new Pairs(new data.SequentialSampler(rows), 2, true).withSampler([7, 8, 9]);
  assert.ok(made instanceof Pairs);
  assert.deepEqual([...made], [[7, 8]]);
  class Fixed extends data.BatchSampler {
    constructor() {
      super(new data.SequentialSampler(rows), 2);
    }
  }
  assert.throws(
    () => new Fixed().withSampler([1]),
    /can't inject a \(distributed\) sampler into your batch sampler[\s\S]*withSampler/,
  );
  class Strict extends data.BatchSampler {
    constructor(sampler: data.SamplerLike, batchSize: number) {
      if (Array.isArray(sampler)) throw new RangeError("no arrays");
      super(sampler, batchSize);
    }
  }
  assert.throws(
    () => new Strict(new data.SequentialSampler(rows), 2).withSampler([1]),
    (error: Error) => error.name === "TypeError" && (error.cause as Error).message === "no arrays",
  );
});

test("SubsetRandomSampler gives each index once", () => {
  const sampler = new data.SubsetRandomSampler([3, 5, 7, 9]);
  assert.deepEqual([...sampler].sort(), [3, 5, 7, 9]);
  torch.manualSeed(0);
  const first = [...sampler];
  torch.manualSeed(0);
  assert.deepEqual([...sampler], first);
});

test("samplers refuse wrong numbers", () => {
  assert.throws(() => new data.BatchSampler([1], 0), /`batchSize` has to be a positive whole number, but is 0/);
  assert.throws(() => new data.BatchSampler([1], 2, 1 as never), TypeError);
  assert.throws(() => new data.RandomSampler({ length: 0 }), /Is the dataset empty/);
  assert.throws(() => new data.RandomSampler(rows, { numSamples: 1.5 }), /`numSamples`/);
  assert.throws(() => new data.WeightedRandomSampler([1], 0), /`numSamples`/);
});
