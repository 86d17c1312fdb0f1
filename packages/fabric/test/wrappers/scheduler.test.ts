// `fabric.setup(model, optimizer, { scheduler })` with the schedulers of the library.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { Fabric } from "@fabric-ts/fabric";
import * as torch from "@fabric-ts/torch";
import { nn, optim } from "@fabric-ts/torch";

const fabric = new Fabric({ accelerator: "cpu" });

function parts(): { raw: nn.Linear; inner: optim.SGD; scheduler: optim.StepLR } {
  const raw = new nn.Linear(3, 2);
  const inner = new optim.SGD(raw.parameters(), { lr: 1 });
  return { raw, inner, scheduler: new optim.lrScheduler.StepLR(inner, 2, { gamma: 0.5 }) };
}

async function warningsOf(body: () => void): Promise<Error[]> {
  const seen: Error[] = [];
  const note = (warning: Error): void => void seen.push(warning);
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  await turn(); // what was warned of before comes out
  process.on("warning", note);
  body();
  await turn();
  process.off("warning", note);
  return seen;
}

describe("a scheduler given to setup", () => {
  it("comes back typed, and sets the rates of the wrapped optimizer without warnings", async () => {
    const { raw, inner, scheduler } = parts();
    const [model, optimizer, back] = fabric.setup(raw, inner, { scheduler });
    const same: optim.StepLR = back;
    assert.ok(same === scheduler);
    const rates: number[] = [];
    const seen = await warningsOf(() => {
      for (let i = 0; i < 5; i++) {
        optimizer.zeroGrad();
        fabric.backward(model(torch.ones([1, 3])).sum());
        optimizer.step();
        back.step();
        rates.push((optimizer.paramGroups[0] as optim.ParamGroup).lr);
      }
    });
    assert.deepEqual(rates, [1, 0.5, 0.5, 0.25, 0.25]);
    assert.deepEqual(seen, []);
  });

  it("can be made of the wrapped optimizer as well, alone or in a sequence", async () => {
    const { raw, inner } = parts();
    const [, optimizer] = fabric.setup(raw, inner);
    const warmup = new optim.lrScheduler.LinearLR(optimizer, { startFactor: 0.5, totalIters: 2 });
    const decay = new optim.lrScheduler.ExponentialLR(inner, 0.5);
    const scheduler = new optim.lrScheduler.SequentialLR(optimizer, [warmup, decay], [2]);
    const rates: (number | undefined)[] = [];
    const seen = await warningsOf(() => {
      for (let i = 0; i < 4; i++) {
        optimizer.step();
        scheduler.step();
        rates.push(inner.paramGroups[0]?.lr);
      }
    });
    assert.deepEqual(rates, [0.75, 1, 0.5, 0.25]);
    assert.deepEqual(seen, []);
  });

  it("is saved and restored with the checkpoint", async () => {
    const folder = mkdtempSync(join(tmpdir(), "fabric-test-"));
    try {
      const path = join(folder, "last.ckpt");
      const first = parts();
      const [model, optimizer, scheduler] = fabric.setup(first.raw, first.inner, { scheduler: first.scheduler });
      for (let i = 0; i < 3; i++) {
        optimizer.step();
        scheduler.step();
      }
      await fabric.save(path, { model, optimizer, scheduler });
      const second = parts();
      const [model2, optimizer2, scheduler2] = fabric.setup(second.raw, second.inner, { scheduler: second.scheduler });
      await fabric.load(path, { model: model2, optimizer: optimizer2, scheduler: scheduler2 });
      assert.deepEqual([scheduler2.lastEpoch, scheduler2.getLastLr()], [3, [0.5]]);
      optimizer2.step();
      scheduler2.step();
      assert.deepEqual(scheduler2.getLastLr(), [0.25]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
