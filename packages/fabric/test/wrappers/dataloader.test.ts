// Wrapped data loaders: shares, epochs, devices.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type AnyDataLoader, DistributedSamplerWrapper, Fabric, FabricDataLoader } from "@fabric-ts/fabric";
import * as torch from "@fabric-ts/torch";
import { data } from "@fabric-ts/torch";
import { distributedSampler, needsDistributedSampler } from "../../dist/utilities/distributed-sampler.js";

const fabric = new Fabric({ accelerator: "cpu" });
const numbers = (n: number): torch.Tensor[] => Array.from({ length: n }, (_, i) => torch.tensor(i));

class Epochs extends data.Sampler {
  epochs: number[] = [];
  override get length(): number {
    return 4;
  }
  setEpoch(epoch: number): void {
    this.epochs.push(epoch);
  }
  override *[Symbol.iterator](): Generator<number> {
    yield* [3, 1, 2, 0];
  }
}

describe("a wrapped data loader", () => {
  it("has the loader inside and its attributes, and is not one itself", () => {
    const inner = new data.DataLoader(numbers(5), { batchSize: 2 });
    const loader = fabric.setupDataLoaders(inner);
    assert.ok(loader.loader === inner);
    assert.ok(loader instanceof FabricDataLoader);
    assert.equal((loader as unknown) instanceof data.DataLoader, false);
    assert.equal(loader.length, 3);
    assert.equal(loader.batchSize, 2);
    assert.ok(loader.dataset === inner.dataset);
    assert.equal(loader.device, "cpu");
    assert.equal(fabric.setupDataLoaders(inner, { moveToDevice: false }).device, null);
  });

  it("forwards methods and live attributes of subclasses", () => {
    class Stateful extends data.DataLoader<torch.Tensor> {
      position = 1;
      #secret = 2;
      override stateDict(): Record<string, unknown> {
        return { position: this.position, secret: this.#secret };
      }
    }
    const inner = new Stateful(numbers(2));
    const loader = fabric.setupDataLoaders(inner);
    inner.position = 5;
    assert.equal(loader.position, 5);
    assert.deepEqual(loader.stateDict(), { position: 5, secret: 2 });
  });

  it("gives the same batches with for and with for await", async () => {
    const loader = fabric.setupDataLoaders(new data.DataLoader(numbers(5), { batchSize: 2 }));
    const sync: unknown[] = [];
    for (const batch of loader) sync.push((batch as torch.Tensor).tolist());
    const waited: unknown[] = [];
    for await (const batch of loader) waited.push((batch as torch.Tensor).tolist());
    assert.deepEqual(sync, [[0, 1], [2, 3], [4]]);
    assert.deepEqual(waited, sync);
  });

  it("moves batches with their structure", () => {
    const moved: string[] = [];
    const batch = { x: torch.ones([1]), text: "a", rest: [{ to: (device: string) => moved.push(device) && "moved" }] };
    const loader = fabric.setupDataLoaders(new data.DataLoader([batch], { batchSize: null }));
    const [first] = [...loader] as unknown as { text: string; rest: unknown[] }[];
    assert.deepEqual(moved, ["cpu"]);
    assert.deepEqual([first?.text, first?.rest], ["a", ["moved"]]);
  });

  it("counts epochs from the first batch of each pass, and can start elsewhere", () => {
    const sampler = new Epochs();
    const loader = fabric.setupDataLoaders(new data.DataLoader(numbers(4), { sampler }));
    const first = loader[Symbol.iterator]();
    const second = loader[Symbol.iterator]();
    assert.deepEqual(sampler.epochs, []);
    first.next();
    second.next();
    assert.deepEqual(sampler.epochs, [0, 1]);
    for (const _ of loader) break;
    assert.deepEqual(sampler.epochs, [0, 1, 2]);
    assert.equal(loader.epoch, 3);
    loader.setEpoch(10);
    for (const _ of loader) break;
    assert.deepEqual(sampler.epochs, [0, 1, 2, 10]);
  });

  it("cannot be set up twice, and has to be a DataLoader", () => {
    const loader = fabric.setupDataLoaders(new data.DataLoader(numbers(2)));
    assert.throws(
      () => fabric.setupDataLoaders(loader as never),
      /A dataloader should be passed only once to the `setupDataLoaders` method/,
    );
    assert.throws(() => fabric.setupDataLoaders([1, 2] as never), /Only DataLoaders are currently supported/);
    assert.throws(() => (fabric.setupDataLoaders as () => unknown)(), /requires at least one dataloader/);
  });

  it("comes in a tuple for several", () => {
    const loaders = fabric.setupDataLoaders(new data.DataLoader(numbers(2)), new data.DataLoader(["a"]));
    assert.deepEqual(
      loaders.map((loader) => loader.length),
      [2, 1],
    );
  });
});

describe("the sampler that shares samples among processes", () => {
  const share = { numReplicas: 2, rank: 0 };
  const indices = (loader: AnyDataLoader, rank = 0): number[] => [...distributedSampler(loader, { ...share, rank })];
  const loader = (options: object): AnyDataLoader => new data.DataLoader(numbers(8), options);

  it("takes every second sample in order, and PyTorch's order when the loader shuffles", () => {
    assert.deepEqual(indices(loader({})), [0, 2, 4, 6]);
    process.env.PL_GLOBAL_SEED = "1";
    try {
      assert.deepEqual(indices(loader({ shuffle: true })), [5, 2, 7, 1]);
    } finally {
      delete process.env.PL_GLOBAL_SEED;
    }
  });

  it("keeps the order of a sampler of the user's, and tells it the epoch", () => {
    const sampler = new Epochs();
    const made = distributedSampler(loader({ sampler }), { ...share, rank: 1 });
    assert.ok(made instanceof DistributedSamplerWrapper);
    assert.deepEqual([...made], [1, 0]);
    made.setEpoch(7);
    assert.deepEqual(sampler.epochs, [7]);
  });

  it("refuses samplers without a finite length", () => {
    const endless = {
      *[Symbol.iterator]() {
        yield 1;
      },
    };
    assert.throws(
      () => indices(loader({ sampler: endless })),
      /You seem to have configured a sampler in your DataLoader.*does not provide a length/s,
    );
    assert.throws(
      () => indices(loader({ sampler: Object.assign(endless, { length: Number.POSITIVE_INFINITY }) })),
      /finite `length`/,
    );
  });

  it("is not needed where samples are shared already, or stream", () => {
    class Stream extends data.IterableDataset<number> {
      override *[Symbol.iterator](): Generator<number> {
        yield 1;
      }
    }
    assert.equal(needsDistributedSampler(loader({})), true);
    assert.equal(needsDistributedSampler(loader({ sampler: new data.DistributedSampler(numbers(8), share) })), false);
    assert.equal(needsDistributedSampler(new data.DataLoader(new Stream())), false);
  });
});
