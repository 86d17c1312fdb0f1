// What `devices` means, as tables.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseCpuCores, parseGpuIds } from "../../dist/utilities/device-parser.js";

describe("devices of the CPU", () => {
  for (const [given, count] of [
    [1, 1],
    [4, 4],
    ["2", 2],
    [" 3 ", 3],
  ] as const) {
    it(`${JSON.stringify(given)} is ${count}`, () => assert.equal(parseCpuCores(given), count));
  }
  for (const given of [0, -1, 1.5, "", "0", "-1", "1.5", "1,", "x", "auto", [1], {}, null, undefined, true]) {
    it(`${JSON.stringify(given)} is refused`, () => assert.throws(() => parseCpuCores(given), /should be an int > 0/));
  }
});

describe("GPU ids on a machine with four", () => {
  const four = [0, 1, 2, 3];
  const table: [given: unknown, ids: number[] | null][] = [
    [0, null],
    ["0", null],
    ["[]", null],
    [1, [0]],
    [3, [0, 1, 2]],
    [-1, four],
    ["-1", four],
    ["3", [0, 1, 2]],
    ["3,", [3]],
    ["0, 2", [0, 2]],
    ["1,", [1]],
    [
      [2, 0],
      [2, 0],
    ],
  ];
  for (const [given, ids] of table) {
    it(`${JSON.stringify(given)} is ${JSON.stringify(ids)}`, () => assert.deepEqual(parseGpuIds(given, four, {}), ids));
  }
  for (const [given, shown] of [
    [1.5, "1.5"],
    [true, "true"],
    [null, "null"],
    [{}, "an object"],
    [["0"], '["0"]'],
    [[true], "[true]"],
    [[1, 2.5], "[1, 2.5]"],
  ]) {
    it(`${JSON.stringify(given)} has the wrong type`, () =>
      assert.throws(() => parseGpuIds(given, four, {}), {
        name: "TypeError",
        message: `Device IDs (GPU/TPU) must be an int, a string, a sequence of ints, but you passed ${shown}.`,
      }));
  }
  it("lists have to be of GPUs that exist, each once, and not be empty", () => {
    assert.throws(() => parseGpuIds([1, 1], four, {}), /must be unique/);
    assert.throws(
      () => parseGpuIds([0, 5], four, {}),
      /You requested gpu: \[0, 5\]\nBut your machine only has: \[0, 1, 2, 3\]/,
    );
    assert.throws(() => parseGpuIds([], four, {}), /none are available/);
    assert.throws(() => parseGpuIds(-1, [], {}), /none are available/);
    assert.throws(() => parseGpuIds("a", four, {}), /neither a count nor a list/);
  });
  it("under torchelastic a process that sees one GPU may ask for its own number", () => {
    const env = { TORCHELASTIC_RUN_ID: "1" };
    assert.deepEqual(parseGpuIds([0, 1], [0], env), [0, 1]);
    assert.throws(() => parseGpuIds([1], [0], env), /You requested gpu: \[1\]/);
    assert.throws(() => parseGpuIds([0, 2], [0, 1], env), /You requested gpu: \[0, 2\]/);
  });
});
