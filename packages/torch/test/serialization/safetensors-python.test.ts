// Files go both ways between here and Python's safetensors, and both refuse the same ones. Needs a Python with torch and safetensors:
// FABRIC_PYTHON names one.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import * as torch from "../../dist/index.js";
import { noSafetensors, runPython } from "./support/python.js";
import { assemble, entry } from "./support/safetensors.js";
import { TemporaryFolder } from "./support/temporary.js";
import { Tied } from "./support/tied.js";

const { nn, safetensors } = torch;
const skip = noSafetensors;
const dtypes = [
  "bool",
  "uint8",
  "int8",
  "int16",
  "int32",
  "int64",
  "float16",
  "bfloat16",
  "float32",
  "float64",
] as const;

const make = (dtype: torch.Dtype): torch.Tensor => torch.arange(6).remainder(3).to(dtype).reshape([2, 3]);

test("Python reads what is written here, of every dtype, with its metadata", { skip }, async () => {
  using folder = new TemporaryFolder();
  const path = folder.file("x.safetensors");
  const tensors = Object.fromEntries(dtypes.map((dtype) => [dtype, make(dtype).t()]));
  await safetensors.saveFile({ ...tensors, empty: torch.zeros([0, 2]), scalar: torch.tensor(3) }, path, {
    note: "\u00e9",
  });
  const program = `
import sys, json, torch
from safetensors import safe_open
with safe_open(sys.argv[1], framework="pt") as f:
    assert f.metadata() == {"note": "\\u00e9"}, f.metadata()
    for name in ${JSON.stringify(dtypes)}:
        t = f.get_tensor(name)
        assert t.dtype == getattr(torch, name), (name, t.dtype)
        assert torch.equal(t, torch.arange(6).remainder(3).to(t.dtype).reshape(2, 3).t()), (name, t)
    assert f.get_tensor("empty").shape == (0, 2) and f.get_tensor("scalar").item() == 3
    print(sorted(f.keys()))`;
  assert.match(runPython(program, path), /bfloat16.*bool.*empty/);
});

test("what Python writes is read here, and the same bytes are written", { skip }, async () => {
  using folder = new TemporaryFolder();
  const path = folder.file("x.safetensors");
  const program = `
import sys, torch
from safetensors.torch import save_file
tensors = {name: torch.arange(6).remainder(3).to(getattr(torch, name)).reshape(2, 3) for name in ${JSON.stringify(dtypes)}}
save_file({**tensors, "empty": torch.zeros(0, 2), "scalar": torch.tensor(3)}, sys.argv[1], {"format": "pt"})`;
  runPython(program, path);
  const read = await safetensors.loadFile(path);
  for (const dtype of dtypes) {
    assert.equal(read[dtype]?.dtype, dtype);
    assert.deepEqual(read[dtype]?.tolist(), make(dtype).tolist());
  }
  assert.deepEqual([read.empty?.shape, read.scalar?.item()], [[0, 2], 3]);
  const single = { weight: torch.tensor([1.5, 2.5], { dtype: "float32" }), bias: torch.zeros([2]) };
  runPython(
    "import sys, torch; from safetensors.torch import save_file\nsave_file({'weight': torch.tensor([1.5, 2.5]), 'bias': torch.zeros(2)}, sys.argv[1])",
    path,
  );
  assert.deepEqual(Buffer.from(safetensors.save(single)), readFileSync(path));
});

test("a model with tied weights that Python's save_model wrote is loaded", { skip }, async () => {
  using folder = new TemporaryFolder();
  const path = folder.file("tied.safetensors");
  const program = `
import sys, torch
from safetensors.torch import save_model
class Tied(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first = torch.nn.Linear(2, 2, bias=False)
        self.second = torch.nn.Linear(2, 2)
        self.second.weight = self.first.weight
torch.manual_seed(1)
model = Tied()
save_model(model, sys.argv[1])
print(model.first.weight.tolist())`;
  const expected = JSON.parse(runPython(program, path)) as unknown;
  const model = new Tied();
  await safetensors.loadModel(model, path);
  assert.deepEqual(model.first.weight.tolist(), expected);
  assert.equal(model.second.weight, model.first.weight);
});

test("a whole checkpoint shows Python its tensors", { skip }, async () => {
  using folder = new TemporaryFolder();
  const path = folder.file("state.safetensors");
  const model = new nn.Linear(2, 1);
  await safetensors.saveState({ model: model.stateDict(), epoch: 3 }, path);
  const program = `
import sys, json, torch
from safetensors import safe_open
with safe_open(sys.argv[1], framework="pt") as f:
    model = torch.nn.Linear(2, 1)
    model.load_state_dict({k.removeprefix("model."): f.get_tensor(k) for k in f.keys()})
    print(json.loads(f.metadata()["fabric_state"])["dict"]["epoch"], model.weight.tolist())`;
  assert.equal(runPython(program, path).trim(), `3 ${JSON.stringify(model.weight.tolist()).replaceAll(",", ", ")}`);
});

test("what Python refuses is refused here", { skip }, () => {
  using folder = new TemporaryFolder();
  const f32 = (begin: number, end: number, shape: number[]): object => entry("F32", shape, begin, end);
  const files: [string, Buffer][] = [
    ["header too long", assemble("{}", 0, 3n)],
    ["not an object", assemble("[]")],
    ["no such dtype", assemble({ a: entry("F31", [1], 0, 4) }, 4)],
    ["wrong size", assemble({ a: f32(0, 4, [2]) }, 4)],
    ["beyond the end", assemble({ a: f32(0, 8, [2]) }, 4)],
    ["bytes left over", assemble({ a: f32(0, 4, [1]) }, 8)],
    ["a hole", assemble({ a: f32(4, 8, [1]) }, 8)],
    ["an overlap", assemble({ a: f32(0, 8, [2]), b: f32(4, 12, [2]) }, 12)],
    ["a shape that overflows", assemble({ a: f32(0, 4, [2 ** 40, 2 ** 40]) }, 4)],
    ["metadata with a number", assemble({ __metadata__: { a: 1 } })],
    ["good", assemble({ a: f32(0, 8, [2]) }, 8)],
  ];
  const program = `
import sys
from safetensors.torch import load_file
for path in sys.argv[1:]:
    try: load_file(path); print("read")
    except Exception: print("refused")`;
  const paths = files.map(([, bytes], i) => {
    writeFileSync(folder.file(String(i)), bytes);
    return folder.file(String(i));
  });
  const there = runPython(program, ...paths)
    .trim()
    .split("\n");
  const here = paths.map((path) => {
    try {
      safetensors.loadFileSync(path);
      return "read";
    } catch {
      return "refused";
    }
  });
  assert.deepEqual(here, there);
  assert.equal(here.at(-1), "read");
});
