// What a rank shows of its activities, read as its launcher reads it.
import assert from "node:assert/strict";
import { it } from "node:test";

type Activity = typeof import("../../dist/utilities/activity.js");

const key = Symbol.for("@fabric-ts/fabric:rank-page");
const memory = new ArrayBuffer(256);
(globalThis as Record<symbol, unknown>)[key] = memory;
// A module of its own, which finds the memory.
const {
  activities,
  countStep,
  during,
  duringAsyncPass,
  duringCall,
  duringPass,
  placesKey,
  tellPlace,
  textStart,
  words,
} = (await import(`${new URL("../../dist/utilities/activity.js", import.meta.url).href}?shared`)) as Activity;
delete (globalThis as Record<symbol, unknown>)[key];
const page = new Int32Array(memory);

function shown(): string {
  const call = Buffer.from(memory, textStart, page[words.textLength]).toString();
  return tellPlace(page[words.activity] as number, call, page[words.steps] as number);
}

function placeOf(error: unknown): string | undefined {
  return (globalThis as { [placesKey]?: WeakMap<object, string> })[placesKey]?.get(error as object);
}

it("the innermost activity is shown, and what was before it again when it is over", async () => {
  assert.equal(shown(), "");
  const seen = during("setup", () => [shown(), during("forward", shown), shown()]);
  assert.deepEqual(seen, ["in `fabric.setup`", "in the forward pass", "in `fabric.setup`"]);
  assert.equal(shown(), "");
  await duringCall('fabric.barrier("one")', async () => {
    assert.equal(shown(), 'in `fabric.barrier("one")`');
    await Promise.resolve();
    assert.equal(during("data", shown), "while it waited for data");
    assert.equal(shown(), 'in `fabric.barrier("one")`');
  });
  assert.equal(shown(), "");
  for (const text of activities) assert.doesNotMatch(text, /\.$/);
});

it("calls that overlap may end in any order", async () => {
  const ends: (() => void)[] = [];
  const calls = ["one", "two", "three"].map((name) =>
    duringCall(name, () => new Promise<void>((end) => ends.push(end))),
  );
  assert.equal(shown(), "in `three`");
  ends[1]?.();
  await calls[1];
  assert.equal(shown(), "in `three`");
  ends[2]?.();
  await calls[2];
  assert.equal(shown(), "in `one`");
  ends[0]?.();
  await calls[0];
  assert.equal(shown(), "");
});

it("every beginning and end is a change, so that a launcher sees that something happens", () => {
  const before = page[words.changes] as number;
  during("backward", () => {});
  assert.equal(page[words.changes], before + 2);
});

it("optimizer steps are counted", () => {
  countStep();
  assert.equal(shown(), "after 1 optimizer step");
  countStep();
  assert.equal(during("forward", shown), "in the forward pass, after 2 optimizer steps");
  page[words.steps] = 0;
});

it("a text that is too long is cut, between two characters", () => {
  return duringCall("\u00fc".repeat(1000), () => {
    assert.equal(shown(), `in \`${"\u00fc".repeat(112)}\``);
  });
});

it("an error is remembered with the innermost place that it came from", async () => {
  const error = new Error("no");
  const thrown = (): never => {
    throw error;
  };
  await assert.rejects(
    duringCall("fabric.save", () => during("forward", thrown)),
    error,
  );
  assert.equal(placeOf(error), "in the forward pass");
  assert.equal(shown(), "");
  const later = new Error("later");
  await assert.rejects(
    duringCall("fabric.save", () => Promise.reject(later)),
    later,
  );
  assert.equal(placeOf(later), "in `fabric.save`");
  // Whatever is thrown.
  assert.throws(() => during("step", () => assert.fail("text")));
});

it("a pass gives the values of its source, shows that it is waited for, and is closed when it is left", async () => {
  const events: string[] = [];
  function* source(): Generator<number> {
    try {
      for (let i = 0; i < 3; i++) {
        events.push(shown());
        yield i;
      }
    } finally {
      events.push("closed");
    }
  }
  assert.deepEqual([...duringPass({ [Symbol.iterator]: source })], [0, 1, 2]);
  const waits = Array(3).fill("while it waited for data");
  assert.deepEqual(events.splice(0), [...waits, "closed"]);
  for (const value of duringPass({ [Symbol.iterator]: source })) if (value === 0) break;
  assert.deepEqual(events.splice(0), [...waits.slice(2), "closed"]);

  async function* later(): AsyncGenerator<number> {
    yield* source();
  }
  const values: number[] = [];
  for await (const value of duringAsyncPass({ [Symbol.asyncIterator]: later })) values.push(value);
  assert.deepEqual(
    [values, events.splice(0)],
    [
      [0, 1, 2],
      [...waits, "closed"],
    ],
  );
  for await (const value of duringAsyncPass({ [Symbol.asyncIterator]: later })) if (value === 0) break;
  assert.deepEqual(events, [...waits.slice(2), "closed"]);
});
