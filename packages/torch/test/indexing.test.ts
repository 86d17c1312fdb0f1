// Indexing as Python's `x[...]`, with what PyTorch gives.
import assert from "node:assert/strict";
import { test } from "node:test";
import * as torch from "@fabric-ts/torch";

const cube = () => torch.arange(24).view(2, 3, 4);

test("numbers, slices, null and the ellipsis give views", () => {
  const x = cube();
  assert.deepEqual(x.at(1, 2, 3).tolist(), 23);
  assert.deepEqual(x.at(-1, 0).tolist(), [12, 13, 14, 15]);
  assert.deepEqual(x.at(":", "1:", "::2").shape, [2, 2, 2]);
  assert.deepEqual(x.at("...", 0).tolist(), [
    [0, 4, 8],
    [12, 16, 20],
  ]);
  assert.deepEqual(x.at(0, "...", "-1:").tolist(), [[3], [7], [11]]);
  assert.deepEqual(x.at(null, 0, ":", null).shape, [1, 3, 1, 4]);
  x.at(0).fill_(0);
  assert.equal(x.at(0).sum().item(), 0);
});

test("tensors and arrays pick elements", () => {
  const x = cube();
  assert.deepEqual(x.at(":", [0, 2]).shape, [2, 2, 4]);
  assert.deepEqual(x.at(torch.tensor([1, 0]), torch.tensor([2, 1])).tolist(), [
    [20, 21, 22, 23],
    [4, 5, 6, 7],
  ]);
  assert.deepEqual(x.at(x.gt(21)).tolist(), [22, 23]);
  assert.deepEqual(x.at([true, false]).shape, [1, 3, 4]);
  assert.deepEqual(x.at(torch.ones(2, 3, { dtype: "bool" }), [0, 0, 0, 0, 0, 1]).tolist(), [0, 4, 8, 12, 16, 21]);
  assert.deepEqual(x.at([]).shape, [0, 3, 4]);
});

test("setAt writes through views, masks and positions", () => {
  const x = torch.zeros(2, 3);
  assert.equal(x.setAt([0, "1:"], 5), x);
  x.setAt([1], torch.tensor([1, 2, 3]));
  assert.deepEqual(x.tolist(), [
    [0, 5, 5],
    [1, 2, 3],
  ]);
  x.setAt(x.eq(5), -1);
  x.setAt([":", [0]], torch.tensor([[7], [8]]).float());
  assert.deepEqual(x.tolist(), [
    [7, -1, -1],
    [8, 2, 3],
  ]);
});

test("indexing is differentiable", () => {
  const x = torch.ones(3, { requiresGrad: true });
  x.at([0, 0]).sum().backward();
  assert.deepEqual(x.grad?.tolist(), [2, 0, 0]);
});

test("what is no index is refused", () => {
  const x = cube();
  assert.throws(() => x.at(0, 0, 0, 0), /Too many indices: 4 for a tensor with 3 dimensions/);
  assert.throws(() => x.at("1-2"), /a slice such as "1:3"/);
  assert.throws(() => x.at("::-1"), /must be positive/);
  assert.throws(() => x.at(0.5), /a whole number/);
  assert.throws(() => x.at([0.5]), /an array of whole numbers or of booleans/);
  assert.throws(() => x.at(5), torch.TorchError);
});
