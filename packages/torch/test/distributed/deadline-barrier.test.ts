// Barriers with a deadline, after which all ranks know who did not come.
import assert from "node:assert/strict";
import test from "node:test";
import { groupValues } from "../support/group.js";

const run = <T>(name: string, ranks: number) =>
  groupValues<T>(import.meta.url, "./ranks/deadline-barrier.js", name, { ranks });

interface Failure {
  name: string;
  code: string;
  message: string;
  stack: string;
}

test("a rank that does not come is named on all ranks, on itself when it comes later, and the next barrier works", async () => {
  const reports = await run<{ missing: Failure; again: Failure | null; sum: number }>("missing", 3);
  for (const [rank, { missing, again, sum }] of reports.entries()) {
    assert.equal(missing.name, "DistributedError");
    assert.equal(missing.code, "ERR_RANK_MISSING");
    assert.match(missing.message, /^`barrier ready` ended without rank 2 of 3: rank 0 has waited 300 ms\./);
    assert.equal(missing.message.includes("This rank came too late."), rank === 2);
    assert.match(missing.stack, /ranks\/deadline-barrier/);
    assert.equal(again, null);
    assert.equal(sum, 3);
  }
});

test("in a group of some ranks the missing ones are named by their ranks among all, and others do not wait", async () => {
  const reports = await run<Failure | null>("group", 3);
  assert.match(reports[2]?.message ?? "", /^`barrier` ended without rank 0 of 2: rank 2 has waited 100 ms\./);
  assert.deepEqual(reports.slice(0, 2), [null, null]);
});

test("barriers of different names do not meet, and a timeout below zero is refused", async () => {
  for (const [rank, { wrong, other }] of (await run<{ wrong: Failure; other: Failure }>("names", 2)).entries()) {
    assert.match(wrong.message, /^`timeoutMs` is -1\./);
    assert.match(other.message, new RegExp(`^\`barrier of rank ${rank}\` ended without rank ${1 - rank} of 2`));
  }
});
