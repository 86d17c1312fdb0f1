// What happens when a peer process dies, is late or never comes, and what a group leaves behind.
import assert from "node:assert/strict";
import test from "node:test";
import { type GroupRun, groupValues, runGroup } from "../support/group.js";
import { isLoopback, listenersOf } from "../support/listeners.js";

interface Failure {
  name: string;
  code: string;
  message: string;
  at: number;
  ms: number;
  stack: string;
}

const run = <T>(name: string, options: GroupRun = {}) =>
  runGroup<T>(import.meta.url, "./ranks/failures.js", name, options);

/** Kills rank 1 a little after all ranks have said that they run. */
function killer(ranks: number, times: { killed: number }): GroupRun {
  let running = 0;
  return {
    ranks,
    onSignal(_rank, _text, processes) {
      if (++running < ranks) return;
      setTimeout(() => {
        times.killed = Date.now();
        processes[1]?.kill("SIGKILL");
      }, 150);
    },
  };
}

test("when a rank is killed inside an all-reduce, the others get a named error within a second", async () => {
  const times = { killed: 0 };
  const outcomes = await run<{ first: Failure; second: Failure }>("reduceForEver", killer(3, times));
  assert.equal(outcomes[1]?.signal, "SIGKILL");
  for (const rank of [0, 2]) {
    const value = outcomes[rank]?.value;
    assert.ok(value, outcomes[rank]?.output);
    assert.equal(value.first.name, "DistributedError");
    assert.equal(value.first.code, "ERR_PEER_LOST");
    assert.match(
      value.first.message,
      new RegExp(`^allReduce of float32 \\[1048576\\] failed on rank ${rank} of 3: another process`),
    );
    assert.ok(value.first.at - times.killed < 1000, `${value.first.at - times.killed} ms`);
    assert.equal(value.second.name, "DistributedError");
    assert.equal(outcomes[rank]?.code, 0);
  }
});

test("when a rank is killed during backward, the other gets a DistributedError from it", async () => {
  const times = { killed: 0 };
  const outcomes = await run<{ first: Failure }>("trainForEver", killer(2, times));
  const failure = outcomes[0]?.value?.first;
  assert.ok(failure, outcomes[0]?.output);
  assert.equal(failure.name, "DistributedError");
  assert.equal(failure.code, "ERR_PEER_LOST");
  assert.ok(failure.at - times.killed < 1000, `${failure.at - times.killed} ms`);
  assert.equal(outcomes[0]?.code, 0);
});

test("a late rank is a timeout that names the collective, from the line that awaits it", async () => {
  const failure = (await run<Failure>("late"))[0]?.value;
  assert.match(
    failure?.stack ?? "",
    /^DistributedError: allReduce.*at async \S*allReduce .*at async untilItFails .*failures\.js/s,
  );
  assert.equal(failure?.code, "ERR_TIMEOUT");
  assert.match(
    failure?.message ?? "",
    /^allReduce of float32 \[2, 3\] failed on rank 0 of 2: .* did not answer within 700 ms\./,
  );
  assert.ok((failure?.ms ?? 0) < 1700, `${failure?.ms} ms`);
});

test("a rank that never comes is named by those that did", async () => {
  const outcomes = await run<Failure>("missing", { ranks: 3 });
  for (const rank of [0, 2]) {
    const failure = outcomes[rank]?.value;
    assert.equal(failure?.code, "ERR_RANK_MISSING");
    assert.match(failure?.message ?? "", /^Rank 1 of 3 did not arrive within 1 s; present: 0, 2\./);
    assert.ok((failure?.ms ?? 0) < 2000, `${failure?.ms} ms`);
  }
});

test("two processes of the same rank are told so", async () => {
  const values = await groupValues<Failure>(import.meta.url, "./ranks/failures.js", "twins");
  const messages = values.map((value) => value.message).join("\n");
  assert.match(messages, /Two processes came to the rendezvous as rank 0\./);
});

test("a monitored barrier tells rank 0 who is missing", async () => {
  const failure = (await run<Failure>("monitored", { ranks: 3 }))[0]?.value;
  assert.equal(failure?.name, "DistributedError");
  assert.match(failure?.message ?? "", /ranks? 1/i);
});

test("a process that ends with a collective on its way neither hangs nor crashes, and keeps its exit code", async () => {
  const outcomes = await run<boolean>("leaveUnfinished", { timeoutMs: 20_000 });
  assert.deepEqual([outcomes[0]?.code, outcomes[0]?.signal], [3, null], outcomes[0]?.output);
  assert.deepEqual([outcomes[1]?.code, outcomes[1]?.signal], [0, null], outcomes[1]?.output);
});

test("a group can be destroyed and made again on the same store", async () => {
  const values = await groupValues<number[]>(import.meta.url, "./ranks/failures.js", "again", { ranks: 2 });
  assert.deepEqual(values, [
    [1, 3, 5],
    [1, 3, 5],
  ]);
});

test("on one host nothing listens outside of loopback", {
  skip: process.platform !== "linux" && "needs /proc",
}, async () => {
  const listeners: string[] = [];
  let asked = 0;
  await groupValues(import.meta.url, "./ranks/failures.js", "listen", {
    onSignal(_rank, _text, processes) {
      asked += processes.length;
      for (const child of processes) listeners.push(...listenersOf(child.pid as number));
    },
  });
  assert.ok(asked > 0);
  assert.deepEqual(
    listeners.filter((address) => !isLoopback(address)),
    [],
  );
});
