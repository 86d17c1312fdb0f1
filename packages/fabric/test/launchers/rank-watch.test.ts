// What is said about ranks that are late or do not run. Whole jobs are in ../faults.
import assert from "node:assert/strict";
import { describe, it, type TestContext } from "node:test";
import type { RankProcess } from "../../dist/launchers/rank-process.js";
import { RankWatch } from "../../dist/launchers/rank-watch.js";

/** The part of a rank that is looked at. */
interface Shown {
  rank: number;
  isWaiting: boolean;
  unchangedMs: number;
  silentMs: number;
  isOver: boolean;
  place: string;
}

const lateMs = 24_000;

function watch(t: TestContext, ranks: Partial<Shown>[]): { shown: Shown[]; next(): string } {
  t.mock.timers.enable({ apis: ["setInterval"] });
  const shown = ranks.map((changes, rank) => ({
    rank,
    isWaiting: false,
    unchangedMs: 0,
    silentMs: 0,
    isOver: false,
    place: "in the forward pass",
    ...changes,
  }));
  const processes = shown.map((facts) =>
    Object.create(facts, {
      pid: { value: -1 - facts.rank },
      observe: { value: () => {} },
      seen: { get: () => ({ place: facts.place }) },
    }),
  ) as unknown as RankProcess[];
  let said = "";
  const one = new RankWatch(processes, (text) => (said += text), lateMs);
  one.start();
  t.after(() => one.stop());
  return {
    shown,
    next() {
      said = "";
      t.mock.timers.tick(1000);
      return said;
    },
  };
}

describe("ranks that wait", () => {
  it("are told of once, with those who are not there yet", (t) => {
    const { shown, next } = watch(t, [{ isWaiting: true, unchangedMs: 23_000 }, {}, { isWaiting: true }]);
    const [first, second, third] = shown as [Shown, Shown, Shown];
    assert.equal(next(), "");
    first.unchangedMs = 24_200;
    second.unchangedMs = 30_000;
    assert.equal(next(), "Rank 0 has been waiting for 24 s; not there yet: rank 1 (pid -2) is in the forward pass.\n");
    assert.equal(next(), "");
    third.unchangedMs = 25_000;
    second.place = "";
    Object.assign(second, { phase: "starting" });
    assert.match(next(), /^2 ranks have been waiting for 25 s; not there yet: rank 1 \(pid -2\) is before it called/);
    assert.equal(next(), "");
    // They go on, and wait again.
    first.unchangedMs = third.unchangedMs = 100;
    assert.equal(next(), "");
    first.unchangedMs = 24_000;
    assert.match(next(), /^Rank 0 has been waiting for 24 s/);
  });

  it("are not worth a word when all of them wait, or when a rank has ended", (t) => {
    const waiting = { isWaiting: true, unchangedMs: 60_000 };
    const { next } = watch(t, [waiting, waiting, { isOver: true }]);
    assert.equal(next(), "");
  });

  it("wait for many: four are named", (t) => {
    const { next } = watch(t, [{ isWaiting: true, unchangedMs: 60_000 }, {}, {}, {}, {}, {}, {}]);
    assert.match(next(), /not there yet: rank 1 .*, rank 4 \(pid -5\) is in the forward pass, and 2 more\.\n$/);
  });
});

describe("a rank whose heart does not beat", () => {
  it("is told of once, and again when it runs", (t) => {
    const { shown, next } = watch(t, [{}, {}]);
    const [, rank] = shown as [Shown, Shown];
    rank.silentMs = 7000;
    assert.equal(next(), "");
    rank.silentMs = 8000;
    assert.match(next(), /^Rank 1 \(pid -2\) has shown no sign of life for 8 s: the machine/);
    assert.equal(next(), "");
    rank.silentMs = 0;
    assert.equal(next(), "Rank 1 (pid -2) runs again.\n");
    assert.equal(next(), "");
  });

  it("is not named again as one that the others wait for", (t) => {
    const { next } = watch(t, [{ isWaiting: true, unchangedMs: 60_000 }, { silentMs: 60_000 }]);
    assert.match(next(), /^Rank 1 \(pid -2\) has shown no sign of life for 60 s: .*\n$/);
  });
});
