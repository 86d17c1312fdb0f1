// Memory stays flat in plain synchronous loops that never yield, dispose or open a scope.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const MB = 1e6;

function run<T>(program: string, ...args: string[]): T {
  const path = fileURLToPath(new URL(`./programs/${program}.js`, import.meta.url));
  const env = { ...process.env, OMP_NUM_THREADS: "1" };
  return JSON.parse(execFileSync(process.execPath, [path, ...args], { env, encoding: "utf8" })) as T;
}

test("100,000 training steps of a small model leave live tensors and resident memory as they were", (t) => {
  const { samples, seconds } = run<{
    samples: { step: number; liveTensors: number; rss: number }[];
    seconds: number;
  }>("training");
  for (const { step, liveTensors, rss } of samples) {
    t.diagnostic(`after ${step} steps: ${liveTensors} live tensors, ${(rss / MB).toFixed(1)} MB resident`);
  }
  t.diagnostic(`${seconds.toFixed(1)} s`);
  // Some wait for the next minor collection; each step makes about thirty.
  for (const { step, liveTensors } of samples) {
    assert.ok(liveTensors < 5000, `${liveTensors} tensors are alive after ${step} steps`);
  }
  const [, early, , late] = samples;
  const growth = (late?.rss ?? Number.POSITIVE_INFINITY) - (early?.rss ?? 0);
  assert.ok(growth <= 5 * MB, `resident memory grew by ${(growth / MB).toFixed(1)} MB over 90,000 steps`);
});

test("5,000 tensors of 1 MB made and dropped in a loop stay under 500 MB", (t) => {
  const { sum, peakBytes, live } = run<{ sum: number; peakBytes: number; live: number }>("large-tensors");
  t.diagnostic(`${(peakBytes / MB).toFixed(0)} MB at most, ${live} tensors alive at the end`);
  assert.equal(sum, 5000 * 250_000);
  assert.ok(peakBytes < 500 * MB, `${(peakBytes / MB).toFixed(0)} MB were resident`);
});

for (const every of ["20971520", "1000000"]) {
  test(`blocks of many sizes leave no gaps, with a collection every ${Number(every) / MB} MB`, (t) => {
    const { samples, collections } = run<{ samples: { step: number; rss: number }[]; collections: number }>(
      "sequences",
      every,
    );
    const [early, late] = samples.map(({ rss }) => rss / MB) as [number, number];
    t.diagnostic(`${early.toFixed(1)} MB, then ${late.toFixed(1)} MB resident; ${collections} collections`);
    assert.ok(late - early < 100, `resident memory grew by ${(late - early).toFixed(1)} MB over 160 steps`);
  });
}

test("graphs that nobody runs backward are freed although their losses look small", (t) => {
  const { total, peakBytes } = run<{ total: number; peakBytes: number }>("unused-graphs");
  t.diagnostic(`${(peakBytes / MB).toFixed(0)} MB at most`);
  assert.ok(Number.isFinite(total));
  assert.ok(peakBytes < 1000 * MB, `${(peakBytes / MB).toFixed(0)} MB were resident`);
});
