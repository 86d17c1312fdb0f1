// Derivatives against finite differences.
import assert from "node:assert/strict";
import { test } from "node:test";
import * as torch from "@fabric-ts/torch";
import { autograd, type Tensor } from "@fabric-ts/torch";

const { gradcheck, gradgradcheck } = autograd;

/** Its backward is right up to the given factor. */
function scaledBy(factor: number): (x: Tensor) => Tensor {
  class Square extends autograd.Function {
    static forward(ctx: autograd.FunctionContext, x: Tensor) {
      ctx.saveForBackward(x);
      return x.mul(x);
    }
    static backward(ctx: autograd.FunctionContext<object, [Tensor]>, grad: Tensor) {
      const [x] = ctx.savedTensors;
      return grad.mul(x).mul(2 * factor);
    }
  }
  return (x) => Square.apply(x);
}

const random = (...shape: number[]): Tensor => torch.randn(shape, { dtype: "float64", requiresGrad: true });

test("right derivatives of all inputs and outputs pass, the second ones too", () => {
  torch.manualSeed(0);
  const [x, w, constant] = [random(2, 3), random(3, 2), torch.randn([2, 2], { dtype: "float64" })];
  const fn = (a: Tensor, b: Tensor, c: Tensor) => [a.mm(b).sin().mul(c), a.exp(), c];
  assert.equal(gradcheck(fn as never, [x, w, constant]), true);
  assert.equal(gradgradcheck(fn as never, [x, w, constant]), true);
  assert.equal(
    gradcheck((a) => a.t().mul(2), x.detach().t().requiresGrad_()),
    true,
    "an input that is not contiguous",
  );
  assert.equal(x.grad, null);
});

test("inputs keep their values", () => {
  const x = random(4);
  const before = x.tolist();
  gradcheck((a) => a.sin(), x);
  assert.deepEqual(x.tolist(), before);
});

test("a wrong derivative is an error that shows both, or false when asked", () => {
  const x = torch.tensor([1, 2], { dtype: "float64", requiresGrad: true });
  assert.equal(gradcheck(scaledBy(1), x), true);
  assert.throws(
    () => gradcheck(scaledBy(0.5), x),
    /output 0 with respect to input 0 is wrong.\nby finite differences:\ntensor\(\[\[2.0000, 0.0000\][\s\S]*by backward:\ntensor\(\[\[1., 0.\]/,
  );
  assert.equal(gradcheck(scaledBy(0.5), x, { raiseException: false }), false);
  assert.equal(gradcheck(scaledBy(1.001), x, { rtol: 0.01 }), true);
  assert.equal(gradcheck(scaledBy(1.001), x, { rtol: 0, atol: 1e-6, raiseException: false }), false);
});

test("a backward that is not the same twice is an error", () => {
  let calls = 0;
  class Drifts extends autograd.Function {
    static forward(_: autograd.FunctionContext, x: Tensor) {
      return x.clone();
    }
    static backward(_: autograd.FunctionContext, grad: Tensor) {
      return grad.mul(1 + 1e-7 * calls++);
    }
  }
  const x = torch.tensor([1], { dtype: "float64", requiresGrad: true });
  assert.throws(() => gradcheck((a) => Drifts.apply(a), x), /Two backward passes over the same graph/);
  calls = 0;
  assert.equal(
    gradcheck((a) => Drifts.apply(a), x, { nondetTol: 1e-5 }),
    true,
  );
});

test("an error of the function itself comes through", () => {
  const own = new RangeError("own");
  const x = random(1);
  assert.throws(
    () =>
      gradcheck(
        () => {
          throw own;
        },
        x,
        { raiseException: false },
      ),
    (error) => error === own,
  );
});

test("what cannot be checked is explained", () => {
  assert.throws(() => gradcheck((x) => x, torch.ones([2])), /needs at least one input that requires gradients/);
  assert.throws(() => gradcheck((x) => x.mul(2), torch.ones([2], { requiresGrad: true })), /an input is float32/);
  assert.throws(() => gradcheck((x) => x.detach(), random(2)), /No output of the function requires gradients/);
  assert.throws(() => gradcheck(3 as never, random(2)), /Expected `fn` to be a function, but got 3/);
  assert.throws(() => gradcheck((x) => x, random(2), { Eps: 1 } as never), /It is called `eps` here/);
});
