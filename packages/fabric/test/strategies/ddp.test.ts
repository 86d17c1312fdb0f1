// Two processes that each see half of a batch train exactly like one that sees all of it.
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { before, describe, it } from "node:test";
import { catchWarnings, Fabric, type FabricModule } from "@fabric-ts/fabric";
import { nn } from "@fabric-ts/torch";
import { runProgram, runRanks } from "../support/run-ranks.js";
import { train, type Way, ways } from "../support/training.js";

describe("two processes with half a batch each, after ten steps", () => {
  let ranks: Record<Way, number[]>[];
  before(async () => {
    ranks = await runRanks("equality");
  });
  const alone = (way: Way): number[] => train(new Fabric({ accelerator: "cpu" }), way);
  const difference = (a: number[], b: number[]): number =>
    Math.max(...a.map((value, i) => Math.abs(value - (b[i] as number))));

  const titles: Record<Way, string> = {
    plain: "have the weights of one process with the whole batch",
    accumulated: "also when gradients accumulate without synchronization",
    marked: "also when the loss is a marked method of the model",
  };
  for (const way of ways) {
    it(titles[way], () => {
      assert.equal(ranks.length, 2);
      const [first, second] = ranks.map((rank) => rank[way]) as [number[], number[]];
      assert.deepEqual(first, second);
      assert.ok(first.length === 6 * 16 + 16 + 16 * 3 + 3);
      const gap = difference(first, alone(way));
      assert.ok(gap < 1e-6, `differs by ${gap}`);
    });
  }
});

it("two models with an optimizer each do not touch each other's gradients and weights on two processes", async () => {
  const reports = await runRanks("two-models");
  assert.equal(reports.length, 2);
  // The inputs are 1.5 and 2.5: their mean is 2. Pairs of weight and gradient, first the generator's.
  for (const steps of reports) {
    assert.deepEqual(steps, {
      afterOne: [
        [1, null],
        [2, 2],
      ],
      stepped: [
        [1, null],
        [1, 2],
      ],
      afterBoth: [
        [0, 2],
        [1, 2],
      ],
    });
  }
});

describe("a strategy with several processes", () => {
  it("has to be launched first", () => {
    const fabric = new Fabric({ accelerator: "cpu", devices: 2 });
    const text = /you must call `.launch\(\)`.*Add `await fabric.launch\(\);` right after `new Fabric/s;
    assert.throws(() => fabric.setup(new nn.Linear(2, 2)), text);
    assert.throws(() => fabric.setupModule(new nn.Linear(2, 2)), text);
    assert.throws(() => fabric.initModule(() => 1), text);
  });
  it("rejects what has to be awaited before the launch", async () => {
    const fabric = new Fabric({ accelerator: "cpu", strategy: "ddp" });
    const path = join(tmpdir(), `fabric-test-${process.pid}.ckpt`);
    for (const call of [
      () => fabric.barrier(),
      () => fabric.broadcast(1),
      () => fabric.allGather(1),
      () => fabric.allReduce(1),
      () => fabric.save(path, { step: 1 }),
      () => fabric.load(path),
    ]) {
      await assert.rejects(call, /you must call `.launch\(\)`/);
    }
    assert.equal(existsSync(path), false);
  });
  it("says that a launch was not awaited", async () => {
    const fabric = new Fabric({ accelerator: "cpu", strategy: "ddp" });
    const launching = fabric.launch();
    assert.throws(() => fabric.setup(new nn.Linear(2, 2)), /`fabric.launch\(\)` has not finished yet.*Await it/s);
    await launching;
    fabric.setup(new nn.Linear(2, 2));
    await fabric.strategy.teardown();
  });
});

describe("noBackwardSync", () => {
  it("does nothing on one device, and needs a model that was set up", () => {
    const fabric = new Fabric({ accelerator: "cpu" });
    const model = fabric.setup(new nn.Linear(2, 2));
    assert.equal(
      fabric.noBackwardSync(model, () => 3),
      3,
    );
    assert.equal(
      fabric.noBackwardSync(model, () => 3, { enabled: false }),
      3,
    );
    {
      using _ = fabric.noBackwardSync(model, { enabled: false });
    }
    assert.throws(() => fabric.noBackwardSync(new nn.Linear(2, 2) as unknown as FabricModule), {
      name: "TypeError",
      message: /You need to set up the model first.*`const \[model, optimizer\] = fabric\.setup\(/,
    });
  });
  it("says nothing on one device, where there is nothing to skip", async () => {
    const fabric = new Fabric({ accelerator: "cpu" });
    const model = fabric.setup(new nn.Linear(2, 2));
    const caught = await catchWarnings(() => {
      for (const enabled of [true, false]) fabric.noBackwardSync(model, { enabled }, () => {});
    });
    assert.deepEqual(caught, []);
  });
  it("does not pass over what is neither options nor the function", () => {
    const fabric = new Fabric({ accelerator: "cpu" });
    const model = fabric.setup(new nn.Linear(2, 2));
    const inAnyOrder = fabric.noBackwardSync.bind(fabric) as (...args: unknown[]) => unknown;
    for (const args of [
      [{}, 3],
      [() => assert.fail("called"), { enabled: false }, true],
    ]) {
      assert.throws(() => inAnyOrder(model, ...args), /^TypeError: Expected options and a function .*`noBackwardSync`/);
    }
    assert.throws(
      () => inAnyOrder(model, () => assert.fail("called"), { enable: false }),
      /noBackwardSync has no option `enable`/,
    );
  });
});

it("an error in one rank ends the program with its text", async () => {
  const { code, stderr } = await runProgram("failing");
  assert.notEqual(code, 0);
  assert.match(stderr, /planned failure on rank 1/);
});
