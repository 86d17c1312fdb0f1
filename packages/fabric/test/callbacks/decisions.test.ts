// Callbacks on two processes: whatever the ranks see, they decide alike.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { before, describe, it } from "node:test";
import { runRanks } from "../support/run-ranks.js";

interface Report {
  checks: boolean[];
  reason: string;
  warnings: string[];
  nan: boolean;
  missing: string;
  kept: [string, number][];
  best: string[];
  failure: string;
  afterFailure: [string, number];
  latest: string;
  resumed: number;
  time: string[];
  never: string[];
  skipped: boolean[];
  finite: boolean;
  gradients: number[];
  later: string[];
}

describe("on two ranks", () => {
  let ranks: Report[];
  before(async () => {
    const directory = mkdtempSync(join(tmpdir(), "fabric-test-"));
    try {
      ranks = await runRanks<Report>("callbacks", { TEST_DIRECTORY: directory });
    } finally {
      rmSync(directory, { recursive: true });
    }
    assert.equal(ranks.length, 2);
  });
  const onBoth = (check: (report: Report) => void): void => {
    for (const report of ranks) check(report);
  };

  it("EarlyStopping goes by the mean of different values, and mentions them once, on rank 0", () => {
    onBoth(({ checks, reason }) => {
      assert.deepEqual(checks, [false, false, false, true]);
      assert.match(reason, /did not improve in the last 1 checks. Best score: 2\./);
    });
    assert.equal(ranks[0]?.warnings.length, 1);
    assert.match(
      ranks[0]?.warnings[0] ?? "",
      /^EarlyStopping: the ranks have different values of 'loss' \(4, 2\); their mean is used/,
    );
    assert.deepEqual(ranks[1]?.warnings, []);
  });
  it("EarlyStopping stops all when one has NaN, and fails on all when one lacks the metric", () => {
    onBoth(({ nan }) => assert.equal(nan, true));
    assert.match(ranks[1]?.missing ?? "", /^UsageError: EarlyStopping is conditioned on the metric `loss`/);
    assert.match(
      ranks[0]?.missing ?? "",
      /^DistributedError: Reading the metric 'loss' failed on rank 1, and therefore on all/,
    );
  });
  it("ModelCheckpoint keeps the same files everywhere, by the mean of the scores", () => {
    onBoth(({ kept, best }) => assert.deepEqual([kept, best], [[["epoch=0.ckpt", 2]], ["epoch=0.ckpt"]]));
  });
  it("ModelCheckpoint fails on all ranks, which forget the checkpoint", () => {
    assert.match(ranks[0]?.failure ?? "", /^CheckpointError: The folder for the checkpoint cannot be made/);
    assert.match(ranks[1]?.failure ?? "", /^CheckpointError: Saving the checkpoint failed on rank 0/);
    onBoth(({ afterFailure }) => assert.deepEqual(afterFailure, ["", 0]));
  });
  it("ModelCheckpoint.latest is rank 0's answer everywhere, and all resume from it", () => {
    onBoth(({ latest, resumed }) => assert.deepEqual([latest, resumed], ["epoch=0.ckpt", 2]));
  });
  it("ModelCheckpoint goes by the clock of rank 0", () => {
    onBoth(({ time, never }) => assert.deepEqual([time, never], [["step=1.ckpt", "step=2.ckpt", "step=3.ckpt"], []]));
  });
  it("ModelCheckpoint works in the background", () => {
    onBoth(({ later }) => assert.deepEqual(later, ["step=3.ckpt"]));
  });
  it("FiniteGuard finds a bad gradient of one rank on all, in the same step", () => {
    onBoth(({ skipped, finite }) => assert.deepEqual([skipped, finite], [[false, false, true, false], true]));
  });
  it("GradientAccumulationScheduler leaves gradients local until the step", () => {
    // Each batch adds 3 (rank + 1), divided by the three or the one of its step.
    assert.deepEqual(ranks[0]?.gradients, [1, 2, 4.5, 4.5]);
    assert.deepEqual(ranks[1]?.gradients, [2, 4, 4.5, 4.5]);
  });
});
