// One of two ranks fails: the whole job ends soon, says which rank it was and why, and leaves nothing behind.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { constants } from "node:os";
import { after, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { fabricCommand, faultTime, Job } from "./job.js";

const places = [
  "before launch",
  "after launch",
  "between collectives",
  "while the other waits in a barrier",
  "inside of an all-reduce",
];
const beforeTheMeeting = places.slice(0, 2);
// A busy machine may make one job late; it does not make most of them late.
const hardBoundMs = 5000;
const boundMs = 2000;
const times: number[] = [];

after(() => {
  const median = times.sort((a, b) => a - b)[Math.floor(times.length / 2)] ?? 0;
  assert.ok(median <= boundMs, `half of the jobs ended only ${median} ms after the fault`);
});

async function runFault(where: string, what: string, victim: number): Promise<{ job: Job; code: number | null }> {
  const job = new Job("faulty", [where, what, String(victim)]);
  const { code, at } = await job.end;
  const took = at - faultTime(job);
  times.push(took);
  assert.ok(took <= hardBoundMs, `the job ended only ${took} ms after the fault`);
  await job.assertClean();
  return { job, code };
}

// The message proper: what precedes it are lines of the ranks themselves.
function report(job: Job): string {
  return job.stderr.slice(job.stderr.search(/^Rank \d/m));
}

for (const victim of [0, 1]) {
  const other = 1 - victim;
  for (const where of places) {
    describe(`rank ${victim} fails ${where}`, () => {
      for (const what of ["throw", "reject"]) {
        it(`${what === "throw" ? "an error thrown" : "a rejection nobody handles"} is shown first and once, with the user's frames`, async () => {
          const { job, code } = await runFault(where, what, victim);
          assert.equal(code, 1);
          const text = report(job);
          assert.match(
            text,
            new RegExp(
              `^Rank ${victim} \\(pid \\d+\\) failed with an uncaught error .*\nError: boom on purpose\n +at .*faulty\\.[jt]s`,
            ),
          );
          assert.equal(job.stderr.split("boom on purpose").length, 2, "shown once");
          assert.match(
            text,
            new RegExp(
              `The other rank: rank ${other} \\(pid \\d+\\) (was ended by the launcher|failed as a consequence)`,
            ),
          );
          assert.doesNotMatch(job.stderr, /DistributedError/);
        });
      }

      it("process.exit(3) becomes the job's exit code", async () => {
        const { job, code } = await runFault(where, "exit-3", victim);
        assert.equal(code, 3);
        assert.match(report(job), new RegExp(`^Rank ${victim} \\(pid \\d+\\) ended with exit code 3 `));
        assert.doesNotMatch(job.stderr, /DistributedError/);
      });

      for (const signal of ["SIGKILL", "SIGSEGV"] as const) {
        it(`${signal} is named, and the exit code is 128 + its number`, async () => {
          const { job, code } = await runFault(where, signal, victim);
          assert.equal(code, 128 + constants.signals[signal]);
          assert.match(report(job), new RegExp(`^Rank ${victim} \\(pid \\d+\\) was killed by ${signal} `));
          assert.doesNotMatch(job.stderr, /DistributedError/);
        });
      }

      // There the other rank does not wait for the victim.
      if (where === "inside of an all-reduce") return;
      it("process.exit(0) while the other rank needs it is a failure", async () => {
        const { job, code } = await runFault(where, "exit-0", victim);
        assert.equal(code, 1);
        const expected = new RegExp(`^Rank ${victim} \\(pid \\d+\\) ended with exit code 0 .* were waiting for it`);
        assert.match(report(job), expected);
        if (beforeTheMeeting.includes(where)) return;
        assert.match(report(job), new RegExp(`\nRank ${other} \\(pid \\d+\\) gave up .*:\nDistributedError: `));
      });
    });
  }
}

it("a job without a fault ends with 0 and says nothing", async () => {
  const job = new Job("faulty", []);
  assert.deepEqual([(await job.end).code, job.stderr], [0, ""]);
  await job.assertClean();
});

it("ranks that never come to the meeting are named", async () => {
  const job = new Job("missing", []);
  assert.equal((await job.end).code, 1);
  assert.match(
    job.stderr,
    /DistributedError: Rank [02] waited 1 s for all 3 ranks to meet: present are 0, 2, missing are 1\./,
  );
  await job.assertClean();
});

it("a launcher that may not open enough files for its ranks says so, and ends those that it had started and nobody else", () => {
  const program = fileURLToPath(new URL("./programs/waiting.js", import.meta.url));
  // A process group of its own, in which the shell goes on after the job.
  const shell = ["--wait", "sh", "-c", 'ulimit -n 64; "$0" "$@"; echo "ended with $?"'];
  const command = [process.execPath, fabricCommand, "run", "--devices", "24", program];
  const { stdout, stderr } = spawnSync("setsid", [...shell, ...command], { encoding: "utf8" });
  assert.equal(stdout, "ended with 1\n", stderr);
  assert.match(stderr, /^Rank \d+ could not be started: spawn \S+ EMFILE\n.*`ulimit -n 4096`/m);
  const pids = [...stderr.matchAll(/\(pid (\d+)\)/g)].map(([, pid]) => Number(pid));
  assert.ok(pids.length > 0);
  for (const pid of pids) assert.throws(() => process.kill(pid, 0), { code: "ESRCH" });
});
