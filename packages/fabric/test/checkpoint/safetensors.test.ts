// fabric.save and load with safetensors files.
import assert from "node:assert/strict";
import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import {
  AsyncCheckpointIO,
  Fabric,
  lazyLoad,
  materializeTensors,
  moveStateInto,
  SafetensorsCheckpointIO,
} from "@fabric-ts/fabric";
import * as torch from "@fabric-ts/torch";
import { nn, optim, type Tensor } from "@fabric-ts/torch";

const directory = mkdtempSync(join(tmpdir(), "fabric-test-"));
after(() => rmSync(directory, { recursive: true }));
const file = (name: string): string => join(directory, name);
const fabric = new Fabric({ accelerator: "cpu" });

function trained(): { net: nn.Linear; optimizer: optim.Adam; step: number } {
  const net = new nn.Linear(3, 2);
  const optimizer = new optim.Adam(net.parameters(), { lr: 0.25 });
  net(torch.ones([3]))
    .sum()
    .backward();
  optimizer.step();
  return { net, optimizer, step: 4 };
}
function fresh(): { net: nn.Linear; optimizer: optim.Adam; step: number } {
  const net = new nn.Linear(3, 2);
  return { net, optimizer: new optim.Adam(net.parameters()), step: 0 };
}
const isSafetensors = (path: string): boolean => readFileSync(path)[8] === "{".charCodeAt(0);

describe("a name that ends in .safetensors", () => {
  it("makes a safetensors file, with everything that the state holds", async () => {
    const from = trained();
    const [model, optimizer] = fabric.setup(from.net, from.optimizer);
    await fabric.save(file("a.safetensors"), { net: model, optimizer, step: from.step });
    assert.ok(isSafetensors(file("a.safetensors")));
    const names = Object.keys(await torch.safetensors.loadFile(file("a.safetensors")));
    assert.ok(["net.weight", "net.bias", "optimizer.state.0.exp_avg"].every((name) => names.includes(name)));

    const to = fresh();
    const [net, second] = fabric.setup(to.net, to.optimizer);
    const state = { net, optimizer: second, step: 0 };
    assert.deepEqual(await fabric.load(file("a.safetensors"), state), {});
    assert.equal(state.step, 4);
    assert.deepEqual(to.net.weight.tolist(), from.net.weight.tolist());
    assert.equal(to.optimizer.paramGroups[0]?.lr, 0.25);
    for (const { net, optimizer } of [from, to]) {
      optimizer.zeroGrad();
      net(torch.ones([3]))
        .sum()
        .backward();
      optimizer.step();
    }
    assert.deepEqual(to.net.weight.tolist(), from.net.weight.tolist());
  });

  it("for the bare state of a model makes what other programs write", async () => {
    const { net } = trained();
    await fabric.save(file("bare.safetensors"), net.stateDict());
    const opened = await torch.safetensors.safeOpen(file("bare.safetensors"));
    assert.deepEqual(opened.keys().sort(), ["bias", "weight"]);
    assert.ok(!Object.keys(opened.metadata()).includes("fabric_state"));
    const to = fabric.setup(new nn.Linear(3, 2));
    await fabric.loadRaw(file("bare.safetensors"), to);
    assert.deepEqual(to.module.weight.tolist(), net.weight.tolist());
  });

  it("is written in the background by AsyncCheckpointIO", async () => {
    const io = new AsyncCheckpointIO();
    const mine = new Fabric({ accelerator: "cpu", plugins: [io] });
    const weight = torch.zeros([700_000]);
    await mine.save(file("background.safetensors"), { weight, step: 1 });
    weight.fill_(1);
    await io.flush();
    assert.ok(isSafetensors(file("background.safetensors")));
    const loaded = (await mine.load(file("background.safetensors"))) as { weight: Tensor; step: number };
    assert.deepEqual([loaded.weight.sum().item(), loaded.step], [0, 1]);
  });

  it("has filters, a remainder and strictness like any other", async () => {
    const { net } = trained();
    await fabric.save(file("f.safetensors"), { net, a: 1, b: 2 }, { filter: { net: (key) => key === "bias" } });
    const rest = await fabric.load(file("f.safetensors"), { a: 0 });
    assert.deepEqual([Object.keys(rest), Object.keys(rest.net as object), rest.b], [["net", "b"], ["bias"], 2]);
    await assert.rejects(fabric.load(file("f.safetensors"), { c: 0 }), /contains a key 'c' that does not exist/);
  });

  it("refuses what cannot be saved by name, and leaves nothing", async () => {
    await assert.rejects(fabric.save(file("no/x.safetensors"), { f: () => 1 }), /^TypeError: value\.f is a function/);
    const complex = torch.zeros([1], { dtype: "complex128" });
    await assert.rejects(fabric.save(file("no/x.safetensors"), { complex }), /"complex" is a tensor of complex128/);
    assert.deepEqual(readdirSync(file("no")), []);
  });
});

describe("a file", () => {
  it("is read by what is in it, whatever it is called", async () => {
    await fabric.save(file("s.safetensors"), { step: 1 });
    copyFileSync(file("s.safetensors"), file("s.ckpt"));
    assert.equal(((await fabric.load(file("s.ckpt"))) as { step: number }).step, 1);
    await fabric.save(file("t.ckpt"), { step: 2 });
    copyFileSync(file("t.ckpt"), file("t.safetensors"));
    assert.equal(((await fabric.load(file("t.safetensors"))) as { step: number }).step, 2);
  });
  it("is a safetensors file under any name with SafetensorsCheckpointIO", async () => {
    const mine = new Fabric({ accelerator: "cpu", plugins: new SafetensorsCheckpointIO() });
    await mine.save(file("plugin.ckpt"), { step: 3 });
    assert.ok(isSafetensors(file("plugin.ckpt")));
    assert.equal(((await mine.load(file("plugin.ckpt"))) as { step: number }).step, 3);
  });
});

describe("lazyLoad", () => {
  for (const name of ["lazy.ckpt", "lazy.safetensors"]) {
    it(`reads what is used of ${name}`, async () => {
      const from = trained();
      await fabric.save(file(name), from);
      const state = (await lazyLoad(file(name))) as { net: nn.StateDict; optimizer: never; step: number };
      assert.equal(state.step, 4);
      assert.match(String(state.net.weight), /not read yet/);
      const to = fresh();
      moveStateInto(state, to);
      assert.deepEqual([Object.keys(state), to.step], [[], 4]);
      assert.deepEqual(to.net.weight.tolist(), from.net.weight.tolist());
      assert.equal(to.optimizer.paramGroups[0]?.lr, 0.25);
    });
  }
  it("says that a path does not exist or is a folder", async () => {
    const message = /^Path '.*' does not exist or is not a file\./;
    await assert.rejects(lazyLoad(file("none.ckpt")), { name: "CheckpointError", code: "ENOENT", message });
    await assert.rejects(lazyLoad(directory), { name: "CheckpointError", code: "EISDIR", message });
  });
  it("with materializeTensors is load", async () => {
    await fabric.save(file("all.ckpt"), { a: torch.ones([2]), b: [torch.zeros([1])] });
    const { a, b } = await materializeTensors((await lazyLoad(file("all.ckpt"))) as { a: Tensor; b: Tensor[] });
    assert.deepEqual([a.tolist(), b[0]?.tolist()], [[1, 1], [0]]);
  });
});

describe("moveStateInto", () => {
  it("moves all or some keys: into objects with a state, else in the place of what is there", () => {
    const counter = {
      value: 0,
      stateDict: () => ({}),
      loadStateDict(state: { value: number }) {
        this.value = state.value;
      },
    };
    const source: Record<string, unknown> = { counter: { value: 3 }, step: 5, extra: "x", left: 1 };
    const destination: Record<string, unknown> = { counter, step: 0 };
    moveStateInto(source, destination, ["counter", "step", "none", "step"]);
    assert.deepEqual([counter.value, destination.step, Object.keys(source)], [3, 5, ["extra", "left"]]);
    assert.ok(destination.counter === counter && !("none" in destination));
    moveStateInto(source, destination);
    assert.deepEqual([destination.extra, destination.left, Object.keys(source)], ["x", 1, []]);
    assert.throws(() => moveStateInto(null as never, {}), /to be given two objects, but got null/);
  });
});
