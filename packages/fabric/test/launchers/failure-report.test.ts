import assert from "node:assert/strict";
import { it } from "node:test";
import { exitCodeOf, failureReport, type RankOutcome } from "../../dist/launchers/failure-report.js";

function outcome(rank: number, changes: Partial<RankOutcome> = {}): RankOutcome {
  return {
    rank,
    pid: 100 + rank,
    phase: "joined",
    error: undefined,
    spawnError: undefined,
    exitCode: null,
    signal: null,
    sent: undefined,
    hasEnded: true,
    ...changes,
  };
}

const error = {
  name: "Error",
  message: "boom",
  text: "Error: boom\n    at train.ts:3:1\n",
  summary: "Error: boom",
  secondary: false,
};

it("shows the error first, then what became of the others", () => {
  const failed = outcome(1, { error, exitCode: 1 });
  const others = [
    outcome(0, { sent: "SIGTERM", signal: "SIGTERM" }),
    failed,
    outcome(2, { error: { ...error, summary: "DistributedError: gone", secondary: true }, exitCode: 1 }),
    outcome(3, { error: { ...error, summary: "TypeError: x" }, exitCode: 1 }),
    outcome(4, { exitCode: 0 }),
    outcome(5, { hasEnded: false, sent: "SIGKILL" }),
  ];
  assert.equal(
    failureReport(failed, others),
    "Rank 1 (pid 101) failed with an uncaught error after it had joined the other ranks; the job has ended.\n" +
      "Error: boom\n" +
      "    at train.ts:3:1\n" +
      "The other ranks: rank 0 (pid 100) was ended by the launcher; rank 2 (pid 102) failed as a consequence; " +
      "rank 3 (pid 103) failed as well (TypeError: x); rank 4 (pid 104) had ended with exit code 0; " +
      "rank 5 (pid 105) did not end, not even by SIGKILL.\n",
  );
  assert.equal(exitCodeOf(failed), 1);
});

it("names signals and what they may mean", () => {
  const killed = outcome(0, { signal: "SIGKILL", phase: "starting" });
  assert.equal(
    failureReport(killed, [killed]),
    "Rank 0 (pid 100) was killed by SIGKILL before it called `fabric.launch()`; the job has ended.\n" +
      "The launcher did not send it. If the machine ran out of memory, `dmesg` names this process.\n",
  );
  assert.equal(exitCodeOf(killed), 137);
  const crashed = outcome(0, { signal: "SIGSEGV" });
  assert.match(failureReport(crashed, [crashed]), /This is a crash in native code\.\n$/);
  assert.equal(exitCodeOf(crashed), 139);
});

it("explains exit codes", () => {
  const stuck = outcome(1, { exitCode: 13, phase: "launched" });
  assert.match(
    failureReport(stuck, [stuck]),
    /exit code 13 after `fabric\.launch\(\)`.*\nCode 13 is Node's: an `await` at the top level/,
  );
  const early = outcome(1, { exitCode: 0, phase: "launched" });
  assert.match(
    failureReport(early, [early]),
    /ended with exit code 0 .* were waiting for it; .*\nEvery rank has to come as far/,
  );
  assert.equal(exitCodeOf(early), 1);
});

it("says why a rank could not be started", () => {
  const missing = outcome(0, { pid: undefined, spawnError: new Error("spawn EAGAIN") });
  assert.equal(failureReport(missing, [missing]), "Rank 0 could not be started: spawn EAGAIN\n");
  assert.equal(exitCodeOf(missing), 1);
});
