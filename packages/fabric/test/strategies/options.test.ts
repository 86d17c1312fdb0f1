// Every option of DDPStrategy, in two processes and refused.
import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { DDPStrategy } from "@fabric-ts/fabric";
import { nn } from "@fabric-ts/torch";
import { runRanks } from "../support/run-ranks.js";

interface Report {
  weights: Record<string, number[]>;
  apart: unknown;
  together: unknown;
  inGroups: { firstWeights: unknown; gradients: unknown };
  buffers: [number[], number[]];
  badHook: string;
  hooked: unknown;
  localGradients: unknown;
}

describe("DDP in two processes", () => {
  let ranks: [Report, Report];
  before(async () => {
    ranks = (await runRanks<Report>("ddp-options")) as [Report, Report];
  });
  const difference = (name: string): number => {
    const { weights } = ranks[0];
    return Math.max(...(weights[name] as number[]).map((value, i) => Math.abs(value - (weights.plain?.[i] as number))));
  };

  it("ends with equal weights on both ranks, whatever the options", () => {
    const names = ["plain", "views", "fixed", "unused", "small", "fp16", "bf16", "own", "powerSGD"];
    assert.deepEqual(Object.keys(ranks[0].weights), names);
    for (const name of names) assert.deepEqual(ranks[0].weights[name], ranks[1].weights[name], name);
  });
  for (const name of ["views", "fixed", "unused", "small", "own"]) {
    it(`"${name}" computes what plain averaging does`, () => assert.ok(difference(name) < 1e-6));
  }
  for (const [name, most] of [
    ["fp16", 1e-5],
    ["bf16", 1e-3],
    ["powerSGD", 0.1],
  ] as const) {
    it(`the hook "${name}" comes close to it`, () => {
      const gap = difference(name);
      assert.ok(gap > 0 && gap < most, `differs by ${gap}`);
    });
  }
  it("copies rank 0's parameters at the start, unless told not to", () => {
    assert.deepEqual(ranks[0].together, ranks[1].together);
    assert.notDeepEqual(ranks[0].apart, ranks[1].apart);
  });
  it("averages within a process group of one's own only", () => {
    assert.notDeepEqual(ranks[0].inGroups.firstWeights, ranks[1].inGroups.firstWeights);
    assert.deepEqual(
      ranks.map(({ inGroups }) => inGroups.gradients),
      [[[1.5, 1.5]], [[2.5, 2.5]]],
    );
  });
  it("begins each pass with rank 0's buffers, unless told not to", () => {
    const close = (actual: number[], expected: number): void =>
      assert.ok(Math.abs((actual[0] as number) - expected) < 1e-6, `${actual[0]}, not ${expected}`);
    // Momentum 0.1 over the means 1.25 and 2.25 of the two ranks.
    close(ranks[0].buffers[0], 0.9 * 0.125 + 0.125);
    close(ranks[1].buffers[0], 0.9 * 0.125 + 0.225);
    close(ranks[1].buffers[1], 0.9 * 0.225 + 0.225);
  });
  it("takes a hook on the module inside of the wrapper, too", () => {
    for (const { hooked } of ranks) assert.deepEqual(hooked, [[3]]);
  });
  it("leaves gradients local where forward and backward are both in noBackwardSync, until the next pass", () => {
    for (const [rank, { localGradients }] of ranks.entries()) {
      assert.deepEqual(localGradients, { backwardOnly: [[1.5]], disabled: [[1.5]], both: [[rank + 1]], next: [[3]] });
    }
  });
  it("says what is wrong with a hook", () => {
    for (const { badHook } of ranks)
      assert.match(badHook, /^TypeError: Expected the communication hook to return a tensor/);
  });
});

describe("options of DDPStrategy", () => {
  const refused: [title: string, options: object, name: string, text: RegExp][] = [
    ["an unknown one", { bucket_cap_mb: 25 }, "TypeError", /Did you mean `bucketCapMb`\?/],
    [
      "fork",
      { startMethod: "fork" },
      "ConfigurationError",
      /start method "fork" is not available on this platform.*"popen".*"spawn"/s,
    ],
    ["another backend", { processGroupBackend: "mpi" }, "ConfigurationError", /`processGroupBackend` is "mpi".*gloo/s],
    ["a group of others", { processGroup: null }, "TypeError", /`processGroup` to be a process group, but got null/],
    ["no time", { timeoutMs: 0 }, "ConfigurationError", /`timeoutMs` is 0/],
    ["a text as time", { timeoutMs: "30 min" }, "ConfigurationError", /`timeoutMs` is "30 min"/],
    ["buckets of no size", { bucketCapMb: -1 }, "ConfigurationError", /`bucketCapMb` is -1/],
    [
      "the name of a hook",
      { ddpCommHook: "fp16" },
      "TypeError",
      /`ddpCommHook` to be a function, but got "fp16".*nn\.parallel/s,
    ],
    ["a state without a hook", { ddpCommState: {} }, "ConfigurationError", /no effect without a `ddpCommHook`/],
    [
      "a wrapper without a hook",
      { ddpCommWrapper: nn.parallel.fp16CompressWrapper },
      "ConfigurationError",
      /no effect/,
    ],
  ];
  for (const [title, options, name, message] of refused) {
    it(`refuses ${title}`, () => {
      assert.throws(() => new DDPStrategy(options as never), { name, message });
    });
  }
});
