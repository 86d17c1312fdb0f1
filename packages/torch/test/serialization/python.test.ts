// Files travel both ways between this package and PyTorch in Python.
import assert from "node:assert/strict";
import { test } from "node:test";
import * as torch from "@fabric-ts/torch";
import { nn, type Tensor } from "@fabric-ts/torch";
import { noTorch, runPython } from "./support/python.js";
import { TemporaryFolder } from "./support/temporary.js";

const { Tuple, PyFloat } = torch.serialization;
const skip = noTorch;
if (skip) console.log(`Left out: ${skip}.`);

type Values = Record<string, unknown>;
const plain = (value: unknown): unknown => ({ ...(value as object) });

test("everything in a usual Python checkpoint can be loaded", { skip }, async () => {
  using folder = new TemporaryFolder();
  const path = folder.file("python.pt");
  runPython(
    `
import sys, torch, collections
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
for _ in range(2):
    optimizer.zero_grad(); model(torch.randn(4, 3)).sum().backward(); optimizer.step()
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2)
torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict(),
  "epoch": 5, "big": 2**70, "negative": -2**63, "float": 1.5, "whole": 2.0, "none": None, "flag": True,
  "text": "h\\u00e9\\U0001f600", "list": [1, [2, [3, []]]], "tuples": [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)],
  "dict": {1: "a", "b": {2.5: None}}, "ordered": collections.OrderedDict(x=1, y=2), "set": {1, 2}, "frozen": frozenset("a"),
  "bytes": b"a\\xff", "array": bytearray(b"b"), "size": torch.Size([2, 3]), "dtype": torch.float16, "device": torch.device("cpu"),
  "rng": torch.get_rng_state(), "parameter": torch.nn.Parameter(torch.ones(2)), "proto": {"__proto__": 1},
}, sys.argv[1])`,
    path,
  );
  const state = (await torch.load(path)) as Values;
  const model = state.model as Record<string, Tensor>;
  assert.deepEqual(Object.keys(model), [
    "0.weight",
    "0.bias",
    "1.weight",
    "1.bias",
    "1.running_mean",
    "1.running_var",
    "1.num_batches_tracked",
  ]);
  assert.deepEqual(model["0.weight"].shape, [2, 3]);
  assert.equal(model["1.num_batches_tracked"].item(), 2);
  assert.equal(model["1.num_batches_tracked"].dtype, "int64");
  const optimizer = state.optimizer as { state: Map<number, Values>; param_groups: Values[] };
  assert.deepEqual([...optimizer.state.keys()], [0, 1, 2, 3]);
  assert.deepEqual(Object.keys(optimizer.state.get(0) as Values), ["step", "exp_avg", "exp_avg_sq"]);
  assert.deepEqual(optimizer.param_groups[0].params, [0, 1, 2, 3]);
  assert.deepEqual(optimizer.param_groups[0].betas, Tuple.of(0.9, 0.999));
  assert.deepEqual(
    [state.epoch, state.big, state.negative, state.float, state.whole, state.none, state.flag],
    [5, 2n ** 70n, -(2n ** 63n), 1.5, 2, null, true],
  );
  assert.equal(state.text, "h\u00e9\u{1f600}");
  assert.deepEqual(state.list, [1, [2, [3, []]]]);
  assert.deepEqual(state.tuples, [Tuple.of(), Tuple.of(1), Tuple.of(1, 2), Tuple.of(1, 2, 3), Tuple.of(1, 2, 3, 4)]);
  const dict = state.dict as Map<unknown, unknown>;
  assert.deepEqual([...dict.keys()], [1, "b"]);
  assert.deepEqual(dict.get("b"), new Map([[2.5, null]]));
  assert.deepEqual(plain(state.ordered), { x: 1, y: 2 });
  assert.deepEqual([state.set, state.frozen], [new Set([1, 2]), new Set(["a"])]);
  assert.deepEqual([state.bytes, state.array], [new Uint8Array([97, 255]), new Uint8Array([98])]);
  assert.deepEqual([state.size, state.dtype, state.device], [Tuple.of(2, 3), "float16", "cpu"]);
  assert.ok(state.parameter instanceof nn.Parameter && state.parameter.requiresGrad);
  assert.deepEqual(Object.keys(state.proto as object), ["__proto__"]);
  assert.equal((state.scheduler as Values).step_size, 2);
});

test("a model and Adam from Python go on here, and back", { skip }, async () => {
  using folder = new TemporaryFolder();
  const [there, here] = [folder.file("there.pt"), folder.file("here.pt")];
  const prelude = `
import sys, torch
model = torch.nn.Linear(3, 2)
optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
def step():
    optimizer.zero_grad(); model(torch.ones(4, 3)).pow(2).sum().backward(); optimizer.step()
`;
  runPython(
    `${prelude}\nstep()\ntorch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, sys.argv[1])`,
    there,
  );
  const model = new nn.Linear(3, 2);
  const optimizer = new torch.optim.Adam(model.parameters(), { lr: 0.5 });
  const state = (await torch.load(there)) as { model: Record<string, Tensor>; optimizer: Values };
  model.loadStateDict(state.model);
  optimizer.loadStateDict(state.optimizer);
  optimizer.zeroGrad();
  model(torch.ones([4, 3]))
    .pow(2)
    .sum()
    .backward();
  optimizer.step();
  await torch.save({ model: model.stateDict(), optimizer: optimizer.stateDict() }, here);
  const result = runPython(
    `${prelude}
first = torch.load(sys.argv[1])
model.load_state_dict(first["model"]); optimizer.load_state_dict(first["optimizer"]); step()
second = torch.load(sys.argv[2])
assert all(torch.equal(a, second["model"][k]) for k, a in model.state_dict().items()), (model.state_dict(), second["model"])
mine = optimizer.state_dict()
for i, s in mine["state"].items():
    for k, a in s.items(): assert torch.equal(a, second["optimizer"]["state"][i][k]), (i, k)
for k, v in mine["param_groups"][0].items():
    w = second["optimizer"]["param_groups"][0][k]
    if w != v: print("differs", k, v, w)
optimizer.load_state_dict(second["optimizer"]); step()
print("ok")`,
    there,
    here,
  );
  assert.equal(result, "ok\n");
});

test("every element type and layout from Python", { skip }, async () => {
  using folder = new TemporaryFolder();
  const path = folder.file("python.pt");
  const printed = runPython(
    `
import sys, torch, json
values = torch.tensor([-3.5, -1, 0, 0.1, 1, 1.5, 2, 100, 3, 4, 5, 6])
out, want = [], []
for dtype in [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool]:
    w = values.abs().to(dtype).reshape(3, 4)
    for t in [w, w.t(), w[1], w[:, ::2], w[2, 3], w[1:1], torch.zeros(0, 3, dtype=dtype), w[0].expand(5, 4)]:
        out.append(t)
        want.append([str(dtype)[6:], list(t.shape), list(t.stride()), t.storage_offset(), t.double().tolist()])
z = torch.complex(torch.tensor([1.5, 2.0]), torch.tensor([3.5, 4.0]))
torch.save({"tensors": out, "complex": z, "double": z.to(torch.complex128)}, sys.argv[1])
print(json.dumps(want))`,
    path,
  );
  const { tensors, complex, double } = (await torch.load(path)) as {
    tensors: Tensor[];
    complex: Tensor;
    double: Tensor;
  };
  const got = tensors.map((t) => [t.dtype, t.shape, t.stride(), t.storageOffset(), t.to("float64").tolist()]);
  assert.deepEqual(got, JSON.parse(printed));
  assert.deepEqual(complex.tolist(), [
    { re: 1.5, im: 3.5 },
    { re: 2, im: 4 },
  ]);
  assert.deepEqual(double.tolist(), [
    { re: 1.5, im: 3.5 },
    { re: 2, im: 4 },
  ]);
});

test("torch.load reads what is saved here", { skip }, async () => {
  using folder = new TemporaryFolder();
  const path = folder.file("here.pt");
  const memory = torch.arange(12).to("float32").reshape([3, 4]);
  await torch.save(
    {
      tensors: torch.dtypes.map((dtype) => memory.to(dtype)),
      views: [memory, memory.t(), memory.select(0, 1), memory.slice(0, 1, 1), torch.zeros([])],
      parameter: new nn.Parameter(torch.ones([2])),
      grad: torch.tensor([0.5], { requiresGrad: true }),
      numbers: [0, -1, 2 ** 40, 2n ** 70n, 1.5, new PyFloat(2), Number.POSITIVE_INFINITY],
      text: "h\u00e9\ud800",
      tuple: Tuple.of<unknown>(1, Tuple.of()),
      map: new Map<unknown, unknown>([
        [0, "a"],
        ["b", null],
        [Tuple.of(1, 2), true],
      ]),
      set: new Set([1, "a"]),
      ["__proto__"]: 1,
    },
    path,
  );
  const result = runPython(
    `
import sys, torch
s = torch.load(sys.argv[1])
base = torch.arange(12.).reshape(3, 4)
types = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool, torch.complex64, torch.complex128]
assert [t.dtype for t in s["tensors"]] == types
assert all(torch.equal(t, base.to(t.dtype)) for t in s["tensors"])
v = s["views"]
assert torch.equal(v[0], base) and torch.equal(v[1], base.t()) and v[1].stride() == (1, 4) and torch.equal(v[2], base[1])
assert v[3].shape == (0, 4) and v[4].shape == ()
v[0].fill_(9); assert v[2].tolist() == [9, 9, 9, 9]
p = s["parameter"]; assert type(p) is torch.nn.Parameter and p.requires_grad and s["grad"].requires_grad
assert repr(s["numbers"]) == "[0, -1, 1099511627776, 1180591620717411303424, 1.5, 2.0, inf]", s["numbers"]
assert s["text"] == "h\\u00e9\\ud800" and repr(s["tuple"]) == "(1, ())"
assert s["map"] == {0: "a", "b": None, (1, 2): True} and s["set"] == {1, "a"} and s["__proto__"] == 1
print("ok")`,
    path,
  );
  assert.equal(result, "ok\n");
});

// PyTorch 1.13's `weights_only` has no opcode for floats, whoever wrote the file: none are in this one.
test("torch.load reads it with weights_only=True", { skip }, async () => {
  using folder = new TemporaryFolder();
  const path = folder.file("here.pt");
  const model = new nn.Linear(3, 2);
  await torch.save(
    {
      model: model.stateDict(),
      parameters: [...model.parameters()],
      epoch: 3,
      big: 2n ** 70n,
      names: Tuple.of<unknown>("a", null, true),
      many: Array.from({ length: 300 }, (_, i) => `s${i}`),
    },
    path,
  );
  const result = runPython(
    `import sys, torch; s = torch.load(sys.argv[1], weights_only=True); print(list(s["model"]), s["epoch"], s["names"], s["big"] == 2**70, len(s["many"]), type(s["parameters"][0]).__name__)`,
    path,
  );
  assert.equal(result, "['weight', 'bias'] 3 ('a', None, True) True 300 Parameter\n");
});

test("every pickle protocol from Python", { skip }, async () => {
  using folder = new TemporaryFolder();
  runPython(
    `
import sys, torch
value = {"w": torch.ones(2), "l": [1, (2, 3)], "s": {1}, "f": frozenset([2]), "b": b"x", "big": 2**70, "a": bytearray(b"y")}
for protocol in (2, 3, 4, 5): torch.save(value, f"{sys.argv[1]}/{protocol}.pt", pickle_protocol=protocol)`,
    folder.path,
  );
  for (const protocol of [2, 3, 4, 5]) {
    const { w, ...rest } = (await torch.load(folder.file(`${protocol}.pt`))) as Values;
    assert.deepEqual((w as Tensor).tolist(), [1, 1]);
    assert.deepEqual(rest, {
      l: [1, Tuple.of(2, 3)],
      s: new Set([1]),
      f: new Set([2]),
      b: new Uint8Array([120]),
      big: 2n ** 70n,
      a: new Uint8Array([121]),
    });
  }
});

const refusedValues: [string, string, RegExp][] = [
  ["a NumPy scalar", "__import__('numpy').float64(1)", /refers to numpy\._?core\.multiarray\.scalar.*\n.*\.item\(\)/],
  [
    "a NumPy array",
    "__import__('numpy').ones(2)",
    /refers to numpy\._?core\.multiarray\._reconstruct.*\n.*torch\.from_numpy/,
  ],
  ["a whole module", "torch.nn.Linear(1, 1)", /refers to torch\.nn\.modules\.linear\.Linear/],
  ["a function", "print", /refers to __builtin__\.print/],
  ["a date", "__import__('datetime').date(2020, 1, 1)", /refers to datetime\.date/],
  ["a sparse tensor", "torch.eye(2).to_sparse()", /_rebuild_sparse_tensor/],
  [
    "a quantized tensor",
    "torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)",
    /torch\._utils\._rebuild_qtensor/,
  ],
  ["a complex number", "1 + 2j", /refers to __builtin__\.complex/],
  ["a list in itself", "(lambda l: (l.append(l), l)[1])([])", /contains itself/],
];

test("other values from Python are refused by name", { skip }, async (t) => {
  using folder = new TemporaryFolder();
  const saves = refusedValues.map(([, expression], i) => `torch.save({"x": ${expression}}, f"{sys.argv[1]}/${i}.pt")`);
  runPython(`import sys, torch\n${saves.join("\n")}`, folder.path);
  for (const [i, [title, , expected]] of refusedValues.entries()) {
    await t.test(title, async () => {
      await assert.rejects(
        torch.load(folder.file(`${i}.pt`)),
        (error) => error instanceof torch.CheckpointError && expected.test(error.message),
      );
    });
  }
});

test("files of other kinds from Python are named, with the way out", { skip }, async () => {
  using folder = new TemporaryFolder();
  const files = ["legacy.pt", "bare.pkl", "script.pt"].map((name) => folder.file(name));
  runPython(
    `
import sys, torch, pickle
torch.save({"w": torch.ones(2)}, sys.argv[1], _use_new_zipfile_serialization=False)
pickle.dump({"a": 1}, open(sys.argv[2], "wb"), protocol=2)
torch.jit.script(torch.nn.Linear(1, 1)).save(sys.argv[3])`,
    ...files,
  );
  for (const [i, expected] of [
    /before 1\.6.*\n.*torch\.save/,
    /bare Python pickle.*\n.*torch\.save/,
    /TorchScript.*\n.*state_dict/,
  ].entries()) {
    await assert.rejects(torch.load(files[i]), { code: "ERR_CHECKPOINT_FORMAT", message: expected });
  }
});
