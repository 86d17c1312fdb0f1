// Mapping the leaves of nested collections.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  AttributeDict,
  applyToCollection,
  type LeafType,
  moveDataToDevice,
  registerDataclass,
} from "@fabric-ts/fabric";
import * as torch from "@fabric-ts/torch";
import { Tensor } from "@fabric-ts/torch";

const double = (data: unknown): unknown => applyToCollection(data, Number, (n) => n * 2);

describe("applyToCollection", () => {
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
  it("takes a class, the class of primitive values, several of them, or a function that tells", () => {
    const x = torch.ones([2]);
    const data = [1, "a", true, 2n, x];
    const marked = (dtype: LeafType): unknown[] =>
      (applyToCollection(data, dtype as never, () => "*") as unknown[]).map((one) => (one === x ? "x" : one));
    assert.deepEqual(marked(Tensor), [1, "a", true, 2n, "*"]);
    assert.deepEqual(marked(Number), ["*", "a", true, 2n, "x"]);
    assert.deepEqual(marked([Boolean, String]), [1, "*", "*", 2n, "x"]);
    assert.deepEqual(marked(BigInt as never), [1, "a", true, "*", "x"]);
    assert.deepEqual(
      marked((leaf: unknown) => typeof leaf !== "object"),
      ["*", "*", "*", "*", "x"],
    );
  });
  it("does not go into what is of the type, and leaves `wrongDtype` alone", () => {
    assert.deepEqual(
      applyToCollection(
        [[1], [2, 3]],
        (leaf) => Array.isArray(leaf) && leaf.length === 1,
        () => "one",
      ),
      ["one", [2, 3]],
    );
    class Base {}
    class Special extends Base {}
    const special = new Special();
    const result = applyToCollection([new Base(), special], Base, () => "base", { wrongDtype: Special });
    assert.deepEqual(result, ["base", special]);
  });
  it("drops what becomes null or undefined with `includeNone: false`", () => {
    const data = {
      list: [1, "a", 2],
      map: new Map<string, unknown>([
        ["n", 1],
        ["t", "a"],
      ]),
      n: 3,
      none: null,
    };
    const none = (leaf: number): null | undefined => (leaf === 1 ? null : undefined);
    assert.deepEqual(applyToCollection(data, Number, none, { includeNone: false }), {
      list: ["a"],
      map: new Map([["t", "a"]]),
    });
    assert.deepEqual(applyToCollection([1], Number, none), [null]);
  });
  it("says what it needs", () => {
    assert.throws(() => applyToCollection([1], Number, undefined as never), /third argument .* to be a function/);
    assert.throws(
      () => applyToCollection([1], "number" as never, () => 1),
      /to be a class, several or a function, but got "number"/,
    );
  });
  it("says where a collection contains itself", () => {
    const state: Record<string, unknown> = { list: [1, { deep: 2 }], twice: 3 };
    const shared = { n: 1 };
    assert.deepEqual(
      double({ a: shared, b: shared }),
      { a: { n: 2 }, b: { n: 2 } },
      "the same object twice is no circle",
    );
    ((state.list as unknown[])[1] as Record<string, unknown>).up = new Map([["state", state]]);
    assert.throws(() => double(state), {
      name: "ConfigurationError",
      message:
        /^The collection contains itself: `list\.1\.up\.state` is an object that it lies in\.\nTake that entry out/,
    });
    assert.throws(
      () => applyToCollection([1], Number, () => new Array(-1)),
      /Invalid array length/,
      "others as they are",
    );
  });
  it("keeps the class and the properties of a Map of another class", () => {
    class DefaultMap extends Map<string, number> {
      constructor(readonly factory: () => number) {
        super();
      }
    }
    const factory = (): number => 7;
    const data = new DefaultMap(factory).set("a", 1);
    const result = double(data) as DefaultMap;
    assert.ok(result instanceof DefaultMap && result !== data);
    assert.deepEqual([result.get("a"), result.factory === factory, data.get("a")], [2, true, 1]);
  });
});

describe("registerDataclass", () => {
  it("makes collections of instances: copied, all fields walked, the original untouched", () => {
    class Batch {
      constructor(
        public x: unknown,
        public meta: Record<string, unknown>,
      ) {}
      get size(): number {
        return 5;
      }
    }
    class Wider extends Batch {
      extra = 1;
    }
    registerDataclass(Batch);
    const batch = new Wider(torch.ones([2]), { n: [1] });
    const moved = moveDataToDevice([batch], "meta")[0] as Wider;
    assert.ok(moved instanceof Wider && moved !== batch && moved.size === 5);
    assert.deepEqual([(moved.x as Tensor).device, (batch.x as Tensor).device], ["meta", "cpu"]);
    const doubled = double(batch) as Wider;
    assert.deepEqual([doubled.meta, doubled.extra, batch.extra], [{ n: [2] }, 2, 1]);
    assert.ok(applyToCollection(batch, BigInt as never, () => 0) === batch);
  });
  it("walks the listed fields, and keeps the others and what becomes nothing", () => {
    class Sample {
      constructor(
        public value: number,
        public label: number,
      ) {}
    }
    registerDataclass(Sample, { fields: ["value"] });
    const result = double(new Sample(1, 2)) as Sample;
    assert.deepEqual([result.value, result.label], [2, 2]);
    const kept = applyToCollection(new Sample(1, 2), Number, () => null, { includeNone: false }) as Sample;
    assert.equal(kept.value, 1);
  });
  it("makes instances by a function of their own, as private fields need it", () => {
    class Secret {
      readonly #value: number;
      constructor(value: number) {
        this.#value = value;
      }
      get value(): number {
        return this.#value;
      }
    }
    registerDataclass(Secret, { fields: ["value"], rebuild: (_, values) => new Secret(values.value as number) });
    assert.equal((double(new Secret(4)) as Secret).value, 8);
  });
  it("refuses frozen instances unless they may stay as they are", () => {
    class Frozen {
      constructor(public n: number) {
        Object.freeze(this);
      }
    }
    registerDataclass(Frozen);
    const frozen = new Frozen(1);
    assert.throws(() => double([frozen]), {
      name: "ConfigurationError",
      message: /^A frozen dataclass was passed to `applyToCollection` but this is not allowed: Frozen is frozen/,
    });
    assert.deepEqual(
      applyToCollection([frozen, 1], Number, (n) => n + 1, { allowFrozen: true }),
      [frozen, 2],
    );
  });
});
