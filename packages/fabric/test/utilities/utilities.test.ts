// Collections, seeds, ranks and warnings.
import assert from "node:assert/strict";
import { afterEach, describe, it } from "node:test";
import {
  AttributeDict,
  applyToCollection,
  catchWarnings,
  DeviceDtypeModule,
  Fabric,
  moveDataToDevice,
  rankZeroWarn,
  resetSeed,
  seedEverything,
} from "@fabric-ts/fabric";
import * as torch from "@fabric-ts/torch";
import { nn } from "@fabric-ts/torch";

describe("applyToCollection", () => {
  const double = (data: unknown): unknown =>
    applyToCollection(
      data,
      (leaf) => typeof leaf === "number",
      (leaf: number) => leaf * 2,
    );
  it("walks arrays, plain objects, Maps and AttributeDicts, and keeps their kind and order", () => {
    const bare = Object.assign(Object.create(null) as object, { z: 1 });
    const result = double({
      b: [1, "x", [2]],
      a: new Map([["k", 3]]),
      bare,
      dict: new AttributeDict({ n: 4 }),
    }) as Record<string, unknown>;
    assert.deepEqual(Object.keys(result), ["b", "a", "bare", "dict"]);
    assert.deepEqual(result.b, [2, "x", [4]]);
    assert.deepEqual(result.a, new Map([["k", 6]]));
    assert.equal(Object.getPrototypeOf(result.bare), null);
    assert.ok(result.dict instanceof AttributeDict && result.dict.n === 8);
  });
  it("leaves instances of classes and Sets alone, and what does not change the same object", () => {
    class Box {
      n = 1;
    }
    const data = { box: new Box(), set: new Set([1]), text: "a" };
    assert.ok(double(data) === data);
  });
  it("treats __proto__ as a key", () => {
    const data = JSON.parse('{"__proto__": 1}') as object;
    const result = double(data) as object;
    assert.equal(Object.getOwnPropertyDescriptor(result, "__proto__")?.value, 2);
    assert.equal(Object.getPrototypeOf(result), Object.prototype);
  });
});

it("moveDataToDevice keeps an object whose `to` returns nothing", () => {
  const item = { to(): void {} };
  const moved = moveDataToDevice([item, 1], "cpu");
  assert.ok(moved[0] === item);
});

describe("AttributeDict", () => {
  it("prints its entries sorted, one a line", () => {
    assert.equal(String(new AttributeDict({ lr: 0.1, batchSize: 4 })), '"batchSize": 4\n"lr":        0.1');
    assert.equal(String(new AttributeDict()), "");
  });
});

describe("seeds", () => {
  afterEach(() => {
    delete process.env.PL_GLOBAL_SEED;
    delete process.env.PL_SEED_WORKERS;
  });
  it("make random numbers the same, and are remembered", () => {
    assert.equal(seedEverything(11, { verbose: false }), 11);
    const first = torch.rand([3]).tolist();
    assert.deepEqual([process.env.PL_GLOBAL_SEED, process.env.PL_SEED_WORKERS], ["11", "0"]);
    resetSeed();
    assert.deepEqual(torch.rand([3]).tolist(), first);
    Fabric.seedEverything(undefined, { verbose: false });
    assert.deepEqual(torch.rand([3]).tolist(), first);
    assert.equal(process.env.PL_SEED_WORKERS, "1");
  });
  it("default to 0 with a warning", async () => {
    const caught = await catchWarnings(() => assert.equal(seedEverything(), 0));
    assert.match(caught[0]?.message ?? "", /No seed found, seed set to 0/);
  });
  it("are refused out of bounds, and in the environment when they are no numbers", () => {
    assert.throws(() => seedEverything(-1), /is not in bounds/);
    assert.throws(() => seedEverything(2 ** 32), /from 0 to 4294967295/);
    assert.throws(() => seedEverything("1" as never), TypeError);
    process.env.PL_GLOBAL_SEED = "abc";
    assert.throws(() => seedEverything(), /Invalid seed specified via PL_GLOBAL_SEED: "abc"/);
  });
});

it("warnings can be caught", async () => {
  assert.deepEqual(await catchWarnings(() => rankZeroWarn("text")), [{ message: "text", kind: "UserWarning" }]);
});

it("a DeviceDtypeModule knows what it and its container were moved to", () => {
  class Metric extends DeviceDtypeModule<[torch.Tensor], torch.Tensor> {
    forward(x: torch.Tensor): torch.Tensor {
      return x;
    }
  }
  class Outer extends Metric {
    inner = new Metric();
    plain = new nn.Linear(2, 2);
  }
  const outer = new Outer();
  outer.to("float64");
  assert.deepEqual([outer.dtype, outer.inner.dtype, outer.device], ["float64", "float64", "cpu"]);
  const model = new Fabric({ accelerator: "cpu" }).setup(new Outer());
  model.half();
  assert.equal(model.inner.dtype, "float16");
});
