// The rules of saving and loading, one by one.
import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { AttributeDict, Fabric, SingleDeviceStrategy, TorchCheckpointIO } from "@fabric-ts/fabric";
import * as torch from "@fabric-ts/torch";
import { nn, optim } from "@fabric-ts/torch";
import { runRanks } from "../support/run-ranks.js";

const directory = mkdtempSync(join(tmpdir(), "fabric-test-"));
after(() => rmSync(directory, { recursive: true }));
const file = (name: string): string => join(directory, name);
const fabric = new Fabric({ accelerator: "cpu" });

describe("save", () => {
  it("checks the filter before anything else: that it is one, its keys, its values", async () => {
    const state = { a: {}, b: {} };
    const refused: [unknown, string, RegExp][] = [
      ["foo", "TypeError", /Filter should be a dictionary, given "foo"/],
      [[], "TypeError", /Filter should be a dictionary/],
      [{ x: "foo", a: "foo" }, "ConfigurationError", /keys 'x' are not present in the state keys/],
      [{ x: () => true, y: () => true }, "ConfigurationError", /keys 'x', 'y' are not present/],
      [{ b: "foo" }, "TypeError", /for key 'b' to be a callable, given "foo"/],
    ];
    for (const [filter, name, message] of refused)
      await assert.rejects(fabric.save(file("never.ckpt"), state, { filter: filter as never }), { name, message });
    assert.ok(!existsSync(file("never.ckpt")));
  });

  it("gives the filter keys and values of the converted state", async () => {
    const seen: [string, unknown][] = [];
    const net = new nn.Linear(2, 1);
    const filter = {
      net: (key: string, value: unknown) => {
        seen.push([key, (value as torch.Tensor).shape]);
        return true;
      },
    };
    await fabric.save(file("filter.ckpt"), { net }, { filter });
    assert.deepEqual(seen, [
      ["weight", [1, 2]],
      ["bias", [1]],
    ]);
  });

  it("converts what is directly in the state, and names a model that is deeper", async () => {
    const net = new nn.Linear(2, 1);
    await assert.rejects(fabric.save(file("deep.ckpt"), { nets: [net] }), {
      name: "TypeError",
      message: "value.nets[0] is a Linear, which cannot be saved itself.\nSave its values: value.nets[0].stateDict().",
    });
    await assert.rejects(fabric.save(file("deep.ckpt"), { all: { net } }), /value\.all\.net is a Linear/);
  });

  it("keeps what the filter calls true in any way", async () => {
    const keep = { dict: (key: string) => ({ a: 1, b: "", c: "yes", d: 0 })[key] as never };
    await fabric.save(file("truth.ckpt"), { dict: { a: 1, b: 2, c: 3, d: 4 } }, { filter: keep });
    assert.deepEqual({ ...((await fabric.load(file("truth.ckpt"))).dict as object) }, { a: 1, c: 3 });
  });

  it("refuses a state that is none", async () => {
    for (const state of [null, 3, "x", undefined])
      await assert.rejects(fabric.save(file("x"), state as never), /Expected the state of `save` to be an object/);
  });
});

describe("save and load", () => {
  it("hand the strategy what is inside of the wrappers, ask it for states, and then wait for all", async () => {
    const events: unknown[] = [];
    const net = new nn.Linear(2, 1);
    const sgd = new optim.SGD(net.parameters(), { lr: 0.1 });
    const seen = (state: unknown): unknown[] => {
      const { model, optimizer, step } = state as Record<string, unknown>;
      return [model === net, optimizer === sgd, step];
    };
    class Noting extends SingleDeviceStrategy {
      override async saveCheckpoint(...args: Parameters<SingleDeviceStrategy["saveCheckpoint"]>): Promise<void> {
        events.push(["save", args[0], seen(args[1]), args[2]]);
        await super.saveCheckpoint(...args);
      }
      override async loadCheckpoint(
        ...args: Parameters<SingleDeviceStrategy["loadCheckpoint"]>
      ): Promise<Record<string, unknown>> {
        events.push(["load", args[0], seen(args[1]), args[2]]);
        return await super.loadCheckpoint(...args);
      }
      override getModuleStateDict(module: nn.AnyModule): Record<string, unknown> {
        events.push(["state of the model", (module as unknown) === net]);
        return super.getModuleStateDict(module);
      }
      override getOptimizerState(optimizer: optim.Optimizer): unknown {
        events.push(["state of the optimizer", optimizer === sgd]);
        return super.getOptimizerState(optimizer);
      }
      override loadModuleStateDict(module: nn.AnyModule, state: Record<string, unknown>, strict?: boolean): void {
        events.push(["into the model", (module as unknown) === net, Object.keys(state), strict]);
        super.loadModuleStateDict(module, state, strict);
      }
      override async barrier(): Promise<void> {
        events.push("barrier");
      }
    }
    const mine = new Fabric({ accelerator: "cpu", strategy: new Noting() });
    const [model, optimizer] = mine.setup(net, sgd);
    const path = file("strategy.ckpt");
    const filter = { model: (key: string) => key === "bias" };
    await mine.save(path, { model, optimizer, step: 2 }, { filter });
    assert.deepEqual(events.splice(0), [
      ["save", path, [true, true, 2], filter],
      ["state of the model", true],
      ["state of the optimizer", true],
      "barrier",
    ]);
    const state = { model, optimizer, step: 0 };
    await mine.load(path, state, { strict: false });
    assert.deepEqual(events, [
      ["load", path, [true, true, 0], { strict: false }],
      ["into the model", true, ["bias"], false],
      "barrier",
    ]);
    assert.ok(state.model === model && state.optimizer === optimizer && state.step === 2);
  });
});

describe("load", () => {
  const saved = { net: new nn.Linear(2, 1), step: 3 };

  it("without a state, or with an empty one, gives everything", async () => {
    await fabric.save(file("all.ckpt"), saved);
    for (const state of [undefined, null, {}, new AttributeDict({})])
      assert.deepEqual(Object.keys(await fabric.load(file("all.ckpt"), state as never)), ["net", "step"]);
    await assert.rejects(fabric.load(file("all.ckpt"), 3 as never), /Expected the state of `load` to be an object/);
  });

  it("into a model or an optimizer alone gives nothing back", async () => {
    const optimizer = new optim.SGD(saved.net.parameters(), { lr: 0.5 });
    await fabric.save(file("net.ckpt"), saved.net.stateDict());
    await torch.save(optimizer.stateDict(), file("optimizer.ckpt"));
    const net = new nn.Linear(2, 1);
    assert.deepEqual(await fabric.load(file("net.ckpt"), net), {});
    assert.deepEqual(net.weight.tolist(), saved.net.weight.tolist());
    const other = new optim.SGD(net.parameters(), { lr: 0.1 });
    assert.deepEqual(await fabric.load(file("optimizer.ckpt"), other), {});
    assert.equal(other.paramGroups[0]?.lr, 0.5);
    const [model, wrapped] = fabric.setup(
      new nn.Linear(2, 1),
      new optim.SGD([new nn.Parameter(torch.ones([1])), new nn.Parameter(torch.ones([1]))], { lr: 0.1 }),
    );
    assert.deepEqual(await fabric.load(file("net.ckpt"), model), {});
    assert.deepEqual(model.weight.tolist(), saved.net.weight.tolist());
    assert.deepEqual(await fabric.load(file("optimizer.ckpt"), wrapped), {});
    assert.equal(wrapped.paramGroups[0]?.lr, 0.5);
    await assert.rejects(fabric.load(file("net.ckpt"), new nn.Linear(2, 1, { bias: false })), /Unexpected key/);
    await fabric.load(file("net.ckpt"), new nn.Linear(2, 1, { bias: false }), { strict: false });
  });

  it("keeps parameters the same objects, and puts tensors on the CPU", async () => {
    await fabric.save(file("all.ckpt"), saved);
    const net = new nn.Linear(2, 1);
    const { weight } = net;
    const [model, optimizer] = fabric.setup(net, new optim.SGD(net.parameters(), { lr: 0.1 }));
    await fabric.load(file("all.ckpt"), { net: model });
    assert.ok(net.weight === weight && optimizer.paramGroups[0]?.params[0] === weight);
    const whole = (await fabric.load(file("all.ckpt"))) as { net: nn.StateDict };
    assert.equal(whole.net.weight?.device, "cpu");
  });

  it("without strictness keeps what the file lacks, and gives back what was not asked for", async () => {
    await fabric.save(file("all.ckpt"), saved);
    const state = { step: 0, none: 1 };
    assert.deepEqual(Object.keys(await fabric.load(file("all.ckpt"), state, { strict: false })), ["net"]);
    assert.deepEqual(state, { step: 3, none: 1 });
    const model = fabric.setup(new nn.Linear(2, 1));
    const [list, nested] = [[model], { model }];
    const deep = { model, list, nested, step: 0 };
    await fabric.load(file("all.ckpt"), deep, { strict: false });
    assert.ok(deep.list === list && deep.nested === nested && deep.model === model && deep.step === 3);
  });

  it("changes nothing when a key is missing", async () => {
    await fabric.save(file("all.ckpt"), saved);
    const state = { step: 0, none: 1 };
    await assert.rejects(fabric.load(file("all.ckpt"), state), {
      code: "ERR_CHECKPOINT_KEY",
      message: /contains a key 'none' that does not exist.*strict: false/s,
    });
    assert.deepEqual(state, { step: 0, none: 1 });
  });
});

describe("loadRaw", () => {
  it("fills an optimizer, also one that is set up", async () => {
    const net = new nn.Linear(2, 1);
    await torch.save(new optim.SGD(net.parameters(), { lr: 0.5 }).stateDict(), file("sgd.pt"));
    const sgd = new optim.SGD(net.parameters(), { lr: 0.1 });
    await fabric.loadRaw(file("sgd.pt"), sgd);
    assert.equal(sgd.paramGroups[0]?.lr, 0.5);
    const wrapped = fabric.setupOptimizers(new optim.SGD(net.parameters(), { lr: 0.1 }));
    await fabric.loadRaw(file("sgd.pt"), wrapped);
    assert.equal(wrapped.paramGroups[0]?.lr, 0.5);
  });
  it("returns nothing, has strictness, and refuses what is neither model nor optimizer", async () => {
    await torch.save(new nn.Linear(2, 1).stateDict(), file("raw.pt"));
    assert.equal(await fabric.loadRaw(file("raw.pt"), new nn.Linear(2, 1)), undefined);
    await assert.rejects(fabric.loadRaw(file("raw.pt"), new nn.Linear(2, 1, { bias: false })), /Unexpected key/);
    await fabric.loadRaw(file("raw.pt"), new nn.Linear(2, 1, { bias: false }), { strict: false, weightsOnly: true });
    await assert.rejects(fabric.loadRaw(file("raw.pt"), { model: new nn.Linear(2, 1) } as never), {
      name: "TypeError",
      message: /to be given a model or an optimizer, but got an object\.\n.*`await fabric\.load\(path, \{ model/,
    });
  });
});

describe("TorchCheckpointIO", () => {
  it("removes folders with all that is in them, and says nothing of what is not there", async () => {
    mkdirSync(file("folder/deep"), { recursive: true });
    writeFileSync(file("folder/deep/x"), "");
    const io = new TorchCheckpointIO();
    await io.removeCheckpoint(file("folder"));
    await io.removeCheckpoint(file("folder"));
    assert.ok(!existsSync(file("folder")));
  });
  it("says what is not there", async () => {
    await assert.rejects(new TorchCheckpointIO().loadCheckpoint(file("none.ckpt")), {
      name: "CheckpointError",
      code: "ENOENT",
      message: `Checkpoint file not found: ${file("none.ckpt")}\nCheck the path; relative ones start at the working directory.`,
    });
  });
});

it("on two ranks: rank 0 writes, all read, loadRaw waits for nobody, and wrapped and raw objects are exchanged", async () => {
  const reports = await runRanks<Record<string, unknown>>("checkpoint-rules", { TEST_DIRECTORY: directory });
  assert.equal(reports.length, 2);
  for (const [rank, { before, isLoadedEarly, alone, combinations, kept, withOption }] of reports.entries()) {
    for (const message of before as string[]) assert.match(message, /^UsageError: .*you must call `\.launch\(\)`/);
    assert.deepEqual([isLoadedEarly, alone], [true, true]);
    assert.deepEqual(combinations, [true, true, true, true], `rank ${rank}`);
    const save = ["save", ["model", "optimizer"], "true-true.ckpt", null];
    const load = ["load", "true-true.ckpt", null];
    assert.deepEqual(kept, rank === 0 ? [save, load] : [load, ["load", "true-false.ckpt", null]]);
    assert.deepEqual(withOption, [["load", "true-true.ckpt", { weightsOnly: true }]]);
  }
});

it("on two ranks: training that goes on before a save has ended is an error on each, and the save ends well", async () => {
  const reports = await runRanks<Record<string, unknown>>("save-without-await", { TEST_DIRECTORY: directory });
  assert.equal(reports.length, 2);
  for (const { backward, step, isWhole } of reports) {
    const text =
      /^UsageError: `CALL` came before the save of ".*unawaited\.ckpt" had ended: .*two states\.\nType `await fabric\.save\(/s;
    assert.match(backward as string, new RegExp(text.source.replace("CALL", "fabric\\.backward\\(loss\\)"), "s"));
    assert.match(step as string, new RegExp(text.source.replace("CALL", "optimizer\\.step\\(\\)"), "s"));
    assert.equal(isWhole, true);
  }
});
