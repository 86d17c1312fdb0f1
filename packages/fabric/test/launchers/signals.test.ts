// Signals to the launcher, and its own sudden end.
import assert from "node:assert/strict";
import { constants } from "node:os";
import { describe, it } from "node:test";
import { Job, pause } from "./job.js";

async function startWaiting(how: string, env: Record<string, string> = {}): Promise<Job> {
  const job = new Job("waiting", [how], { env });
  await job.until("ready", 2);
  // Until the ranks are where they wait.
  await pause(100);
  return job;
}

for (const how of ["idle", "collective", "blocked"]) {
  describe(`while the ranks are ${{ idle: "idle", collective: "in a collective", blocked: "blocked outside of JavaScript" }[how]}`, () => {
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
      it(`${signal} ends the job with 128 + its number`, async () => {
        const job = await startWaiting(how);
        const sent = Date.now();
        // To the group, as the terminal does for Ctrl-C.
        process.kill(-job.pid, signal);
        const { code, at } = await job.end;
        assert.equal(code, 128 + constants.signals[signal]);
        assert.ok(at - sent <= 1000, `took ${at - sent} ms`);
        assert.equal(job.stderr, "");
        await job.assertClean();
      });
    }

    it("kill -9 of the launcher ends the ranks within a second, and the next job clears up", async () => {
      const job = await startWaiting(how);
      assert.equal(job.processes().length, 3);
      job.launcher.kill("SIGKILL");
      await job.assertClean({ withinMs: 1000, keepsFiles: true });
      assert.equal(job.rendezvousDirectories().length, 1);
      const next = new Job("describing", ["2"], { tmp: job.tmp });
      assert.equal((await next.end).code, 0);
      await next.assertClean();
    });
  });
}

it("ranks that ignore the signal are killed after the grace period", async () => {
  const job = await startWaiting("ignoring", { FABRIC_GRACE_SECONDS: "0.7" });
  const sent = Date.now();
  job.launcher.kill("SIGTERM");
  const { code, at } = await job.end;
  assert.equal(code, 143);
  assert.ok(at - sent >= 700 && at - sent <= 1700, `took ${at - sent} ms`);
  assert.equal(job.stdout.split("got SIGTERM").length, 3, "each rank gets it once");
  await job.assertClean();
});

it("a second signal ends the ranks at once", async () => {
  const job = await startWaiting("ignoring", { FABRIC_GRACE_SECONDS: "30" });
  job.launcher.kill("SIGINT");
  await job.until("got SIGINT", 2);
  const sent = Date.now();
  job.launcher.kill("SIGINT");
  const { code, at } = await job.end;
  assert.equal(code, 130);
  assert.ok(at - sent <= 1000, `took ${at - sent} ms`);
  await job.assertClean();
});

it("ranks may use the grace period to finish their work", async () => {
  const job = await startWaiting("graceful");
  job.launcher.kill("SIGTERM");
  assert.equal((await job.end).code, 143);
  assert.equal(job.stdout.split("saved").length, 3);
  assert.equal(job.stderr, "");
  await job.assertClean();
});
