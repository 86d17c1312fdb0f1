// `fabric.log` and `fabric.logDict`, the interface of loggers, and what ranks that do not log get.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import {
  CSVLogger,
  dummyExperiment,
  Fabric,
  type FabricOptions,
  JSONLinesLogger,
  rankZeroExperiment,
} from "@fabric-ts/fabric";
import * as torch from "@fabric-ts/torch";
import { MemoryLogger } from "../support/memory-logger.js";
import { onRank, temporaryFolder } from "./support/temporary.js";

function withMemory(): { fabric: Fabric; memory: MemoryLogger } {
  const memory = new MemoryLogger();
  return { fabric: new Fabric({ accelerator: "cpu", loggers: memory }), memory };
}

describe("the interface of loggers", () => {
  it("has defaults for all but the name, the version and the two ways to log", () => {
    const memory = new MemoryLogger();
    assert.deepEqual([memory.rootDir, memory.logDir, memory.groupSeparator], [null, null, "/"]);
    memory.logGraph({}, [1]);
    memory.save();
    let saves = 0;
    memory.save = () => saves++;
    memory.finalize("success");
    assert.equal(saves, 1);
  });
});

describe("log and logDict", () => {
  it("make numbers of tensors anywhere in the metrics, and hand them to each logger", () => {
    const loggers = [new MemoryLogger(), new MemoryLogger()];
    const fabric = new Fabric({ accelerator: "cpu", loggers });
    fabric.log("loss", torch.tensor([[0.5]]), 3);
    fabric.logDict({ a: { b: torch.tensor(2), c: [torch.tensor(3)] }, text: "x" });
    for (const { logged } of loggers) {
      assert.deepEqual(logged, [
        [{ loss: 0.5 }, 3],
        [{ a: { b: 2, c: [3] }, text: "x" }, undefined],
      ]);
    }
  });

  it("convert also where there is no logger, and loggers may be null", () => {
    for (const loggers of [null, undefined, []] as const) {
      const fabric = new Fabric({ accelerator: "cpu", loggers } as FabricOptions);
      fabric.log("a", 1);
      assert.throws(() => fabric.log("a", torch.ones([3])), /shape \[3\], it cannot be converted to a scalar/);
      assert.deepEqual(fabric.loggers, []);
    }
  });

  it("run on all ranks: it is the loggers that restrict themselves", async () => {
    const { fabric, memory } = withMemory();
    await onRank(1, () => fabric.log("a", 1, 0));
    assert.equal(memory.logged.length, 1);
  });

  it("take a Map, and refuse what is no collection of metrics", () => {
    const { fabric, memory } = withMemory();
    fabric.logDict(new Map([["a", torch.tensor(1)]]) as never, 0);
    fabric.log("a", 2, null as never);
    assert.deepEqual(memory.logged, [
      [{ a: 1 }, 0],
      [{ a: 2 }, undefined],
    ]);
    assert.throws(
      () => fabric.logDict(3 as never),
      /metrics to be an object, but got 3[\s\S]*fabric\.log\("loss", 0\.5, step\)/,
    );
    for (const wrong of [torch.ones([1]), [1], new Date(), null]) {
      assert.throws(() => fabric.logDict(wrong as never), /metrics to be an object/);
    }
    assert.throws(() => fabric.logDict({ a: 1 }, "0" as never), /`step` to be a number, but got "0"/);
    assert.throws(() => fabric.log("a", 1, { stepp: 1 } as never), /no option `stepp`[\s\S]*Did you mean `step`/);
    assert.throws(() => fabric.log("a", 1, 0, { every: 0 }), /`every` of logDict to be a number of steps, but got 0/);
  });

  it("refuse loggers that are none", () => {
    assert.throws(
      () => new Fabric({ loggers: "csv" as never }),
      /`loggers` to be Logger objects, but got "csv"[\s\S]*new CSVLogger\("logs"\)/,
    );
    assert.throws(() => new Fabric({ loggers: [CSVLogger] as never }), /Logger objects/);
  });

  it("give several loggers of one kind versions of their own", () => {
    const root = temporaryFolder();
    const loggers = [new JSONLinesLogger(root), new JSONLinesLogger(root), new CSVLogger(root)];
    new Fabric({ accelerator: "cpu", loggers }).log("a", 1, 0);
    assert.deepEqual(
      loggers.map(({ version }) => version),
      [0, 1, 0],
    );
    for (const logger of loggers) logger.save();
  });

  it("loggers that write before the first metric share a version, once launched", async () => {
    const root = temporaryFolder();
    const loggers = [new JSONLinesLogger(root), new CSVLogger(root)] as const;
    const fabric = new Fabric({ accelerator: "cpu", loggers });
    await fabric.launch();
    loggers[0].logHyperparams({ lr: 0.1 });
    loggers[0].save();
    fabric.log("a", 1, 0);
    assert.deepEqual(
      loggers.map(({ version }) => version),
      [0, 0],
    );
    for (const logger of loggers) logger.save();
  });
});

describe("throttling", () => {
  const stepsOf = (memory: MemoryLogger): unknown[] => memory.logged.map(([, step]) => step);

  it("records the first call in each block of steps", () => {
    const { fabric, memory } = withMemory();
    for (let step = 0; step < 120; step++) fabric.log("loss", step, step, { every: 50 });
    assert.deepEqual(stepsOf(memory), [0, 50, 100]);
  });

  it("does not miss blocks when steps do not hit their beginning, and falls into step again after a resume", () => {
    const { fabric, memory } = withMemory();
    for (let step = 8; step < 160; step += 8) fabric.log("loss", step, { step, every: 50 });
    assert.deepEqual(stepsOf(memory), [8, 56, 104, 152]);
    const resumed = withMemory();
    for (let step = 73; step < 160; step++) resumed.fabric.log("loss", step, step, { every: 50 });
    assert.deepEqual(stepsOf(resumed.memory), [73, 100, 150]);
  });

  it("counts calls where there is no step, and each group of names apart", () => {
    const { fabric, memory } = withMemory();
    for (let i = 0; i < 7; i++) {
      fabric.logDict({ a: i, b: i }, { every: 3 });
      fabric.log("a", -i, { every: 3 });
      if (i % 2 === 0) fabric.log("val", i);
    }
    const logged = memory.logged.map((entry) => (entry as unknown[])[0]);
    assert.deepEqual(logged, [
      { a: 0, b: 0 },
      { a: -0 },
      { val: 0 },
      { val: 2 },
      { a: 3, b: 3 },
      { a: -3 },
      { val: 4 },
      { a: 6, b: 6 },
      { a: -6 },
      { val: 6 },
    ]);
  });

  it("does not read tensors in between", () => {
    const { fabric } = withMemory();
    const loss = torch.ones([2]);
    assert.throws(() => fabric.log("loss", loss, 0, { every: 10 }), /cannot be converted to a scalar/);
    for (let step = 1; step < 10; step++) fabric.log("loss", loss, step, { every: 10 });
  });

  it("is an option of each logger, too", () => {
    const root = temporaryFolder();
    const often = new JSONLinesLogger(root, { version: "often" });
    const seldom = new JSONLinesLogger(root, { version: "seldom", every: 10 });
    const fabric = new Fabric({ accelerator: "cpu", loggers: [often, seldom] });
    for (let step = 5; step < 35; step++) fabric.log("a", step, step);
    const lines = [often, seldom].map((logger) => {
      logger.save();
      return readFileSync(join(logger.logDir, "metrics.jsonl"), "utf8").split("\n").length - 1;
    });
    assert.deepEqual(lines, [30, 4]);
  });
});

describe("the experiment on ranks that do not log", () => {
  class Writer {
    calls: number[] = [];
    values: Record<string, number> = {};
    add(value: number): number {
      return this.calls.push(value);
    }
  }
  class WithWriter extends MemoryLogger {
    writer = new Writer();
    get experiment(): Writer {
      return rankZeroExperiment(() => this.writer)();
    }
  }

  it("takes any call, any index and any assignment, and does nothing", async () => {
    const logger = new WithWriter();
    await onRank(1, async () => {
      // biome-ignore lint/suspicious/noExplicitAny: anything goes
      const experiment = logger.experiment as any;
      assert.equal(experiment.add(1), undefined);
      assert.equal(experiment.no.such.method(1, 2), undefined);
      assert.equal(experiment(), undefined);
      experiment.values.a = 1;
      experiment[0] = 1;
      experiment[0].x = 2;
      assert.equal(experiment[0][1].add(3), undefined);
      delete experiment.values;
      assert.equal(await experiment, experiment);
      assert.equal(typeof `${String(experiment)}`, "string");
    });
    assert.deepEqual([logger.writer.calls, logger.writer.values], [[], {}]);
    logger.experiment.add(4);
    assert.deepEqual(logger.writer.calls, [4]);
  });

  it("is what a decorated getter gives", async () => {
    // As a compiler makes of `@rankZeroExperiment get experiment() { ... }`.
    const decorated = rankZeroExperiment(function (this: MemoryLogger) {
      return this.name;
    });
    assert.equal(decorated.call(new MemoryLogger()), "memory");
    await onRank(1, () => assert.equal(decorated.call(new MemoryLogger()), dummyExperiment));
  });
});
