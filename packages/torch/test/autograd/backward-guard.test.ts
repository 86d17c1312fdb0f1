// A guard refuses gradients outside of a pass that was announced.
import assert from "node:assert/strict";
import { test } from "node:test";
import * as torch from "@fabric-ts/torch";

const { BackwardGuard } = torch.autograd;

test("gradients reach a guarded tensor inside of allow only", () => {
  const guard = new BackwardGuard("Not like this.", "Use the other way.");
  const x = torch.ones([2], { requiresGrad: true });
  const guarded = (): torch.Tensor => {
    const y = x.mul(2);
    guard.attach(y);
    return y.sum();
  };
  assert.throws(() => guarded().backward(), {
    name: "UsageError",
    message: "Not like this.\nUse the other way.",
    hint: "Use the other way.",
  });
  assert.ok(x.grad === null);
  BackwardGuard.allow(() => guarded().backward());
  assert.deepEqual((x.grad as torch.Tensor | null)?.tolist(), [2, 2]);
  assert.throws(() => torch.autograd.grad(guarded(), x), { name: "UsageError" });
});

test("allow gives the value, nests, and closes again after an error", () => {
  assert.equal(BackwardGuard.isAllowed, false);
  assert.equal(
    BackwardGuard.allow(() => BackwardGuard.allow(() => 3)),
    3,
  );
  assert.throws(
    () =>
      BackwardGuard.allow(() => {
        assert.equal(BackwardGuard.isAllowed, true);
        throw new RangeError("inside");
      }),
    RangeError,
  );
  assert.equal(BackwardGuard.isAllowed, false);
  const y = torch.ones([1], { requiresGrad: true }).mul(2);
  assert.equal(BackwardGuard.hasHooks(y), false);
  new BackwardGuard("closed").attach(y);
  assert.equal(BackwardGuard.hasHooks(y), true);
  assert.throws(() => y.backward(), /^UsageError: closed$/);
});
