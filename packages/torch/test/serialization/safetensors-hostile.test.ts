// safetensors files made to harm, and mutated ones: each is refused with a CheckpointError that says why, at once, and without taking
// memory for what it merely claims to hold.
import assert from "node:assert/strict";
import { test } from "node:test";
import { tensor } from "../../dist/creation.js";
import { CheckpointError } from "../../dist/errors.js";
import { Parameter } from "../../dist/nn/parameter.js";
import { MemorySource } from "../../dist/serialization/byte-source.js";
import { Tuple } from "../../dist/serialization/python-types.js";
import { readBlocking } from "../../dist/serialization/reading.js";
import { readState, statePieces } from "../../dist/serialization/safetensors/state-files.js";
import { randomFrom, survives } from "./support/fuzz.js";
import { assemble, entry } from "./support/safetensors.js";

function read(file: Uint8Array): unknown {
  const source = new MemorySource(file);
  return readBlocking(source, readState(source, "cpu"));
}

const f32 = (begin: unknown, end: unknown, shape: unknown = [1]): object => entry("F32", shape, begin, end);
const withState = (json: unknown, tensors: object = {}, bytes = 0): Buffer =>
  assemble(
    { __metadata__: { fabric_state: typeof json === "string" ? json : JSON.stringify(json) }, ...tensors },
    bytes,
  );
const many = (count: number, item: (i: number) => string): string =>
  `{${Array.from({ length: count }, (_, i) => item(i)).join()}}`;

const hostile: [string, Buffer, RegExp][] = [
  ["no bytes", Buffer.alloc(0), /it has 0 bytes/],
  ["seven bytes", Buffer.alloc(7), /it has 7 bytes/],
  ["a header without length", assemble("", 8, 0n), /header should have 0 bytes/],
  ["a header longer than the file", assemble("{}", 0, 3n), /header should have 3 bytes, but the file has 10/],
  ["a header of 2^64 - 1 bytes", assemble("{}", 0, 2n ** 64n - 1n), /18446744073709551615 bytes/],
  ["a header of 2^63 bytes", assemble("{}", 0, 2n ** 63n), /9223372036854775808 bytes/],
  ["a header that is an array", assemble("[]"), /does not start with \{/],
  ["a header that starts with a space", assemble(" {}"), /does not start with \{/],
  ["a header that starts with a byte order mark", assemble("\ufeff{}"), /does not start with \{/],
  ["a header that is no UTF-8", assemble(Buffer.from('{"\xff": 1}', "latin1")), /header is not text/],
  ["a surrogate in UTF-8", assemble(Buffer.from('{"\xed\xa0\x80": 1}', "latin1")), /header is not text/],
  ["a surrogate as an escape", assemble('{"\\ud800": {}}'), /name that is no text/],
  ["something behind the header", assemble("{}x"), /something follows its end/],
  ["two headers", assemble("{}{}"), /something follows its end/],
  ["an unfinished header", assemble('{"a"'), /expected :/],
  ["an unfinished name", assemble('{"a'), /a text does not end/],
  ["a name with a control character", assemble('{"a\u0001": 1}'), /broken text/],
  ["a name with an unknown escape", assemble('{"a\\x": 1}'), /broken text/],
  ["a trailing comma", assemble('{"a":{"dtype":"F32","shape":[],"data_offsets":[0,4],}}', 4), /expected text/],
  [
    "the same name twice",
    assemble(
      many(2, () => `"a":${JSON.stringify(f32(0, 4))}`),
      4,
    ),
    /the key "a" appears twice/,
  ],
  ["the same name twice, one escaped", assemble(`{"a":1,"\\u0061":1}`), /the key "a" appears twice/],
  ["a fraction", assemble('{"a":{"dtype":"F32","shape":[1.5],"data_offsets":[0,4]}}', 4), /expected a value/],
  ["an exponent", assemble('{"a":{"dtype":"F32","shape":[1e0],"data_offsets":[0,4]}}', 4), /expected a value/],
  [
    "a number of many digits",
    assemble(`{"a":{"dtype":"F32","shape":[${"9".repeat(400)}],"data_offsets":[0,4]}}`, 4),
    /expected a value/,
  ],
  ["true as a size", assemble('{"a":{"dtype":"F32","shape":[true],"data_offsets":[0,4]}}', 4), /expected a value/],
  ["deep nesting", assemble(`{"a":${"[".repeat(100_000)}`), /nested more than 8 deep/],
  ["a name of eight million quotes", assemble(`{"${'\\"'.repeat(4_000_000)}`), /a text does not end/],
  ["a name of four million letters", assemble(`{"${"a".repeat(4_000_000)}":1}`), /is not described by/],
  ["a million spaces", assemble(`{${" ".repeat(1_000_000)}`), /expected text/],
  ["too many keys", assemble(many(200_000, (i) => `"${i}":1`)), /more than 100001 keys/],
  ["an entry that is a number", assemble('{"a":1}'), /"a" is not described by dtype, shape and data_offsets/],
  ["an entry without dtype", assemble({ a: { shape: [1], data_offsets: [0, 4] } }, 4), /is not described by/],
  ["an entry with more", assemble({ a: { ...f32(0, 4), evil: 1 } }, 4), /is not described by/],
  [
    "an entry with another name",
    assemble({ a: { dtype: "F32", shape: [1], offsets: [0, 4] } }, 4),
    /is not described by/,
  ],
  ["three offsets", assemble({ a: { dtype: "F32", shape: [1], data_offsets: [0, 4, 4] } }, 4), /is not described by/],
  ["a negative offset", assemble({ a: f32(-4, 0) }, 4), /is not described by/],
  ["a negative size", assemble({ a: f32(0, 4, [-1]) }, 4), /is not described by/],
  ["minus zero", assemble('{"a":{"dtype":"F32","shape":[-0],"data_offsets":[0,0]}}'), /is not described by/],
  ["a shape that is text", assemble({ a: f32(0, 4, "1") }, 4), /is not described by/],
  ["offsets in the wrong order", assemble({ a: f32(4, 0) }, 4), /needs 4 bytes, but has -4/],
  ["an unknown dtype", assemble({ a: entry("F31", [1], 0, 4) }, 4), /has the unknown dtype "F31"/],
  ["a dtype from the prototype", assemble({ a: entry("constructor", [1], 0, 4) }, 4), /unknown dtype "constructor"/],
  [
    "a dtype that the engine lacks",
    assemble({ a: entry("F8_E4M3", [4], 0, 4) }, 4),
    /dtype F8_E4M3, which the engine does not have/,
  ],
  ["a product that wraps to 4", assemble({ a: f32(0, 16, [2 ** 31, 2 ** 31, 4]) }, 16), /shape that is too large/],
  ["a product beyond 2^53", assemble({ a: f32(0, 4, [2 ** 52, 2]) }, 4), /shape that is too large/],
  ["zero times too much", assemble({ a: f32(0, 0, [0, 2 ** 52, 2 ** 52]) }), /shape that is too large/],
  ["65 dimensions", assemble({ a: f32(0, 4, Array(65).fill(1)) }, 4), /has 65 dimensions/],
  ["too few bytes for the shape", assemble({ a: f32(0, 4, [2]) }, 4), /needs 8 bytes, but has 4/],
  ["offsets beyond the end", assemble({ a: f32(0, 8, [2]) }, 4), /have 8 bytes, but 4 follow/],
  ["bytes that belong to nothing", assemble({ a: f32(0, 4) }, 5), /have 4 bytes, but 5 follow/],
  ["bytes without tensors", assemble("{}", 1), /have 0 bytes, but 1 follow/],
  ["a hole", assemble({ a: f32(0, 4), b: f32(8, 12) }, 12), /"b" has a hole in front of it/],
  ["a hole at the start", assemble({ a: f32(4, 8) }, 8), /"a" has a hole in front of it/],
  ["an overlap", assemble({ a: f32(0, 8, [2]), b: f32(4, 12, [2]) }, 12), /"b" overlaps another one/],
  ["the same bytes twice", assemble({ a: f32(0, 4), b: f32(0, 4) }, 4), /overlaps another one/],
  [
    "an empty tensor in the middle of another",
    assemble({ a: f32(0, 8, [2]), b: f32(4, 4, [0]) }, 8),
    /overlaps another one/,
  ],
  ["an empty tensor behind the end", assemble({ a: f32(0, 4), b: f32(8, 8, [0]) }, 4), /has a hole in front of it/],
  ["an empty tensor far away", assemble({ a: f32(2 ** 52, 2 ** 52, [0]) }), /has a hole in front of it/],
  ["metadata that are text", assemble({ __metadata__: "x" }), /__metadata__ that is no object/],
  ["metadata with a number", assemble({ __metadata__: { a: 1 } }), /something other than text/],
  ["metadata with an object", assemble({ __metadata__: { a: {} } }), /something other than text/],
  ["a bool of 2", assemble({ a: entry("BOOL", [1], 0, 1) }, Buffer.from([2])), /a bool that is neither 0 nor 1/],
  [
    "checksums that are no JSON",
    assemble({ __metadata__: { fabric_crc32: "[", fabric_header_crc32: "00000000" } }),
    /checksum of its header is wrong/,
  ],
  ["a state that is no JSON", withState("{"), /is no JSON/],
  ["a state nested too deep", withState("[".repeat(5000) + "]".repeat(5000)), /nested more than 1000 deep/],
  ["a state that names a missing tensor", withState({ tensor: "a" }), /names the tensor "a", which the file lacks/],
  ["a state that names a tensor by number", withState({ tensor: 0 }), /names the tensor 0, which the file lacks/],
  ["a state with an unknown kind", withState({ call: "os.system" }), /a value of no known kind/],
  ["a state with two kinds", withState({ dict: {}, list: [] }), /a value of no known kind/],
  ["a state with no kind", withState({}), /a value of no known kind/],
  ["a state with a dict that is a list", withState({ dict: [] }), /a dict that is none/],
  ["a state with a map of single values", withState({ map: [[1]] }), /something other than pairs/],
  ["a state with a tuple that is text", withState({ tuple: "abc" }), /where one belongs/],
  ["a state with a float that is code", withState({ float: "1;x" }), /a broken number/],
  ["a state with an endless integer", withState({ int: "9".repeat(30_000) }), /a broken number/],
  [
    "a state that wants gradients of integers",
    withState({ tensor: "a", grad: true }, { a: entry("I8", [1], 0, 1) }, 1),
    /wants gradients for a tensor of int8/,
  ],
];

for (const [name, file, message] of hostile) {
  test(`${name} is refused`, () => {
    let fault: unknown;
    const before = process.memoryUsage().rss;
    const ok = survives(
      () => {
        try {
          read(file);
        } catch (error) {
          fault = error;
          throw error;
        }
      },
      () => name,
      // 100,001 keys are looked at before there are too many.
      name === "too many keys" ? 1000 : 100,
    );
    assert.ok(!ok, "it was read");
    assert.ok(fault instanceof CheckpointError);
    assert.match(fault.message, /^The data (is damaged|was refused)/);
    assert.match(fault.message, message);
    assert.ok(fault.message.length < 500, fault.message);
    assert.ok(process.memoryUsage().rss - before < (200 << 20) + 20 * file.length, "it took memory");
  });
}

test("what is unusual but right is read", () => {
  const data = Buffer.from(new Float32Array([1, 2]).buffer);
  const good: [string, Buffer][] = [
    ["an empty file", assemble("{}")],
    ["spaces behind the header", assemble("{}       \n")],
    ["spaces everywhere", assemble('{ "a" :\n{ "dtype":\t"F32", "shape" : [ 2 ] , "data_offsets":[0,\r8]} }', data)],
    ["keys in another order", assemble('{"a":{"data_offsets":[0,8],"shape":[2],"dtype":"F32"}}', data)],
    ["tensors in another order", assemble({ b: f32(4, 8), a: f32(0, 4) }, data)],
    [
      "empty tensors at the start, between and at the end",
      assemble({ a: f32(0, 0, [0]), b: f32(0, 4), c: f32(4, 4, [3, 0]), d: f32(4, 8), e: f32(8, 8, [0]) }, data),
    ],
    ["a name in escapes", assemble(`{"\\u0061\\n\\"\\\\":${JSON.stringify(f32(0, 8, [2]))}}`, data)],
    ["no dimensions", assemble({ a: f32(0, 4, []), b: f32(4, 8, []) }, data)],
    ["64 dimensions", assemble({ a: f32(0, 8, [2, ...Array(63).fill(1)]) }, data)],
    ["a key __proto__", assemble(`{"__proto__":${JSON.stringify(f32(0, 8, [2]))}}`, data)],
    ["metadata called __proto__", assemble('{"__metadata__":{"__proto__":"x"}}')],
  ];
  for (const [name, file] of good) assert.doesNotThrow(() => read(file), name);
  assert.equal(({} as { dtype?: unknown }).dtype, undefined);
});

const seed = Buffer.concat(
  Array.from(
    statePieces({
      a: tensor([1, 2]),
      b: new Parameter(tensor([[1.5]])),
      c: [1, Tuple.of<unknown>(2n ** 70n, Number.NaN), null, true, new Set([1])],
      d: new Map([[0, { e: tensor([true]), f: "x\u00e9\n" }]]),
    }),
    (piece) => piece.slice(),
  ),
);
// Without checksums, so that mutations get past the header.
const seeds = [
  Buffer.from(seed.toString("latin1").replace("fabric_header_crc32", "fabric_header_crc33"), "latin1"),
  assemble({ a: f32(0, 4), b: f32(4, 12, [2, 1]), c: f32(12, 12, [0]) }, 12),
  withState(
    [{ tensor: "a", grad: true }, { map: [[1, { dict: { a: { tuple: [{ set: [1] }] } } }]] }],
    { a: f32(0, 4) },
    4,
  ),
];
const symbols = Buffer.from('{}[]",:\\-0123456789.eE \nnulltruefalse\x00\x7f\xc3\xed\xff', "latin1");
const words = [
  "9007199254740993",
  '"F64"',
  '"a":',
  "__proto__",
  "[0,4]",
  '{"tensor":"a"}',
  "\\u0000",
  "-1",
  "1e400",
  "null",
];

function mutate(file: Buffer, random: () => number): Buffer {
  let bytes = Buffer.from(file);
  const below = (n: number): number => Math.floor(random() * n);
  // Mostly in the header's text.
  const end = Math.min(bytes.length, 8 + Number(bytes.readBigUInt64LE(0)));
  for (let count = 1 + below(3); count > 0; count--) {
    const at = random() < 0.95 ? 8 + below(end - 8) : below(bytes.length);
    switch (below(5)) {
      case 0:
        bytes[at] = (bytes[at] as number) ^ (1 << below(8));
        break;
      case 1:
        bytes[at] = symbols[below(symbols.length)] as number;
        break;
      case 2:
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + below(6))]);
        break;
      case 3:
        bytes = Buffer.concat([
          bytes.subarray(0, at),
          Buffer.from(words[below(words.length)] as string),
          bytes.subarray(at),
        ]);
        break;
      default: {
        const from = 8 + below(end - 8);
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(from, from + 1 + below(20)), bytes.subarray(at)]);
      }
    }
  }
  // The length that belongs to the new header, as otherwise hardly any is looked at.
  if (bytes.length > 8 && random() < 0.95)
    bytes.writeBigUInt64LE(BigInt(Math.max(0, end - 8 + bytes.length - file.length)), 0);
  return bytes;
}

test("60,000 mutated files give data or a CheckpointError", () => {
  const random = randomFrom(3);
  let good = 0;
  for (let i = 0; i < 60_000; i++) {
    const bytes = mutate(seeds[i % seeds.length] as Buffer, random);
    if (
      survives(
        () => read(bytes),
        () => `file ${i}: ${bytes.toString("hex")}`,
      )
    )
      good++;
  }
  assert.ok(good > 1000 && good < 40_000, `${good} could be read: the mutations are too hard or too soft`);
  assert.equal(({} as { polluted?: unknown }).polluted, undefined);
});
