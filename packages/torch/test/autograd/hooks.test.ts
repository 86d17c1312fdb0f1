// Hooks on gradients: they run on the JavaScript thread, inside `backward`.
import assert from "node:assert/strict";
import { test } from "node:test";
import * as torch from "@fabric-ts/torch";
import { nn } from "@fabric-ts/torch";
import { collectAll, liveCallbacks } from "../support/engine.js";

const leaf = (...values: number[]): torch.Tensor => torch.tensor(values, { dtype: "float32", requiresGrad: true });

test("a hook sees the gradient of its tensor", () => {
  const x = leaf(1, 2);
  const seen: unknown[] = [];
  const y = x.mul(3);
  y.registerHook((grad) => {
    seen.push(grad.tolist());
  });
  y.mul(2).sum().backward();
  assert.deepEqual(seen, [[2, 2]]);
  assert.deepEqual(x.grad?.tolist(), [6, 6]);
});

test("a tensor that a hook returns replaces the gradient, for the next hook too", () => {
  const x = leaf(1, 2);
  const seen: unknown[] = [];
  x.registerHook((grad) => grad.mul(10));
  x.registerHook((grad) => {
    seen.push(grad.tolist());
    return null;
  });
  x.sum().backward();
  assert.deepEqual(seen, [[10, 10]]);
  assert.deepEqual(x.grad?.tolist(), [10, 10]);
});

test("a removed hook is not called, and removing twice is harmless", () => {
  const x = leaf(1);
  let calls = 0;
  const handle = x.registerHook(() => {
    calls++;
  });
  x.mul(1).backward();
  handle.remove();
  handle.remove();
  x.mul(1).backward();
  assert.equal(calls, 1);
  {
    using _ = x.registerHook(() => {
      calls++;
    });
  }
  x.mul(1).backward();
  assert.equal(calls, 1);
  x.dispose();
  handle.remove();
});

test("an error thrown in a hook comes out of backward as the same object, and the next pass works", () => {
  const x = leaf(1);
  const own = new RangeError("own");
  const handle = x.registerHook(() => {
    throw own;
  });
  assert.throws(
    () => x.mul(2).backward(),
    (error) => error === own,
  );
  handle.remove();
  const y = x.mul(2);
  using _ = y.registerHook(() => {
    throw own;
  });
  assert.throws(
    () => torch.autograd.grad(y.mul(2), x),
    (error) => error === own,
  );
  x.mul(2).backward();
  assert.deepEqual(x.grad?.tolist(), [2]);
});

test("what a hook returns has to be a tensor of the gradient's shape", () => {
  const x = leaf(1, 2);
  const wrong = x.registerHook(() => 3 as never);
  assert.throws(() => x.sum().backward(), /Expected `result of the hook` to be a Tensor or nothing, but got 3/);
  wrong.remove();
  x.registerHook(() => torch.ones([3]));
  assert.throws(() => x.sum().backward(), torch.FabricError);
});

test("a hook runs without recording, and may itself run a backward pass", () => {
  const x = leaf(1);
  const other = leaf(5);
  x.registerHook((grad) => {
    assert.equal(torch.isGradEnabled(), false);
    torch.enableGrad(() => other.mul(other)).backward();
    return grad.add(1);
  });
  x.mul(2).backward();
  assert.deepEqual([x.grad?.tolist(), other.grad?.tolist()], [[3], [10]]);
});

test("hooks go on tensors that require gradients only", () => {
  assert.throws(() => torch.ones([1]).registerHook(() => {}), torch.FabricError);
  assert.throws(() => leaf(1).registerHook(3 as never), /Expected `hook` to be a function, but got 3/);
});

test("retainGrad keeps the gradient of a result", () => {
  const x = leaf(1, 2);
  const kept = x.mul(2);
  const dropped = x.mul(2);
  kept.retainGrad();
  kept.add(dropped).sum().backward();
  assert.deepEqual(kept.grad?.tolist(), [1, 1]);
  assert.equal(dropped.grad, null);
});

test("hooks go with the graph they are in, called or not", () => {
  const x = leaf(1);
  const layer = new nn.Linear(1, 1);
  layer.registerFullBackwardHook(() => {});
  const step = (backward: boolean): void => {
    const y = layer(x.mul(3));
    y.registerHook((grad) => grad.mul(2));
    if (backward) y.sum().backward();
  };
  collectAll();
  const before = liveCallbacks();
  for (let i = 0; i < 50; i++) step(i % 2 === 0);
  collectAll();
  assert.ok(liveCallbacks() - before < 10, `${liveCallbacks() - before} hooks are alive`);
});
