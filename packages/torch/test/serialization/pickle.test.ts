// Values without tensors: what is written comes back, and what cannot be written is named with its place.
import assert from "node:assert/strict";
import { test } from "node:test";
import { finishGraph, readPickle } from "../../dist/serialization/pickle-reader.js";
import { writePickle } from "../../dist/serialization/pickle-writer.js";
import { PyFloat, Tuple } from "../../dist/serialization/python-types.js";
import { call, emptyTuple, global, int, pickle, text, tuple } from "./support/assemble.js";

function read(bytes: Uint8Array): unknown {
  return finishGraph(readPickle(bytes, "The pickle").root, "The pickle", () => assert.fail());
}
function write(value: unknown): Uint8Array {
  return writePickle(value, () => null);
}
function roundTrip<T>(value: T): unknown {
  return read(write(value));
}

test("numbers keep their value and sign; whole ones beyond 2^53 are bigints", () => {
  const numbers = [
    0,
    1,
    255,
    256,
    65535,
    65536,
    2 ** 31 - 1,
    2 ** 31,
    2 ** 53 - 1,
    -1,
    -128,
    -129,
    -(2 ** 31),
    -(2 ** 31) - 1,
    -(2 ** 53) + 1,
    0.5,
    -0,
    1e300,
    5e-324,
    Number.POSITIVE_INFINITY,
    Number.NaN,
  ];
  for (const number of numbers) assert.ok(Object.is(roundTrip(number), number), String(number));
  for (const big of [2n ** 53n, -(2n ** 53n), 2n ** 63n, -(2n ** 63n), 2n ** 64n, -(2n ** 3000n), 255n ** 300n])
    assert.equal(roundTrip(big), big);
  assert.equal(roundTrip(5n), 5);
  assert.equal(roundTrip(new PyFloat(2)), 2);
});

test("whole numbers are ints in Python and PyFloat makes floats", () => {
  assert.equal(Buffer.from(write(1)).toString("hex"), "80024b012e");
  assert.equal(Buffer.from(write(new PyFloat(1))).toString("hex"), "8002473ff00000000000002e");
});

test("text of every kind comes back", () => {
  const texts = [
    "",
    "a",
    "\u00e9",
    "\u{1f600}",
    "\0",
    "x".repeat(100_000),
    "\ud800",
    "a\udfffb",
    "\ud800\ud800 \u{1f600}",
  ];
  for (const value of texts) assert.equal(roundTrip(value), value);
  assert.deepEqual(roundTrip(texts), texts);
});

test("containers come back as what they were", () => {
  const value = [true, false, null, [], [1], [[1, 2], "x"], new Set([1, "a"]), new Set()];
  assert.deepEqual(roundTrip(value), value);
  for (const tuple of [Tuple.of(), Tuple.of(7), Tuple.of(1, 2), Tuple.of(1, 2, 3), Tuple.of(1, 2, 3, 4)]) {
    const back = roundTrip(tuple);
    assert.ok(back instanceof Tuple);
    assert.deepEqual(back, tuple);
  }
  assert.deepEqual(
    roundTrip(
      new Map<unknown, unknown>([
        [1, "a"],
        ["b", null],
        [Tuple.of(1, 2), true],
      ]),
    ),
    new Map<unknown, unknown>([
      [1, "a"],
      ["b", null],
      [Tuple.of(1, 2), true],
    ]),
  );
  assert.deepEqual({ ...(roundTrip({ a: 1, b: [2] }) as object) }, { a: 1, b: [2] });
  assert.deepEqual({ ...(roundTrip(new Map([["a", 1]])) as object) }, { a: 1 });
});

test("long lists, dicts and memos pass their batches", () => {
  for (const length of [999, 1000, 1001, 2001]) {
    const list = Array.from({ length }, (_, i) => i);
    assert.deepEqual(roundTrip(list), list);
    const object = Object.fromEntries(list.map((i) => [`k${i}`, [i]]));
    assert.deepEqual({ ...(roundTrip(object) as object) }, object);
    const map = new Map(list.map((i) => [i, `v${i}`]));
    assert.deepEqual(roundTrip(map), map);
  }
});

test("what is shared stays shared", () => {
  const shared = { a: [1] };
  const back = roundTrip([shared, shared, shared.a]) as [{ a: number[] }, object, number[]];
  assert.equal(back[0], back[1]);
  assert.equal(back[0].a, back[2]);
});

test("__proto__ and constructor are keys like any other", () => {
  const value = Object.create(null) as Record<string, unknown>;
  for (const key of ["__proto__", "constructor"]) value[key] = { polluted: true };
  const back = roundTrip(value) as Record<string, unknown>;
  assert.equal(Object.getPrototypeOf(back), null);
  assert.deepEqual(Object.keys(back), ["__proto__", "constructor"]);
  assert.equal(({} as { polluted?: boolean }).polluted, undefined);
});

test("map and slice of a tuple are plain arrays", () => {
  const tuple = Tuple.of(3);
  assert.equal(tuple.length, 1);
  assert.equal(tuple.map((x) => x + 1) instanceof Tuple, false);
  assert.equal(Tuple.from([1, 2], (x) => 2 * x)[1], 4);
});

class Linear {}
class Stateful {
  stateDict(): object {
    return {};
  }
}
const cycle: unknown[] = [];
cycle.push({ inner: [cycle] });
let deep: unknown[] = [];
for (let i = 0; i < 1100; i++) deep = [deep];

for (const [title, value, expected] of [
  [
    "a function",
    { model: { foo: [0, 1, 2, () => 1] } },
    /^value\.model\.foo\[3\] is a function, which cannot be saved/,
  ],
  ["a class instance", { "a b": new Map([[3, new Linear()]]) }, /^value\["a b"\]\.get\(3\) is a Linear/],
  ["a date", [new Date()], /^value\[0\] is a Date/],
  ["undefined", { a: undefined }, /^value\.a is undefined/],
  ["a symbol", { a: Symbol("s") }, /^value\.a is a symbol/],
  ["a promise", { a: Promise.resolve(1) }, /^value\.a is a Promise/],
  ["a symbol key", { a: { [Symbol("s")]: 1 } }, /^value\.a has a symbol as a key/],
  [
    "an object with state",
    { model: new Stateful() },
    /^value\.model is a Stateful.*\nSave its values: value\.model\.stateDict\(\)/,
  ],
  ["a typed array", { a: new Float32Array(2) }, /^value\.a is a Float32Array.*\n.*torch\.fromTypedArray/],
  ["a cycle", { list: cycle }, /^value\.list\[0\]\.inner\[0\] contains itself/],
  ["deep nesting", deep, /is nested more than 1000 deep/],
  ["an object as a key", { a: new Map([[{}, 1]]) }, /^value\.a has a key or item that is an Object/],
  ["an array in a set", new Set([[1]]), /^value has a key or item that is an Array/],
] as const) {
  test(`${title} cannot be saved, and the error names the place`, () => {
    assert.throws(
      () => write(value),
      (error) => error instanceof TypeError && expected.test(error.message),
    );
  });
}

test("the containers of newer protocols can be read", () => {
  const short = (value: string): string => `\x8c${String.fromCharCode(value.length)}${value}`;
  assert.deepEqual(read(pickle(0x8f, "(", int(1), int(2), 0x90)), new Set([1, 2]));
  assert.deepEqual(read(pickle("(", int(1), 0x91)), new Set([1]));
  assert.deepEqual(read(pickle(0x95, "\x05\0\0\0\0\0\0\0", short("abc"))), "abc");
  assert.deepEqual(read(pickle("C\x02\x01\xff")), new Uint8Array([1, 255]));
  assert.deepEqual(read(pickle("(", short("a"), 0x94, "h\0", "t")), Tuple.of("a", "a"));
  assert.deepEqual(
    { ...(read(pickle(short("collections"), short("OrderedDict"), 0x93, emptyTuple, "R")) as object) },
    {},
  );
});

test("calls on the list of safe names give data", () => {
  assert.deepEqual(read(pickle(call(global("__builtin__", "frozenset"), ["](", int(1), "e"]))), new Set([1]));
  assert.deepEqual(
    read(pickle(call(global("_codecs", "encode"), text("a\u00ff"), text("latin1")))),
    new Uint8Array([97, 255]),
  );
  assert.deepEqual(read(pickle(call(global("torch", "Size"), tuple(int(2), int(3))))), Tuple.of(2, 3));
  assert.equal(read(pickle(call(global("torch", "device"), text("cuda"), int(1)))), "cuda:1");
  assert.equal(read(pickle(global("torch", "bfloat16"))), "bfloat16");
  const pairs = ["](", tuple(text("a"), int(1)), "e"];
  assert.deepEqual({ ...(read(pickle(call(global("collections", "OrderedDict"), pairs))) as object) }, { a: 1 });
});
