// The zip container: checksums, layout, what Python's zipfile says about it, and every possible damage of a small file.
import assert from "node:assert/strict";
import { closeSync, ftruncateSync, openSync, writeFileSync, writeSync } from "node:fs";
import { test } from "node:test";
import * as zlib from "node:zlib";
import { CheckpointError } from "../../dist/errors.js";
import { type ByteSource, FileSource, MemorySource } from "../../dist/serialization/byte-source.js";
import { crc32, crc32Tables } from "../../dist/serialization/crc32.js";
import { readBlocking } from "../../dist/serialization/reading.js";
import { ZipReader } from "../../dist/serialization/zip-reader.js";
import { archiveBound, ZipWriter } from "../../dist/serialization/zip-writer.js";
import { checkpoint, emptyTuple, pickle, tensor, text, tuple, zip } from "./support/assemble.js";
import { noPython, runPython } from "./support/python.js";
import { readWithoutEngine } from "./support/read.js";
import { TemporaryFolder } from "./support/temporary.js";

function opened(source: ByteSource): { reader: ZipReader; read: (name: string) => Buffer } {
  const reader = readBlocking(source, ZipReader.open(source));
  return { reader, read: (name) => Buffer.from(readBlocking(source, reader.read(name))) };
}

test("the checksum of plain JavaScript is the published one, also in pieces", () => {
  assert.equal(crc32Tables(Buffer.from("123456789")), 0xcbf43926);
  assert.equal(crc32Tables(Buffer.from("6789"), crc32Tables(Buffer.from("12345"))), 0xcbf43926);
  assert.equal(crc32Tables(new Uint8Array()), 0);
  for (let length = 0; length < 70; length++) {
    const bytes = Uint8Array.from({ length }, (_, i) => (i * 37 + 200) & 0xff);
    assert.equal(crc32Tables(bytes), crc32(bytes));
    assert.equal(crc32Tables(bytes.subarray(length >> 1), crc32Tables(bytes.subarray(0, length >> 1))), crc32(bytes));
  }
});

test("data starts at multiples of 64 and comes back by name", () => {
  const records = {
    "archive/a": Buffer.from("one"),
    "archive/data/0": Buffer.alloc(100, 7),
    "archive/empty": Buffer.alloc(0),
  };
  const file = zip(records);
  assert.equal(file.indexOf("one") % 64, 0);
  assert.equal(file.indexOf(Buffer.alloc(100, 7)) % 64, 0);
  const source = new MemorySource(file);
  const { reader, read } = opened(source);
  assert.equal(reader.prefix, "archive");
  assert.deepEqual(reader.names, ["a", "data/0", "empty"]);
  assert.equal(read("a").toString(), "one");
  assert.deepEqual(read("data/0"), records["archive/data/0"]);
  assert.equal(read("empty").length, 0);
  assert.equal(reader.size("none"), null);
  const bound = archiveBound(Object.entries(records).map(([name, data]) => ({ name, size: data.length })));
  assert.ok(bound >= file.length, `${bound} < ${file.length}`);
});

test("Python's zipfile finds no fault in what is written", { skip: noPython }, () => {
  using folder = new TemporaryFolder();
  const path = folder.file("a.zip");
  writeFileSync(
    path,
    zip({ "archive/a": Buffer.from("one"), "archive/\u00e9": Buffer.alloc(1000, 1), "archive/empty": Buffer.alloc(0) }),
  );
  const program =
    "import sys, zipfile; z = zipfile.ZipFile(sys.argv[1]); print(z.testzip(), ascii(z.namelist()), z.read('archive/a'))";
  assert.equal(runPython(program, path).trim(), "None ['archive/a', 'archive/\\xe9', 'archive/empty'] b'one'");
});

test("what Python's zipfile writes without compression can be read", { skip: noPython }, () => {
  using folder = new TemporaryFolder();
  const path = folder.file("a.zip");
  runPython(
    "import sys, zipfile\nwith zipfile.ZipFile(sys.argv[1], 'w') as z:\n  z.writestr('m/a', b'one')\n  z.writestr('m/b', b'two')",
    path,
  );
  const source = new FileSource(path);
  assert.equal(opened(source).read("b").toString(), "two");
  source.close();
});

test("records and archives beyond 4 GiB use zip64 fields", { skip: noPython }, () => {
  using folder = new TemporaryFolder();
  const path = folder.file("large.zip");
  const fd = openSync(path, "w");
  let position = 0;
  const zeros = new Uint8Array(1 << 24);
  const writer = new ZipWriter((chunk) => {
    // Zeros become a hole in the file: it takes no space on the disk.
    if (chunk !== zeros) writeSync(fd, chunk, 0, chunk.length, position);
    position += chunk.length;
  });
  const count = 257;
  writer.add(
    "archive/large",
    count * zeros.length,
    (function* () {
      for (let i = 0; i < count; i++) yield zeros;
    })(),
  );
  writer.add("archive/last", 3, [Buffer.from("end")]);
  writer.finish();
  ftruncateSync(fd, position);
  closeSync(fd);
  const source = new FileSource(path);
  const { reader, read } = opened(source);
  assert.equal(reader.size("large"), count * zeros.length);
  assert.equal(read("last").toString(), "end");
  source.close();
  const program =
    "import sys, zipfile; z = zipfile.ZipFile(sys.argv[1]); print(z.read('archive/last'), z.getinfo('archive/large').file_size); z.open('archive/large').read(9)";
  assert.equal(runPython(program, path).trim(), `b'end' ${count * zeros.length}`);
});

const small = checkpoint(pickle(tuple(text("weight"), tensor({ shape: [2, 2], strides: [2, 1] }), emptyTuple)));

test("a file that is cut off at any byte is refused", () => {
  for (let length = 0; length < small.length; length++) {
    assert.throws(() => readWithoutEngine(small.subarray(0, length)), CheckpointError, `cut at ${length}`);
  }
});

test("a flipped bit is noticed or harmless, wherever it is; in data and pickle it is always noticed", () => {
  const expected = JSON.stringify(readWithoutEngine(small));
  const data = small.indexOf(Buffer.from(new Float32Array([1, 2, 3, 4]).buffer));
  const start = small.indexOf(Buffer.from([0x80, 2]));
  const end = small.indexOf(Buffer.from("PK\x07\x08", "latin1"));
  let noticed = 0;
  for (let bit = 0; bit < 8 * small.length; bit++) {
    const at = bit >> 3;
    small[at] ^= 1 << (bit & 7);
    try {
      const result = JSON.stringify(readWithoutEngine(small));
      assert.equal(result, expected, `bit ${bit}`);
      assert.ok(
        !(at >= data && at < data + 16) && !(at >= start && at < end),
        `bit ${bit} of the contents went unnoticed`,
      );
    } catch (error) {
      if (!(error instanceof CheckpointError)) throw error;
      noticed++;
    } finally {
      small[at] ^= 1 << (bit & 7);
    }
  }
  assert.ok(noticed > 8 * (16 + end - start));
});

test("Node's own checksum is in use where there is one", () => {
  if ("crc32" in zlib) assert.notEqual(crc32, crc32Tables);
});
