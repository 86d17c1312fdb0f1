// Files made to harm: each is refused with a CheckpointError that says why, at once, and without taking memory for what it
// merely claims to hold.
import assert from "node:assert/strict";
import { test } from "node:test";
import { CheckpointError } from "../../dist/errors.js";
import {
  bytes,
  call,
  checkpoint,
  directoryEntry,
  directoryStart,
  emptyTuple,
  global,
  int,
  no,
  noHooks,
  none,
  type Part,
  patched,
  pickle,
  type Records,
  storage,
  tensor,
  text,
  tuple,
  u32,
  u64,
  yes,
  zip,
} from "./support/assemble.js";
import { readWithoutEngine } from "./support/read.js";

const good = checkpoint(pickle(tensor()));
const rebuild = global("torch._utils", "_rebuild_tensor_v2");
const sizes = (...items: number[]): Buffer => tuple(...items.map(int));
const repeat = (part: Part, count: number): Buffer => {
  const one = bytes(part);
  return Buffer.concat(Array.from({ length: count }, () => one));
};
const shared = (part: Part): Part => [part, "q\0"];

// Each level is a tuple of ten times the level before.
function laughs(levels: number): Buffer {
  const parts: Part[] = ["]q\0"];
  for (let i = 1; i <= levels; i++) parts.push("(", repeat(["h", i - 1], 10), "tq", i);
  return bytes("(", parts, "t");
}

const pickles: [string, Buffer, RegExp][] = [
  ["os.system", pickle(call(global("os", "system"), text("touch /tmp/pwned"))), /refers to os\.system/],
  ["posix.system", pickle(call(global("posix", "system"), text("id"))), /refers to posix\.system/],
  ["builtins.eval", pickle(call(global("builtins", "eval"), text("1"))), /refers to builtins\.eval/],
  ["__builtin__.exec", pickle(call(global("__builtin__", "exec"), text("1"))), /refers to __builtin__\.exec/],
  [
    "builtins.getattr",
    pickle(call(global("builtins", "getattr"), text("a"), text("b"))),
    /refers to builtins\.getattr/,
  ],
  ["subprocess.Popen", pickle(call(global("subprocess", "Popen"), text("id"))), /refers to subprocess\.Popen/],
  ["torch.load", pickle(call(global("torch", "load"), text("x"))), /refers to torch\.load/],
  ["torch.jit.load", pickle(call(global("torch.jit", "load"), text("x"))), /refers to torch\.jit\.load/],
  [
    "os.system through STACK_GLOBAL",
    pickle(text("os"), text("system"), 0x93, tuple(text("id")), "R"),
    /refers to os\.system/,
  ],
  ["constructor", pickle(global("constructor", "constructor")), /refers to constructor\.constructor/],
  ["__proto__", pickle(global("__proto__", "call")), /refers to __proto__\.call/],
  [
    "a NumPy scalar",
    pickle(call(global("numpy.core.multiarray", "scalar"), int(1))),
    /numpy\.core\.multiarray\.scalar.*\n.*\.item\(\)/,
  ],
  ["a sparse tensor", pickle(call(global("torch._utils", "_rebuild_sparse_tensor"), int(1))), /_rebuild_sparse_tensor/],
  ["control characters in a name", pickle(global("os\x1b[2J", "x")), /refers to os\?\[2J\.x/],
  ["a class instance (INST)", pickle("(ios\nsystem\n"), /instance of a class/],
  ["a class instance (OBJ)", pickle("(", global("torch", "Size"), "o"), /instance of a class/],
  ["a class instance (NEWOBJ)", pickle(global("torch", "Tensor"), emptyTuple, 0x81), /instance of a class/],
  ["a class instance (NEWOBJ_EX)", pickle(global("torch", "Tensor"), emptyTuple, "}", 0x92), /instance of a class/],
  ["an extension code", pickle(0x82, 1), /opcode 0x82/],
  ["a textual persistent id", pickle("P0\n"), /opcode 0x50/],
  ["an opcode that does not exist", pickle(0xff), /opcode 0xff/],
  ["protocol 0", Buffer.from("I1\n."), /opcode 0x49/],
  ["a buffer outside of the file", pickle(0x97), /opcode 0x97/],
  ["a call of text", pickle(text("print"), emptyTuple, "R"), /calls something that is not a function/],
  ["a call of a dict", pickle("}", emptyTuple, "R"), /calls something that is not a function/],
  [
    "a call of a storage class",
    pickle(call(global("torch", "FloatStorage"), int(1_000_000_000))),
    /calls torch\.FloatStorage/,
  ],
  ["a call of torch.Tensor", pickle(call(global("torch", "Tensor"), int(1_000_000_000))), /calls torch\.Tensor/],
  ["arguments that are no tuple", pickle(global("collections", "OrderedDict"), "]R"), /arguments that are not a tuple/],
  ["an item set on a list", pickle("]", int(0), int(1), "s"), /not a dict/],
  ["an item set on a tuple", pickle(emptyTuple, int(0), int(1), "s"), /not a dict/],
  ["items set on a tensor", pickle(tensor(), "(", int(0), int(1), "u"), /not a dict/],
  ["items set on a function", pickle(rebuild, "(", text("x"), int(1), "u"), /not a dict/],
  ["an odd number of items", pickle("}(", int(0), "u"), /key without a value/],
  ["append to a dict", pickle("}", int(1), "a"), /not a list/],
  ["append to a tuple", pickle(emptyTuple, int(1), "a"), /not a list/],
  ["append to a number", pickle(int(1), "(", int(1), "e"), /not a list/],
  ["add to a list as if it were a set", pickle("](", int(1), 0x90), /not a set/],
  ["state for a list", pickle("]}b"), /state of something that is not a dict/],
  ["state for a tensor", pickle(tensor(), "}b"), /state of something that is not a dict/],
  ["state that is no dict", pickle(noHooks, tuple(none, "}"), "b"), /state of something that is not a dict/],
  ["more taken than there is", pickle("a"), /not there/],
  ["a tuple of missing values", pickle(none, 0x87), /not there/],
  ["the end of a group that did not begin", pickle("t"), /did not begin/],
  ["a note that was not made", pickle("h\x05"), /refers to the value 5/],
  ["a note of nothing", pickle("q\0"), /notes a value that is not there/],
  ["a note with an enormous number", pickle(none, "r", u32(0xffffffff)), /number 4294967295/],
  ["text of 4 GiB", pickle("X", u32(0xffffffff), "abc"), /text of 4294967295 bytes/],
  ["text of 2^63 bytes", pickle(0x8d, u64(2n ** 63n), "abc"), /text of 9223372036854776000 bytes/],
  ["text longer than the file", pickle("X", u32(1000), "abc"), /ends in the middle/],
  ["bytes of 2^40", pickle(0x8e, u64(2n ** 40n), "abc"), /ends in the middle/],
  ["a byte array of 2^40", pickle(0x96, u64(2n ** 40n), "abc"), /ends in the middle/],
  ["an integer of 2 GiB", pickle(0x8b, u32(0x7fffffff), "abc"), /integer of 2147483647 bytes/],
  ["an integer of negative length", pickle(0x8b, u32(0xffffffff), "abc"), /integer of 4294967295 bytes/],
  ["a frame longer than the file", pickle(0x95, u64(2n ** 62n)), /frame is longer/],
  ["a newer protocol", bytes(0x80, 9, none, "."), /protocol newer than 5/],
  ["20,000 nested lists", pickle(repeat("]", 20_000), repeat("a", 19_999)), /nested more than 1000 deep/],
  ["20,000 nested tuples", pickle(none, repeat(0x85, 20_000)), /nested more than 1000 deep/],
  ["100,000 groups", pickle(repeat("(", 100_000)), /nested more than 1000 deep/],
  [
    "chains of shared parts",
    pickle("(", none, repeat(0x85, 900), "q\0", "h\0", repeat(0x85, 900), "t"),
    /nested more than 1000 deep/,
  ],
  ["a list in itself", pickle("]q\0h\0a"), /contains itself/],
  ["a dict in itself", pickle("}q\0", text("a"), tuple("h\0"), "s"), /contains itself/],
  ["a billion laughs", pickle(laughs(12)), /too many to walk/],
  [
    "a thousand copies of a set",
    pickle(
      "(",
      shared(["](", repeat([int(1)], 2000), "e"]),
      repeat([global("__builtin__", "frozenset"), "h\0", 0x85, "R"], 1000),
      "t",
    ),
    /beyond its size/,
  ],
  [
    "a thousand copies of a dict",
    pickle(
      "(",
      shared(["](", repeat(sizes(1, 2), 2000), "e"]),
      repeat([global("collections", "OrderedDict"), "h\0", 0x85, "R"], 5000),
      "t",
    ),
    /beyond its size/,
  ],
  ["text that is not UTF-8", pickle("X", u32(2), "\xff\xfe"), /not UTF-8/],
  ["a name without end", pickle(`c${"a".repeat(100_000)}`), /name does not end/],
  ["a name that is not text", pickle(global("\xff", "\xfe")), /name is not text/],
  ["no end", bytes(0x80, 2, none), /ends in the middle/],
  ["nothing", Buffer.alloc(0), /ends in the middle/],
  ["bytes behind the end", bytes(pickle(none), "abc"), /goes on behind its end/],
  ["two values", pickle(none, none), /number of values/],
  ["an open group at the end", pickle("(", none), /number of values/],
  ["a list as a key", pickle("}", "]", none, "s"), /key that Python does not allow/],
  ["a list in a set", pickle(0x8f, "(", "]", 0x90), /key that Python does not allow/],
  ["a function as a value", pickle(rebuild), /_rebuild_tensor_v2 itself/],
  ["a storage as a value", pickle(storage()), /storage outside of a tensor/],
  [
    "bytes in an unknown encoding",
    pickle(call(global("_codecs", "encode"), text("a"), text("zip"))),
    /_codecs\.encode takes/,
  ],
  [
    "bytes that are not latin1",
    pickle(call(global("_codecs", "encode"), text("\u1234"), text("latin1"))),
    /not latin1/,
  ],
  ["a TorchScript class", pickle(global("__torch__", "Model")), /__torch__\.Model.*\n.*TorchScript/],
  ["another kind of persistent id", pickle(tensor({ storage: storage({ tag: "module" }) })), /strange type/],
  ["an unknown storage class", pickle(storage({ type: global("torch", "QInt8Storage") })), /torch\.QInt8Storage/],
  ["a function as a storage class", pickle(storage({ type: rebuild })), /strange type/],
  [
    "a storage with a path as its name",
    pickle(tensor({ storage: storage({ key: "../../../etc/passwd" }) })),
    /strange name/,
  ],
  [
    "a storage without a record",
    pickle(tensor({ storage: storage({ key: "9" }) })),
    /record "data\/9" of a tensor is missing/,
  ],
  [
    "a storage larger than its record",
    pickle(tensor({ storage: storage({ numel: int(1_000_000) }) })),
    /should have 4000000 bytes, but the record "data\/0" has 16/,
  ],
  [
    "a storage smaller than its record",
    pickle(tensor({ storage: storage({ numel: int(3) }), shape: [3] })),
    /should have 12 bytes/,
  ],
  ["a storage of 2^62 elements", pickle(tensor({ storage: storage({ numel: int(2n ** 62n) }) })), /strange size/],
  ["a storage of -4 elements", pickle(tensor({ storage: storage({ numel: int(-4) }) })), /strange size/],
  [
    "a storage of 4.5 elements",
    pickle(tensor({ storage: storage({ numel: ["G", Buffer.from("4012000000000000", "hex")] }) })),
    /strange size/,
  ],
  ["an offset behind the storage", pickle(tensor({ offset: int(1) })), /elements behind the end/],
  ["a negative offset", pickle(tensor({ offset: int(-1) })), /offset that no tensor has/],
  ["a huge offset", pickle(tensor({ offset: int(2n ** 62n) })), /offset that no tensor has/],
  ["strides that leave the storage", pickle(tensor({ shape: [2, 2], strides: [3, 1] })), /elements behind the end/],
  ["negative strides", pickle(tensor({ strides: [-1] })), /shape or strides that no tensor has/],
  ["strides that overflow", pickle(tensor({ shape: [3], strides: [2 ** 53 - 1] })), /strides that overflow/],
  [
    "a shape that overflows",
    pickle(tensor({ shape: [2 ** 32, 2 ** 32], strides: [0, 0] })),
    /more elements than memory/,
  ],
  [
    "a shape whose product wraps around to 4",
    pickle(tensor({ shape: [2n ** 52n, 2n ** 12n, 4], strides: [0, 0, 0] })),
    /more elements than memory/,
  ],
  [
    "an empty tensor with overflowing sizes",
    pickle(tensor({ shape: [0, 2 ** 52, 2 ** 52], strides: [0, 0, 0] })),
    /product overflows/,
  ],
  ["an empty tensor behind the end", pickle(tensor({ shape: [0], offset: int(1000) })), /offset behind the end/],
  ["a shape and strides that do not match", pickle(tensor({ shape: [4], strides: [] })), /different lengths/],
  [
    "65 dimensions",
    pickle(tensor({ shape: Array(65).fill(1), strides: Array(65).fill(1) })),
    /shape or strides that no tensor has/,
  ],
  [
    "a boolean as a size",
    pickle(call(rebuild, storage(), int(0), tuple(yes), tuple(yes), no, noHooks)),
    /shape or strides that no tensor has/,
  ],
  [
    "a tensor without a storage",
    pickle(call(rebuild, none, int(0), sizes(4), sizes(1), no, noHooks)),
    /got no storage/,
  ],
  ["a tensor in place of its storage", pickle(tensor({ storage: tensor() })), /got no storage/],
  ["too many arguments", pickle(tensor({ rest: [noHooks, none, none] })), /takes 6 or 7 arguments/],
  ["a gradient flag that is a number", pickle(tensor({ grad: int(1) })), /no boolean/],
  [
    "unknown metadata",
    pickle(tensor({ rest: [noHooks, ["}", text("x"), yes, "s"]] })),
    /metadata that is not understood/,
  ],
  ["a conjugate of floats", pickle(tensor({ rest: [noHooks, ["}", text("conj"), yes, "s"]] })), /not complex/],
  [
    "one record with two element types",
    pickle(tuple(tensor(), tensor({ storage: storage({ type: global("torch", "IntStorage") }) }))),
    /described in two ways/,
  ],
  [
    "one record in two places",
    pickle(tuple(tensor(), tensor({ storage: storage({ location: "cuda:0" }) }))),
    /described in two ways/,
  ],
  [
    "a storage in place of an element type",
    pickle(
      call(global("torch._utils", "_rebuild_tensor_v3"), storage(), int(0), sizes(4), sizes(1), no, noHooks, storage()),
    ),
    /element type that is not supported/,
  ],
  [
    "a parameter of nothing",
    pickle(call(global("torch._utils", "_rebuild_parameter"), none, yes, noHooks)),
    /takes a tensor/,
  ],
  [
    "another function behind a rebuild",
    pickle(
      call(
        global("torch._tensor", "_rebuild_from_type_v2"),
        global("torch", "device"),
        global("torch", "Tensor"),
        emptyTuple,
        none,
      ),
    ),
    /rebuilds only plain tensors/,
  ],
  [
    "another class behind a rebuild",
    pickle(call(global("torch._tensor", "_rebuild_from_type_v2"), rebuild, global("torch", "Size"), emptyTuple, none)),
    /rebuilds only plain tensors/,
  ],
];

const first = directoryEntry(good, 0);
const renamed = (from: string, to: string, file = good): Buffer => {
  assert.equal(from.length, to.length);
  return Buffer.from(file.toString("latin1").replaceAll(from, to), "latin1");
};
const withRecords = (records: Records): Buffer => checkpoint(pickle(tensor()), records);

const archives: [string, Buffer, RegExp][] = [
  ["an empty file", Buffer.alloc(0), /is empty/],
  ["text", Buffer.from("hello, world"), /neither a zip archive nor a safetensors file/],
  ["a few bytes", Buffer.from("hello"), /it has only 5 bytes/],
  ["an archive without records", good.subarray(good.length - 22), /without records/],
  ["a bare pickle", pickle(none), /bare Python pickle/],
  ["PyTorch's format before 1.6", Buffer.from("80028a0a6cfc9c46f9206aa850192e", "hex"), /before 1\.6.*\n.*torch\.save/],
  ["PyTorch's tar format", bytes(Buffer.alloc(257), "ustar", Buffer.alloc(250)), /tar format.*\n.*torch\.save/],
  ["a gzip file", bytes(0x1f, 0x8b, 8, 0), /gzip/],
  ["data in front", bytes(Buffer.alloc(64), good), /neither a zip archive/],
  ["data in front that looks like a record", bytes("PK\x03\x04", good), /not where its end says|does not point/],
  ["data behind the end", bytes(good, "x"), /its end is missing/],
  ["a comment", patched(bytes(good, "abc"), good.length - 2, "\x03\0"), /its end is missing/],
  ["a split archive", patched(good, good.length - 18, u32(1)), /split archive/],
  [
    "more records than the directory holds",
    patched(patched(good, good.length - 14, "\xff\xff\xff\xff"), good.length - 42 - 32, [u64(65535n), u64(65535n)]),
    /cannot hold 65535/,
  ],
  ["two ends that disagree", patched(good, good.length - 14, "\x03\0\x03\0"), /end records disagree/],
  ["a zip64 end elsewhere", patched(good, good.length - 42 + 8, u64(0n)), /zip64/],
  ["a directory elsewhere", patched(good, good.length - 6, u32(0)), /disagree|not where/],
  [
    "a zip64 directory at 2^60",
    patched(patched(good, good.length - 6, u32(0xffffffff)), good.length - 42 - 8, u64(2n ** 60n)),
    /not where its end says/,
  ],
  [
    "the same name twice",
    renamed("byteordes", "byteorder", withRecords({ "archive/byteordes": Buffer.from("little") })),
    /appears twice/,
  ],
  ["two folders", renamed("archive/version", "arcHive/version"), /several folders/],
  ["no folder", zip({ "data.pkl": pickle(none) }), /do not lie in a folder/],
  ["a name that leaves the folder", renamed("archive/version", "archive/.././x1"), /unsafe name/],
  ["an absolute name", zip({ "/etc/passwd": pickle(none) }), /unsafe name/],
  ["a Windows path", renamed("archive/version", "archive\\version"), /unsafe name/],
  ["a name with a zero byte", renamed("archive/version", "archive/ver\0ion"), /unsafe name/],
  ["an encrypted record", patched(good, first + 8, "\x09\x08"), /encrypted/],
  ["a compressed record", patched(good, first + 10, "\x08\0"), /compressed/],
  ["a compressed record by its own header", patched(good, 8, "\x08\0"), /differs from the directory/],
  ["strange flags", patched(good, first + 8, "\x48\x08"), /zip features/],
  ["a record of 2^40 bytes", bigRecord(2n ** 40n), /beyond the end|make no sense/],
  ["a record of 2^64 - 1 bytes", bigRecord(2n ** 64n - 1n), /beyond the end|make no sense/],
  [
    "a record larger than the file",
    patched(patched(good, first + 20, u32(0x10000000)), first + 24, u32(0x10000000)),
    /beyond the end/,
  ],
  ["two sizes that differ", patched(good, first + 20, u32(1)), /make no sense/],
  ["a missing zip64 field", patched(good, first + 42, u32(0xffffffff)), /make no sense/],
  ["overlapping records", patched(good, directoryEntry(good, 1) + 42, u32(10)), /overlap/],
  ["two names for one record", patched(good, directoryEntry(good, 3) + 42, u32(0)), /overlap|front/],
  ["an extra field that leads into the next record", patched(good, 28, "\xff\x7f"), /overlaps the next/],
  ["a directory that names another record", patched(good, 30, "archive/DATA.pkl"), /differs from the directory/],
  ["a record without a header", patched(good, good.readUInt32LE(directoryEntry(good, 2) + 42), u32(0)), /no header/],
  ["a broken directory entry", patched(good, directoryEntry(good, 1), "XX"), /entry 1 of its directory/],
  [
    "a directory entry longer than the directory",
    patched(good, directoryEntry(good, 3) + 30, "\xff\xff"),
    /entry 3 of its directory/,
  ],
  ["a changed byte in a tensor", changedByte(), /checksum of the record "archive\/data\/0"/],
  ["no pickle", zip({ "archive/version": Buffer.from("3\n") }), /without the record data\.pkl/],
  ["no version", zip({ "archive/data.pkl": pickle(none) }), /"version" is missing/],
  ["a version from the future", withRecords({ "archive/version": Buffer.from("99\n") }), /version 99/],
  ["a version that is no number", withRecords({ "archive/version": Buffer.from("three") }), /"version"/],
  [
    "a version of a megabyte",
    withRecords({ "archive/version": Buffer.alloc(1 << 20, "1") }),
    /"version" has 1048576 bytes/,
  ],
  ["big-endian numbers", withRecords({ "archive/byteorder": Buffer.from("big") }), /big-endian/],
  ["a TorchScript model", withRecords({ "archive/constants.pkl": pickle(emptyTuple) }), /TorchScript/],
];

// The size of the first record moved to a zip64 field with the given value.
function bigRecord(size: bigint): Buffer {
  const at = directoryEntry(good, 0);
  const nameLength = good.readUInt16LE(at + 28);
  const extra = bytes("\x01\0\x10\0", u64(size), u64(size));
  let file = patched(good, at + 20, [u32(0xffffffff), u32(0xffffffff)]);
  file = patched(file, at + 30, "\x14\0");
  const cut = at + 46 + nameLength;
  file = bytes(file.subarray(0, cut), extra, file.subarray(cut));
  const grown = directoryStart(good);
  const end = file.length;
  const length = end - 98 - grown;
  file = patched(file, end - 98 + 40, u64(BigInt(length)));
  file = patched(file, end - 42 + 8, u64(BigInt(end - 98)));
  return patched(file, end - 10, u32(length));
}
function changedByte(): Buffer {
  const copy = Buffer.from(good);
  const at = copy.indexOf(Buffer.from(new Float32Array([1, 2, 3, 4]).buffer));
  copy[at + 9] ^= 0x10;
  return copy;
}

function check(file: Buffer, expected: RegExp): void {
  let fastest = Number.POSITIVE_INFINITY;
  // The processor's time, not the clock's: another process may hold it. The fastest counts; about 100 ms is what the slowest
  // takes, and ten times that tells a file that blows up from a busy machine.
  for (let run = 0; run < 3 && fastest > 100; run++) {
    const before = process.memoryUsage();
    const start = process.cpuUsage();
    assert.throws(
      () => readWithoutEngine(file),
      (error) => {
        assert.ok(error instanceof CheckpointError, String(error));
        assert.match(error.message, expected);
        assert.ok(error.message.length < 600 && error.hint !== undefined, error.message);
        return true;
      },
    );
    fastest = Math.min(fastest, process.cpuUsage(start).user / 1000);
    const after = process.memoryUsage();
    assert.ok(after.arrayBuffers - before.arrayBuffers <= 2 * file.length + 65536, "memory was taken for a claim");
    // JavaScript's objects for what the file does spell out, among them the error.
    assert.ok(after.heapUsed - before.heapUsed <= 64 * file.length + (8 << 20), "many objects were made");
  }
  assert.ok(fastest <= 1000, `took ${fastest} ms`);
}

test("the file that the hostile ones are made of is good", () => {
  assert.deepEqual(readWithoutEngine(good), {
    dtype: "float32",
    shape: [4],
    strides: [1],
    offset: 0,
    requiresGrad: false,
    bytes: "0000803f000000400000404000008040",
  });
});
for (const [title, data, expected] of pickles) test(`pickle: ${title}`, () => check(checkpoint(data), expected));
for (const [title, file, expected] of archives) test(`archive: ${title}`, () => check(file, expected));
