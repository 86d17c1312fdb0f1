// Seeds, and the states of the random number generators.
import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, it, mock } from "node:test";
import {
  catchWarnings,
  collectRngStates,
  Fabric,
  RngState,
  resetSeed,
  seedEverything,
  setRngStates,
} from "@fabric-ts/fabric";
import * as torch from "@fabric-ts/torch";
import { native } from "../../../torch/dist/native.js";

const names = ["PL_GLOBAL_SEED", "PL_SEED_WORKERS", "LOCAL_RANK"];
const clear = (): void => {
  for (const name of names) delete process.env[name];
};
const draw = (): unknown => torch.rand([3]).tolist();

describe("seedEverything", () => {
  beforeEach(clear);
  afterEach(clear);

  it("makes random numbers the same, returns the seed, and is remembered for launched processes and `resetSeed`", () => {
    assert.equal(seedEverything(11, { verbose: false }), 11);
    const first = draw();
    assert.deepEqual([process.env.PL_GLOBAL_SEED, process.env.PL_SEED_WORKERS], ["11", "0"]);
    resetSeed();
    assert.deepEqual(draw(), first);
    Fabric.seedEverything(undefined, { verbose: false });
    assert.deepEqual(draw(), first);
    assert.equal(process.env.PL_SEED_WORKERS, "1");
    resetSeed();
    assert.equal(process.env.PL_SEED_WORKERS, "1");
  });
  it("cuts off fractions", () => {
    assert.equal(seedEverything(3.7, { verbose: false }), 3);
  });
  it("takes 0 with a warning when there is no seed, silently when told", async () => {
    const caught = await catchWarnings(() => assert.equal(seedEverything(), 0));
    assert.match(caught[0]?.message ?? "", /No seed found, seed set to 0/);
    clear();
    assert.deepEqual(await catchWarnings(() => seedEverything(null, { verbose: false })), []);
  });
  it("says which seed was set, with the rank where there is one", () => {
    const written: string[] = [];
    const write = mock.method(process.stderr, "write", (text: string) => written.push(text) > 0);
    try {
      seedEverything(1);
      process.env.LOCAL_RANK = "1";
      seedEverything(2);
      seedEverything(3, { verbose: false });
      resetSeed();
    } finally {
      write.mock.restore();
    }
    assert.deepEqual(written, ["Seed set to 1\n", "[rank: 1] Seed set to 2\n"]);
  });
  it("refuses seeds out of bounds, and what is no number", () => {
    assert.throws(() => seedEverything(-1), /-1 is not in bounds/);
    assert.throws(() => seedEverything(2 ** 32), /from 0 to 4294967295/);
    assert.equal(seedEverything(2 ** 32 - 1, { verbose: false }), 4294967295);
    assert.throws(() => seedEverything("1" as never), TypeError);
    process.env.PL_GLOBAL_SEED = "abc";
    assert.throws(() => seedEverything(), /Invalid seed specified via PL_GLOBAL_SEED: "abc"/);
  });
  it("is reset as it stands in the environment, and names what is no seed there", () => {
    Object.assign(process.env, { PL_GLOBAL_SEED: "12", PL_SEED_WORKERS: "2" });
    resetSeed();
    assert.deepEqual([torch.initialSeed(), process.env.PL_SEED_WORKERS], [12n, "1"]);
    process.env.PL_GLOBAL_SEED = "abc";
    assert.throws(() => resetSeed(), /Invalid seed specified via PL_GLOBAL_SEED: "abc"/);
  });
  it("has nothing to reset before it was called", () => {
    torch.manualSeed(4);
    const expected = draw();
    torch.manualSeed(4);
    resetSeed();
    assert.deepEqual(draw(), expected);
    assert.equal(process.env.PL_GLOBAL_SEED, undefined);
  });
});

describe("states of the generators", () => {
  it("are collected under Lightning's names and set again", () => {
    torch.manualSeed(3);
    draw();
    const states = collectRngStates();
    assert.deepEqual(Object.keys(states), ["torch", "torch.cuda"]);
    if (!torch.cuda.isAvailable()) assert.deepEqual(states["torch.cuda"], []);
    const expected = draw();
    setRngStates(states);
    assert.deepEqual(draw(), expected);
  });
  it("can be collected without those of GPUs, and set from older or foreign dictionaries", () => {
    const states = collectRngStates({ includeCuda: false });
    assert.deepEqual(Object.keys(states), ["torch"]);
    const expected = draw();
    setRngStates({ ...states, python: [3, [1], null] } as never);
    assert.deepEqual(draw(), expected);
    assert.throws(() => setRngStates({} as never), /Expected the entry "torch" of the states to be a Tensor/);
  });
  it("of the CPU are collected and set also where the driver of the GPUs does not start", () => {
    torch.manualSeed(3);
    const engine = native() as unknown as { cudaDeviceCount(): number };
    const count = mock.method(engine, "cudaDeviceCount", () => {
      throw new Error("CUDA driver initialization failed");
    });
    try {
      assert.throws(() => torch.cuda.isAvailable(), /initialization failed/);
      const states = collectRngStates();
      assert.deepEqual(states["torch.cuda"], []);
      const expected = draw();
      setRngStates(states);
      assert.deepEqual(draw(), expected);
    } finally {
      count.mock.restore();
    }
  });
  it("are an object for checkpoints", () => {
    const rng = new RngState();
    const state = rng.stateDict();
    const expected = draw();
    rng.loadStateDict(state);
    assert.deepEqual(draw(), expected);
    assert.equal(rng.perRank, true);
  });
});
