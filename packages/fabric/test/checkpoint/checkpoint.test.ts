// Saving and loading the state of a run.
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { pathToFileURL } from "node:url";
import { AttributeDict, CheckpointIO, Fabric, TorchCheckpointIO } from "@fabric-ts/fabric";
import * as torch from "@fabric-ts/torch";
import { nn, optim } from "@fabric-ts/torch";

const directory = mkdtempSync(join(tmpdir(), "fabric-test-"));
after(() => rmSync(directory, { recursive: true }));
let files = 0;
const newPath = (): string => join(directory, `folder-${++files}`, "state.ckpt");

const fabric = new Fabric({ accelerator: "cpu" });
function make(seed: number): { raw: nn.Linear; inner: optim.SGD } {
  torch.manualSeed(seed);
  const raw = new nn.Linear(3, 2);
  return { raw, inner: new optim.SGD(raw.parameters(), { lr: 0.1, momentum: 0.9 }) };
}
const sameWeights = (a: nn.Linear, b: nn.Linear): void => assert.deepEqual(a.weight.tolist(), b.weight.tolist());

describe("save and load", () => {
  for (const savedWrapped of [true, false]) {
    for (const loadedWrapped of [true, false]) {
      it(`a ${savedWrapped ? "wrapped" : "raw"} model and optimizer into ${loadedWrapped ? "wrapped" : "raw"} ones`, async () => {
        const from = make(1);
        const [model, optimizer] = savedWrapped ? fabric.setup(from.raw, from.inner) : [from.raw, from.inner];
        model(torch.ones([3]))
          .sum()
          .backward();
        optimizer.step();
        const path = newPath();
        await fabric.save(path, { model, optimizer });

        const to = make(2);
        const { weight } = to.raw;
        const [model2, optimizer2] = loadedWrapped ? fabric.setup(to.raw, to.inner) : [to.raw, to.inner];
        assert.deepEqual(await fabric.load(path, { model: model2, optimizer: optimizer2 }), {});
        sameWeights(from.raw, to.raw);
        assert.ok(to.raw.weight === weight);
        const momentum = (state: { raw: nn.Linear; inner: optim.SGD }): unknown =>
          (state.inner.state.get(state.raw.weight) as { momentum_buffer: torch.Tensor }).momentum_buffer.tolist();
        assert.deepEqual(momentum(to), momentum(from));
      });
    }
  }

  it("plain values are replaced in the user's state, wrapped objects stay in it", async () => {
    const { raw, inner } = make(1);
    const [model, optimizer] = fabric.setup(raw, inner);
    const path = newPath();
    await fabric.save(path, { model, optimizer, step: 5, options: { lr: 0.5, names: ["a"] } });
    const state = { model, optimizer, step: 0, options: {} };
    await fabric.load(path, state);
    assert.ok(state.model === model && state.optimizer === optimizer);
    assert.equal(state.step, 5);
    assert.deepEqual({ ...state.options }, { lr: 0.5, names: ["a"] });
  });

  it("values go through setters; a frozen or read-only entry is an error before anything has changed", async () => {
    const path = newPath();
    await fabric.save(path, { epoch: 7, best: 1 });
    const trainer = { epoch: 0 };
    const state = {
      get epoch() {
        return trainer.epoch;
      },
      set epoch(value) {
        trainer.epoch = value;
      },
      best: 0,
    };
    await fabric.load(path, Object.seal(state));
    assert.deepEqual([trainer.epoch, state.best], [7, 1]);
    await assert.rejects(async () => fabric.load(path, Object.freeze({ epoch: 0, best: 0 })), {
      name: "ConfigurationError",
      message: /^The entry 'epoch' of the state cannot take the saved value: the state is frozen\.\nGive `load`/,
    });
    const half = {
      epoch: 1,
      get best() {
        return 2;
      },
    };
    await assert.rejects(async () => fabric.load(path, half), /The entry 'best' .*: it is read-only/);
    assert.equal(half.epoch, 1);

    // The same with wrapped objects in the state.
    const { raw, inner } = make(1);
    const [model] = fabric.setup(raw, inner);
    const both = newPath();
    await fabric.save(both, { model, epoch: 5 });
    torch.noGrad(() => raw.weight.zero_());
    await assert.rejects(
      async () => fabric.load(both, Object.freeze({ model, epoch: 0 })),
      /The entry 'epoch' .* frozen/,
    );
    assert.equal(raw.weight.abs().sum().item(), 0);
    await fabric.load(both, Object.freeze({ model }), { strict: false });
    assert.notEqual(raw.weight.abs().sum().item(), 0);
  });
  it("what was not asked for is returned, in the order of the file", async () => {
    const { raw, inner } = make(1);
    const path = newPath();
    await fabric.save(path, { model: raw, optimizer: inner, int: 1, dict: { a: 2 } });
    assert.deepEqual(Object.keys(await fabric.load(path, { model: raw })), ["optimizer", "int", "dict"]);
    assert.deepEqual(Object.keys(await fabric.load(path)), ["model", "optimizer", "int", "dict"]);
    assert.deepEqual(Object.keys(await fabric.load(path, {})), ["model", "optimizer", "int", "dict"]);
  });

  it("a key that the file lacks is an error unless strict is false", async () => {
    const path = newPath();
    await fabric.save(path, { a: 1 });
    await assert.rejects(() => fabric.load(path, { a: 0, b: 0 }), {
      name: "CheckpointError",
      message: /contains a key 'b' that does not exist.*`strict: false`/s,
    });
    const state = { a: 0, b: 9 };
    await fabric.load(path, state, { strict: false });
    assert.deepEqual(state, { a: 1, b: 9 });
  });

  it("without `await` the file has the state of the call, whatever changes then", async () => {
    const { raw, inner } = make(1);
    const [model, optimizer] = fabric.setup(raw, inner);
    const [path, before, options] = [newPath(), raw.weight.tolist(), { lr: 1 }];
    const saving = fabric.save(path, { model, optimizer, options, step: 1 });
    options.lr = 2;
    fabric.backward(model(torch.ones([3])).sum());
    optimizer.step();
    assert.notDeepEqual(raw.weight.tolist(), before);
    await saving;
    const saved = (await fabric.load(path)) as { model: Record<string, torch.Tensor>; options: object };
    assert.deepEqual(saved.model.weight?.tolist(), before);
    assert.deepEqual({ ...saved.options }, { lr: 1 });
  });

  it("strict also holds for the parameters of a model", async () => {
    const path = newPath();
    await fabric.save(path, { model: new nn.Linear(3, 2, { bias: false }) });
    await assert.rejects(() => fabric.load(path, { model: make(1).raw }), /Missing key.*"bias"/s);
    await fabric.load(path, { model: make(1).raw }, { strict: false });
  });

  it("a filter keeps entries of dictionaries, and drops a key of which nothing is left", async () => {
    const path = newPath();
    const { raw } = make(1);
    await fabric.save(
      path,
      { model: raw, other: { a: 1 }, n: 3 },
      { filter: { model: (name) => name === "bias", other: () => false, n: () => false } },
    );
    const stored = await fabric.load(path);
    assert.deepEqual(Object.keys(stored), ["model", "n"]);
    assert.deepEqual(Object.keys(stored.model as object), ["bias"]);
    await assert.rejects(
      () => fabric.save(path, { a: 1 }, { filter: 3 as never }),
      /Filter should be a dictionary, given 3/,
    );
    await assert.rejects(
      () => fabric.save(path, { a: 1 }, { filter: { b: () => true } }),
      /'b' are not present in the state keys/,
    );
    await assert.rejects(
      () => fabric.save(path, { a: 1 }, { filter: { a: "foo" as never } }),
      /for key 'a' to be a callable, given "foo"/,
    );
  });

  it("stateful objects are saved by their state", async () => {
    const make = (value: number) => ({
      value,
      stateDict() {
        return { value: this.value };
      },
      loadStateDict(state: { value: number }) {
        this.value = state.value;
      },
    });
    class Counter {
      value = 0;
      stateDict(): object {
        return { value: this.value };
      }
      loadStateDict(state: { value: number }): void {
        this.value = state.value;
      }
    }
    const path = newPath();
    const counter = new Counter();
    counter.value = 4;
    await fabric.save(path, { counter, scheduler: make(6) });
    const state = { counter: new Counter(), scheduler: make(0) };
    await fabric.load(path, state);
    assert.deepEqual([state.counter.value, state.scheduler.value], [4, 6]);
  });

  it("an AttributeDict can be the state", async () => {
    const path = newPath();
    const { raw } = make(1);
    await fabric.save(path, new AttributeDict({ model: raw, step: 3 }));
    const state = new AttributeDict({ model: fabric.setup(make(2).raw), step: 0 });
    await fabric.load(path, state);
    assert.equal(state.step, 3);
    sameWeights((state.model as { module: nn.Linear }).module, raw);
  });

  it("a path can be a file URL, folders are made, and nothing but the file is left", async () => {
    const path = newPath();
    await fabric.save(pathToFileURL(path), { a: 1 });
    assert.deepEqual({ ...(await fabric.load(path)) }, { a: 1 });
    assert.deepEqual(readdirSync(join(path, "..")), ["state.ckpt"]);
    await assert.rejects(() => fabric.save("", { a: 1 }), /to be a string or a URL/);
  });

  it("loadRaw reads the bare state of a model", async () => {
    const path = newPath();
    const { raw } = make(1);
    await torch.save(raw.stateDict(), join(directory, "bare.pt"));
    const model = fabric.setup(make(2).raw);
    await fabric.loadRaw(join(directory, "bare.pt"), model);
    sameWeights(model.module, raw);
    await assert.rejects(() => fabric.loadRaw(path, model), {
      name: "CheckpointError",
      code: "ENOENT",
      message: /Checkpoint file not found/,
    });
  });
});

describe("a checkpoint IO of the user's", () => {
  it("is used for saving and loading", async () => {
    const stored = new Map<string, unknown>();
    class Memory extends CheckpointIO {
      override async saveCheckpoint(checkpoint: Record<string, unknown>, path: string | URL): Promise<void> {
        stored.set(String(path), checkpoint);
      }
      override async loadCheckpoint(path: string | URL): Promise<unknown> {
        return stored.get(String(path));
      }
      override async removeCheckpoint(): Promise<void> {}
    }
    const mine = new Fabric({ accelerator: "cpu", plugins: [new Memory()] });
    await mine.save("memory:1", { a: 1 });
    assert.deepEqual(await mine.load("memory:1"), { a: 1 });
  });
});

describe("TorchCheckpointIO", () => {
  it("has no storage options, and removes files", async () => {
    const io = new TorchCheckpointIO();
    const path = newPath();
    await assert.rejects(() => io.saveCheckpoint({}, path, {}), {
      name: "TypeError",
      message:
        "`TorchCheckpointIO.saveCheckpoint` does not support `storageOptions`.\nPlease implement your custom `CheckpointIO` to make use of them.",
    });
    await io.saveCheckpoint({ a: 1 }, path);
    await io.removeCheckpoint(path);
    await io.removeCheckpoint(path);
    assert.deepEqual(readdirSync(join(path, "..")), []);
  });
});

describe("a value that changes while it is saved", () => {
  it("is in the file as it was when TorchCheckpointIO was called, also in a new folder", async () => {
    const io = new TorchCheckpointIO();
    for (const name of ["state.ckpt", "state.safetensors"]) {
      const path = join(newPath(), "..", "new", "deeper", name);
      const value = { x: torch.zeros([2]), step: 1 };
      const saving = io.saveCheckpoint(value, path);
      torch.noGrad(() => value.x.fill_(7));
      value.step = 2;
      await saving;
      const { x, step } = (await io.loadCheckpoint(path)) as typeof value;
      assert.deepEqual([x.tolist(), step], [[0, 0], 1]);
    }
  });
});

describe("tensors of a checkpoint", () => {
  it("are on the CPU, unless `mapLocation` names another device", async () => {
    const io = new TorchCheckpointIO();
    const path = newPath();
    await io.saveCheckpoint({ x: torch.ones([2], { dtype: "float64" }) }, path);
    for (const [options, device] of [
      [undefined, "cpu"],
      [{ mapLocation: null, weightsOnly: null }, "cpu"],
      [{ mapLocation: "meta", weightsOnly: false }, "meta"],
    ] as const) {
      const { x } = (await io.loadCheckpoint(path, options)) as { x: torch.Tensor };
      assert.deepEqual([x.device, x.dtype, x.shape], [device, "float64", [2]]);
    }
  });
});

describe("a folder that cannot be made", () => {
  it("is a CheckpointError with the system's code", {
    timeout: 10_000,
    skip: process.platform !== "linux",
  }, async () => {
    const failed = { name: "CheckpointError", code: "ENOENT" };
    await assert.rejects(fabric.save("/proc/nope/x.pt", { a: 1 }), failed);
    await assert.rejects(fabric.save("/proc/nope/deeper/x.pt", { a: 1 }), failed);
  });
});
