// `torch.ops`: every registered operator by name.
import assert from "node:assert/strict";
import { test } from "node:test";
import * as torch from "@fabric-ts/torch";

test("a packet chooses its overload, and each overload can be called by name", () => {
  const x = torch.tensor([1, 2]);
  assert.deepEqual(torch.ops.aten.add(x, 1).tolist(), [2, 3]);
  assert.deepEqual(torch.ops.aten.add.Tensor(x, x, { alpha: 2 }).tolist(), [3, 6]);
  assert.deepEqual(torch.ops.aten.neg.default(x).tolist(), [-1, -2]);
  assert.equal(torch.ops.aten.add, torch.ops.aten.add);
});

test("private operators are within reach", () => {
  const x = torch.tensor([1, 2]);
  torch.ops.aten._foreach_add_([x], 1);
  assert.deepEqual(x.tolist(), [2, 3]);
});

test("an unknown operator is refused with names like it", () => {
  assert.throws(() => torch.ops.aten.logsoftmax, {
    name: "NotSupportedError",
    message: /There is no operator "aten::logsoftmax" in LibTorch [\d.]+.*\nDid you mean `log_softmax`/,
  });
  assert.throws(() => torch.ops.aten.add.Tensr, /"aten::add" has no overload "Tensr".*\nIt has .*Tensor/);
  assert.throws(() => torch.ops.nolib.foo, /No library registered operators under "nolib"/);
});

test("`in` asks without an error", () => {
  assert.ok("add" in torch.ops.aten);
  assert.ok("Tensor" in torch.ops.aten.add);
  assert.ok(!("no_such_operator" in torch.ops.aten));
});

test("awaiting or printing a namespace does not look operators up", async () => {
  assert.equal(await torch.ops.aten, torch.ops.aten);
  assert.equal(await torch.ops, torch.ops);
});
