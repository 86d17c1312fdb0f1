// Seeds of data-loading workers.
import assert from "node:assert/strict";
import { afterEach, describe, it } from "node:test";
import { workerInitFunction, workerSeeds } from "@fabric-ts/fabric";
import * as torch from "@fabric-ts/torch";

describe("workerSeeds", () => {
  it("gives every worker of every rank a stream of its own", () => {
    for (const base of [100, 1024, 2 ** 32 - 1]) {
      const streams = new Set<string>();
      for (let worker = 0; worker < 64; worker++) {
        for (let rank = 0; rank < 64; rank++) streams.add(workerSeeds(base, worker, rank).join());
      }
      assert.equal(streams.size, 64 * 64);
    }
  });
  it("computes with all 64 bits of the base", () => {
    // By Python: int arithmetic of arbitrary precision.
    assert.deepEqual(workerSeeds(2n ** 64n - 1n, 3, 2), [
      4121425429660240462n,
      14001649810859983287n,
      7105077331881399852n,
      18313989975861770685n,
    ]);
    assert.deepEqual(workerSeeds(42, 0, 0), [
      2645472128837983560n,
      3943358886911368617n,
      3316914375687884214n,
      16516694482000802559n,
    ]);
  });
  it("takes a number and a bigint alike", () => {
    assert.deepEqual(workerSeeds(7, 1, 1), workerSeeds(7n, 1, 1));
  });
});

describe("workerInitFunction", () => {
  it("seeds the worker's own generator and leaves the engine's alone", () => {
    torch.manualSeed(5);
    const generator = new torch.Generator().manualSeed(1000 + 3);
    workerInitFunction(3, 1, generator);
    assert.equal(generator.initialSeed(), workerSeeds(1000, 3, 1)[0]);
    assert.equal(torch.initialSeed(), 5n);
  });
  it("seeds the engine where there is no other generator", () => {
    torch.manualSeed(1000 + 2);
    workerInitFunction(2, 0);
    assert.equal(torch.initialSeed(), workerSeeds(1000, 2, 0)[0]);
    torch.manualSeed(1000 + 2);
    workerInitFunction(2, 1);
    assert.notEqual(torch.initialSeed(), workerSeeds(1000, 2, 0)[0]);
  });
  afterEach(() => torch.manualSeed(0));
});
