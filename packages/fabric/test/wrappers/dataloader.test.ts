// Wrapped data loaders: shares, epochs, devices.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import {
  type AnyDataLoader,
  catchWarnings,
  DistributedSamplerWrapper,
  Fabric,
  FabricDataLoader,
  hasIterableDataset,
  hasLen,
  SingleDeviceStrategy,
  sizedLen,
  workerSeeds,
} from "@fabric-ts/fabric";
import * as torch from "@fabric-ts/torch";
import { data } from "@fabric-ts/torch";
import { distributedSampler, needsDistributedSampler } from "../../dist/utilities/distributed-sampler.js";
import { seedWorkers } from "../../dist/wrappers/dataloader.js";
import { Drawn, ownInit } from "../support/random-dataset.js";

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

class Endless extends data.IterableDataset<number> {
  override *[Symbol.iterator](): Generator<number> {
    for (let i = 0; ; i++) yield i;
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
    assert.deepEqual(loader.stateDict(), { epoch: 0, loader: { position: 5, secret: 2 } });
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

  it("tells every sampler the epoch once, also one within a batch sampler of the user's, and minds none that cannot be told", () => {
    const outer = new Epochs();
    const inner = new Epochs();
    class Pairs extends data.BatchSampler {
      setEpoch = "not a function";
    }
    const loaders = [
      new data.DataLoader(numbers(4), { sampler: outer, batchSize: 2 }),
      new data.DataLoader(numbers(4), { batchSampler: new Pairs(inner, 2) }),
      new data.DataLoader(numbers(4), { batchSampler: [[0, 1]] }),
      new data.DataLoader(numbers(4), { sampler: Object.assign([3], { setEpoch: null }) }),
    ];
    for (const loader of loaders) for (const _ of fabric.setupDataLoaders(loader));
    assert.deepEqual([outer.epochs, inner.epochs], [[0], [0]]);
  });

  it("tells the sampler the epoch before it reads, and gives batches as they are where no device is set", () => {
    const events: string[] = [];
    class Noting extends Epochs {
      override setEpoch(epoch: number): void {
        events.push(`epoch ${epoch}`);
      }
      override *[Symbol.iterator](): Generator<number> {
        events.push("read");
        yield* [0];
      }
    }
    const batch = { x: torch.ones([1]), text: "a" };
    const options = { sampler: new Noting(), collateFn: ([only]: (typeof batch)[]) => only };
    for (const loader of [
      new FabricDataLoader(new data.DataLoader([batch], options)),
      fabric.setupDataLoaders(new data.DataLoader([batch], options), { moveToDevice: false }),
    ]) {
      assert.equal(loader.device, null);
      assert.ok([...loader][0] === batch);
      assert.deepEqual(events.splice(0), ["epoch 0", "read"]);
    }
  });

  it("has no length where the loader has none", () => {
    const loader = fabric.setupDataLoaders(new data.DataLoader(new Endless()));
    assert.throws(() => loader.length, { name: "TypeError", message: /has no length/ });
  });

  it("saves the epoch and the place in it, and goes on there", () => {
    const make = () => {
      const sampler = new data.DistributedSampler(numbers(8), { numReplicas: 2, rank: 1, seed: 3 });
      return fabric.setupDataLoaders(new data.DataLoader(numbers(8), { sampler }));
    };
    const items = (batches: Iterable<torch.Tensor>) => [...batches].map((batch) => batch.item());
    const first = make();
    items(first);
    const pass = first[Symbol.iterator]();
    pass.next();
    const state = first.stateDict();
    assert.equal(state.epoch, 1);
    const rest = items({ [Symbol.iterator]: () => pass });
    assert.equal(first.stateDict().epoch, 2);

    const second = make();
    second.loadStateDict(state);
    assert.equal(second.epoch, 1);
    assert.deepEqual(items(second), rest);
    assert.deepEqual(items(second), items(first));
    const wrong = /Expected the state of a data loader that Fabric has set up, but got an object/;
    assert.throws(() => second.loadStateDict(first.loader.stateDict()), { name: "CheckpointError", message: wrong });
  });

  it("is saved and loaded by Fabric with its epoch, each process its own", async () => {
    const folder = mkdtempSync(join(tmpdir(), "fabric-loader-"));
    try {
      const make = () => fabric.setupDataLoaders(new data.DataLoader(numbers(6), { shuffle: true }));
      const loader = make();
      const rest: number[] = [];
      let step = 0;
      for (const batch of loader) {
        if (++step === 3) await fabric.save(join(folder, "state.ckpt"), { loader });
        if (step > 3) rest.push(batch.item());
      }
      const resumed = make();
      assert.deepEqual(await fabric.load(join(folder, "state.ckpt"), { loader: resumed }), {});
      assert.equal(resumed.epoch, 0);
      assert.deepEqual(
        [...resumed].map((batch) => batch.item()),
        rest,
      );
      assert.equal(resumed.epoch, 1);
    } finally {
      rmSync(folder, { recursive: true });
    }
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

/** One process, with the samplers of the second of two. */
class SecondOfTwo extends SingleDeviceStrategy {
  override get distributedSamplerOptions(): { numReplicas: number; rank: number } {
    return { numReplicas: 2, rank: 1 };
  }
}

describe("a loader whose samples are shared among processes", () => {
  const sharing = new Fabric({ strategy: new SecondOfTwo() });
  const items = (loader: Iterable<unknown>) => [...loader].map((batch) => (batch as torch.Tensor).tolist());

  it("is made again with the sampler, and everything else as it was", () => {
    class Own extends data.DataLoader<torch.Tensor> {}
    const inner = new Own(numbers(9), { batchSize: 2, dropLast: true });
    const loader = sharing.setupDataLoaders(inner);
    assert.ok(loader.loader instanceof Own && loader.loader !== inner);
    assert.ok(loader.sampler instanceof data.DistributedSampler);
    assert.deepEqual(items(loader), [
      [1, 3],
      [5, 7],
    ]);
    assert.deepEqual(items(inner), items(new data.DataLoader(numbers(9), { batchSize: 2, dropLast: true })));
  });

  it("shuffles otherwise in each epoch where it shuffled", () => {
    const loader = sharing.setupDataLoaders(new data.DataLoader(numbers(20), { batchSize: 10, shuffle: true }));
    const [first, second] = [items(loader), items(loader)];
    assert.notDeepEqual(first, second);
    loader.setEpoch(0);
    assert.deepEqual(items(loader), first);
  });

  it("stays as it is where it shares already, streams, or is told to", () => {
    const share = { numReplicas: 4, rank: 0 };
    const untouched = [
      new data.DataLoader(numbers(8), { sampler: new data.DistributedSampler(numbers(8), share) }),
      new data.DataLoader(new Endless()),
    ];
    const share4 = new data.DistributedSampler(numbers(8), share);
    untouched.push(new data.DataLoader(numbers(8), { batchSampler: new data.BatchSampler(share4, 2) }) as never);
    for (const loader of untouched) assert.ok(sharing.setupDataLoaders(loader as AnyDataLoader).loader === loader);
    const plain = new data.DataLoader(numbers(8));
    assert.ok(sharing.setupDataLoaders(plain, { useDistributedSampler: false }).loader === plain);
    assert.ok(fabric.setupDataLoaders(plain).loader === plain);
  });

  it("draws a custom sampler anew each epoch and shares what it gives", () => {
    let draws = 0;
    class Rotating extends Epochs {
      override *[Symbol.iterator](): Generator<number> {
        draws++;
        for (let i = 0; i < 4; i++) yield (i + draws) % 4;
      }
    }
    const sampler = new Rotating();
    const loader = sharing.setupDataLoaders(new data.DataLoader(numbers(4), { sampler }));
    assert.deepEqual(
      [items(loader), items(loader)],
      [
        [[2], [0]],
        [[3], [1]],
      ],
    );
    assert.deepEqual([draws, sampler.epochs], [2, [0, 1]]);
  });

  it("keeps a batch sampler of the user's over the shared samples", () => {
    class Reversed extends data.BatchSampler {
      override *[Symbol.iterator](): Generator<number[], void> {
        for (const batch of super[Symbol.iterator]()) yield batch.reverse();
      }
    }
    const batchSampler = new Reversed(new data.SequentialSampler(numbers(8)), 3);
    const loader = sharing.setupDataLoaders(new data.DataLoader(numbers(8), { batchSampler }));
    assert.ok(loader.batchSampler instanceof Reversed);
    assert.deepEqual(items(loader), [[5, 3, 1], [7]]);
    const plain = new data.BatchSampler(new data.SequentialSampler(numbers(9)), 2, true);
    const full = sharing.setupDataLoaders(new data.DataLoader(numbers(9), { batchSampler: plain }));
    assert.ok(full.batchSampler instanceof data.BatchSampler && full.batchSampler !== plain);
    assert.deepEqual(
      [full.batchSize, items(full)],
      [
        null,
        [
          [1, 3],
          [5, 7],
        ],
      ],
    );
  });

  it("keeps what was added to it after it was made", () => {
    class Tagged extends data.DataLoader<torch.Tensor> {
      tag?: string;
      made = "by the class";
    }
    const inner = Object.assign(new Tagged(numbers(4)), { tag: "mine" });
    const loader = sharing.setupDataLoaders(inner);
    assert.ok(loader.loader !== inner);
    assert.deepEqual([loader.tag, loader.made], ["mine", "by the class"]);
  });

  it("is refused where the sampler cannot be put in, with what to do", () => {
    class NeedsMore extends data.DataLoader<torch.Tensor> {
      constructor(name: string, dataset: torch.Tensor[], options: data.DataLoaderOptions<torch.Tensor>) {
        super(dataset, options);
        assert.equal(name, "a");
      }
    }
    class Fixed extends data.DataLoader<torch.Tensor> {
      constructor(dataset: torch.Tensor[]) {
        super(dataset, { batchSize: 2 });
      }
    }
    class OddBatches extends data.Sampler<number[]> {
      override *[Symbol.iterator](): Generator<number[]> {
        yield [1, 3];
      }
    }
    const refused = (loader: AnyDataLoader, name: string, message: RegExp) =>
      assert.throws(() => sharing.setupDataLoaders(loader), { name, message });
    const inject = /Trying to inject custom `Sampler` into the `\w+` instance.*\n.*Define `withSampler\(sampler\)`/;
    refused(new NeedsMore("a", numbers(4), {}), "ConfigurationError", inject);
    refused(new Fixed(numbers(4)), "ConfigurationError", inject);
    refused(
      new data.DataLoader(numbers(4), { batchSampler: new OddBatches() }),
      "TypeError",
      /can't inject a \(distributed\) sampler into your batch sampler[\s\S]*\(sampler, batchSize, dropLast\) of `BatchSampler`[\s\S]*switch `useDistributedSampler` off/,
    );
  });
});

describe("seeds of the workers", () => {
  const module = new URL("../support/random-dataset.js", import.meta.url);
  const loaderOf = (workerInitFn: data.WorkerInitFn | null = null) =>
    new data.DataLoader(data.workerDataset(module, Drawn), { batchSize: null, numWorkers: 2, workerInitFn });
  const withSeeds = <R>(value: string | undefined, run: () => R): R => {
    const before = process.env.PL_SEED_WORKERS;
    if (value === undefined) delete process.env.PL_SEED_WORKERS;
    else process.env.PL_SEED_WORKERS = value;
    try {
      return run();
    } finally {
      if (before === undefined) delete process.env.PL_SEED_WORKERS;
      else process.env.PL_SEED_WORKERS = before;
    }
  };

  it("are set up on the user's own loader where `seedEverything` was asked for them, unless it has an init function", () => {
    for (const value of [undefined, "0"]) {
      const loader = loaderOf();
      withSeeds(value, () => fabric.setupDataLoaders(loader));
      assert.equal(loader.workerInitFn, null);
    }
    const loader = loaderOf();
    withSeeds("1", () => fabric.setupDataLoaders(loader));
    assert.equal(typeof loader.workerInitFn, "function");
    const own = data.workerFunction(module, ownInit);
    const other = loaderOf(own);
    withSeeds("1", () => fabric.setupDataLoaders(other));
    assert.equal(other.workerInitFn, own);
  });

  it("differ from rank to rank and worker to worker, and are the same in every run", () => {
    const drawn = (rank: number) => {
      const loader = loaderOf();
      withSeeds("1", () => seedWorkers(loader, rank));
      torch.manualSeed(1);
      return [...loader] as unknown as [number, number][];
    };
    const all = [0, 1, 2].flatMap(drawn);
    for (const place of [0, 1] as const) assert.equal(new Set(all.map((sample) => sample[place])).size, 12);
    assert.deepEqual(drawn(1), all.slice(4, 8));
    torch.manualSeed(1);
    const base = BigInt(torch.zeros([], { dtype: "int64" }).random_().item());
    torch.manualSeed(workerSeeds(base, 1, 2)[0]);
    assert.equal((all[9] as [number, number])[0], torch.rand([1]).item());
  });
});

describe("lengths", () => {
  it("are numbers, or null where there is none", () => {
    const known: [unknown, number | null][] = [
      [[1, 2], 2],
      ["abc", 3],
      [new Map([[1, 2]]), 1],
      [new Set(), 0],
      [new data.DataLoader(numbers(3)), 3],
      [new data.DataLoader(new Endless()), null],
      [() => 1, null],
      [5, null],
      [null, null],
      [{}, null],
    ];
    for (const [value, length] of known) assert.equal(sizedLen(value), length);
    const broken = {
      get length(): number {
        throw new RangeError("not a missing length");
      },
    };
    assert.throws(() => sizedLen(broken), RangeError);
  });

  it("of loaders are asked for with warnings of 0 and of streams that claim one", async () => {
    const answers: boolean[] = [];
    const warnings = await catchWarnings(() => {
      answers.push(hasLen(new data.DataLoader(numbers(1))));
      answers.push(hasLen(new data.DataLoader(new Endless())));
      answers.push(hasLen(new data.DataLoader(numbers(0))));
      answers.push(hasLen(new data.DataLoader(Object.assign(new Endless(), { length: 4 }))));
    });
    assert.deepEqual(answers, [true, false, true, true]);
    assert.equal(warnings.length, 2);
    assert.match((warnings[0] as { message: string }).message, /`DataLoader` returned 0 length/);
    assert.match((warnings[1] as { message: string }).message, /Your `IterableDataset` has `length` defined/);
  });

  it("are unknown for streams, which are told from other datasets", () => {
    assert.equal(hasIterableDataset(new data.DataLoader(new Endless())), true);
    assert.equal(
      hasIterableDataset(new data.DataLoader({ async *[Symbol.asyncIterator](): AsyncGenerator<number> {} })),
      true,
    );
    assert.equal(hasIterableDataset(new data.DataLoader(numbers(2))), false);
    assert.equal(hasIterableDataset(new data.DataLoader({ length: 1, get: () => 1 })), false);
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
    const zero = new data.DistributedSampler(numbers(8), { ...share, seed: 0 });
    assert.deepEqual(indices(loader({ shuffle: true })), [...zero]);
  });

  it("keeps the order of a sampler of the user's, and tells it the epoch", () => {
    const sampler = new Epochs();
    const made = distributedSampler(loader({ sampler }), { ...share, rank: 1 });
    assert.ok(made instanceof DistributedSamplerWrapper);
    assert.deepEqual([...made], [1, 0]);
    made.setEpoch(7);
    assert.deepEqual(sampler.epochs, [7]);
    const untold = distributedSampler(loader({ sampler: [4, 5, 6, 7] }), share);
    untold.setEpoch(1);
    assert.deepEqual([...untold], [4, 6]);
    for (const random of [new data.WeightedRandomSampler([1, 1], 2), new data.SubsetRandomSampler([1, 2])])
      assert.ok(distributedSampler(loader({ sampler: random }), share) instanceof DistributedSamplerWrapper);
  });

  it("refuses samplers without a finite length", () => {
    const endless = {
      *[Symbol.iterator]() {
        yield 1;
      },
    };
    assert.throws(() => indices(loader({ sampler: endless })), {
      name: "TypeError",
      message:
        /You seem to have configured a sampler in your DataLoader.*does not provide a length\.\nAdd `get length\(\)` to it, remove the sampler, or set `useDistributedSampler: false`/s,
    });
    assert.throws(() => indices(loader({ sampler: Object.assign(endless, { length: Number.POSITIVE_INFINITY }) })), {
      name: "TypeError",
      message: /finite `length`\.\nSet `useDistributedSampler: false`/,
    });
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
