// The launcher itself is killed or asked to end, while a rank is blocked in a hook of `backward` and the others wait for it there.
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { constants } from "node:os";
import { join } from "node:path";
import { after, before, describe } from "node:test";
import { pause } from "../launchers/job.js";
import { boundMs, cell, firstStep, Reference, seconds, TrainingJob } from "./cell.js";
import { type Launcher, launchers, worlds } from "./cells.js";

describe("the launcher", { concurrency: 2 }, () => {
  const references = new Map<number, Reference>();
  before(async () => {
    for (const world of worlds) references.set(world, await Reference.make(world, firstStep + 2));
  });
  after(() => {
    for (const reference of references.values()) reference.remove();
  });

  async function start(launcher: Launcher, world: number, env: Record<string, string> = {}): Promise<TrainingJob> {
    const stuck = ["--phase", "backward", "--fault", "slow", "--victim", String(world - 1)];
    const training = new TrainingJob(launcher, world, {
      args: ["--steps", String(firstStep + 2), ...stuck],
      checkpoint: references.get(world)?.at(firstStep),
      env: { SLOW_MS: "600000", ...env },
    });
    const isStuck = join(training.folder, "fault.json");
    for (const end = Date.now() + 30_000; !existsSync(isStuck) && Date.now() < end; ) await pause(20);
    assert.ok(existsSync(isStuck), training.output);
    return training;
  }

  for (const launcher of launchers) {
    for (const world of worlds) {
      const reference = (): Reference => references.get(world) as Reference;

      cell(`${launcher}: kill -9 of the launcher of ${world} ranks ends them all`, async () => {
        const training = await start(launcher, world);
        const { job } = training;
        assert.equal(job.processes().length, world + 1);
        const sent = Date.now();
        job.launcher.kill("SIGKILL");
        while (job.processes().length > 0 && Date.now() - sent < boundMs) await pause(10);
        const tookMs = Date.now() - sent;
        // Its folder in TMPDIR is removed by the next job there.
        await training.assertIntact(reference(), { keepsFiles: true });
        assert.ok(job.rendezvousDirectories().length > 0);
        const next = new TrainingJob("script", 2, { args: ["--steps", "0"], tmp: job.tmp });
        assert.equal((await next.job.end).code, 0, next.output);
        await next.job.assertClean();
        next.remove();
        return `all had ended ${seconds(tookMs)} later`;
      });
    }

    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
      cell(`${launcher}: ${signal} to the launcher ends ranks that are blocked`, async () => {
        const training = await start(launcher, 2);
        const sent = Date.now();
        // To the group, as a terminal sends it.
        process.kill(-training.job.pid, signal);
        const { code, at } = await training.job.end;
        assert.equal(code, 128 + constants.signals[signal], training.output);
        assert.ok(at - sent <= boundMs, `ended only ${at - sent} ms later`);
        assert.doesNotMatch(training.output, /the job has ended/);
        await training.assertIntact(references.get(2) as Reference);
        return `ended ${seconds(at - sent)} later`;
      });
    }

    cell(`${launcher}: ranks that ignore SIGTERM get the grace period, and a second signal ends it`, async () => {
      const training = await start(launcher, 2, { FABRIC_GRACE_SECONDS: "60", IGNORE: "SIGTERM" });
      training.job.launcher.kill("SIGTERM");
      await pause(1000);
      assert.equal(training.job.processes().length, 3);
      const sent = Date.now();
      training.job.launcher.kill("SIGTERM");
      const { code, at } = await training.job.end;
      assert.equal(code, 143, training.output);
      assert.ok(at - sent <= boundMs, `ended only ${at - sent} ms after the second signal`);
      await training.assertIntact(references.get(2) as Reference);
      return `ended ${seconds(at - sent)} after the second one`;
    });
  }

  cell("two jobs at once: one fails, the other notices nothing", async () => {
    const checkpoint = references.get(2)?.at(firstStep);
    const args = ["--steps", String(firstStep + 2)];
    const failing = [...args, "--phase", "backward", "--fault", "SIGKILL", "--victim", "1"];
    const [one, other] = [
      new TrainingJob("script", 2, { args: failing, checkpoint }),
      new TrainingJob("script", 2, { args, checkpoint }),
    ];
    const { tookMs } = await one.end();
    assert.equal((await other.job.end).code, 0, other.output);
    assert.match(one.output, /Rank 1 \(pid \d+\) was killed by SIGKILL/);
    assert.doesNotMatch(other.output, /the job has ended/);
    await one.assertIntact(references.get(2) as Reference);
    await other.assertIntact(references.get(2) as Reference, { endsAt: firstStep + 2 });
    return `the one ended ${seconds(tookMs)} after its fault`;
  });
});
