// safetensors files: what is written is read by an independent reader, what is read comes back bit for bit, single tensors are read
// without the rest, and any value makes the way through such a file.
import assert from "node:assert/strict";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import * as torch from "../../dist/index.js";
import { type ByteSource, PyFloat, Tuple } from "../../dist/serialization/index.js";
import { statePieces } from "../../dist/serialization/safetensors/state-files.js";
import { assemble, entry, readPlainly } from "./support/safetensors.js";
import { TemporaryFolder } from "./support/temporary.js";
import { Tied } from "./support/tied.js";

const { nn, optim, safetensors } = torch;
const stateBytes = (value: unknown): Buffer => Buffer.concat(Array.from(statePieces(value), (piece) => piece.slice()));

/** A source in memory that counts what is read of it. */
class Counting implements ByteSource {
  readonly name = "counted";
  readonly size: number;
  count = 0;
  closed = 0;
  constructor(readonly bytes: Uint8Array) {
    this.size = bytes.length;
  }
  async read(offset: number, length: number): Promise<Uint8Array> {
    assert.ok(offset >= 0 && offset + length <= this.size, "a read beyond the end");
    this.count += length;
    await new Promise(setImmediate);
    return this.bytes.subarray(offset, offset + length);
  }
  close(): void {
    this.closed++;
  }
}

// Names in the file, and what 0 and 1 look like there.
const dtypes: [torch.Dtype, string, string, string][] = [
  ["bool", "BOOL", "00", "01"],
  ["uint8", "U8", "00", "01"],
  ["int8", "I8", "00", "01"],
  ["int16", "I16", "0000", "0100"],
  ["int32", "I32", "00000000", "01000000"],
  ["int64", "I64", "0000000000000000", "0100000000000000"],
  ["float16", "F16", "0000", "003c"],
  ["bfloat16", "BF16", "0000", "803f"],
  ["float32", "F32", "00000000", "0000803f"],
  ["float64", "F64", "0000000000000000", "000000000000f03f"],
  ["complex64", "C64", "0000000000000000", "0000803f00000000"],
];

for (const [dtype, name, zero, one] of dtypes) {
  test(`${dtype}: an independent reader sees ${name}, and every layout comes back`, () => {
    const base = torch.tensor([0, 1, 1, 0, 1, 0]).to(dtype).reshape([2, 3]);
    const tensors = {
      whole: base,
      transposed: base.t(),
      column: base.select(1, 1),
      scalar: base.select(0, 0).select(0, 1),
      empty: base.narrow(0, 0, 0),
    };
    const bytes = safetensors.save(tensors, { format: "pt" });
    const plain = readPlainly(bytes);
    assert.deepEqual(plain.metadata, { format: "pt" });
    const hex = (values: number[]): string => values.map((value) => (value ? one : zero)).join("");
    assert.equal(plain.tensors.whole?.bytes.toString("hex"), hex([0, 1, 1, 0, 1, 0]));
    assert.equal(plain.tensors.transposed?.bytes.toString("hex"), hex([0, 0, 1, 1, 1, 0]));
    assert.equal(plain.tensors.column?.bytes.toString("hex"), hex([1, 1]));
    assert.equal(plain.tensors.scalar?.bytes.toString("hex"), hex([1]));
    const back = safetensors.load(bytes);
    assert.equal(Object.getPrototypeOf(back), null);
    for (const [key, tensor] of Object.entries(tensors)) {
      assert.equal(plain.tensors[key]?.dtype, name);
      assert.deepEqual(plain.tensors[key]?.shape, tensor.shape);
      assert.equal(back[key]?.dtype, dtype);
      assert.deepEqual(back[key]?.shape, tensor.shape);
      assert.deepEqual(back[key]?.tolist(), tensor.tolist());
    }
  });
}

test("a model goes through a file: blocking, waiting, by path and URL", async () => {
  using folder = new TemporaryFolder();
  const path = folder.file("model.safetensors");
  const model = new nn.Sequential(new nn.Linear(3, 4), new nn.BatchNorm1d(4));
  await safetensors.saveFile(model.stateDict(), path, { format: "pt", note: "\u00e9 \ud83d\ude00" });
  const { metadata, tensors } = readPlainly(readFileSync(path));
  assert.deepEqual(metadata, { format: "pt", note: "\u00e9 \ud83d\ude00" });
  assert.deepEqual(Object.keys(tensors).sort(), Object.keys(model.stateDict()).sort());
  const values = (state: object): unknown =>
    Object.entries(state)
      .map(([key, x]) => [key, x.tolist()])
      .sort();
  const expected = values(model.stateDict());
  assert.deepEqual(values(await safetensors.loadFile(path)), expected);
  assert.deepEqual(values(await safetensors.loadFile(pathToFileURL(path))), expected);
  assert.deepEqual(values(safetensors.loadFileSync(path)), expected);
  safetensors.saveFileSync(new Map(Object.entries(model.stateDict())) as Map<string, torch.Tensor>, path);
  assert.deepEqual(values(safetensors.loadFileSync(path)), expected);
  assert.deepEqual(readdirSync(folder.path), ["model.safetensors"]);
});

test("equal tensors give equal files, whatever their order; elements are aligned", () => {
  const a = torch.tensor([1, 2, 3], { dtype: "int8" });
  const b = torch.tensor([1.5], { dtype: "float64" });
  const c = torch.tensor([true]);
  const file = safetensors.save({ a, b, c });
  assert.deepEqual(safetensors.save({ c, b, a }), file);
  assert.deepEqual(Object.keys(readPlainly(file).tensors), ["b", "a", "c"]);
  assert.equal((file.length - 12) % 8, 0);
});

test("names that mean something in JavaScript are names like any others", () => {
  const one = torch.tensor([1]);
  const tensors = new Map(["__proto__", "constructor", "0", "", "a.b", 'x"y\\', "toString"].map((name) => [name, one]));
  const back = safetensors.load(safetensors.save(tensors));
  assert.deepEqual(Object.keys(back).sort(), [...tensors.keys()].sort());
  assert.equal(Object.getPrototypeOf(back), null);
  assert.equal(({} as { dtype?: unknown }).dtype, undefined);
});

test("one tensor is read without the rest, also several at once, and a source is closed", async () => {
  const tensors = { big: torch.zeros([100_000]), small: torch.tensor([1, 2, 3]), other: torch.tensor([4]) };
  const source = new Counting(safetensors.save(tensors));
  {
    using file = await safetensors.safeOpen(source);
    assert.deepEqual(file.keys().sort(), ["big", "other", "small"]);
    assert.deepEqual(file.describe("big"), { dtype: "float32", shape: [100_000] });
    assert.deepEqual({ ...file.metadata() }, {});
    const [small, other] = await Promise.all([file.getTensor("small"), file.getTensor("other")]);
    assert.deepEqual([small.tolist(), other.tolist()], [[1, 2, 3], [4]]);
    assert.ok(source.count < 1000, `${source.count} bytes were read`);
    await assert.rejects(file.getTensor("none"), /it has no tensor "none"\.\n`keys\(\)` lists what it has\./);
    assert.throws(() => file.getTensorSync("small"), { name: "UsageError", message: /await/ });
  }
  assert.equal(source.closed, 1);
  const broken = new Counting(Buffer.from("no"));
  await assert.rejects(safetensors.safeOpen(broken), { code: "ERR_CHECKPOINT_DAMAGED" });
  assert.equal(broken.closed, 1);
});

test("a file can be read blocking and waiting at the same time", async () => {
  using folder = new TemporaryFolder();
  const path = folder.file("two.safetensors");
  const [a, b] = [torch.full([50_000], 1), torch.full([50_000], 2)];
  await safetensors.saveFile({ a, b }, path);
  using file = await safetensors.safeOpen(path);
  const waiting = ["a", "b", "a"].map((name) => file.getTensor(name));
  const blocking = file.getTensorSync("b");
  assert.equal(blocking.sum().item(), 100_000);
  assert.deepEqual(
    (await Promise.all(waiting)).map((tensor) => tensor.sum().item()),
    [50_000, 100_000, 50_000],
  );
});

test("what the format cannot hold is a TypeError that says what to do, and leaves the old file", async () => {
  using folder = new TemporaryFolder();
  const path = folder.file("a.safetensors");
  await safetensors.saveFile({ a: torch.ones([1]) }, path);
  const one = torch.ones([1]);
  const wrong: [unknown, RegExp][] = [
    [{ a: one, b: 3 }, /Expected "b" to be a tensor, but got 3\.\n.*`torch\.save`/],
    [{ a: torch.zeros([1], { dtype: "complex128" }) }, /"a" is a tensor of complex128.*\nConvert it first/],
    [{ __metadata__: one }, /cannot be called "__metadata__"/],
    [{ "\ud800": one }, /cannot be called/],
    [new nn.Linear(1, 1), /Expected|to be a tensor/],
    [one, /Pass `model\.stateDict\(\)`/],
    [[one], /Pass `model\.stateDict\(\)`/],
    [null, /Pass `model\.stateDict\(\)`/],
    [{ a: torch.zeros([1], { device: "meta" }) }, /meta device/],
  ];
  for (const [tensors, message] of wrong)
    await assert.rejects(safetensors.saveFile(tensors as never, path), (error: Error) => {
      assert.ok(error instanceof TypeError);
      assert.match(error.message, message);
      return true;
    });
  await assert.rejects(
    safetensors.saveFile({ a: one }, path, { epoch: 3 } as never),
    /`metadata\.epoch` to be text.*\nUse JSON/,
  );
  await assert.rejects(safetensors.saveFile({ a: one }, 3 as never), /The tensors come first/);
  await assert.rejects(safetensors.loadFile(path, { device: "cupboard" as never }), /cupboard/);
  await assert.rejects(safetensors.loadFile(path, { mapLocation: "cpu" } as never), /Unknown option `mapLocation`/);
  await assert.rejects(safetensors.loadFile(folder.file("none")), { name: "CheckpointError", code: "ENOENT" });
  assert.deepEqual(safetensors.loadFileSync(path).a?.tolist(), [1]);
  assert.deepEqual(readdirSync(folder.path), ["a.safetensors"]);
});

test("a model with tied weights is loaded from a file that has one of them, and a missing one is still an error", async () => {
  using folder = new TemporaryFolder();
  const path = folder.file("tied.safetensors");
  const model = new Tied();
  await safetensors.saveModel(model, path);
  assert.deepEqual({ ...(await safetensors.safeOpen(path)).metadata() }, { format: "pt" });
  const { "second.weight": _, ...part } = await safetensors.loadFile(path);
  await safetensors.saveFile(part, path);
  const other = new Tied();
  await safetensors.loadModel(other, path);
  assert.deepEqual(other.first.weight.tolist(), model.first.weight.tolist());
  assert.equal(other.second.weight, other.first.weight);
  const { "second.bias": __, ...less } = part;
  await safetensors.saveFile(less, path);
  await assert.rejects(safetensors.loadModel(other, path), /Missing key.*"second\.bias"/s);
  const { missingKeys } = await safetensors.loadModel(other, path, { strict: false });
  assert.deepEqual(missingKeys, ["second.bias"]);
});

test("any value comes back from its safetensors file, while other readers see the tensors by their place", async () => {
  using folder = new TemporaryFolder();
  const model = new nn.Linear(2, 1);
  const optimizer = new optim.Adam(model.parameters(), { lr: 0.1 });
  model(torch.ones([2]))
    .sum()
    .backward();
  optimizer.step();
  const shared = torch.tensor([7]);
  const value = {
    model: model.stateDict(),
    optimizer: optimizer.stateDict(),
    epoch: 3,
    numbers: [1, -2, 1.5, Number.NaN, Number.POSITIVE_INFINITY, -0, 2n ** 70n],
    text: "\u0000 \ud83d\ude00",
    nothing: null,
    yes: true,
    tuple: Tuple.of<unknown>(1, Tuple.of()),
    map: new Map<unknown, unknown>([
      [1, "one"],
      [Tuple.of<unknown>(1, "b"), new Set(["x", 2])],
    ]),
    shared: [shared, shared],
    parameter: new nn.Parameter(torch.tensor([1.5])),
    frozen: new nn.Parameter(torch.tensor([2.5]), false),
    wants: torch.tensor([3.5], { requiresGrad: true }),
    float: new PyFloat(2),
    ["__proto__"]: 1,
  };
  Object.defineProperty(value, "__proto__", { value: { polluted: true }, enumerable: true });
  const path = folder.file("state.safetensors");
  await safetensors.saveState(value, path);

  const { tensors, metadata } = readPlainly(readFileSync(path));
  assert.equal(metadata.format, "pt");
  assert.deepEqual(
    Object.keys(tensors)
      .filter((name) => !name.startsWith("optimizer"))
      .sort(),
    ["frozen", "model.bias", "model.weight", "parameter", "shared.0", "wants"],
  );
  assert.ok(tensors["optimizer.state.0.exp_avg"]);

  const back = (await torch.load(path)) as typeof value;
  assert.deepEqual(Object.keys(back), Object.keys(value));
  const { model: m, optimizer: o, shared: s, parameter, frozen, wants, float, ...plain } = back;
  const alone: torch.Tensor = wants;
  const expected = { ...value } as Partial<typeof value>;
  for (const key of ["model", "optimizer", "shared", "parameter", "frozen", "wants", "float"])
    delete expected[key as "model"];
  assert.equal(JSON.stringify(toPlain(plain)), JSON.stringify(toPlain(expected)));
  assert.ok(back.tuple instanceof Tuple && back.tuple[1] instanceof Tuple);
  assert.ok(Object.is(back.numbers[5], -0));
  assert.equal(back.numbers[6], 2n ** 70n);
  assert.equal(Number(float), 2);
  assert.equal(s[0], s[1]);
  assert.deepEqual(s[0]?.tolist(), [7]);
  assert.ok(parameter instanceof nn.Parameter && parameter.requiresGrad);
  assert.ok(frozen instanceof nn.Parameter && !frozen.requiresGrad);
  assert.ok(!(alone instanceof nn.Parameter) && alone.requiresGrad && alone.isLeaf);
  assert.equal(({} as { polluted?: unknown }).polluted, undefined);

  const other = new nn.Linear(2, 1);
  const second = new optim.Adam(other.parameters());
  other.loadStateDict(m);
  second.loadStateDict(o);
  for (const [net, opt] of [
    [model, optimizer],
    [other, second],
  ] as const) {
    opt.zeroGrad();
    net(torch.ones([2]))
      .sum()
      .backward();
    opt.step();
  }
  assert.deepEqual(other.weight.tolist(), model.weight.tolist());
});

/** Maps and sets as lists, null-prototype objects as plain ones, bigints as text. */
function toPlain(value: unknown): unknown {
  if (typeof value === "bigint" || Object.is(value, -0) || typeof value === "number")
    return `${typeof value} ${Object.is(value, -0) ? "-0" : value}`;
  if (typeof value !== "object" || value === null) return value;
  if (value instanceof Map) return ["map", ...[...value].map(([key, item]) => [toPlain(key), toPlain(item)])];
  if (value instanceof Set) return ["set", ...[...value].map(toPlain)];
  if (Array.isArray(value)) return [value.constructor.name, ...value.map(toPlain)];
  return Object.entries(value).map(([key, item]) => [key, toPlain(item)]);
}

test("a flat dictionary of tensors is a file without anything of ours but checksums", async () => {
  const { metadata, tensors } = readPlainly(stateBytes({ weight: torch.ones([2]), bias: torch.zeros([2]) }));
  assert.deepEqual(Object.keys(metadata).sort(), ["fabric_crc32", "fabric_header_crc32", "format"]);
  assert.deepEqual(Object.keys(tensors), ["bias", "weight"]);
  const source = new Counting(assemble({ weight: entry("F32", [1], 0, 4) }, Buffer.from("0000803f", "hex")));
  const foreign = (await torch.load(source)) as { weight: torch.Tensor };
  assert.deepEqual(foreign.weight.tolist(), [1]);
});

test("names that would meet get numbers, and a lone value has one too", async () => {
  using folder = new TemporaryFolder();
  const path = folder.file("x.safetensors");
  const value = { "a.b": torch.tensor([1]), a: { b: torch.tensor([2]) }, __metadata__: torch.tensor([3]) };
  await safetensors.saveState(value, path);
  assert.deepEqual(Object.keys(readPlainly(readFileSync(path)).tensors), ["__metadata__.", "a.b", "a.b#2"]);
  const back = (await torch.load(path)) as typeof value;
  assert.deepEqual([back["a.b"].tolist(), back.a.b.tolist(), back.__metadata__.tolist()], [[1], [2], [3]]);
  for (const lone of [torch.tensor([1, 2]), 3, null, "text", [], new Map(), new Set(), {}]) {
    await safetensors.saveState(lone, path);
    const found = await torch.load(path);
    if (lone instanceof torch.Tensor) assert.deepEqual((found as torch.Tensor).tolist(), [1, 2]);
    else assert.deepEqual(toPlain(found), toPlain(lone));
  }
});

test("a value that cannot be saved is named, as by torch.save", async () => {
  using folder = new TemporaryFolder();
  const path = folder.file("x.safetensors");
  const cycle: unknown[] = [];
  cycle.push(cycle);
  let deep: unknown = 1;
  for (let i = 0; i < 1100; i++) deep = [deep];
  for (const value of [
    { a: { b: () => 1 } },
    { a: [undefined] },
    { model: new nn.Linear(1, 1) },
    { at: new Date() },
    new Map([[{}, 1]]),
    new Set([[]]),
    { bytes: new Uint8Array(3) },
    { [Symbol("s")]: 1 },
    cycle,
    deep,
  ]) {
    const message = await torch.save(value, path).then(
      () => "saved",
      (error: Error) => `${error.name}: ${error.message}`,
    );
    assert.match(message, /^TypeError: value/);
    await assert.rejects(safetensors.saveState(value, path), (error: Error) => {
      assert.equal(`${error.name}: ${error.message}`, message);
      return true;
    });
  }
  assert.deepEqual(readdirSync(folder.path), []);
});

test("with checksums, a flipped bit anywhere is noticed or harmless", () => {
  const value = { weight: torch.tensor([1, 2, 3]), steps: [7, 8], name: "abc" };
  const file = stateBytes(value);
  const show = (bytes: Uint8Array): string => {
    const { weight, ...rest } = torch.serialization.deserialize(bytes) as typeof value;
    return JSON.stringify([weight.tolist(), rest]);
  };
  const good = show(file);
  let harmless = 0;
  for (let bit = 0; bit < file.length * 8; bit++) {
    const copy = Buffer.from(file);
    copy[bit >> 3] = (copy[bit >> 3] as number) ^ (1 << (bit & 7));
    let seen: string;
    try {
      seen = show(copy);
    } catch (error) {
      assert.ok(error instanceof torch.CheckpointError, String(error));
      continue;
    }
    assert.equal(seen, good, `bit ${bit}`);
    harmless++;
  }
  // Only the names of the two checksums themselves, and what is not read: a file without them is one of another program.
  assert.ok(harmless < 8 * 40, `${harmless} flipped bits made no difference`);
});

test("a checksum that is missing or wrong is an error that names the tensor", async () => {
  using folder = new TemporaryFolder();
  const path = folder.file("x.safetensors");
  await safetensors.saveState({ weight: torch.tensor([1, 2, 3]) }, path);
  const file = readFileSync(path);
  file[file.length - 1] = 9;
  writeFileSync(path, file);
  const wrong = /the tensor "weight" does not have its checksum/;
  await assert.rejects(torch.load(path), wrong);
  await assert.rejects(safetensors.loadFile(path), wrong);
  assert.throws(() => safetensors.loadFileSync(path), wrong);
});
