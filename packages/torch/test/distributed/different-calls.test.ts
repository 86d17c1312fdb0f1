// Ranks that make different collective calls find out when one of them is late, instead of waiting for the timeout.
import assert from "node:assert/strict";
import test from "node:test";
import { groupValues, runGroup } from "../support/group.js";

const script = "./ranks/different-calls.js";
const run = <T>(name: string, ranks = 2) => groupValues<T>(import.meta.url, script, name, { ranks });

interface Failure {
  name: string;
  code: string;
  message: string;
}

test("different calls are an error on both ranks that names both", async () => {
  for (const failure of await run<Failure>("kinds")) {
    assert.equal(failure.name, "DistributedError");
    assert.equal(failure.code, "ERR_COLLECTIVES_DIFFER");
    assert.match(
      failure.message,
      /^The ranks called different collectives: number 2 is `allReduce of float32 \[2\] by sum` on rank 0 and `barrier` on rank 1\./,
    );
    assert.match(failure.message, /same order, with tensors of the same shape/);
  }
});

test("a call that only rank 0 makes is named as the user wrote it, with what to do", async () => {
  for (const { message } of await run<Failure>("labelled")) {
    assert.match(
      message,
      /`fabric\.save: allGather of uint8 \[1024\]` on rank 0 and `allReduce of float32 \[\] by sum` on rank 1/,
    );
    assert.match(message, /Call `fabric\.save` on all ranks, not inside `if \(fabric\.globalRank === 0\)`/);
  }
});

test("a rank that is blocked in a backward pass ends with the message, too", async () => {
  const [first, second] = await runGroup<Failure>(import.meta.url, script, "backward");
  assert.equal(first?.value?.code, "ERR_COLLECTIVES_DIFFER");
  assert.match(
    first?.value?.message ?? "",
    /`fabric\.save: .* on rank 0 and `DistributedDataParallel: averaging gradients/,
  );
  // It learns of it from the thread that compares, or from the connection that rank 0 closes when it ends.
  assert.ok(second?.code === 1 || second?.value?.code === "ERR_PEER_LOST", JSON.stringify(second));
});

test("tensors of other shapes that pass through unnoticed are found at the next comparison", async () => {
  for (const failure of await run<Failure>("shapes")) {
    assert.equal(failure?.code, "ERR_COLLECTIVES_DIFFER");
    assert.match(
      failure.message,
      /number 4 is `broadcast of float32 \[2\] from rank 0` on rank 0 and `broadcast of float32 \[4\] from rank 0` on rank 1/,
    );
  }
});

test("a rank that is only slow is named in a line, and nothing else happens", async () => {
  const [first, second] = await runGroup(import.meta.url, script, "waiting");
  assert.deepEqual([first?.code, second?.code], [0, 0]);
  assert.match(first?.output ?? "", /\[rank 0\] Still waiting in `barrier` after .* not there yet: rank 1/);
  assert.doesNotMatch(second?.output ?? "", /Still waiting/);
});

test("a message that is longer than expected ends the rank with a sentence", async () => {
  const outcomes = await runGroup<Failure>(import.meta.url, script, "size");
  const ended = outcomes.filter(({ code }) => code === 1);
  assert.equal(ended.length, 1, JSON.stringify(outcomes));
  assert.match(
    ended[0]?.output ?? "",
    /^A collective received more data than it expects: .*different shapes or dtypes/,
  );
});

test("a wrong FABRIC_LATE_AFTER_MS is said", async () => {
  for (const { message } of await run<Failure>("option"))
    assert.match(message, /^FABRIC_LATE_AFTER_MS is "soon"\.\nGive a number of milliseconds/);
});
