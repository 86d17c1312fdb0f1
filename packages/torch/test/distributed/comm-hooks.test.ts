// Communication hooks: what replaces the averaging of gradients, native ones and those in JavaScript.
import assert from "node:assert/strict";
import test from "node:test";
import { groupValues } from "../support/group.js";

const run = <T>(name: string, args: unknown = {}, ranks = 2) =>
  groupValues<T>(import.meta.url, "./ranks/comm-hooks.js", name, { args, ranks });

type Weights = number[][];

async function trained(hook: string, options = {}, ranks = 2, elsewhere = false): Promise<Weights> {
  const [a, ...others] = await run<Weights>("train", { hook, options, elsewhere }, ranks);
  for (const other of others) assert.deepEqual(other, a, `the ranks differ with ${hook}`);
  assert.ok(a);
  return a;
}

const difference = (a: Weights, b: Weights): number =>
  Math.max(...a.flatMap((list, i) => list.map((value, j) => Math.abs(value - (b[i]?.[j] ?? Number.NaN)))));

let plain: Promise<Weights> | undefined;

for (const hook of ["allReduce", "own", "blocking"]) {
  test(`with the hook "${hook}" ranks end with the same bits as without one`, async () => {
    plain ??= trained("none");
    assert.deepEqual(await trained(hook), await plain);
  });
}

test("a hook in JavaScript also serves backward passes that run on another thread", async () => {
  plain ??= trained("none");
  assert.deepEqual(await trained("own", {}, 2, true), await plain);
});

for (const [hook, most] of [
  ["fp16", 1e-5],
  ["bf16", 1e-4],
  ["wrapped", 1e-4],
  ["powerSGD", 5e-2],
] as const) {
  test(`with ${hook} all ranks end alike, close to what full averaging gives and not at it`, async () => {
    plain ??= trained("none");
    const gap = difference(await trained(hook), await plain);
    assert.ok(gap > 0 && gap < most, `differs by ${gap}`);
  });
}

test("bf16 compression works on five ranks, and with gradients that are views into the buckets", async () => {
  const gap = difference(await trained("bf16", { gradientAsBucketView: true }, 5), await trained("none", {}, 5));
  assert.ok(gap > 0 && gap < 1e-4, `differs by ${gap}`);
});

test("PowerSGD of rank two is exact for gradients of rank two", async () => {
  interface Gradients {
    values: number[];
    iter: number;
    errors: number;
  }
  for (const { plain: exact, compressed } of await run<{ plain: Gradients; compressed: Gradients }>("rankTwo")) {
    assert.equal(compressed.iter, 5);
    assert.equal(compressed.errors, 1);
    for (const [i, value] of exact.values.entries()) {
      assert.ok(Math.abs(value - (compressed.values[i] ?? Number.NaN)) < 2e-4, `element ${i}`);
    }
  }
});

test("a hook sees every bucket in order, with its parameters, and runs without gradient mode", async () => {
  const [seen] = await run<{ index: number; isLast: boolean; names: string[] }[]>("seen");
  assert.deepEqual(seen, [
    {
      state: "state",
      index: 0,
      isLast: false,
      size: 260,
      names: ["second.weight", "second.bias"],
      shapesFit: true,
      grad: false,
    },
    {
      state: "state",
      index: 1,
      isLast: true,
      size: 2624,
      names: ["first.weight", "first.bias"],
      shapesFit: true,
      grad: false,
    },
  ]);
});

test("buckets have 25 MiB unless told otherwise, and the first one has 1 MiB", async () => {
  assert.deepEqual(await run("sizes", {}, 1), [[2, 50, 8]]);
});

test("what a hook does wrong is said on every rank, its own errors as they are", async () => {
  for (const result of await run<Record<string, { name: string; message: string }>>("mistakes")) {
    assert.equal(result.throws?.name, "RangeError");
    assert.equal(result.throws?.message, "the hook's own");
    assert.equal(result.map?.message, "in map");
    assert.match(result.async?.message ?? "", /this one returned a promise[\s\S]*Return `bucket.allReduce/);
    assert.match(result.number?.message ?? "", /^Expected the communication hook to return a tensor .* but got 7\./);
    assert.match(result.short?.message ?? "", /gave float32 \[2\] for a bucket of float32 \[2884\]/);
    assert.match(result.none?.message ?? "", /^Expected `hook` to be a function/);
    assert.match(result.late?.message ?? "", /cannot be registered after the first forward pass/);
    assert.match(result.twice?.message ?? "", /has a communication hook already/);
    assert.match(result.start?.message ?? "", /^`startPowerSGDIter` is 1/);
    assert.match(result.rank?.message ?? "", /^`matrixApproximationRank` is 0/);
  }
});
