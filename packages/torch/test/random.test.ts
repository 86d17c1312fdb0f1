// Seeds and generator states. The numbers themselves are compared with PyTorch's in data/random-golden.test.ts.
import assert from "node:assert/strict";
import { test } from "node:test";
import * as torch from "@fabric-ts/torch";

const draw = (generator?: torch.Generator): unknown =>
  (generator ? torch.randn([20], { generator }) : torch.randn([20])).tolist();

test("the same seed gives the same numbers", () => {
  torch.manualSeed(5);
  const first = draw();
  assert.equal(torch.initialSeed(), 5n);
  assert.notDeepEqual(draw(), first);
  torch.manualSeed(5n);
  assert.deepEqual(draw(), first);
  torch.manualSeed(6);
  assert.notDeepEqual(draw(), first);
});

test("negative seeds are those of Python: counted back from 2^64", () => {
  torch.manualSeed(-1);
  const first = draw();
  torch.manualSeed(2n ** 64n - 1n);
  assert.deepEqual(draw(), first);
});

test("seed() chooses one, and says which", () => {
  const chosen = torch.seed();
  const first = draw();
  assert.equal(torch.initialSeed(), chosen);
  torch.manualSeed(chosen);
  assert.deepEqual(draw(), first);
});

test("a state can be kept and gone back to", () => {
  torch.manualSeed(1);
  torch.randn([3]);
  const state = torch.getRngState();
  assert.equal(state.dtype, "uint8");
  const first = draw();
  torch.setRngState(state);
  assert.deepEqual(draw(), first);
  assert.throws(
    () => torch.setRngState(3 as never),
    /Expected `state` to be a Tensor from `getRngState\(\)`, but got 3/,
  );
  assert.throws(() => torch.setRngState(torch.ones([2])), torch.FabricError);
});

test("a generator has a sequence of its own", () => {
  const generator = new torch.Generator();
  assert.equal(generator.device, "cpu");
  assert.ok(generator.manualSeed(3) === generator);
  assert.equal(generator.initialSeed(), 3n);
  const state = generator.getState();
  torch.manualSeed(9);
  const first = draw(generator);
  const others = draw();
  assert.notDeepEqual(draw(generator), first);
  generator.setState(state);
  assert.deepEqual(draw(generator), first);
  torch.manualSeed(9);
  assert.deepEqual(draw(), others);
  const chosen = generator.seed();
  assert.equal(generator.initialSeed(), chosen);
  assert.throws(() => generator.setState("state" as never), /Expected `state` to be a Tensor from `getState\(\)`/);
});

test("seeds that are no whole numbers of 64 bits are refused", () => {
  for (const seed of [1.5, Number.NaN, 2 ** 60, 2n ** 64n, "1", null]) {
    assert.throws(() => torch.manualSeed(seed as never), /Expected `seed` to be a whole number of at most 64 bits/);
  }
  assert.throws(() => new torch.Generator("gpu"), /`device` to be a device, but got "gpu"/);
});
