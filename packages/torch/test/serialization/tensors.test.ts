// Tensors in checkpoints: every element type and layout, shared memory, parameters, and what the errors say.
import assert from "node:assert/strict";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import * as torch from "@fabric-ts/torch";
import { nn, type Tensor } from "@fabric-ts/torch";
import {
  call,
  checkpoint,
  global,
  int,
  no,
  noHooks,
  type Part,
  pickle,
  storage,
  tensor,
  text,
  tuple,
  yes,
} from "./support/assemble.js";
import { randomFrom } from "./support/fuzz.js";
import { storageInfoOf } from "./support/storage.js";
import { TemporaryFolder } from "./support/temporary.js";

const { serialize, deserialize } = torch.serialization;

function roundTrip<T>(value: T): T {
  return deserialize(serialize(value)) as T;
}

function assertSame(actual: Tensor, expected: Tensor, what: string): void {
  assert.equal(actual.dtype, expected.dtype, what);
  assert.deepEqual(actual.shape, expected.shape, what);
  assert.deepEqual(actual.stride(), expected.stride(), what);
  assert.equal(actual.storageOffset(), expected.storageOffset(), what);
  assert.deepEqual(actual.tolist(), expected.tolist(), what);
}

const values = [-3.5, -1, 0, 0.1, 1, 1.5, 2, 100, 3, 4, 5, 6];
const base = (dtype: torch.Dtype): Tensor => torch.tensor(values).to(dtype).reshape([3, 4]);

for (const dtype of torch.dtypes) {
  test(`${dtype}: every layout comes back with its strides and offset`, () => {
    const whole = base(dtype);
    const layouts: [string, Tensor][] = [
      ["contiguous", whole],
      ["transposed", whole.t()],
      ["a row", whole.select(0, 1)],
      ["a column", whole.select(1, 2)],
      ["every other", whole.slice(1, 0, 4, 2)],
      ["inner block", whole.slice(0, 1, 3).slice(1, 1, 3)],
      ["no dimensions", whole.select(0, 2).select(0, 3)],
      ["no dimensions, own memory", whole.select(0, 2).select(0, 3).clone()],
      ["no elements", whole.slice(0, 1, 1)],
      ["no elements, own memory", torch.zeros([0, 3], { dtype })],
      ["size one", whole.slice(0, 1, 2)],
      ["expanded", whole.select(0, 0).expand([5, 4])],
      ["five dimensions", whole.reshape([1, 3, 1, 2, 2])],
      ["permuted", whole.reshape([3, 2, 2]).permute([2, 0, 1])],
    ];
    for (const [what, tensor] of layouts) assertSame(roundTrip({ tensor }).tensor, tensor, what);
    // All of them in one file share one piece of memory.
    const all = roundTrip(layouts.map(([, tensor]) => tensor));
    for (const [i, [what, tensor]] of layouts.entries()) assertSame(all[i], tensor, what);
  });
}

test("special values keep their bits", () => {
  const tensor = torch.tensor([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -0, 1e-45, 3.4e38]);
  const back = roundTrip(tensor).tolist() as number[];
  assert.ok(Number.isNaN(back[0]) && Object.is(back[3], -0));
  assert.deepEqual(back, tensor.tolist());
  assert.deepEqual(roundTrip(torch.tensor([2n ** 63n - 1n, -(2n ** 63n)])).tolist(), [2n ** 63n - 1n, -(2n ** 63n)]);
});

test("tensors that share memory share it after loading, and the memory is in the file once", () => {
  const weight = torch.zeros([1000]);
  const bytes = serialize({ weight, tied: weight, head: weight.slice(0, 0, 10), again: weight.view([10, 100]) });
  assert.ok(bytes.length < 4000 + 2000, String(bytes.length));
  const back = deserialize(bytes) as Record<string, Tensor>;
  assert.equal(back.weight, back.tied);
  torch.noGrad(() => back.weight.fill_(7));
  assert.equal(back.head.sum().item(), 70);
  assert.equal(back.again.sum().item(), 7000);
});

test("a view brings the whole memory it looks at; a clone does not", () => {
  const large = torch.zeros([10_000]);
  assert.ok(serialize(large.slice(0, 0, 1)).length > 40_000);
  assert.ok(serialize(large.slice(0, 0, 1).clone()).length < 2000);
  assert.equal(storageInfoOf(roundTrip(large.slice(0, 0, 1))).nbytes, 40_000);
});

test("tensors without elements do not share memory by accident", () => {
  const back = roundTrip([torch.zeros([0]), torch.zeros([0], { dtype: "int64" }), torch.zeros([2, 0])]);
  assert.deepEqual(
    back.map((t) => [t.dtype, t.shape]),
    [
      ["float32", [0]],
      ["int64", [0]],
      ["float32", [2, 0]],
    ],
  );
});

test("requiresGrad and parameters come back, as leaves without history", () => {
  const x = torch.tensor([1, 2.5], { requiresGrad: true });
  const {
    x: x2,
    y,
    p,
    frozen,
  } = roundTrip({
    x,
    y: x.mul(2),
    p: new nn.Parameter(torch.ones([2])),
    frozen: new nn.Parameter(torch.ones([2]), false),
  });
  assert.ok(x2.requiresGrad && x2.isLeaf && !(x2 instanceof nn.Parameter));
  assert.ok(y.requiresGrad && y.isLeaf && y.gradFn === null);
  assert.ok(p instanceof nn.Parameter && p.requiresGrad && p.isLeaf);
  assert.ok(frozen instanceof nn.Parameter && !frozen.requiresGrad);
  p.sum().backward();
  assert.deepEqual(p.grad?.tolist(), [1, 1]);
});

test("loaded tensors that share memory are independent for autograd", () => {
  const memory = torch.zeros([4]);
  const [a, b] = roundTrip([memory.slice(0, 0, 2), memory.slice(0, 2, 4)]) as [Tensor, Tensor];
  a.requiresGrad = true;
  a.mul(2).sum().backward();
  assert.deepEqual(a.grad?.tolist(), [2, 2]);
  assert.equal(b.requiresGrad, false);
});

test("a conjugate view is saved with its own values", () => {
  const z = torch.complex(torch.tensor([1.5, 2]), torch.tensor([3.5, 4]));
  assert.deepEqual(roundTrip(torch.conj(z)).tolist(), [
    { re: 1.5, im: -3.5 },
    { re: 2, im: -4 },
  ]);
});

// How PyTorch 2 writes what 1.13 does not know; the record holds the floats 1, 2, 3, 4.
const read = (...body: Part[]): Tensor => deserialize(checkpoint(pickle(...body))) as Tensor;

test("conjugate and negative views of PyTorch 2 get their values", () => {
  const complex = storage({ type: global("torch", "ComplexFloatStorage"), numel: int(2) });
  const flag = (name: string): Part => ["}", text(name), yes, "s"];
  const conj = read(tensor({ storage: complex, shape: [2], rest: [noHooks, flag("conj")] }));
  assert.deepEqual(conj.tolist(), [
    { re: 1, im: -2 },
    { re: 3, im: -4 },
  ]);
  assert.deepEqual(read(tensor({ rest: [noHooks, flag("neg")] })).tolist(), [-1, -2, -3, -4]);
});

test("tensors over storages without a type, and tensors with attributes, of PyTorch 2 can be read", () => {
  const untyped = storage({ type: global("torch.storage", "UntypedStorage"), numel: int(16) });
  const v3 = call(
    global("torch._utils", "_rebuild_tensor_v3"),
    untyped,
    int(1),
    tuple(int(2)),
    tuple(int(2)),
    no,
    noHooks,
    global("torch", "float32"),
  );
  assert.deepEqual(read(v3).tolist(), [2, 4]);
  const inner = tuple(storage(), int(0), tuple(int(4)), tuple(int(1)), no, noHooks);
  const typed = call(
    global("torch._tensor", "_rebuild_from_type_v2"),
    global("torch._utils", "_rebuild_tensor_v2"),
    global("torch", "Tensor"),
    inner,
    "}",
  );
  assert.deepEqual(read(typed).tolist(), [1, 2, 3, 4]);
  const parameter = call(global("torch._utils", "_rebuild_parameter_with_state"), tensor(), yes, noHooks, "}");
  assert.ok(read(parameter) instanceof nn.Parameter);
});

test("a model and its optimizer continue as if never saved", async () => {
  using folder = new TemporaryFolder();
  const path = folder.file("state.pt");
  const make = (): [nn.Linear, torch.optim.Adam] => {
    const model = new nn.Linear(3, 2);
    return [model, new torch.optim.Adam(model.parameters(), { lr: 0.1 })];
  };
  const x = torch.ones([4, 3]);
  const step = (model: nn.Linear, optimizer: torch.optim.Adam): void => {
    optimizer.zeroGrad();
    model(x).pow(2).sum().backward();
    optimizer.step();
  };
  const [model, optimizer] = make();
  step(model, optimizer);
  await torch.save({ model: model.stateDict(), optimizer: optimizer.stateDict(), epoch: 3 }, path);
  const [other, otherOptimizer] = make();
  const state = (await torch.load(path)) as {
    model: Record<string, Tensor>;
    optimizer: Record<string, unknown>;
    epoch: number;
  };
  assert.equal(state.epoch, 3);
  other.loadStateDict(state.model);
  otherOptimizer.loadStateDict(state.optimizer);
  step(model, optimizer);
  step(other, otherOptimizer);
  assert.deepEqual(other.weight.tolist(), model.weight.tolist());
  assert.deepEqual(other.bias?.tolist(), model.bias?.tolist());
});

test("a module or an optimizer itself cannot be saved, and the error says what to save", () => {
  const model = new nn.Linear(1, 1);
  assert.throws(() => serialize({ model }), {
    name: "TypeError",
    message: /^value\.model is a Linear.*\nSave its values: value\.model\.stateDict\(\)\.$/,
  });
  const optimizer = new torch.optim.SGD(model.parameters(), { lr: 0.1 });
  assert.throws(() => serialize([optimizer]), {
    name: "TypeError",
    message: /^value\[0\] is an SGD.*\nSave its values: value\[0\]\.stateDict\(\)\.$/,
  });
});

test("tensors that cannot be saved are named", () => {
  const disposed = torch.ones([1]);
  disposed.dispose();
  assert.throws(() => serialize({ a: [disposed] }), {
    name: "UsageError",
    message: /^value\.a\[0\] is a tensor that has been disposed/,
  });
  assert.throws(() => serialize({ a: torch.zeros([2], { device: "meta" }) }), {
    name: "TypeError",
    message: /^value\.a is a tensor on the meta device/,
  });
  const x = torch.zeros([4]);
  assert.throws(() => serialize({ x, y: torch.ops.aten.view(x, "int32") }), {
    name: "TypeError",
    message: /^value\.y is a tensor of int32 that shares its memory/,
  });
});

test("one flipped bit anywhere in the elements is an error that names the record", async () => {
  using folder = new TemporaryFolder();
  const path = folder.file("state.pt");
  torch.serialization.saveSync({ weight: torch.randn([16]) }, path);
  const bytes = readFileSync(path);
  const record = bytes.indexOf("archive/data/0");
  // Behind the name and an extra field of at least four bytes, at the next multiple of 64.
  const start = (record + "archive/data/0".length + 4 + 63) & ~63;
  for (let bit = 0; bit < 8 * 64; bit++) {
    const copy = Buffer.from(bytes);
    copy[start + (bit >> 3)] ^= 1 << (bit & 7);
    writeFileSync(path, copy);
    await assert.rejects(torch.load(path), {
      name: "CheckpointError",
      message: /state\.pt is damaged: the checksum of the record "archive\/data\/0" is wrong/,
    });
  }
});

test("equal values give equal files, in memory and on disk, by save and saveSync", async () => {
  using folder = new TemporaryFolder();
  const value = { a: torch.arange(10), b: [1, "x"] };
  await torch.save(value, folder.file("a.pt"));
  torch.saveSync(value, folder.file("b.pt"));
  const bytes = Buffer.from(serialize(value));
  assert.deepEqual(readFileSync(folder.file("a.pt")), bytes);
  assert.deepEqual(readFileSync(folder.file("b.pt")), bytes);
  assert.equal(statSync(folder.file("a.pt")).size, bytes.length);
});

test("an unknown device is refused only when it matters", () => {
  const file = checkpoint(pickle(tensor({ storage: storage({ location: "tpu:0" }) })));
  assert.deepEqual((deserialize(file) as Tensor).tolist(), [1, 2, 3, 4]);
  assert.throws(() => deserialize(file, { mapLocation: "saved" }), {
    name: "CheckpointError",
    message: /from the device "tpu:0"/,
  });
});

test("options are checked", async () => {
  using folder = new TemporaryFolder();
  const path = folder.file("a.pt");
  await torch.save(torch.ones([1]), path);
  for (const weightsOnly of [true, false, null, undefined])
    assert.equal(((await torch.load(path, { weightsOnly })) as Tensor).item(), 1);
  assert.equal((torch.loadSync(path, { mapLocation: "saved" }) as Tensor).device, "cpu");
  await assert.rejects(torch.load(path, { mapLocation: "gpu" as "cpu" }), {
    name: "TypeError",
    message: /`mapLocation`/,
  });
  await assert.rejects(torch.load(path, { weightsOnly: 1 as unknown as boolean }), {
    name: "TypeError",
    message: /`weightsOnly`/,
  });
  await assert.rejects(torch.save(path as unknown, {} as unknown as string), { name: "TypeError", message: /`path`/ });
  assert.throws(() => deserialize("x" as unknown as Uint8Array), { name: "TypeError", message: /`bytes`/ });
});

test("1,000 generated trees come back bit for bit", () => {
  const random = randomFrom(3);
  const below = (n: number): number => Math.floor(random() * n);
  const pool = torch.dtypes.map((dtype) => base(dtype));
  const leaf = (): unknown => {
    const memory = pool[below(pool.length)];
    const tensors = [memory, memory.t(), memory.select(1, below(4)), memory.slice(0, below(3), 3), memory.clone()];
    const others = [
      below(1e6),
      random(),
      -below(1e9),
      "text",
      "",
      true,
      null,
      2n ** 60n + BigInt(below(100)),
      torch.serialization.Tuple.of(below(9), random()),
    ];
    return random() < 0.4 ? tensors[below(tensors.length)] : others[below(others.length)];
  };
  const tree = (depth: number): unknown => {
    const size = below(4);
    switch (depth === 0 ? 9 : below(5)) {
      case 0:
        return Array.from({ length: size }, () => tree(depth - 1));
      case 1:
        return Object.fromEntries(Array.from({ length: size }, (_, i) => [`k${i}`, tree(depth - 1)]));
      case 2:
        return new Map(Array.from({ length: size + 1 }, (_, i) => [i, tree(depth - 1)]));
      default:
        return leaf();
    }
  };
  const same = (a: unknown, b: unknown, where: string): void => {
    if (a instanceof torch.Tensor) {
      assert.ok(b instanceof torch.Tensor, where);
      assertSame(b, a, where);
    } else if (a instanceof Map) {
      assert.ok(b instanceof Map && b.size === a.size, where);
      for (const [key, value] of a) same(value, b.get(key), `${where}.${key}`);
    } else if (Array.isArray(a)) {
      assert.ok(Array.isArray(b) && b.length === a.length && b.constructor === a.constructor, where);
      for (const [i, value] of a.entries()) same(value, (b as unknown[])[i], `${where}[${i}]`);
    } else if (typeof a === "object" && a !== null) {
      assert.deepEqual(Object.keys(b as object), Object.keys(a), where);
      for (const [key, value] of Object.entries(a)) same(value, (b as Record<string, unknown>)[key], `${where}.${key}`);
    } else assert.ok(Object.is(a, b), where);
  };
  for (let i = 0; i < 1000; i++) {
    const value = tree(3);
    same(value, roundTrip(value), `tree ${i}`);
  }
});
