// Operators through the real engine: overloads, named arguments, in-place identity, `out`, lists, numbers, strings, errors.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Tensor } from "@fabric-ts/torch";
import * as torch from "@fabric-ts/torch";

const matrix = () =>
  torch.tensor([
    [1, 2, 3],
    [4, 5, 6],
  ]);
const floats = () => matrix().float();

// Each expression with the nested arrays (or value) that PyTorch gives for it.
const cases: [title: string, call: () => Tensor | number | boolean, expected: unknown][] = [
  [
    "add of tensors",
    () => matrix().add(matrix()),
    [
      [2, 4, 6],
      [8, 10, 12],
    ],
  ],
  [
    "add of a number",
    () => matrix().add(1),
    [
      [2, 3, 4],
      [5, 6, 7],
    ],
  ],
  [
    "add with alpha by name",
    () => matrix().add(matrix(), { alpha: -1 }),
    [
      [0, 0, 0],
      [0, 0, 0],
    ],
  ],
  [
    "add of a number with alpha by position",
    () => matrix().add(1, 2),
    [
      [3, 4, 5],
      [6, 7, 8],
    ],
  ],
  [
    "torch.add with everything named",
    () => torch.add(matrix(), { other: 1, alpha: 3 }),
    [
      [4, 5, 6],
      [7, 8, 9],
    ],
  ],
  [
    "sub",
    () => matrix().sub(1),
    [
      [0, 1, 2],
      [3, 4, 5],
    ],
  ],
  ["rsub", () => torch.rsub(torch.tensor([1, 2]), 10), [9, 8]],
  [
    "div truncating",
    () => matrix().div(2, { roundingMode: "trunc" }),
    [
      [0, 1, 1],
      [2, 2, 3],
    ],
  ],
  ["div gives fractions", () => torch.tensor([1, 2]).div(2), [0.5, 1]],
  [
    "pow",
    () => matrix().pow(2),
    [
      [1, 4, 9],
      [16, 25, 36],
    ],
  ],
  ["pow of a number", () => torch.pow(2, torch.tensor([1, 2, 3])), [2, 4, 8]],
  ["remainder", () => torch.tensor([-3, 3]).remainder(2), [1, 1]],
  [
    "eq of a number",
    () => matrix().eq(3),
    [
      [false, false, true],
      [false, false, false],
    ],
  ],
  ["maximum with a number", () => torch.tensor([1, 5]).maximum(3), [3, 5]],
  [
    "where with a number",
    () => torch.where(matrix().gt(3), matrix(), 0),
    [
      [0, 0, 0],
      [4, 5, 6],
    ],
  ],
  ["sum", () => matrix().sum(), 21],
  ["sum over a dimension", () => matrix().sum(1), [6, 15]],
  ["sum keeping it, by position", () => matrix().sum(1, true), [[6], [15]]],
  ["sum keeping it, by name", () => matrix().sum(1, { keepdim: true }), [[6], [15]]],
  ["sum with all named", () => matrix().sum({ dim: [0, 1], dtype: "float64" }), 21],
  ["sum over a list", () => matrix().sum([0, -1]), 21],
  ["mean with dtype", () => matrix().mean({ dtype: "float32" }), 3.5],
  ["mean over a dimension", () => floats().mean(0), [2.5, 3.5, 4.5]],
  ["var without correction", () => torch.var(torch.tensor([1, 3]).float(), { unbiased: false }), 1],
  ["std with correction", () => floats().std(1, { correction: 0, keepdim: false }).mul(3).pow(2).round(), [6, 6]],
  ["prod", () => matrix().prod(), 720],
  [
    "cumsum",
    () => matrix().cumsum(1),
    [
      [1, 3, 6],
      [4, 9, 15],
    ],
  ],
  ["argmax", () => matrix().argmax(), 5],
  ["any", () => matrix().gt(5).any(), true],
  ["all over a dimension", () => matrix().gt(3).all(1), [false, true]],
  [
    "view by sizes",
    () => matrix().view(3, 2),
    [
      [1, 2],
      [3, 4],
      [5, 6],
    ],
  ],
  ["view by list", () => matrix().view([-1]), [1, 2, 3, 4, 5, 6]],
  ["view as dtype", () => torch.tensor([0], { dtype: "int32" }).view("float32"), [0]],
  ["reshape", () => matrix().reshape(1, 6), [[1, 2, 3, 4, 5, 6]]],
  [
    "permute",
    () => matrix().permute(1, 0),
    [
      [1, 4],
      [2, 5],
      [3, 6],
    ],
  ],
  [
    "transpose",
    () => matrix().transpose(0, 1),
    [
      [1, 4],
      [2, 5],
      [3, 6],
    ],
  ],
  [
    "T",
    () => matrix().T,
    [
      [1, 4],
      [2, 5],
      [3, 6],
    ],
  ],
  [
    "expand",
    () => torch.tensor([[1], [2]]).expand(2, 2),
    [
      [1, 1],
      [2, 2],
    ],
  ],
  [
    "repeat",
    () => torch.tensor([1, 2]).repeat(2, 1),
    [
      [1, 2],
      [1, 2],
    ],
  ],
  ["tile", () => torch.tensor([1, 2]).tile(2), [1, 2, 1, 2]],
  [
    "flip",
    () => matrix().flip(1),
    [
      [3, 2, 1],
      [6, 5, 4],
    ],
  ],
  ["roll", () => torch.tensor([1, 2, 3]).roll(1), [3, 1, 2]],
  [
    "unsqueeze and squeeze",
    () => matrix().unsqueeze(0).squeeze(),
    [
      [1, 2, 3],
      [4, 5, 6],
    ],
  ],
  [
    "slice",
    () => matrix().slice(1, 1, null),
    [
      [2, 3],
      [5, 6],
    ],
  ],
  ["select", () => matrix().select(0, 1), [4, 5, 6]],
  [
    "narrow",
    () => matrix().narrow(1, 0, 2),
    [
      [1, 2],
      [4, 5],
    ],
  ],
  [
    "indexSelect",
    () => matrix().indexSelect(1, torch.tensor([2, 0])),
    [
      [3, 1],
      [6, 4],
    ],
  ],
  ["index with null for a whole dimension", () => matrix().index([null, torch.tensor([1])]), [[2], [5]]],
  ["maskedSelect", () => matrix().maskedSelect(matrix().gt(4)), [5, 6]],
  ["gather", () => matrix().gather(1, torch.tensor([[0], [2]])), [[1], [6]]],
  ["scatter of a number", () => torch.zeros(1, 3).scatter(1, torch.tensor([[2]]), 7), [[0, 0, 7]]],
  ["indexPut", () => torch.zeros(3).indexPut([torch.tensor([1])], torch.tensor(5).float()), [0, 5, 0]],
  [
    "cat",
    () => torch.cat([matrix(), matrix()], 1),
    [
      [1, 2, 3, 1, 2, 3],
      [4, 5, 6, 4, 5, 6],
    ],
  ],
  ["stack by name", () => torch.stack([torch.tensor(1), torch.tensor(2)], { dim: 0 }), [1, 2]],
  [
    "matmul",
    () => floats().matmul(floats().T),
    [
      [14, 32],
      [32, 77],
    ],
  ],
  [
    "einsum",
    () => torch.einsum("ij,kj->ik", [floats(), floats()]),
    [
      [14, 32],
      [32, 77],
    ],
  ],
  ["linalgDet", () => torch.linalgDet(torch.eye(2)), 1],
  [
    "clamp with null",
    () => matrix().clamp(2, null),
    [
      [2, 2, 3],
      [4, 5, 6],
    ],
  ],
  [
    "clamp by name",
    () => matrix().clamp({ max: 3 }),
    [
      [1, 2, 3],
      [3, 3, 3],
    ],
  ],
  ["relu", () => torch.relu(torch.tensor([-1, 1])), [0, 1]],
  ["logSoftmax", () => torch.zeros(2).logSoftmax(0).exp().mul(2).round(), [1, 1]],
  [
    "oneHot",
    () => torch.oneHot(torch.tensor([0, 2])),
    [
      [1, 0, 0],
      [0, 0, 1],
    ],
  ],
  ["conv1d", () => torch.conv1d(torch.ones(1, 1, 4), torch.ones(1, 1, 2), null, 2), [[[2, 2]]]],
  ["maxPool2d with one number for both", () => torch.maxPool2d(floats().view(1, 2, 3), 2), [[[5]]]],
  ["pad with a list", () => torch.constantPadNd(torch.tensor([1]), [1, 2], 9), [9, 1, 9, 9]],
  ["linspace", () => torch.linspace(0, 1, 3), [0, 0.5, 1]],
  ["arange of whole numbers", () => torch.arange(3), [0, 1, 2]],
  ["arange with step", () => torch.arange(1, 2, 0.5), [1, 1.5]],
  [
    "eye",
    () => torch.eye(2, { dtype: "int64" }),
    [
      [1, 0],
      [0, 1],
    ],
  ],
  ["full", () => torch.full([2], 3), [3, 3]],
  ["full of a boolean", () => torch.full([1], true), [true]],
  ["zeros by sizes with options", () => torch.zeros(1, 2, { dtype: "int64" }), [[0, 0]]],
  [
    "zerosLike",
    () => torch.zerosLike(matrix()),
    [
      [0, 0, 0],
      [0, 0, 0],
    ],
  ],
  ["newOnes by sizes", () => matrix().newOnes(2), [1, 1]],
  ["isin", () => torch.isin(torch.tensor([1, 2]), torch.tensor([2])), [false, true]],
  ["allclose", () => torch.allclose(floats(), floats()), true],
  ["equal", () => matrix().equal(matrix().add(1)), false],
  ["isNonzero", () => torch.tensor(1).isNonzero(), true],
  [
    "bigints",
    () =>
      torch
        .tensor([1n])
        .add(2n ** 60n)
        .sub(2n ** 60n),
    [1],
  ],
  ["bitwiseAnd", () => torch.tensor([6]).bitwiseAnd(3), [2]],
  ["logicalNot", () => torch.tensor([true]).logicalNot(), [false]],
  ["fftFft", () => torch.fftFft(torch.tensor([1, 1]).float()).real(), [2, 0]],
];

for (const [title, call, expected] of cases) {
  test(title, () => {
    const result = call();
    assert.deepEqual(result instanceof torch.Tensor ? result.tolist() : result, expected);
  });
}

test("whole numbers keep integer tensors, fractions make them floating", () => {
  assert.equal(matrix().mul(2).dtype, "int64");
  assert.equal(matrix().mul(2.5).dtype, "float32");
  assert.equal(torch.tensor([1.5], { dtype: "float64" }).mul(2).dtype, "float64");
  assert.equal(torch.ones(1, { dtype: "bfloat16" }).add(1.5).dtype, "bfloat16");
});

test("several results come as an array in PyTorch's order", () => {
  const [values, indices] = matrix().max(1);
  assert.deepEqual(values.tolist(), [3, 6]);
  assert.deepEqual(indices.tolist(), [2, 2]);
  assert.deepEqual(matrix().sort(1, true)[0].tolist(), [
    [3, 2, 1],
    [6, 5, 4],
  ]);
  assert.equal(torch.linalgSvd(floats()).length, 3);
  assert.deepEqual(
    matrix()
      .split(1)
      .map((part) => part.shape),
    [
      [1, 3],
      [1, 3],
    ],
  );
});

test("in-place operators return the same object", () => {
  const x = floats();
  assert.equal(x.add_(1), x);
  assert.equal(x.mul_(2).sub_(x), x);
  assert.equal(torch.relu_(x), x);
  assert.equal(torch.ops.aten.zero_(x), x);
  assert.deepEqual(x.tolist(), [
    [0, 0, 0],
    [0, 0, 0],
  ]);
});

test("out receives the result and is returned", () => {
  const out = torch.empty(2, 3, { dtype: "int64" });
  assert.equal(torch.add(matrix(), matrix(), { out }), out);
  assert.deepEqual(out.tolist(), [
    [2, 4, 6],
    [8, 10, 12],
  ]);
  const max = torch.empty(0, { dtype: "int64" });
  const maxValues = torch.empty(0, { dtype: "int64" });
  assert.deepEqual(torch.max(matrix(), 1, { max, maxValues }), [max, maxValues]);
  assert.deepEqual(max.tolist(), [3, 6]);
});

test("dtypes, devices and memory formats are strings", () => {
  const x = torch.zeros([1, 2, 2, 2], { dtype: "float64", device: "cpu" });
  assert.equal(x.dtype, "float64");
  assert.deepEqual(x.contiguous({ memoryFormat: "channels_last" }).stride(), [8, 1, 4, 2]);
  assert.equal(torch.zeros(2, { device: "meta" }).device, "meta");
  assert.equal(torch.zeros(2, { requiresGrad: true }).requiresGrad, true);
  assert.equal(torch.resultType(matrix(), 1.5), "float32");
});

test("a generator draws from its own state", () => {
  const first = new torch.Generator().manualSeed(3);
  const second = new torch.Generator().manualSeed(3);
  const drawn = torch.randn([4], { generator: first });
  torch.randn([2]);
  assert.deepEqual(torch.randn([4], { generator: second }).tolist(), drawn.tolist());
  assert.equal(torch.zeros(20).random_(0, 5, { generator: first }).lt(5).all().item(), true);
});

test("every function and method of the table exists", () => {
  for (const name of ["abs", "logSoftmax", "linalgInv", "var", "relu_", "atleast1d", "upsampleNearest2d"]) {
    assert.equal(typeof (torch as unknown as Record<string, unknown>)[name], "function", name);
  }
  const { prototype } = torch.Tensor as unknown as { prototype: Record<string, unknown> };
  for (const name of ["abs_", "logSoftmax", "maskedFill_", "viewAs", "numpyT"]) {
    assert.equal(typeof prototype[name], "function", name);
  }
});

test("a refused call names the operator, what it was given and what it takes", () => {
  assert.throws(() => (matrix() as unknown as { sum(x: string): void }).sum("dim"), {
    name: "TypeError",
    message: /^No overload fits sum\(Tensor int64 \[2, 3\], "dim"\)\.\nIt takes:\n {2}aten::sum\(Tensor self/,
  });
  assert.throws(() => matrix().sum(1, { keepDim: true } as never), {
    name: "TypeError",
    message: /`sum` has no argument named `keepDim`/,
  });
});

test("an error of the engine carries the call and the schema, not a C++ backtrace", () => {
  assert.throws(
    () => floats().matmul(floats()),
    (error: Error) => {
      assert.ok(error instanceof torch.TorchError);
      assert.match(error.message, /mat1 and mat2 shapes cannot be multiplied/);
      assert.match(error.message, /matmul\(Tensor float32 \[2, 3\], Tensor float32 \[2, 3\]\)/);
      assert.doesNotMatch(error.message, /frame #/);
      return true;
    },
  );
});
