import assert from "node:assert/strict";
import { it } from "node:test";
import { exitCodeOf, failureReport, type RankOutcome } from "../../dist/launchers/failure-report.js";
import type { RankActivity } from "../../dist/launchers/rank-page.js";

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
  const limited = outcome(0, { spawnError: Object.assign(new Error("spawn EAGAIN"), { code: "EAGAIN" }) });
  assert.match(failureReport(limited, [limited]), /: spawn EAGAIN\n.* no more processes: .*`ulimit -u`/);
});

function seen(place: string, changes: Partial<RankActivity> = {}): RankActivity {
  return { place, heart: 1, peakKiB: 0, isWaiting: false, changes: "", ...changes };
}

it("says where each rank was, where they show it", () => {
  const failed = outcome(1, { exitCode: 3, seen: seen("in the forward pass, after 2 optimizer steps") });
  const others = [
    outcome(0, { sent: "SIGTERM", seen: seen("in the backward pass") }),
    failed,
    outcome(2, { sent: "SIGTERM", error: { ...error, secondary: true, place: "in `fabric.barrier`" }, seen: seen("") }),
  ];
  assert.equal(
    failureReport(failed, others),
    "Rank 1 (pid 101) ended with exit code 3 in the forward pass, after 2 optimizer steps; the job has ended.\n" +
      "The other ranks: rank 0 (pid 100) was ended by the launcher in the backward pass; " +
      "rank 2 (pid 102) was ended by the launcher in `fabric.barrier`.\n",
  );
  // Where an error came from counts more than where the rank was when it ended.
  const threw = outcome(1, { error: { ...error, place: "in `fabric.save`" }, seen: seen("after 3 optimizer steps") });
  assert.match(failureReport(threw, [threw]), /^Rank 1 \(pid 101\) failed with an uncaught error in `fabric\.save`; /);
});

it("says how much memory a killed rank had, and whether there was too little", () => {
  const killed = outcome(0, { signal: "SIGKILL", seen: seen("in the forward pass", { peakKiB: 3.25 * 2 ** 20 }) });
  assert.match(failureReport(killed, [killed]), /If the machine ran out of memory, .* It had used 3\.3 GiB\.\n$/);
  const starved = { ...killed, memoryRanOut: true };
  assert.match(
    failureReport(starved, [starved]),
    /\nThe kernel has killed it, or another process at the same time, because memory ran out\. It had used 3\.3 GiB\.\n$/,
  );
});

it("names first who kept the others waiting, then who gave up", () => {
  const late = { ...error, code: "ERR_TIMEOUT", text: "DistributedError: no answer", secondary: true };
  const failed = outcome(0, { error: { ...late, place: "in the backward pass" }, exitCode: 1 });
  const stuck = outcome(1, { sent: "SIGTERM", seen: seen("in the forward pass"), unchangedMs: 5200 });
  const third = outcome(2, { error: late, exitCode: 1 });
  assert.equal(
    failureReport(failed, [failed, stuck, third], { silent: [stuck] }),
    "Rank 1 (pid 101) kept the others waiting, in the forward pass, for 5 s; the job has ended.\n" +
      "Rank 0 (pid 100) gave up in the backward pass:\n" +
      "DistributedError: no answer\n" +
      "The other rank: rank 2 (pid 102) failed as a consequence.\n",
  );
  const stopped = outcome(3, { isStopped: true, phase: "starting" });
  assert.match(
    failureReport(failed, [failed, stuck, stopped], { silent: [stuck, stopped] }),
    /^The ranks 1 and 3 kept the others waiting; the job has ended\.\nRank 1 \(pid 101\) was in the forward pass, for 5 s\.\nRank 3 \(pid 103\) was stopped by a signal before it called `fabric\.launch\(\)`\.\nRank 0 /,
  );
  const gone = outcome(1, { exitCode: 0, seen: seen("after 2 optimizer steps") });
  assert.match(
    failureReport(failed, [failed, gone], { silent: [gone] }),
    /^Rank 1 \(pid 101\) ended with exit code 0 after 2 optimizer steps, although the other ranks were waiting for it; .*\n.*\nRank 0 \(pid 100\) gave up in/,
  );
});
