// Loading changes everything or nothing, and says what does not fit.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { CheckpointError, Fabric } from "@fabric-ts/fabric";
import * as torch from "@fabric-ts/torch";
import { nn, optim, type Tensor } from "@fabric-ts/torch";
import { runRanks } from "../support/run-ranks.js";

const directory = mkdtempSync(join(tmpdir(), "fabric-test-"));
after(() => rmSync(directory, { recursive: true }));
const file = (name: string): string => join(directory, name);
const fabric = new Fabric({ accelerator: "cpu" });

const filled = (value: number, outputs = 2): nn.Linear => {
  const layer = new nn.Linear(2, outputs);
  torch.noGrad(() => {
    for (const parameter of layer.parameters()) parameter.fill_(value);
  });
  return layer;
};
const weights = (layer: nn.Linear): unknown => [layer.weight.tolist(), layer.bias?.tolist()];

class Counter {
  constructor(public value: number) {}
  stateDict(): { value: number } {
    return { value: this.value };
  }
  loadStateDict(state: { value: unknown }): void {
    if (typeof state.value !== "number") throw new RangeError(`no counter: ${String(state.value)}`);
    this.value = state.value;
  }
}

describe("a checkpoint that does not fit changes nothing", () => {
  it("when the second of two models has other shapes", async () => {
    await fabric.save(file("a.ckpt"), { first: filled(1), second: filled(1, 3), step: 4 });
    const state = { first: filled(0), second: filled(0), step: 0 };
    const before = weights(state.first);
    await assert.rejects(fabric.load(file("a.ckpt"), state), /size mismatch for weight.*\[3, 2\].*\[2, 2\]/s);
    assert.deepEqual(weights(state.first), before);
    assert.deepEqual(weights(state.second), before);
    assert.equal(state.step, 0);
  });

  it("when one parameter of a model has another shape", () => {
    const model = new nn.Sequential(filled(0), filled(0));
    const other = new nn.Sequential(filled(1), filled(1, 3));
    assert.throws(() => model.loadStateDict(other.stateDict()), /size mismatch/);
    assert.deepEqual(weights(model.children()[0] as nn.Linear), [
      [
        [0, 0],
        [0, 0],
      ],
      [0, 0],
    ]);
  });

  it("when a later object refuses its state, also for optimizers and objects", async () => {
    const from = filled(1);
    const adam = new optim.Adam(from.parameters(), { lr: 0.5 });
    from(torch.ones([2]))
      .sum()
      .backward();
    adam.step();
    const broken = { stateDict: () => ({ value: "x" }), loadStateDict: () => {} };
    await fabric.save(file("b.ckpt"), { model: from, optimizer: adam, first: new Counter(7), second: broken });

    const model = filled(0);
    const optimizer = new optim.Adam(model.parameters(), { lr: 0.1 });
    const state = { model, optimizer, first: new Counter(1), second: new Counter(2) };
    await assert.rejects(fabric.load(file("b.ckpt"), state), RangeError);
    assert.deepEqual([optimizer.paramGroups[0]?.lr, optimizer.state.size], [0.1, 0]);
    assert.deepEqual([state.first.value, state.second.value], [1, 2]);
    assert.deepEqual(weights(model), weights(filled(0)));
  });

  it("when a model has a way of loading of its own", async () => {
    class Picky extends nn.Module<[Tensor], Tensor> {
      layer = filled(0);
      forward(x: Tensor): Tensor {
        return this.layer(x);
      }
      override loadStateDict(...args: Parameters<nn.AnyModule["loadStateDict"]>): nn.LoadResult {
        const result = super.loadStateDict(...args);
        if ((this.layer.bias as Tensor).sum().item() === 2) throw new RangeError("I do not like ones");
        return result;
      }
    }
    const saved = new Picky();
    torch.noGrad(() => saved.layer.bias?.fill_(1));
    await fabric.save(file("c.ckpt"), { model: saved });
    const model = new Picky();
    await assert.rejects(fabric.load(file("c.ckpt"), { model }), /I do not like ones/);
    assert.deepEqual(weights(model.layer), weights(filled(0)));
  });

  it("on any of several ranks", async () => {
    const reports = await runRanks<{ error: string; weight: number; value: number }>("half-loaded", {
      TEST_DIRECTORY: directory,
    });
    assert.match(reports[1]?.error as string, /^RangeError: rank 1 refuses/);
    assert.match(
      reports[0]?.error as string,
      /^\w+Error: Loading the checkpoint failed on rank 1, and therefore on all/,
    );
    for (const { weight, value } of reports) assert.deepEqual([weight, value], [0, 0]);
  });
});

describe("errors about keys", () => {
  it("name the first five that are missing", async () => {
    await fabric.save(file("d.ckpt"), { a: 1 });
    const wanted = Object.fromEntries(["a", "b", "c", "d", "e", "f", "g", "h"].map((key) => [key, 0]));
    await assert.rejects(fabric.load(file("d.ckpt"), wanted), (error: Error) => {
      assert.ok(error instanceof CheckpointError);
      assert.match(
        error.message,
        /contains a key 'b' that does not exist.* Also missing: 'c', 'd', 'e', 'f', 2 more\./,
      );
      return true;
    });
    const deep = new nn.Sequential(...Array.from({ length: 4 }, () => filled(0)));
    assert.throws(
      () => deep.loadStateDict({}),
      /Missing key\(s\) in state_dict: "0\.weight", "0\.bias", "1\.weight", "1\.bias", "2\.weight", and 3 more\./,
    );
  });
  it("strict: false reaches the model, and weightsOnly takes its three values", async () => {
    const { bias: _, ...part } = filled(1).stateDict();
    await fabric.save(file("e.ckpt"), { model: part });
    const model = filled(0);
    for (const weightsOnly of [true, false, null]) {
      await fabric.load(file("e.ckpt"), { model }, { strict: false, weightsOnly });
    }
    assert.deepEqual(
      weights(model),
      [weights(filled(1)) as never, [0, 0]].map((w, i) => (i === 0 ? (w as unknown[])[0] : w)),
    );
    await assert.rejects(
      fabric.load(file("e.ckpt"), { model }, { weightsOnly: 3 as never }),
      /Expected `weightsOnly` to be a boolean or null/,
    );
  });
});
