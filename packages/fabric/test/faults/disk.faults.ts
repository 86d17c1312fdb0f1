// The disk is full, or the folder may not be written to, when a checkpoint is to be saved: an error on every rank, the checkpoint before it
// intact, nothing half-written left, and training can go on.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe } from "node:test";
import { boundMs, cell, firstStep, Reference, seconds, TrainingJob } from "./cell.js";
import { launchers, worlds } from "./cells.js";

const lastStep = firstStep + 2;
// scripts/test-faults.mjs gives this process mounts of its own, where that is allowed.
const skip = process.env.FABRIC_FAULTS_MOUNTS === "1" ? false : "it needs root and `unshare --mount`";

describe("a checkpoint cannot be saved", { concurrency: 2 }, () => {
  const references = new Map<number, Reference>();
  before(async () => {
    for (const world of worlds) references.set(world, await Reference.make(world, lastStep));
  });
  after(() => {
    for (const reference of references.values()) reference.remove();
  });

  async function start(
    launcher: (typeof launchers)[number],
    world: number,
    fault: "full" | "permission",
    isCaught: boolean,
  ): Promise<TrainingJob> {
    const folder = mkdtempSync(join(tmpdir(), "fabric-fault-"));
    if (fault === "full") run("mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", folder);
    const args = ["--steps", String(lastStep), "--phase", "disk", "--fault", fault, "--victim", "0"];
    if (isCaught) args.push("--caught");
    const reference = references.get(world) as Reference;
    const training = new TrainingJob(launcher, world, { args, folder, checkpoint: reference.at(firstStep) });
    if (fault === "full") training.cleanups.push(() => run("umount", folder));
    return training;
  }

  async function finish(training: TrainingJob, world: number, endsAt?: number): Promise<void> {
    chmodSync(training.folder, 0o755);
    await training.assertIntact(references.get(world) as Reference, { endsAt });
  }

  for (const fault of ["full", "permission"] as const) {
    const code = fault === "full" ? "ENOSPC" : "EACCES";
    for (const launcher of launchers) {
      for (const world of worlds) {
        cell(
          `${launcher}: ${fault === "full" ? "full disk" : "no permission"}, every one of ${world} ranks gets the error and trains on`,
          async () => {
            const training = await start(launcher, world, fault, true);
            const end = await training.job.end;
            assert.equal(end.code, 0, training.output);
            for (let rank = 0; rank < world; rank++) {
              const elsewhere = rank === 0 ? "" : "Saving the checkpoint failed on rank 0, and therefore on all: ";
              assert.match(
                training.output,
                new RegExp(
                  `^rank ${rank} caught CheckpointError ${code} ${elsewhere}Could not write .*last\\.ckpt`,
                  "m",
                ),
              );
            }
            await finish(training, world, lastStep);
            return "trained on";
          },
          { skip },
        );
      }

      cell(
        `${launcher}: ${fault === "full" ? "full disk" : "no permission"}, where nobody catches the error it is the report of the job`,
        async () => {
          const training = await start(launcher, 2, fault, false);
          const { code: exit, tookMs } = await training.end(boundMs);
          assert.equal(exit, 1, training.output);
          assert.match(
            training.report,
            new RegExp(
              `^Rank 0 \\(pid \\d+\\) failed with an uncaught error in \`fabric\\.save\\(.*\nCheckpointError: Could not write .*${code}`,
            ),
          );
          await finish(training, 2);
          return `ended ${seconds(tookMs)} later`;
        },
        { skip },
      );
    }
  }
});

function run(command: string, ...args: string[]): void {
  const { status, stderr } = spawnSync(command, args, { encoding: "utf8" });
  assert.equal(status, 0, stderr);
}
