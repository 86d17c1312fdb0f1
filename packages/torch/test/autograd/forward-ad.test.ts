// Tangents that travel along with values.
import assert from "node:assert/strict";
import { test } from "node:test";
import * as torch from "@fabric-ts/torch";
import { autograd, nn, type Tensor } from "@fabric-ts/torch";

const { dualLevel, makeDual, unpackDual } = autograd.forwardAd;
const values = (...list: number[]): Tensor => torch.tensor(list, { dtype: "float64" });

test("the tangent of a result is the derivative in the direction of the input's", () => {
  dualLevel(() => {
    const x = makeDual(values(1, 2), values(10, 100));
    const { primal, tangent } = unpackDual(x.mul(x));
    assert.deepEqual(
      [primal.tolist(), tangent?.tolist()],
      [
        [1, 4],
        [20, 400],
      ],
    );
    assert.equal(unpackDual(values(1)).tangent, null);
  });
});

test("forward mode and backward mode agree through a network", () => {
  torch.manualSeed(0);
  const net = new nn.Sequential(new nn.Linear(3, 4), new nn.Tanh(), new nn.Linear(4, 1)).double();
  const [x, v] = [torch.randn([3], { dtype: "float64" }), torch.randn([3], { dtype: "float64" })];
  const forward = dualLevel(() => unpackDual(net(makeDual(x, v))).tangent?.item() as number);
  const input = x.clone();
  input.requiresGrad = true;
  const [gradient] = autograd.grad(net(input).sum(), input);
  assert.ok(Math.abs(forward - (gradient as Tensor).dot(v).item()) < 1e-12);
});

test("levels end, and cannot be nested", () => {
  {
    using _ = dualLevel();
    assert.throws(() => dualLevel(), /cannot be nested/);
  }
  assert.throws(() => makeDual(values(1), values(1)), /outside of a level.*\n.*autograd\.forwardAd\.dualLevel/);
  assert.throws(() => unpackDual(values(1)), /`unpackDual` was called outside/);
  dualLevel(() => {
    assert.throws(() => makeDual(values(1), values(1, 2)), torch.FabricError);
    assert.throws(() => makeDual(values(1), 3 as never), /Expected `tangent` to be a Tensor, but got 3/);
  });
});
