// Folders of PyTorch's distributed checkpoint: a genuine one of two ranks is read whole; damaged, hostile and mutated ones are refused.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import * as torch from "../../dist/index.js";
import { FileSource, MemorySource } from "../../dist/serialization/byte-source.js";
import type { ByteSource } from "../../dist/serialization/index.js";
import { readShardedIndex } from "../../dist/serialization/sharded/metadata.js";
import { bytes, call, emptyTuple, global, int, type Part, pickle, text, tuple } from "./support/assemble.js";
import { randomFrom, survives } from "./support/fuzz.js";

const { CheckpointError, serialization, Tensor } = torch;
// From the compiled file to the sources.
const fixtures = fileURLToPath(new URL("../../test/serialization/fixtures/sharded/", import.meta.url));
const folder = join(fixtures, "two-ranks");
const load = (open: (name: string) => Promise<ByteSource>): Promise<Record<string, unknown>> =>
  serialization.loadSharded(open, "The folder");

function plain(value: unknown): unknown {
  if (value instanceof Tensor) return [value.dtype, value.shape, value.tolist()];
  if (Array.isArray(value)) return Array.from(value, plain);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .map(([key, item]) => [key, plain(item)])
      .sort(),
  );
}

test("what two ranks have saved is one value, bit for bit", async () => {
  const opened: FileSource[] = [];
  const loaded = await load(async (name) => {
    opened.push(new FileSource(join(folder, name)));
    return opened.at(-1) as FileSource;
  });
  const expected = await torch.load(join(fixtures, "expected.pt"));
  assert.deepEqual(plain(loaded), plain(expected));
  assert.equal(opened.length, 3);
  for (const file of opened) assert.throws(() => file.readSync(0, 1), "it is still open");
});

test("a file that is missing, short or changed is an error that names it", async () => {
  const files = new Map(
    [".metadata", "__0_0.distcp", "__1_0.distcp"].map((name) => [name, readFileSync(join(folder, name))]),
  );
  const loadWith = (name: string, changed: Buffer | null) =>
    load(async (wanted) => {
      const found = wanted === name ? changed : files.get(wanted);
      if (!found) throw new CheckpointError(`${wanted} is missing`, { code: "ENOENT" });
      return new MemorySource(found, wanted);
    });
  for (const name of files.keys())
    await assert.rejects(loadWith(name, null), { code: "ENOENT", message: `${name} is missing` });
  const shard = files.get("__1_0.distcp") as Buffer;
  await assert.rejects(
    loadWith("__1_0.distcp", shard.subarray(0, shard.length - 1)),
    /__1_0\.distcp is damaged: it ends before byte/,
  );
  const first = files.get("__0_0.distcp") as Buffer;
  const numbers = Buffer.from(new BigInt64Array([0n, 1n, 2n]).buffer);
  const [name, holder] = first.includes(numbers) ? ["__0_0.distcp", first] : ["__1_0.distcp", shard];
  const changed = Buffer.from(holder);
  changed[changed.indexOf(numbers)] = 9;
  await assert.rejects(loadWith(name, changed), new RegExp(`${name} \\(from byte \\d+\\) is damaged: the checksum`));
  const swapped = loadWith("__0_0.distcp", Buffer.concat([shard, Buffer.alloc(first.length)]));
  await assert.rejects(swapped, CheckpointError);
});

const inMetadata = (name: string): Part => global("torch.distributed.checkpoint.metadata", name);
const size = (...items: number[]): Buffer => call(global("torch", "Size"), tuple(...items.map(int)));
const record = (type: Part, fields: Record<string, Part>): Part => [
  type,
  emptyTuple,
  0x81,
  ["}(", Object.entries(fields).map(([name, value]) => [text(name), value]), "u"],
  "b",
];
const dict = (...items: [Part, Part][]): Part => ["}(", items, "u"];
const list = (...items: Part[]): Part => ["](", items, "e"];
const strided = call(global("torch.serialization", "_get_layout"), text("torch.strided"));
const properties = (dtype: Part = global("torch", "float32"), layout: Part = strided): Part => [
  inMetadata("TensorProperties"),
  emptyTuple,
  0x81,
  tuple(dtype, layout, 0x89, call(inMetadata("_MEM_FORMAT_ENCODING"), int(0)), 0x89),
  "b",
];
const chunk = (offset: number, length: number): Part =>
  record(inMetadata("ChunkStorageMetadata"), { offsets: size(offset), sizes: size(length) });
const tensorOf = (chunks: Part, props: Part = properties(), shape: Part = size(4)): Part =>
  record(inMetadata("TensorStorageMetadata"), { properties: props, size: shape, chunks });
const place = (
  offset: number,
  options: { file?: string; at?: Part; length?: Part; more?: Record<string, Part> } = {},
): [Part, Part] => [
  record(inMetadata("MetadataIndex"), { fqn: text("w"), offset: size(offset) }),
  record(global("torch.distributed.checkpoint.filesystem", "_StorageInfo"), {
    relative_path: text(options.file ?? "__0_0.distcp"),
    offset: options.at ?? int(0),
    length: options.length ?? int(1000),
    ...options.more,
  }),
];
const index = (entries: Part, places: Part, more: Record<string, Part> = {}): Buffer =>
  bytes(pickle(record(inMetadata("Metadata"), { state_dict_metadata: entries, storage_data: places, ...more })));
const two = list(chunk(0, 2), chunk(2, 2));
const good = index(dict([text("w"), tensorOf(two)]), dict(place(0), place(2)));

test("a small index made by hand is read", () => {
  const { tensors, values } = readShardedIndex(good, "It");
  assert.deepEqual(values, []);
  assert.deepEqual(tensors[0]?.path, ["w"]);
  assert.deepEqual(
    tensors[0]?.tensor.chunks.map(({ offsets, sizes }) => [offsets, sizes]),
    [
      [[0], [2]],
      [[2], [2]],
    ],
  );
});

const times = <T>(count: number, make: (i: number) => T): T[] => Array.from({ length: count }, (_, i) => make(i));
const one = (value: Part, ...places: [Part, Part][]): Buffer => index(dict([text("w"), value]), dict(...places));
const hostile: [string, Buffer, RegExp][] = [
  ["another object", pickle(text("x")), /where a Metadata belongs/],
  ["a call", pickle(call(global("os", "system"), text("id"))), /refers to os\.system/],
  ["another class", pickle(record(global("torch.nn", "Linear"), { a: int(1) })), /refers to torch\.nn\.Linear/],
  ["a path out of the folder", one(tensorOf(two), place(0, { file: "../x" }), place(2)), /names the file "\.\.\/x"/],
  [
    "an absolute path",
    one(tensorOf(two), place(0, { file: "/etc/passwd" }), place(2)),
    /names the file "\/etc\/passwd"/,
  ],
  ["a hidden path", one(tensorOf(two), place(0, { file: "a/.ssh" }), place(2)), /names the file/],
  ["a path with a backslash", one(tensorOf(two), place(0, { file: "a\\b" }), place(2)), /names the file/],
  ["a negative offset", one(tensorOf(two), place(0, { at: int(-1) }), place(2)), /where a size belongs/],
  ["an endless length", one(tensorOf(two), place(0, { length: int(2n ** 62n) }), place(2)), /where a size belongs/],
  [
    "a compressed file",
    one(tensorOf(two), place(0, { more: { transform_descriptors: list(text("zstd")) } }), place(2)),
    /compressed/,
  ],
  ["a part that is nowhere", one(tensorOf(two), place(0)), /does not say where "w" is/],
  ["a hole", one(tensorOf(list(chunk(0, 2))), place(0)), /do not make the whole/],
  ["an overlap", one(tensorOf(list(chunk(0, 2), chunk(1, 2))), place(0), place(1)), /do not make the whole/],
  [
    "a tensor of countless parts",
    one(
      tensorOf(list(...times(10_001, (i) => chunk(i, 1))), properties(), size(10_001)),
      ...times(10_001, (i) => place(i)),
    ),
    /has 10001 parts; at most 10000/,
  ],
  ["a part outside", one(tensorOf(list(chunk(0, 2), chunk(2, 3))), place(0), place(2)), /lies outside of it/],
  [
    "a part with other dimensions",
    one(tensorOf(two, properties(), size(2, 2)), place(0), place(2)),
    /lies outside of it/,
  ],
  [
    "more elements than bytes",
    one(tensorOf(list(chunk(0, 4)), properties(), size(4)), place(0, { length: int(15) })),
    /too few bytes/,
  ],
  ["a shape that is too large", one(tensorOf(list(), properties(), size(2 ** 40, 2 ** 40))), /shape that is too large/],
  [
    "a sparse tensor",
    one(
      tensorOf(
        two,
        properties(undefined, call(global("torch.serialization", "_get_layout"), text("torch.sparse_coo"))),
      ),
      place(0),
      place(2),
    ),
    /no dense tensor/,
  ],
  [
    "an unknown dtype",
    one(tensorOf(two, properties(text("float4"))), place(0), place(2)),
    /element type that the engine does not have/,
  ],
  [
    "a path that is no path",
    index(dict([text("w"), tensorOf(two)]), dict(place(0), place(2)), {
      planner_data: dict([text("w"), tuple(emptyTuple)]),
    }),
    /no place in the state/,
  ],
  [
    "an object in itself",
    pickle(inMetadata("Metadata"), emptyTuple, 0x81, "q\0", "}(", text("storage_data"), "h\0", "u", "b"),
    /contains itself/,
  ],
];
for (const [name, data, message] of hostile) {
  test(`${name} is refused`, () => {
    assert.throws(
      () => readShardedIndex(data, "The index"),
      (error: unknown) => {
        assert.ok(error instanceof CheckpointError, String(error));
        assert.match(error.message, message);
        return true;
      },
    );
  });
}

test("what only looks like an index makes no objects of other checkpoints", async () => {
  assert.throws(() => serialization.deserialize(good), CheckpointError);
});

test("entries that get into each other's way are refused", async () => {
  const saved = Buffer.from(serialization.serialize(torch.zeros([4])));
  const entry = (name: string): [Part, Part][] => [
    [
      record(inMetadata("MetadataIndex"), { fqn: text(name), offset: size(0) }),
      record(global("torch.distributed.checkpoint.filesystem", "_StorageInfo"), {
        relative_path: text("__0_0.distcp"),
        offset: int(0),
        length: int(saved.length),
      }),
    ],
  ];
  const loadPaths = async (paths: Record<string, Part[]>): Promise<unknown> => {
    const names = Object.keys(paths);
    const metadata = index(
      dict(...names.map((name): [Part, Part] => [text(name), tensorOf(list(chunk(0, 4)))])),
      dict(...names.flatMap(entry)),
      { planner_data: dict(...names.map((name): [Part, Part] => [text(name), tuple(...(paths[name] as Part[]))])) },
    );
    const files: Record<string, Buffer> = { ".metadata": metadata, "__0_0.distcp": saved };
    return plain(await load(async (name) => new MemorySource(files[name] as Buffer, name)));
  };
  const zeros = ["float32", [4], [0, 0, 0, 0]];
  assert.deepEqual(await loadPaths({ a: [text("x"), int(1)], b: [text("x"), int(0)] }), { x: [zeros, zeros] });
  assert.deepEqual(
    await loadPaths({ a: [text("__proto__"), text("polluted")] }),
    JSON.parse(`{"__proto__":{"polluted":${JSON.stringify(zeros)}}}`),
  );
  assert.equal(({} as { polluted?: unknown }).polluted, undefined);
  const wrong: Record<string, Part[]>[] = [
    { a: [text("x")], b: [text("x")] },
    { a: [text("x")], b: [text("x"), text("y")] },
    { a: [text("x"), int(0)], b: [text("x"), text("y")] },
    { a: [int(0)] },
    { a: [text("x"), int(1)] },
    { a: [text("x"), int(2 ** 31)] },
  ];
  for (const paths of wrong) await assert.rejects(loadPaths(paths), { code: "ERR_CHECKPOINT_DAMAGED" });
});

test("20,000 mutated indices give an index or a CheckpointError", () => {
  const random = randomFrom(5);
  const seeds = [good, readFileSync(join(folder, ".metadata"))];
  let read = 0;
  for (let i = 0; i < 20_000; i++) {
    const copy = Buffer.from(seeds[i % 2] as Buffer);
    for (let count = 1 + Math.floor(random() * 3); count > 0; count--) {
      const at = Math.floor(random() * copy.length);
      if (random() < 0.5) copy[at] = (copy[at] as number) ^ (1 << Math.floor(random() * 8));
      else copy[at] = copy[Math.floor(random() * copy.length)] as number;
    }
    if (
      survives(
        () => readShardedIndex(copy, "The index"),
        () => `index ${i}: ${copy.toString("hex")}`,
      )
    )
      read++;
  }
  assert.ok(read > 200 && read < 15_000, `${read} could be read`);
});
