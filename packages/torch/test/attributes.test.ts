// What people who come from PyTorch, or from JavaScript arrays, type first.
import assert from "node:assert/strict";
import { test } from "node:test";
import * as torch from "@fabric-ts/torch";

test("attributes that PyTorch's tensors have", () => {
  const x = torch.ones([2, 3], { dtype: "float64" });
  assert.deepEqual([x.isCuda, x.isMeta, x.isSparse, x.itemsize, x.nbytes], [false, false, false, 8, 48]);
  assert.equal(torch.eye(2).toSparse().isSparse, true);
  assert.equal(torch.zeros([1], { device: "meta" }).isMeta, true);
});

test("JSON has the values", () => {
  const text = JSON.stringify({ loss: torch.tensor(1.5), list: torch.tensor([[1, 2]]), flags: torch.tensor([true]) });
  assert.equal(text, '{"loss":1.5,"list":[[1,2]],"flags":[true]}');
});

test("brackets are an error and not undefined", () => {
  const x = torch.ones([2]) as unknown as number[];
  assert.throws(() => x[0], /Brackets do not index tensors.*\n.*`x.at\(0\)`/);
  assert.throws(() => {
    x[1] = 5;
  }, /Brackets do not assign to tensors.*\n.*`x.setAt\(\[1\], value\)`/);
  assert.deepEqual([...torch.ones([2])].length, 2);
  assert.deepEqual(Object.keys(torch.ones([2])), []);
});

test("JavaScript's operators are explained for tensors of any size", () => {
  const x = torch.ones([2]) as unknown as number;
  for (const body of [() => x * 2, () => -x, () => x > 1, () => x + 1, () => x - 1]) {
    assert.throws(body, /JavaScript's operators do not work on tensors.*\n.*x\.mul\(y\)/);
  }
  assert.equal(Number(torch.tensor(3)), 3);
});

test("devices and constants", () => {
  assert.deepEqual([torch.device("cpu"), torch.device("cuda", 1), torch.device("cuda:0")], ["cpu", "cuda:1", "cuda:0"]);
  assert.throws(() => torch.device("gpu"), /Did you mean "cuda"/);
  assert.throws(() => torch.device("cuda", -1), /Expected `index` to be a whole number/);
  assert.deepEqual(
    [torch.pi, torch.e, torch.inf, Number.isNaN(torch.nan)],
    [Math.PI, Math.E, Number.POSITIVE_INFINITY, true],
  );
});

test("operators of several tensors take them one after the other, too", () => {
  const [a, b] = [torch.tensor([1, 2]), torch.tensor([3, 4])];
  assert.equal(torch.einsum("i,i->", a, b).item(), 11);
  assert.equal(torch.einsum("i,i->", [a, b]).item(), 11);
  assert.equal(torch.einsum("ii", torch.eye(3)).item(), 3);
  const [rows] = torch.meshgrid(a, b, { indexing: "ij" });
  assert.deepEqual(rows?.tolist(), [
    [1, 1],
    [2, 2],
  ]);
  assert.deepEqual(torch.meshgrid([a, b], { indexing: "xy" })[0]?.tolist(), [
    [1, 2],
    [1, 2],
  ]);
  assert.deepEqual(torch.broadcastTensors(torch.ones([1]), b)[0]?.shape, [2]);
  assert.deepEqual(torch.cartesianProd(a, b).shape, [4, 2]);
  assert.deepEqual(torch.blockDiag(torch.ones([1, 1]), torch.ones([2, 2])).shape, [3, 3]);
});

test("unique gives values, and inverse and counts when asked", () => {
  const x = torch.tensor([3, 1, 3, 2]);
  assert.deepEqual(torch.unique(x).tolist(), [1, 2, 3]);
  const [values, inverse, counts] = x.unique({ returnInverse: true, returnCounts: true });
  assert.deepEqual(
    [values.tolist(), inverse.tolist(), counts.tolist()],
    [
      [1, 2, 3],
      [2, 0, 2, 1],
      [1, 1, 2],
    ],
  );
  const [, alone] = torch.unique(x, { returnCounts: true });
  assert.deepEqual(alone.tolist(), [1, 1, 2]);
  const rows = torch.tensor([
    [1, 2],
    [1, 2],
    [0, 1],
  ]);
  assert.deepEqual(rows.unique({ dim: 0 }).tolist(), [
    [0, 1],
    [1, 2],
  ]);
  assert.throws(() => torch.unique(x, { returncounts: true } as never), /It is called `returnCounts` here/);
});

test("namespaces of PyTorch", () => {
  assert.equal(torch.linalg.norm(torch.tensor([3, 4], { dtype: "float32" })).item(), 5);
  assert.deepEqual(torch.linalg.inv(torch.eye(2)).tolist(), torch.eye(2).tolist());
  assert.deepEqual(
    torch.fft
      .fft(torch.ones([4]))
      .real()
      .tolist(),
    [4, 0, 0, 0],
  );
  assert.equal(torch.special.expit(torch.zeros([])).item(), 0.5);
  assert.equal(torch.utils.data.DataLoader, torch.data.DataLoader);
});
