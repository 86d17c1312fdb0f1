// ModelCheckpoint on one process: when it saves, what it keeps, what it does when something goes wrong, and how a run is resumed.
import assert from "node:assert/strict";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { pathToFileURL } from "node:url";
import {
  AsyncCheckpointIO,
  CheckpointError,
  type CheckpointIO,
  type CheckpointPath,
  catchWarnings,
  Fabric,
  ModelCheckpoint,
  type ModelCheckpointOptions,
  TorchCheckpointIO,
} from "@fabric-ts/fabric";
import * as torch from "@fabric-ts/torch";

const root = mkdtempSync(join(tmpdir(), "fabric-test-"));
after(() => rmSync(root, { recursive: true }));
let folders = 0;
const newFolder = (): string => join(root, String(folders++));

/** Notes what is done to files, and fails when told to. */
class Noting extends TorchCheckpointIO {
  readonly events: string[] = [];
  failing: "save" | "load" | "remove" | null = null;
  #note(event: "save" | "load" | "remove", path: CheckpointPath): void {
    this.events.push(`${event} ${String(path).split("/").at(-1)}`);
    if (this.failing === event) throw new CheckpointError(`${event} was made to fail`);
  }
  override async saveCheckpoint(checkpoint: Record<string, unknown>, path: CheckpointPath): Promise<void> {
    this.#note("save", path);
    await super.saveCheckpoint(checkpoint, path);
  }
  override async saveStableCheckpoint(checkpoint: Record<string, unknown>, path: CheckpointPath): Promise<void> {
    this.#note("save", path);
    await super.saveStableCheckpoint(checkpoint, path);
  }
  override async loadCheckpoint(path: CheckpointPath): Promise<unknown> {
    this.#note("load", path);
    return await super.loadCheckpoint(path);
  }
  override async removeCheckpoint(path: CheckpointPath): Promise<void> {
    this.#note("remove", path);
    await super.removeCheckpoint(path);
  }
}

interface Run {
  fabric: Fabric;
  checkpoint: ModelCheckpoint;
  io: Noting;
  dirpath: string;
  /** Ends an epoch of validation. */
  validate(epoch: number, loss?: number, more?: object): Promise<void>;
  files(): string[];
}
function run(options: Partial<ModelCheckpointOptions> = {}, wrap = (io: CheckpointIO): CheckpointIO => io): Run {
  const io = new Noting();
  const dirpath = newFolder();
  const checkpoint = new ModelCheckpoint({ dirpath, state: { value: 1 }, ...options });
  const fabric = new Fabric({ accelerator: "cpu", callbacks: [checkpoint], plugins: [wrap(io)] });
  return {
    fabric,
    checkpoint,
    io,
    dirpath,
    validate: async (epoch, loss, more = {}) =>
      await fabric.call("onValidationEnd", { fabric, epoch, metrics: { loss }, ...more }),
    files: () => (existsSync(dirpath) ? readdirSync(dirpath).sort() : []),
  };
}

describe("ModelCheckpoint keeps", () => {
  it("the best by a metric", async () => {
    const { checkpoint, validate, files, dirpath } = run({ monitor: "loss", saveTopK: 2 });
    for (const [epoch, loss] of [3, 1, 2, 4].entries()) await validate(epoch, loss);
    assert.deepEqual(files(), ["epoch=1.ckpt", "epoch=2.ckpt"]);
    assert.equal(checkpoint.bestModelPath, `${dirpath}/epoch=1.ckpt`);
    assert.equal(checkpoint.bestModelScore, 1);
    assert.equal(checkpoint.lastModelPath, `${dirpath}/epoch=2.ckpt`);
    assert.deepEqual([...checkpoint.bestKModels.values()], [1, 2]);
  });

  it("the greatest with mode max, and of equals the older", async () => {
    const { validate, files } = run({ monitor: "loss", mode: "max" });
    for (const [epoch, loss] of [1, 3, 3, 2].entries()) await validate(epoch, loss);
    assert.deepEqual(files(), ["epoch=1.ckpt"]);
  });

  it("numbers rather than NaN, which is the worst", async () => {
    const { validate, files, checkpoint } = run({ monitor: "loss", saveTopK: 2 });
    for (const [epoch, loss] of [Number.NaN, 5, Number.NaN, 7, Number.NaN].entries()) await validate(epoch, loss);
    assert.deepEqual(files(), ["epoch=1.ckpt", "epoch=3.ckpt"]);
    assert.equal(checkpoint.bestModelScore, 5);
  });

  it("with saveLast the newest as well, until another is newer", async () => {
    const { validate, files, checkpoint } = run({ monitor: "loss", saveLast: true });
    const seen: string[][] = [];
    for (const [epoch, loss] of [2, 3, 4, 1].entries()) {
      await validate(epoch, loss);
      seen.push(files());
      assert.match(checkpoint.lastModelPath, new RegExp(`epoch=${epoch}.ckpt$`));
    }
    assert.deepEqual(seen, [
      ["epoch=0.ckpt"],
      ["epoch=0.ckpt", "epoch=1.ckpt"],
      ["epoch=0.ckpt", "epoch=2.ckpt"],
      ["epoch=3.ckpt"],
    ]);
  });

  it("the newest where nothing is monitored; all with -1, none with 0", async () => {
    for (const [saveTopK, kept] of [
      [1, 1],
      [2, 2],
      [-1, 4],
      [0, 0],
    ] as const) {
      const { fabric, files } = run({ saveTopK });
      for (let epoch = 0; epoch < 4; epoch++) await fabric.call("onTrainEpochEnd", { fabric, epoch });
      assert.deepEqual(
        files(),
        [0, 1, 2, 3].slice(4 - kept).map((epoch) => `epoch=${epoch}.ckpt`),
      );
    }
  });

  it("what somebody else put into the folder, and gives names that are free", async () => {
    const { validate, files, dirpath, io } = run({ monitor: "loss" });
    mkdirSync(dirpath);
    writeFileSync(join(dirpath, "epoch=0.ckpt"), "mine");
    await validate(0, 3);
    await validate(1, 2);
    assert.deepEqual(files(), ["epoch=0.ckpt", "epoch=1.ckpt"]);
    assert.ok(io.events.includes("save epoch=0-v1.ckpt"));
    assert.equal(readFileSync(join(dirpath, "epoch=0.ckpt"), "utf8"), "mine");
  });
});

describe("ModelCheckpoint saves", () => {
  it("at the end of every n-th epoch, at the hook that ends one", async () => {
    const { fabric, files } = run({ everyNEpochs: 2, saveTopK: -1, hook: "onValidationEnd" });
    for (let epoch = 0; epoch < 5; epoch++) {
      await fabric.call("onTrainEpochEnd", { fabric, epoch });
      await fabric.call("onValidationEnd", { fabric, epoch, step: 10 * (epoch + 1) });
    }
    assert.deepEqual(files(), ["epoch=1-step=20.ckpt", "epoch=3-step=40.ckpt"]);
  });

  it("after every n-th step, once, also while gradients are accumulated", async () => {
    const { fabric, io } = run({ everyNTrainSteps: 3, saveTopK: -1 });
    for (const step of [0, 1, 2, 3, 3, 3, 4, 5, 6, 7]) await fabric.call("onTrainBatchEnd", { fabric, step });
    await fabric.call("onTrainEpochEnd", { fabric, epoch: 0 });
    assert.deepEqual(
      io.events.filter((event) => event.startsWith("save")),
      ["save step=3.ckpt", "save step=6.ckpt"],
    );
    await assert.rejects(
      async () => fabric.call("onTrainBatchEnd", { fabric }),
      /Expected `ModelCheckpoint.onTrainBatchEnd` to be given `step`, a whole number from 0, but got undefined/,
    );
  });

  it("after every n minutes, by the monotonic clock", async (context) => {
    let now = 1000;
    context.mock.method(performance, "now", () => now);
    const { fabric, files } = run({ everyNMinutes: 1, saveTopK: -1 });
    await fabric.call("onTrainStart");
    for (let step = 1; step <= 300; step++) {
      now += 1000;
      await fabric.call("onTrainBatchEnd", { fabric, step });
    }
    assert.deepEqual(files(), ["step=120.ckpt", "step=180.ckpt", "step=240.ckpt", "step=300.ckpt", "step=60.ckpt"]);
  });

  it("the state of the facts, or its own; without one it says what to type", async () => {
    const { fabric, checkpoint, validate } = run({ monitor: "loss", saveTopK: -1 });
    await validate(0, 1, { state: { value: 5 } });
    await validate(1, 1);
    const read = async (path: string): Promise<unknown> => ({ ...(await fabric.load(path)) });
    const [first, second] = [...checkpoint.bestKModels.keys()];
    assert.deepEqual([await read(first as string), await read(second as string)], [{ value: 5 }, { value: 1 }]);
    checkpoint.state = null;
    await assert.rejects(
      validate(2, 1),
      /told nothing to save: `state` is null.\nPass it, `await fabric.call\("onValidationEnd"/,
    );
  });

  it("when it is told to, without hooks", async () => {
    const { fabric, checkpoint, dirpath } = run({ monitor: "loss" });
    assert.equal(await checkpoint.save(fabric, { step: 7, metrics: { loss: 2 } }), `${dirpath}/step=7.ckpt`);
    assert.equal(await checkpoint.save(fabric, { step: 8, metrics: { loss: 3 } }), null);
    await assert.rejects(
      checkpoint.save(fabric, { metrics: { loss: 1 } }),
      /name of the checkpoint needs `epoch` or `step`/,
    );
  });

  it("not while it is still busy: hooks that are not awaited are an error", async () => {
    const { validate, files } = run({ monitor: "loss" });
    let ends: PromiseSettledResult<void>[] = [];
    await catchWarnings(async () => {
      ends = await Promise.allSettled([validate(0, 1), validate(1, 1)]);
    });
    const [first, second] = ends;
    assert.equal(first?.status, "fulfilled");
    assert.match(
      String((second as PromiseRejectedResult).reason),
      /has not finished with the hook before.\nAwait the calls/,
    );
    assert.deepEqual(files(), ["epoch=0.ckpt"]);
  });

  it("under names with metrics in them, in a folder that may be given as a URL", async () => {
    const dirpath = newFolder();
    const filename = "{epoch:02d}-{val/loss:.3f}";
    const { fabric, checkpoint } = run({ dirpath: pathToFileURL(`${dirpath}/`), monitor: "val/loss", filename });
    await fabric.call("onValidationEnd", {
      fabric,
      epoch: 3,
      metrics: { "val/loss": torch.tensor(0.125), other: [1] },
    });
    assert.equal(checkpoint.bestModelPath, `${dirpath}/epoch=03-val_loss=0.125.ckpt`);
    assert.ok(existsSync(checkpoint.bestModelPath));
  });
});

describe("ModelCheckpoint loses nothing", () => {
  it("it reads the new file back before it removes an old one", async () => {
    const { validate, io } = run({ monitor: "loss" });
    await validate(0, 2);
    await validate(1, 1);
    assert.deepEqual(io.events, [
      "save epoch=0.ckpt",
      "load epoch=0.ckpt",
      "save epoch=1.ckpt",
      "load epoch=1.ckpt",
      "remove epoch=0.ckpt",
    ]);
  });

  it("a save that fails is an error, and everything is as before it", async () => {
    const { validate, io, files, checkpoint } = run({ monitor: "loss" });
    await validate(0, 3);
    for (const failing of ["save", "load"] as const) {
      io.failing = failing;
      await assert.rejects(validate(1, 2), new RegExp(`${failing} was made to fail`));
      io.failing = null;
      assert.equal(checkpoint.bestModelScore, 3);
      assert.match(checkpoint.lastModelPath, /epoch=0.ckpt$/);
      assert.deepEqual(files(), ["epoch=0.ckpt"]);
    }
    await validate(1, 1);
    assert.deepEqual(files(), ["epoch=1.ckpt"]);
    assert.equal(checkpoint.bestModelScore, 1);
  });

  it("an old file that cannot be removed is a warning", async () => {
    const { validate, io, checkpoint } = run({ monitor: "loss" });
    await validate(0, 2);
    io.failing = "remove";
    const caught = await catchWarnings(() => validate(1, 1));
    assert.match(caught[0]?.message ?? "", /an old checkpoint stays. remove was made to fail/);
    assert.equal(checkpoint.bestModelScore, 1);
  });

  it("in the background: old files stay until the new one is complete, which nobody waits for", async () => {
    const { fabric, validate, io, files, checkpoint } = run({ monitor: "loss" }, (io) => new AsyncCheckpointIO(io));
    await validate(0, 3);
    await validate(1, 2);
    assert.deepEqual(io.events, ["save epoch=0.ckpt", "load epoch=0.ckpt", "save epoch=1.ckpt"]);
    await fabric.call("onTrainEnd", { fabric });
    assert.deepEqual(io.events.slice(3), ["load epoch=1.ckpt", "remove epoch=0.ckpt"]);
    assert.deepEqual(files(), ["epoch=1.ckpt"]);
    await checkpoint.finish(fabric);
    assert.equal(io.events.length, 5);
  });

  it("in the background: a file that could not be written is an error at the next save, and what it should replace stays", async () => {
    const { fabric, validate, io, files, checkpoint } = run({ monitor: "loss" }, (io) => new AsyncCheckpointIO(io));
    await validate(0, 3);
    await checkpoint.finish(fabric);
    io.failing = "save";
    await validate(1, 2);
    await new Promise((resolve) => setImmediate(resolve));
    io.failing = null;
    await assert.rejects(validate(2, 1), /save was made to fail/);
    assert.deepEqual([files(), checkpoint.bestModelScore], [["epoch=0.ckpt"], 3]);
    await validate(2, 1);
    await checkpoint.finish(fabric);
    assert.deepEqual(files(), ["epoch=2.ckpt"]);
  });
});

describe("a run with ModelCheckpoint is resumed", () => {
  it("with what it had kept, its step and its scores", async () => {
    const first = run({ monitor: "loss", saveTopK: 2, saveLast: true });
    const state = { checkpoint: first.checkpoint, epoch: 0 };
    for (const [epoch, loss] of [3, 1, 5].entries()) {
      await first.validate(epoch, loss, { state: Object.assign(state, { epoch }), step: epoch });
    }
    const path = await ModelCheckpoint.latest(first.dirpath);
    assert.equal(path, join(first.dirpath, "epoch=2-step=2.ckpt"));

    const second = run({ monitor: "loss", saveTopK: 2, saveLast: true, dirpath: first.dirpath });
    const resumed = { checkpoint: second.checkpoint, epoch: -1 };
    await second.fabric.load(path, resumed);
    assert.equal(resumed.epoch, 2);
    assert.deepEqual(second.checkpoint.stateDict(), first.checkpoint.stateDict());
    await second.validate(3, 2, { state: resumed });
    assert.deepEqual(first.files(), ["epoch=1-step=1.ckpt", "epoch=3.ckpt"]);
  });

  it("and the files go that were to be removed when the process ended", async () => {
    const first = run({ monitor: "loss" });
    const state = { checkpoint: first.checkpoint };
    await first.validate(0, 2, { state });
    first.io.failing = "remove";
    await catchWarnings(() => first.validate(1, 1, { state }));
    assert.deepEqual(first.files(), ["epoch=0.ckpt", "epoch=1.ckpt"]);
    const second = run({ monitor: "loss", dirpath: first.dirpath });
    await second.fabric.load((await ModelCheckpoint.latest(first.dirpath)) as string, {
      checkpoint: second.checkpoint,
    });
    await second.fabric.call("onTrainEnd", { fabric: second.fabric });
    assert.deepEqual(first.files(), ["epoch=1.ckpt"]);
  });

  it("and files that somebody removed take no place", async () => {
    const first = run({ monitor: "loss", saveTopK: 2 });
    const state = { checkpoint: first.checkpoint };
    for (const [epoch, loss] of [1, 2].entries()) await first.validate(epoch, loss, { state });
    const second = run({ monitor: "loss", saveTopK: 2, dirpath: first.dirpath });
    await second.fabric.load(join(first.dirpath, "epoch=1.ckpt"), { checkpoint: second.checkpoint });
    rmSync(join(first.dirpath, "epoch=0.ckpt"));
    await second.validate(2, 9);
    assert.deepEqual(first.files(), ["epoch=1.ckpt", "epoch=2.ckpt"]);
  });

  it("in another folder, or by another metric, it begins anew, with a warning", async () => {
    const first = run({ monitor: "loss" });
    await first.validate(0, 1);
    const saved = first.checkpoint.stateDict();
    for (const [options, message] of [
      [{ monitor: "loss" }, /`dirpath` was ".*" and is ".*" now. What was saved before is left alone/],
      [{ monitor: "acc", dirpath: first.dirpath }, /`monitor` was "loss" and is "acc" now/],
    ] as const) {
      const { checkpoint } = run(options);
      const caught = await catchWarnings(() => checkpoint.loadStateDict(saved));
      assert.match(caught[0]?.message ?? "", message);
      assert.deepEqual([checkpoint.bestModelPath, checkpoint.lastModelPath], ["", ""]);
    }
    assert.throws(() => first.checkpoint.loadStateDict({} as never), /to have `dirpath` and `best_k_models`, but got/);
  });
});

describe("ModelCheckpoint.latest", () => {
  const fabric = new Fabric({ accelerator: "cpu" });
  const filled = async (...names: string[]): Promise<string> => {
    const folder = newFolder();
    for (const [i, name] of names.entries()) {
      await fabric.save(join(folder, name), { name });
      utimesSync(join(folder, name), 1000 + i, 1000 + i);
    }
    return folder;
  };

  it("is the newest file, not the greatest name; of the same time the greatest number", async () => {
    const folder = await filled("step=90.ckpt", "step=100.ckpt", "step=20.ckpt");
    assert.equal(await ModelCheckpoint.latest(folder), join(folder, "step=20.ckpt"));
    for (const name of readdirSync(folder)) utimesSync(join(folder, name), 5, 5);
    assert.equal(await ModelCheckpoint.latest(pathToFileURL(folder), { fabric }), join(folder, "step=100.ckpt"));
  });

  it("leaves out files that are damaged, unfinished, or no checkpoints", async () => {
    const folder = await filled("a.ckpt", "b.ckpt", "other.pt", ".c.ckpt.tmp-1-2", ".d.ckpt");
    truncateSync(join(folder, "b.ckpt"), 100);
    mkdirSync(join(folder, "folder.ckpt"));
    utimesSync(join(folder, "folder.ckpt"), 1, 1);
    const caught = await catchWarnings(async () => {
      assert.equal(await ModelCheckpoint.latest(folder, { fabric }), join(folder, "a.ckpt"));
    });
    assert.equal(caught.length, 1);
    assert.match(caught[0]?.message ?? "", /Leaving out the checkpoint .*b.ckpt, which cannot be read: /);
  });

  it("is null when there is nothing, and an error when nothing can be read", async () => {
    assert.equal(await ModelCheckpoint.latest(newFolder(), { fabric }), null);
    assert.equal(await ModelCheckpoint.latest(await filled("a.pt")), null);
    const folder = await filled("a.ckpt");
    truncateSync(join(folder, "a.ckpt"), 100);
    await catchWarnings(async () => {
      await assert.rejects(ModelCheckpoint.latest(folder, { fabric }), {
        name: "CheckpointError",
        message: /None of the 1 checkpoints in .* can be read.\nMove them away to start anew/,
      });
    });
    await assert.rejects(ModelCheckpoint.latest(join(folder, "a.ckpt")), { name: "CheckpointError", code: "ENOTDIR" });
    await assert.rejects(ModelCheckpoint.latest("gs://bucket/run"), { name: "NotSupportedError" });
  });
});

it("options that cannot work are refused", () => {
  const refused: [object | undefined, RegExp][] = [
    [undefined, /options of ModelCheckpoint to be an object/],
    [{}, /Expected `dirpath` of ModelCheckpoint to be a folder, but got undefined/],
    [{ dirpath: "a", saveTopK: -2 }, /`saveTopK` of ModelCheckpoint is -2.\nGive the number/],
    [{ dirpath: "a", mode: "best", monitor: "loss" }, /`mode` of ModelCheckpoint is "best"/],
    [{ dirpath: "a", monitor: 3 }, /Expected `monitor` of ModelCheckpoint to be the name of a metric, but got 3/],
    [{ dirpath: "a", everyNEpochs: 0 }, /`everyNEpochs` of ModelCheckpoint is 0.\nGive a whole number above 0/],
    [{ dirpath: "a", everyNTrainSteps: 1.5 }, /`everyNTrainSteps` of ModelCheckpoint is 1.5/],
    [{ dirpath: "a", everyNMinutes: -1 }, /`everyNMinutes` of ModelCheckpoint is -1.\nGive a number above 0/],
    [{ dirpath: "a", everyNEpochs: 1, everyNMinutes: 1 }, /got `everyNEpochs` and `everyNMinutes`.\nGive one of them/],
    [{ dirpath: "a", hook: "onTrainBatchEnd" }, /`hook` of ModelCheckpoint is "onTrainBatchEnd"/],
    [{ dirpath: "a", filename: "a/{epoch}" }, /`filename` of ModelCheckpoint is "a\/\{epoch\}".\nGive a pattern/],
    [{ dirpath: "a", filename: "{epoch" }, /`filename` of ModelCheckpoint is "\{epoch"/],
    [{ dirpath: "a", filename: "{epoch:x}" }, /has "\{epoch:x\}", whose format is unknown.\nFormats are Python's/],
    [{ dirpath: "a", save_top_k: 1 }, /ModelCheckpoint has no option `save_top_k`.\nDid you mean `saveTopK`/],
  ];
  for (const [options, message] of refused) assert.throws(() => new ModelCheckpoint(options as never), { message });
});
