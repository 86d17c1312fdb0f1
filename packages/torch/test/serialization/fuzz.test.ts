// Mutated files and pickles with fixed seeds: the result is a value or a CheckpointError, at once, never anything else.
import assert from "node:assert/strict";
import { test } from "node:test";
import { finishGraph, readPickle } from "../../dist/serialization/pickle-reader.js";
import { writePickle } from "../../dist/serialization/pickle-writer.js";
import { Tuple } from "../../dist/serialization/python-types.js";
import { planStorages } from "../../dist/serialization/tensor-records.js";
import {
  call,
  checkpoint,
  directoryStart,
  global,
  noHooks,
  pickle,
  tensor,
  text,
  tuple,
  yes,
} from "./support/assemble.js";
import { randomFrom, survives } from "./support/fuzz.js";
import { readWithoutEngine } from "./support/read.js";

const seeds = [
  writePickle(
    { a: [1, 2.5, "x", null, true, Tuple.of(1, 2, 3, 4)], b: new Map([[0, { c: new Set([1]) }]]), d: 2n ** 70n },
    () => null,
  ),
  pickle(
    "}(",
    text("w"),
    tensor(),
    text("p"),
    call(global("torch._utils", "_rebuild_parameter"), tensor({ shape: [2, 2], strides: [2, 1] }), yes, noHooks),
    "u",
  ),
  pickle(
    tuple(
      tensor({ shape: [], strides: [] }),
      tensor({ shape: [0], strides: [1] }),
      global("torch", "float16"),
      noHooks,
    ),
  ),
];
const opcodes = Buffer.from(
  "\x80\x95.(N\x88\x89KMJ\x8a\x8bGX\x8c\x8dUTCB\x8e\x96]ae)\x85\x86\x87t}su\x8f\x90\x91qr\x94hjc\x93RbQ",
  "latin1",
);
const nasty = Buffer.from([0, 1, 0x7f, 0x80, 0xff, 0x0a]);

function mutate(seed: Uint8Array, random: () => number): Buffer {
  let bytes = Buffer.from(seed);
  const below = (n: number): number => Math.floor(random() * n);
  for (let count = 1 + below(4); count > 0; count--) {
    const at = below(bytes.length);
    switch (below(7)) {
      case 0:
        bytes[at] ^= 1 << below(8);
        break;
      case 1:
        bytes[at] = opcodes[below(opcodes.length)];
        break;
      case 2:
        bytes[at] = nasty[below(nasty.length)];
        break;
      case 3:
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + below(8))]);
        break;
      case 4: {
        const from = below(bytes.length);
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(from, from + 1 + below(30)), bytes.subarray(at)]);
        break;
      }
      case 5:
        bytes = Buffer.concat([
          bytes.subarray(0, at),
          Buffer.from([opcodes[below(opcodes.length)]]),
          bytes.subarray(at),
        ]);
        break;
      default:
        if (at + 4 <= bytes.length) bytes.writeUInt32LE(random() < 0.5 ? 0xffffffff : below(2 ** 32), at);
    }
    if (bytes.length === 0) bytes = Buffer.from(".");
  }
  return bytes;
}

test("20,000 mutated pickles give data or a CheckpointError", () => {
  const random = randomFrom(1);
  let good = 0;
  for (let i = 0; i < 20_000; i++) {
    const bytes = mutate(seeds[i % seeds.length], random);
    const read = (): void => {
      const { root, tensors } = readPickle(bytes, "The pickle");
      planStorages(tensors, () => 16, "The pickle");
      finishGraph(root, "The pickle", (tensor) => tensor.shape);
    };
    if (survives(read, () => `pickle ${i}: ${bytes.toString("hex")}`)) good++;
  }
  assert.ok(good > 200 && good < 15_000, `${good} could be read: the mutations are too hard or too soft`);
  assert.equal(({} as { polluted?: unknown }).polluted, undefined);
});

test("5,000 archives with a mutated directory or headers give data or a CheckpointError", () => {
  const random = randomFrom(2);
  const file = checkpoint(seeds[1]);
  const start = directoryStart(file);
  let good = 0;
  for (let i = 0; i < 5_000; i++) {
    const copy = Buffer.from(file);
    for (let count = 1 + Math.floor(random() * 3); count > 0; count--) {
      const from = random() < 0.8 ? start : 0;
      const at = from + Math.floor(random() * (copy.length - from));
      if (random() < 0.5) copy[at] = nasty[Math.floor(random() * nasty.length)];
      else copy[at] ^= 1 << Math.floor(random() * 8);
    }
    if (
      survives(
        () => readWithoutEngine(copy),
        () => `archive ${i}: ${copy.toString("hex")}`,
      )
    )
      good++;
  }
  assert.ok(good > 50 && good < 4_000, `${good} could be read`);
});
