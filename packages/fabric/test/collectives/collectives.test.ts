// Collectives alone and with another process; saving and loading by several processes.
import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { Fabric, SingleDeviceStrategy } from "@fabric-ts/fabric";
import * as torch from "@fabric-ts/torch";
import { runProgram, runRanks } from "../support/run-ranks.js";

describe("collectives on one device", () => {
  const fabric = new Fabric({ accelerator: "cpu" });

  it("return tensors as they are and convert what is none", async () => {
    const x = torch.ones([2]);
    assert.ok((await fabric.allGather(x)) === x);
    assert.ok((await fabric.allReduce(x)) === x);
    const { n, flag, big, text, typed } = await fabric.allGather({
      n: 2,
      flag: true,
      big: 3n,
      text: "a",
      typed: new Int32Array([1, 2]),
    });
    assert.deepEqual([n.dtype, flag.dtype, big.dtype, typed.dtype, text], ["float32", "uint8", "int64", "int32", "a"]);
    assert.deepEqual([n.item(), flag.item(), typed.tolist()], [2, 1, [1, 2]]);
  });
  it("move what they take to the device, and leave everything else as it is", async () => {
    const onMeta = new Fabric({ accelerator: "cpu", strategy: new SingleDeviceStrategy("meta") });
    const [date, list] = [new Date(0), new Set(["a"])];
    for (const call of ["allGather", "allReduce"] as const) {
      const given = {
        n: 1,
        flag: true,
        big: 1n,
        x: torch.ones([1]),
        typed: new Float64Array(2),
        date,
        list,
        none: null,
      };
      const { n, flag, big, x, typed, ...rest } = await onMeta[call](given);
      assert.deepEqual(
        [n, flag, big, x, typed].map(({ device, dtype }) => [device, dtype]),
        ["float32", "uint8", "int64", "float32", "float64"].map((dtype) => ["meta", dtype]),
      );
      assert.ok(rest.date === date && rest.none === null);
      assert.deepEqual(rest.list, list);
    }
  });
  it("broadcast returns the very object", async () => {
    const value = { a: 1 };
    assert.ok((await fabric.broadcast(value)) === value);
  });
  it("refuse unknown reductions and options", async () => {
    await assert.rejects(() => fabric.allReduce(1, { reduceOp: "median" as never }), {
      name: "ConfigurationError",
      message: /Unsupported reduce operation "median"\.\nUse one of mean, avg, sum, max/,
    });
    await assert.rejects(() => fabric.allReduce(1, { op: "sum" } as never), /allReduce has no option `op`/);
    await fabric.allReduce(1, { reduceOp: "SUM" as never });
  });
  it("rankZeroFirst runs the body, and passes its error on", async () => {
    assert.equal(await fabric.rankZeroFirst(() => 5), 5);
    assert.equal(await fabric.rankZeroFirst(() => 5, { local: true }), 5);
    assert.equal(await fabric.rankZeroFirst({ local: true }, () => 5), 5);
    await assert.rejects(() => fabric.rankZeroFirst(() => Promise.reject(new Error("body"))), /^Error: body$/);
    await using _ = await fabric.rankZeroFirst();
  });
});

interface Report {
  gathered: Record<string, unknown>;
  reduced: unknown[];
  sameObject: boolean;
  gradient: number[];
  plainGraph: boolean;
  order: string[];
  firstWasFirst: boolean;
  turnFailure: string | null;
  secondWasDone: boolean;
  batches: unknown;
  length: number;
  untouched: number;
  step: number;
  remainder: string[];
  loads: boolean;
  saveFailure: string;
  folderFailure: string;
  loadFailure: string;
  stillWorks: number;
  decisions: boolean[];
  sent: unknown[];
}

describe("two processes", () => {
  let ranks: [Report, Report];
  before(async () => {
    ranks = (await runRanks("collectives")) as [Report, Report];
    assert.equal(ranks.length, 2);
  });

  it("gather numbers, booleans and tensors along a new dimension; text stays", () => {
    ranks.forEach(({ gathered }, rank) => {
      assert.deepEqual(gathered, {
        n: [0.5, 1.5],
        flag: [0, 1],
        flagDtype: "uint8",
        big: [0, 1],
        x: [
          [0, 1],
          [1, 1],
        ],
        text: `r${rank}`,
      });
    });
  });
  it("reduce to the mean, in place", () => {
    for (const { reduced, sameObject } of ranks) {
      assert.deepEqual(reduced, [[1.5, 2], 1.5]);
      assert.equal(sameObject, true);
    }
  });
  it("send gradients back through a gather with syncGrads", () => {
    // Rank r weighs the rows with (r + 1) and 10 (r + 1); the gradients of both ranks add up.
    assert.deepEqual(
      ranks.map((rank) => rank.gradient),
      [
        [3, 3],
        [30, 30],
      ],
    );
    for (const { plainGraph } of ranks) assert.equal(plainGraph, false, "none without it");
  });
  it("take turns, rank 0 first, also when its turn fails", () => {
    assert.ok(ranks[0].firstWasFirst);
    assert.deepEqual(
      ranks.map((rank) => rank.order),
      [
        ["body 0", "block"],
        ["body 1", "block"],
      ],
    );
    assert.deepEqual(
      ranks.map((rank) => rank.turnFailure),
      ["Error: first fails", null],
    );
  });
  it("meet again after the turns: rank 0 goes on when rank 1 is done", () => {
    for (const { secondWasDone } of ranks) assert.ok(secondWasDone);
  });
  it("share the samples of a loader", () => {
    assert.deepEqual(
      ranks.map((rank) => rank.batches),
      [
        [[0, 2], [4]],
        [[1, 3], [0]],
      ],
    );
    assert.deepEqual(
      ranks.map((rank) => [rank.length, rank.untouched]),
      [
        [2, 2],
        [2, 2],
      ],
    );
  });
  it("save one file without prefixes, and load it before and after setup", () => {
    for (const rank of ranks) {
      assert.equal(rank.step, 7);
      assert.deepEqual(rank.remainder, ["optimizer"]);
      assert.ok(rank.loads);
    }
  });
  it("all fail when one fails to save or load, and go on together", () => {
    assert.match(
      ranks[0].saveFailure,
      /^CheckpointError: The folder for the checkpoint cannot be made: (ENOTDIR|EEXIST)/,
    );
    assert.match(
      ranks[1].saveFailure,
      /^CheckpointError: Saving the checkpoint failed on rank 0, and therefore on all: .*(ENOTDIR|EEXIST)/,
    );
    for (const rank of ranks) {
      if (process.platform === "linux") assert.match(rank.folderFailure, /^CheckpointError: .*ENOENT/);
      assert.match(rank.loadFailure, /^CheckpointError: Checkpoint file not found/);
      assert.equal(rank.stillWorks, 2);
    }
  });
  it("that wait for their turn are told what they wait for, when that takes long", async () => {
    const { code, stderr } = await runProgram("long-turn", { FABRIC_LATE_AFTER_MS: "200" });
    assert.equal(code, 0, stderr);
    assert.match(stderr, /\[rank 1\] Still waiting in `fabric\.rankZeroFirst: barrier` .*not there yet: rank 0/);
  });
  it("decide together and send values from any rank", () => {
    for (const rank of ranks) {
      assert.deepEqual(rank.decisions, [false, true, true]);
      assert.deepEqual(rank.sent, [1, [1]]);
    }
  });
});
