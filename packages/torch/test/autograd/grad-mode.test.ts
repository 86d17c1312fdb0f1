// Contexts that decide whether operations are recorded: with `using`, with a callback, nested, and after an error.
import assert from "node:assert/strict";
import { test } from "node:test";
import * as torch from "@fabric-ts/torch";

const x = torch.ones([2], { requiresGrad: true });

test("noGrad as a callback, and its value", () => {
  const y = torch.noGrad(() => {
    assert.equal(torch.isGradEnabled(), false);
    return x.add(1);
  });
  assert.deepEqual([y.requiresGrad, torch.isGradEnabled()], [false, true]);
});

test("noGrad until the end of a block", () => {
  {
    using _ = torch.noGrad();
    assert.equal(x.add(1).requiresGrad, false);
  }
  assert.equal(x.add(1).requiresGrad, true);
});

test("leaving twice changes nothing", () => {
  const outer = torch.noGrad();
  const inner = torch.enableGrad();
  inner[Symbol.dispose]();
  inner[Symbol.dispose]();
  assert.equal(torch.isGradEnabled(), false);
  outer[Symbol.dispose]();
  assert.equal(torch.isGradEnabled(), true);
});

test("enableGrad records within noGrad", () => {
  torch.noGrad(() => {
    assert.equal(
      torch.enableGrad(() => x.add(1).requiresGrad),
      true,
    );
    assert.equal(torch.isGradEnabled(), false);
  });
});

test("what was before comes back when the callback throws", () => {
  const throwing = (): never => {
    throw new RangeError("inside");
  };
  for (const context of [torch.noGrad, torch.enableGrad, torch.inferenceMode]) {
    assert.throws(() => context(throwing), RangeError);
    assert.deepEqual([torch.isGradEnabled(), torch.isInferenceModeEnabled()], [true, false]);
  }
  torch.noGrad(() => {
    assert.throws(() => torch.enableGrad(throwing), RangeError);
    assert.equal(torch.isGradEnabled(), false);
  });
});

test("setGradEnabled works at once, and restores with using", () => {
  {
    using _ = torch.setGradEnabled(false);
    assert.equal(torch.isGradEnabled(), false);
  }
  assert.equal(torch.isGradEnabled(), true);
  torch.setGradEnabled(false);
  assert.equal(torch.isGradEnabled(), false);
  torch.setGradEnabled(true);
  assert.throws(() => torch.setGradEnabled(1 as never), /to be a boolean, but got 1/);
});

test("setGradEnabled with a callback holds for the callback", () => {
  for (const isTraining of [true, false]) {
    assert.equal(
      torch.setGradEnabled(isTraining, () => torch.isGradEnabled()),
      isTraining,
    );
    assert.equal(torch.isGradEnabled(), true);
  }
  assert.throws(
    () =>
      torch.setGradEnabled(false, (): never => {
        throw new RangeError("inside");
      }),
    RangeError,
  );
  assert.throws(() => torch.setGradEnabled(false, 3 as never), /`callback` to be a function, but got 3/);
  assert.equal(torch.isGradEnabled(), true);
});

test("tensors of inferenceMode stay out of graphs", () => {
  const y = torch.inferenceMode(() => {
    assert.deepEqual([torch.isInferenceModeEnabled(), torch.isGradEnabled()], [true, false]);
    return x.mul(2);
  });
  assert.equal(torch.isInferenceModeEnabled(), false);
  assert.equal(y.isInference(), true);
  assert.throws(() => x.mul(y).sum().backward(), torch.TorchError);
  {
    using _ = torch.inferenceMode();
    assert.equal(torch.isInferenceModeEnabled(), true);
  }
  assert.deepEqual([torch.isInferenceModeEnabled(), torch.isGradEnabled()], [false, true]);
});

test("an async callback is refused, and the context is left", () => {
  assert.throws(() => torch.noGrad(async () => 1), /callback returned a promise.*`using _ = noGrad\(\);`/s);
  assert.equal(torch.isGradEnabled(), true);
  assert.throws(() => torch.noGrad(3 as never), /Expected `callback` to be a function, but got 3/);
});

test("in-place changes of a leaf need noGrad", () => {
  const weight = torch.ones([2], { requiresGrad: true });
  assert.throws(() => weight.sub_(1), { name: "TorchError", message: /a leaf Variable that requires grad/ });
  torch.noGrad(() => weight.sub_(1));
  assert.deepEqual([weight.tolist(), weight.requiresGrad], [[0, 0], true]);
});
