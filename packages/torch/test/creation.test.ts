// Tensors from JavaScript values.
import assert from "node:assert/strict";
import { test } from "node:test";
import * as torch from "@fabric-ts/torch";

test("the dtype follows from the values", () => {
  assert.equal(torch.tensor([1, 2]).dtype, "int64");
  assert.equal(torch.tensor([1, 2.5]).dtype, "float32");
  assert.equal(torch.tensor([1, Number.NaN]).dtype, "float32");
  assert.equal(torch.tensor([1e20]).dtype, "float32");
  assert.equal(torch.tensor([true, false]).dtype, "bool");
  assert.equal(torch.tensor([true, 2]).dtype, "int64");
  assert.equal(torch.tensor([true, 2.5]).dtype, "float32");
  assert.equal(torch.tensor([1n, 2]).dtype, "int64");
  assert.equal(torch.tensor([1n, 2.5]).dtype, "float32");
  assert.equal(torch.tensor([]).dtype, "float32");
  assert.equal(torch.tensor({ re: 1, im: -2 }).dtype, "complex64");
  using _ = torch.withDtype("float64");
  assert.equal(torch.tensor([0.1]).dtype, "float64");
  assert.equal(torch.tensor([0.1]).item(), 0.1);
});

test("the shape follows from the nesting", () => {
  assert.deepEqual(torch.tensor(3).shape, []);
  assert.deepEqual(torch.tensor([[[1], [2]]]).shape, [1, 2, 1]);
  assert.deepEqual(torch.tensor([[], []]).shape, [2, 0]);
  assert.deepEqual(
    torch
      .tensor([
        [1, 2],
        [3, 4],
      ])
      .tolist(),
    [
      [1, 2],
      [3, 4],
    ],
  );
});

test("a wanted dtype converts", () => {
  assert.deepEqual(torch.tensor([1.9, -1.9], { dtype: "int64" }).tolist(), [1, -1]);
  assert.deepEqual(torch.tensor([0, 2], { dtype: "bool" }).tolist(), [false, true]);
  assert.deepEqual(torch.tensor([1.5], { dtype: "float16" }).tolist(), [1.5]);
  assert.equal(torch.tensor([1, 2], { dtype: "float32", requiresGrad: true }).requiresGrad, true);
});

test("64-bit integers stay exact", () => {
  const big = [2n ** 62n + 1n, -(2n ** 63n), 5n];
  assert.deepEqual([...(torch.tensor(big).toTypedArray() as BigInt64Array)], big);
  assert.deepEqual([...(torch.tensor([2n ** 53n + 1n, 7]).toTypedArray() as BigInt64Array)], [2n ** 53n + 1n, 7n]);
  assert.deepEqual(torch.tensor(Number.MAX_SAFE_INTEGER).item(), Number.MAX_SAFE_INTEGER);
});

test("typed arrays keep their type and take a shape", () => {
  const x = torch.tensor(new Float32Array([1, 2, 3, 4, 5, 6]), { shape: [2, 3] });
  assert.equal(x.dtype, "float32");
  assert.deepEqual(x.tolist(), [
    [1, 2, 3],
    [4, 5, 6],
  ]);
  assert.equal(torch.tensor(new Float64Array(2)).dtype, "float64");
  assert.equal(torch.tensor(BigInt64Array.of(1n)).dtype, "int64");
  assert.equal(torch.tensor(new Uint8Array(1)).dtype, "uint8");
  assert.equal(torch.tensor(Buffer.from([1, 2])).dtype, "uint8");
  assert.deepEqual(torch.tensor([Float64Array.of(0.1), Float64Array.of(0.2)]).tolist(), [[0.1], [0.2]]);
  assert.equal(torch.tensor([BigInt64Array.of(2n ** 60n)]).tolist()[0][0], 2n ** 60n);
  assert.deepEqual(torch.fromTypedArray(new Float32Array([1, 2, 3]).subarray(1)).tolist(), [2, 3]);
});

test("the tensor owns its elements", () => {
  const source = new Float32Array([1, 2]);
  const x = torch.tensor(source);
  source[0] = 9;
  assert.deepEqual(x.tolist(), [1, 2]);
});

test("a tensor is copied by tensor() and passed through by asTensor()", () => {
  const x = torch.tensor([1, 2]);
  const copy = torch.tensor(x);
  copy.add_(1);
  assert.deepEqual(x.tolist(), [1, 2]);
  assert.equal(torch.asTensor(x), x);
  assert.equal(torch.asTensor(x, { dtype: "float32" }).dtype, "float32");
  assert.deepEqual(torch.asTensor([1]).tolist(), [1]);
});

test("ragged arrays are refused with the place", () => {
  assert.throws(() => torch.tensor([[1, 2], [3]]), {
    name: "TypeError",
    message: /^`data\[1\]` has length 1, but the first array at its level has length 2\./,
  });
  assert.throws(() => torch.tensor([[1, 2], 3]), /`data\[1\]` is 3, but the first array at its level has length 2/);
  assert.throws(() => torch.tensor([1, [2]]), /`data\[1\]` is an array, but `data\[0\]` is not/);
});

test("what is no number is refused with the place", () => {
  assert.throws(() => torch.tensor([[1, "2"]] as never), {
    name: "TypeError",
    message: 'Expected `data[0][1]` to be a number, a boolean or a bigint, but got "2".',
  });
  assert.throws(() => torch.tensor([undefined] as never), /`data\[0\]`.*undefined/);
  assert.throws(() => torch.tensor(null as never), /`data`.*null/);
  assert.throws(() => torch.tensor([torch.tensor(1)]), /`torch.stack`/);
  assert.throws(() => torch.tensor(new Uint32Array(1) as never), /Int32Array/);
});

test("numbers that do not fit are refused rather than wrapped", () => {
  assert.throws(() => torch.tensor([300], { dtype: "uint8" }), {
    name: "RangeError",
    message: "300 does not fit into uint8.",
  });
  assert.throws(() => torch.tensor([Number.NaN], { dtype: "int64" }), RangeError);
  assert.throws(() => torch.tensor([2n ** 63n]), RangeError);
});

test("wrong options are refused", () => {
  assert.throws(
    () => torch.tensor([1], { dtype: "float31" as never }),
    /Expected `dtype` to be a dtype, but got "float31"/,
  );
  assert.throws(
    () => torch.tensor(new Float32Array(5), { shape: [2, 3] }),
    /5 elements does not fill the shape \[2, 3\]/,
  );
  assert.throws(() => torch.tensor([1], { shape: [1] }), /Expected `shape` to be left out/);
  assert.throws(() => torch.tensor([1], { requiresGrad: true }), /Only floating-point/);
});
