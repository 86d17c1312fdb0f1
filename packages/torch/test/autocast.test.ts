// Autocast chooses dtypes by operator, inside only.
import assert from "node:assert/strict";
import { test } from "node:test";
import * as torch from "@fabric-ts/torch";
import { nn } from "@fabric-ts/torch";

const x = torch.ones([4, 4]);

test("matrix products are in bfloat16 inside, sums stay in float32", () => {
  torch.autocast("cpu", {}, () => {
    assert.equal(torch.isAutocastEnabled("cpu"), true);
    assert.equal(torch.getAutocastDtype("cpu"), "bfloat16");
    assert.equal(x.matmul(x).dtype, "bfloat16");
    assert.equal(x.sum().dtype, "float32");
    assert.equal(nn.functional.mseLoss(x.matmul(x), x).dtype, "float32");
  });
  assert.equal(torch.isAutocastEnabled("cpu"), false);
  assert.equal(x.matmul(x).dtype, "float32");
});

test("options may be left out, or follow the callback", () => {
  const product = (): string => x.matmul(x).dtype;
  assert.equal(torch.autocast("cpu", product), "bfloat16");
  assert.equal(torch.autocast("cpu", product, { enabled: false }), "float32");
  assert.equal(torch.autocast("cpu", { enabled: false }, product), "float32");
  assert.equal(torch.isAutocastEnabled("cpu"), false);
  assert.throws(
    () => torch.autocast("cpu", { device_type: "cpu" } as never, product),
    /Unknown option `device_type`[\s\S]*Type `torch\.autocast\("cpu"/,
  );
  assert.throws(
    () => torch.autocast(product as never),
    /`deviceType` to be "cpu" or "cuda"[\s\S]*Type `torch\.autocast/,
  );
});

test("as a block, nested and switched off inside", () => {
  {
    using _ = torch.autocast("cpu");
    assert.equal(x.matmul(x).dtype, "bfloat16");
    {
      using __ = torch.autocast("cpu", { enabled: false });
      assert.equal(x.matmul(x).dtype, "float32");
    }
    assert.equal(x.matmul(x).dtype, "bfloat16");
  }
  assert.equal(torch.isAutocastEnabled("cpu"), false);
});

test("an error leaves it", () => {
  assert.throws(
    () =>
      torch.autocast("cpu", {}, () => {
        throw new RangeError("inside");
      }),
    RangeError,
  );
  assert.equal(torch.isAutocastEnabled("cpu"), false);
});

test("gradients of float32 parameters are float32, also with cached casts", () => {
  torch.manualSeed(0);
  const layer = new nn.Linear(4, 4);
  const loss = torch.autocast("cpu", { cacheEnabled: true }, () => layer(layer(x)).float().mean());
  loss.backward();
  assert.equal(layer.weight.grad?.dtype, "float32");
  const second = torch.autocast("cpu", {}, () => layer(x));
  torch.noGrad(() => layer.weight.mul_(2));
  const third = torch.autocast("cpu", {}, () => layer(x));
  assert.notDeepEqual(third.tolist(), second.tolist());
});

test("what cannot be is refused", () => {
  assert.throws(() => torch.autocast("tpu" as never), /Expected `deviceType` to be "cpu" or "cuda", but got "tpu"/);
  assert.throws(() => torch.autocast("cpu", { dtype: "float16" }), /float16 autocast needs a CUDA device/);
  assert.throws(() => torch.autocast("cuda", { dtype: "float32" as never }), /"bfloat16" or "float16"/);
  assert.throws(() => torch.autocast("cpu", {}, async () => 1), /callback returned a promise/);
  assert.equal(torch.isAutocastEnabled("cpu"), false);
});
