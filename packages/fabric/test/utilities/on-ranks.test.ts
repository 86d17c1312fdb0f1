// What utilities do on two processes.
import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { Fabric, gatherAllTensors, isSharedFilesystem } from "@fabric-ts/fabric";
import * as torch from "@fabric-ts/torch";
import { runRanks } from "../support/run-ranks.js";

interface Report {
  barriers: Record<"late" | "again" | "unnamed" | "wrong" | "option", string | null>;
  turns: { order: string[]; second: string | null; both: string; value: number };
  uneven: Record<string, unknown> & { dtypes: string };
  reductions: unknown;
  folders: Record<string, unknown> & { missing: string };
  spikes: { found: Record<string, (number | null)[]>; listed: number[] };
  throughput: { metrics: Record<string, number>; compute: object; step: number };
  generators: { expected: number[]; found: number[] };
}

describe("two processes", () => {
  let ranks: [Report, Report];
  before(async () => {
    ranks = (await runRanks("utilities")) as [Report, Report];
    assert.equal(ranks.length, 2);
  });

  it("hear at a barrier with a deadline who did not come, and can go on", () => {
    const late =
      /^DistributedError: `fabric.barrier\("download"\)` ended without rank 1 of 2: rank 0 has waited 200 ms\./;
    for (const [rank, { barriers }] of ranks.entries()) {
      assert.match(barriers.late ?? "", late);
      assert.equal(barriers.late?.includes("This rank came too late."), rank === 1);
      assert.deepEqual([barriers.again, barriers.unnamed], [null, null]);
      assert.match(barriers.wrong ?? "", /^TypeError: Expected the name of the barrier to be a string, but got 5/);
      assert.match(barriers.option ?? "", /barrier has no option `timeout`\.\nDid you mean `timeoutMs`\?/);
    }
  });
  it("take turns although bodies throw, and each hears of its own error", () => {
    assert.deepEqual(
      ranks.map(({ turns }) => turns),
      [
        { order: ["body"], second: null, both: "Error: rank 0 fails", value: 5 },
        { order: ["body"], second: "Error: second fails", both: "Error: rank 1 fails", value: 6 },
      ],
    );
  });
  it("gather tensors of any shapes, with gradients where asked for", () => {
    for (const [rank, { uneven }] of ranks.entries()) {
      const { dtypes, gradient, ...rest } = uneven;
      assert.deepEqual(rest, {
        x: [[0], [0, 1]],
        n: [0, 1],
        nested: [1, [[1, 1]]],
        text: "text",
        none: [
          [0, 3],
          [2, 3],
        ],
        graph: [false, false],
      });
      // Only rank 1's part is in the loss: weighed with 1 on rank 0 and with 2 on rank 1.
      assert.deepEqual(gradient, rank === 0 ? [0] : [3, 3]);
      assert.match(dtypes, /^ConfigurationError: .*float32 on rank 0 and int64 on rank 1/);
    }
  });
  it("reduce by every name, means of integers cut off, and within a group", () => {
    for (const [rank, { reductions }] of ranks.entries()) {
      assert.deepEqual(reductions, {
        found: {
          mean: [1, 5],
          avg: [1, 5],
          sum: [3, 11],
          max: [2, 6],
          min: [1, 5],
          product: [2, 30],
          band: [0, 4],
          bor: [3, 7],
          bxor: [3, 3],
        },
        alone: [[rank]],
        sum: [rank + 1],
        mean: [rank + 1],
        parts: [[rank]],
      });
    }
  });
  it("find out whether they share a folder", () => {
    for (const { folders } of ranks) {
      const { missing, ...rest } = folders;
      assert.deepEqual(rest, {
        folder: true,
        file: true,
        link: true,
        here: true,
        different: false,
        unwritable: false,
        remote: true,
        leftOver: false,
      });
      assert.match(missing, /^CheckpointError: Unable to determine if the path belongs to a shared filesystem/);
    }
  });
  it("all stop at the batch in which the loss of one of them jumps", () => {
    for (const { spikes } of ranks) {
      assert.deepEqual(spikes.found, {
        3: [4, 4, 4, 4],
        Infinity: [4, 4, 4, 4],
        "-Infinity": [4, 4, null, null],
        NaN: [4, 4, null, null],
      });
      assert.deepEqual(spikes.listed, [3, 4]);
    }
  });
  it("measure the throughput on rank zero, for both", () => {
    assert.deepEqual(ranks[0].throughput, {
      metrics: {
        time: 2,
        batches: 2,
        samples: 3,
        "device/batches_per_sec": 1,
        batches_per_sec: 2,
        "device/samples_per_sec": 2,
        samples_per_sec: 4,
      },
      compute: {},
      step: 0,
    });
    assert.deepEqual(ranks[1].throughput, { metrics: {}, compute: {}, step: -1 });
  });
  it("get the states of their generators back, each its own", () => {
    for (const { generators } of ranks) assert.deepEqual(generators.found, generators.expected);
    assert.notDeepEqual(ranks[0].generators.expected, ranks[1].generators.expected);
  });
});

describe("one process", () => {
  const { strategy } = new Fabric({ accelerator: "cpu" });

  it("shares every folder with itself, also one that does not exist", async () => {
    assert.equal(await isSharedFilesystem(strategy, "/no/such/folder"), true);
    assert.equal(await isSharedFilesystem(strategy, new URL("https://example.com/a")), true);
    await assert.rejects(
      () => isSharedFilesystem(new Fabric({ accelerator: "cpu" }) as never, "."),
      /Type `isSharedFilesystem\(fabric.strategy, path\)`/,
    );
  });
  it("gathers its own tensor, in an array with `uneven`", async () => {
    const x = torch.ones([2]);
    const fabric = new Fabric({ accelerator: "cpu" });
    assert.ok((await gatherAllTensors(x))[0] === x);
    const parts = await fabric.allGather({ x, n: 1 }, { uneven: true });
    assert.ok(parts.x[0] === x);
    assert.deepEqual([parts.x.length, parts.n[0]?.item()], [1, 1]);
  });
  it("comes to barriers of every form", async () => {
    const fabric = new Fabric({ accelerator: "cpu" });
    await fabric.barrier();
    await fabric.barrier("a", { timeoutMs: 1 });
    await fabric.barrier({ timeoutMs: 1 });
  });
});
