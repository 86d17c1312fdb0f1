// How a call finds its overload and what becomes of its arguments. Results of many operators are in ops/operators.test.ts.
import assert from "node:assert/strict";
import { test } from "node:test";
import * as torch from "@fabric-ts/torch";

const x = torch.ones([2, 3], { requiresGrad: true });

test("a number for a tensor is the tensor's overload", () => {
  assert.equal(x.add(1).gradFn, "AddBackward0");
  assert.equal(x.mul(2).gradFn, "MulBackward0");
  assert.equal(x.pow(2).gradFn, "PowBackward0");
  assert.equal(x.matmul(x.T).gradFn, "MmBackward0");
});

test("the kind of a number decides on the dtype", () => {
  const whole = torch.tensor([1, 2]);
  assert.deepEqual([whole.add(1).dtype, whole.add(1.5).dtype, whole.add(1n).dtype], ["int64", "float32", "int64"]);
  assert.equal(torch.tensor([true]).add(1).dtype, "int64");
  assert.equal(torch.tensor([true]).add(true).dtype, "bool");
  assert.equal(torch.tensor([1], { dtype: "int8" }).mul(3).dtype, "int8");
});

test("integers beyond 2^53 stay exact as bigints", () => {
  const large = 2n ** 60n + 1n;
  const sum = torch.tensor([large]).add(1n);
  assert.deepEqual(sum.sub(large).tolist(), [1]);
  assert.equal(sum.item() as unknown, large + 1n);
  assert.equal(torch.tensor([7]).item(), 7);
  // Beyond what float32 holds.
  assert.equal(torch.tensor([0]).add(16_777_217).item(), 16_777_217);
  assert.equal(torch.tensor([0.5], { dtype: "float64" }).add(16_777_217).item(), 16_777_217.5);
  assert.equal(torch.tensor([0], { dtype: "float64" }).add(0.1).item(), 0.1);
});

test("trailing numbers make the list of sizes or dimensions", () => {
  assert.deepEqual(torch.zeros(2, 3).shape, [2, 3]);
  assert.deepEqual(torch.zeros(2, 3, { dtype: "int64" }).shape, [2, 3]);
  assert.deepEqual(x.view(3, 2).shape, x.view([3, 2]).shape);
  assert.deepEqual(x.permute(1, 0).shape, [3, 2]);
  assert.deepEqual(torch.zeros([]).shape, []);
});

test("options that are undefined count as left out", () => {
  assert.deepEqual(x.sum(1, { keepdim: undefined, dtype: "float64" }).shape, [2]);
  assert.equal(torch.zeros([1], { dtype: undefined, requiresGrad: undefined }).dtype, "float32");
});

test("null stands for None", () => {
  assert.deepEqual(torch.tensor([1, 2, 3]).clamp(null, 2).tolist(), [1, 2, 2]);
  assert.equal(x.sum(null as never, true).ndim, 2);
});

test("in-place and out results are the objects that were given, within lists too", () => {
  const a = torch.ones([2]);
  const b = torch.ones([2]);
  assert.ok(a.add_(1) === a);
  assert.ok(torch.add(a, b, { out: b }) === b);
  const foreach = torch.ops.aten._foreach_add_ as (...args: unknown[]) => unknown;
  foreach([a, b], 1);
  assert.deepEqual(
    [a.tolist(), b.tolist()],
    [
      [3, 3],
      [4, 4],
    ],
  );
});

test("an operator that changes nothing about a tensor still gives another one", () => {
  const a = torch.ones([2]);
  assert.notEqual(a.detach(), a);
  assert.notEqual(a.view(2), a);
  assert.ok(a.to("float32") === a);
});

test("a name without an overload for the arguments lists those that there are", () => {
  const wrong: [() => unknown, RegExp][] = [
    [
      () => x.transpose(0 as never),
      /^No overload fits transpose\(Tensor float32 \[2, 3\], 0\)\.\nIt takes:\n {2}aten::transpose/,
    ],
    [() => x.add([1, 2] as never), /^No overload fits add\(Tensor float32 \[2, 3\], \[1, 2\]\)/],
    [() => x.add(undefined as never), /^No overload fits add\(Tensor float32 \[2, 3\], undefined\)/],
    [
      () => (x.relu as (...args: unknown[]) => unknown)(1, 2),
      /^No overload fits relu\(Tensor float32 \[2, 3\], 1, 2\)/,
    ],
    [() => torch.zeros([Number.NaN]), /^No overload fits zeros\(\[nan\]\)/i],
    [() => x.sum(1.5), /^No overload fits sum\(Tensor float32 \[2, 3\], 1\.5\)/],
    [() => x.sum(1, { keepDim: true } as never), /`sum` has no argument named `keepDim`/],
  ];
  for (const [call, message] of wrong) assert.throws(call, { name: "TypeError", message });
});

test("an operator that this LibTorch lacks is named when it is called", () => {
  assert.throws(() => (torch.ops.aten.no_such_operator as () => unknown)(), {
    name: "NotSupportedError",
    message: /There is no operator "aten::no_such_operator" in LibTorch/,
  });
});

test("an error of the engine leaves everything in order", () => {
  assert.throws(() => x.matmul(torch.ones([2, 2])), { name: "TorchError", code: "ERR_TORCH" });
  assert.deepEqual(x.matmul(torch.ones([3, 1])).tolist(), [[3], [3]]);
});

test("JavaScript's operators on tensors are refused with the methods' names", () => {
  assert.throws(() => (x as never as number) + (x as never as number), /`x\.add\(y\)`/);
  assert.equal(Number(torch.tensor(2)), 2);
});
