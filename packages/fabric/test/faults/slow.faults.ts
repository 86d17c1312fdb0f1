// Ranks that are slow, stopped or have crashed, and jobs that start again.
import assert from "node:assert/strict";
import { constants } from "node:os";
import { after, before, describe } from "node:test";
import { boundMs, cell, firstStep, Reference, seconds, TrainingJob } from "./cell.js";
import { launchers } from "./cells.js";

const lastStep = firstStep + 2;

describe("a rank", { concurrency: 2 }, () => {
  let reference: Reference;
  before(async () => {
    reference = await Reference.make(2, lastStep);
  });
  after(() => reference.remove());

  function start(
    launcher: (typeof launchers)[number],
    fault: { phase: string; fault: string; timeoutMs?: number },
    options: { env?: Record<string, string>; run?: string[] } = {},
  ): TrainingJob {
    const args = ["--steps", String(lastStep), "--phase", fault.phase, "--fault", fault.fault, "--victim", "1"];
    if (fault.timeoutMs) args.push("--timeout", String(fault.timeoutMs));
    return new TrainingJob(launcher, 2, { args, checkpoint: reference.at(firstStep), ...options });
  }

  for (const launcher of launchers) {
    cell(`${launcher}: a slow rank is named, and the job goes on`, async () => {
      const env = { FABRIC_LATE_AFTER_MS: "1500", SLOW_MS: "6000" };
      const training = start(launcher, { phase: "forward", fault: "slow" }, { env });
      assert.equal((await training.job.end).code, 0, training.output);
      const named = /^Rank 0 has been waiting for \d s; not there yet: rank 1 \(pid \d+\) is in the forward pass\.$/gm;
      assert.equal(training.job.stderr.match(named)?.length, 1, training.output);
      await training.assertIntact(reference, { endsAt: lastStep });
      return "named once";
    });

    cell(`${launcher}: a rank that is slower than the timeout ends the job and is named`, async () => {
      const env = { SLOW_MS: "600000" };
      const training = start(launcher, { phase: "backward", fault: "slow", timeoutMs: 6000 }, { env });
      const { code, tookMs } = await training.end(6000 + boundMs);
      assert.equal(code, 1, training.output);
      assert.match(training.report, /^Rank 1 \(pid \d+\) kept the others waiting, in the backward pass, for \d s;/);
      assert.match(training.report, /\nRank 0 \(pid \d+\) gave up in the backward pass:\nDistributedError: /);
      await training.assertIntact(reference);
      return `ended ${seconds(tookMs - 6000)} after the timeout`;
    });
  }

  cell("a stopped rank is named, and the job goes on when it does", async () => {
    const training = start(
      "script",
      { phase: "backward", fault: "SIGSTOP" },
      { env: { FABRIC_LATE_AFTER_MS: "9000" } },
    );
    await training.job.until("has been stopped by a signal", 1, 60_000);
    const { pid } = training.fault;
    assert.match(
      training.output,
      new RegExp(`^Rank 1 \\(pid ${pid}\\) has been stopped .* \`kill -CONT ${pid}\``, "m"),
    );
    process.kill(pid, "SIGCONT");
    assert.equal((await training.job.end).code, 0, training.output);
    assert.match(training.output, new RegExp(`^Rank 1 \\(pid ${pid}\\) runs again\\.$`, "m"));
    await training.assertIntact(reference, { endsAt: lastStep });
    return "named, and it went on";
  });

  cell("a stopped rank ends the job at the timeout and is named", async () => {
    const training = start("run", { phase: "backward", fault: "SIGSTOP", timeoutMs: 6000 });
    const { code, tookMs } = await training.end(6000 + boundMs);
    assert.equal(code, 1, training.output);
    assert.match(
      training.report,
      /^Rank 1 \(pid \d+\) kept the others waiting, stopped by a signal in the backward pass, for \d s; the job has ended\.\n/,
    );
    await training.assertIntact(reference, { isKilled: true });
    return `ended ${seconds(tookMs - 6000)} after the timeout`;
  });

  for (const phase of ["forward", "save"]) {
    for (const fault of ["SIGSEGV", "abort"]) {
      cell(`a crash in native code (${fault} in ${phase}) is named`, async () => {
        const training = start("run", { phase, fault });
        const signal = fault === "abort" ? "SIGABRT" : fault;
        const { code, tookMs } = await training.end();
        assert.equal(code, 128 + constants.signals[signal as NodeJS.Signals], training.output);
        const where = phase === "save" ? "`fabric.save\\(" : "the forward pass";
        assert.match(training.report, new RegExp(`^Rank 1 \\(pid \\d+\\) was killed by ${signal} in ${where}`));
        assert.match(training.report, /\nThis is a crash in native code\./);
        await training.assertIntact(reference, { isKilled: true });
        return `ended ${seconds(tookMs)} later`;
      });
    }
  }

  cell("a rank without memory has an error that says so", async () => {
    const training = start("script", { phase: "forward", fault: "memory" });
    const { code, tookMs } = await training.end();
    assert.equal(code, 1, training.output);
    assert.match(
      training.report,
      /^Rank 1 \(pid \d+\) failed with an uncaught error in the forward pass; .*\nTorchError: /,
    );
    assert.match(training.report, /memory/);
    await training.assertIntact(reference);
    return `ended ${seconds(tookMs)} later`;
  });

  cell("process.exit(0) of a rank that the others need is a failure", async () => {
    const training = start("script", { phase: "forward", fault: "exit-0" });
    const { code, tookMs } = await training.end();
    assert.equal(code, 1, training.output);
    assert.match(
      training.report,
      /^Rank 1 \(pid \d+\) ended with exit code 0 in the forward pass, although the other ranks were waiting for it;/,
    );
    await training.assertIntact(reference);
    return `ended ${seconds(tookMs)} later`;
  });

  for (const phase of ["start", "rendezvous", "forward", "blocked", "save", "load"]) {
    cell(
      `--max-restarts: after SIGKILL in ${phase} the job goes on from its checkpoint to the same weights`,
      async () => {
        const training = start("run", { phase, fault: "SIGKILL" }, { run: ["--max-restarts", "1"] });
        const end = await training.job.end;
        assert.equal(end.code, 0, training.output);
        assert.match(training.output, /Rank 1 \(pid \d+\) was killed by SIGKILL/);
        assert.match(training.output, /^All 2 ranks are started again \(restart 1 of 1\)\.$/m);
        const tookMs = end.at - training.fault.at;
        await training.assertIntact(reference, { endsAt: lastStep });
        return `done ${seconds(tookMs)} after the fault`;
      },
    );
  }

  cell("--max-restarts: a rank that fails every time ends the job", async () => {
    const env = { FAIL_ALWAYS: "1" };
    const training = start("run", { phase: "forward", fault: "throw" }, { env, run: ["--max-restarts", "2"] });
    const { code } = await training.end();
    assert.equal(code, 1, training.output);
    assert.equal(training.output.split("Error: boom on purpose").length, 4, training.output);
    await training.assertIntact(reference);
    return "three attempts";
  });
});
