// Jacobians, Hessians and their products.
import assert from "node:assert/strict";
import { test } from "node:test";
import * as torch from "@fabric-ts/torch";
import { autograd, type Tensor } from "@fabric-ts/torch";

const { jacobian, hessian, vjp, jvp, vhp, hvp } = autograd.functional;
const values = (...list: number[]): Tensor => torch.tensor(list, { dtype: "float64" });
const x = values(1, 2);
const y = values(3, 5, 7);

test("the Jacobian of one tensor, of several, and of several outputs", () => {
  assert.deepEqual(jacobian((a: Tensor) => a.square(), x).tolist(), [
    [2, 0],
    [0, 4],
  ]);
  const [dx, dy] = jacobian((a: Tensor, b: Tensor) => torch.outer(a, b), [x, y]) as [Tensor, Tensor];
  assert.deepEqual(
    [dx.shape, dy.shape],
    [
      [2, 3, 2],
      [2, 3, 3],
    ],
  );
  assert.deepEqual(dx.select(2, 0).tolist(), [
    [3, 5, 7],
    [0, 0, 0],
  ]);
  const [squares, sums] = jacobian((a: Tensor) => [a.square(), a.sum()], x) as [Tensor, Tensor];
  assert.deepEqual(
    [squares.diagonal().tolist(), sums.tolist()],
    [
      [2, 4],
      [1, 1],
    ],
  );
  const all = jacobian((a: Tensor, b: Tensor) => [a.sum(), b.sum()], [x, y]);
  assert.deepEqual(
    all.map((row) => row.map((block) => block.tolist())),
    [
      [
        [1, 1],
        [0, 0, 0],
      ],
      [
        [0, 0],
        [1, 1, 1],
      ],
    ],
  );
});

test("the Hessian", () => {
  assert.deepEqual(hessian((a: Tensor) => a.pow(3).sum(), x).tolist(), [
    [6, 0],
    [0, 12],
  ]);
  const blocks = hessian((a: Tensor, b: Tensor) => a.sum().mul(b.square().sum()), [x, y]);
  assert.deepEqual(blocks[0]?.[0]?.tolist(), [
    [0, 0],
    [0, 0],
  ]);
  assert.deepEqual(blocks[0]?.[1]?.tolist(), [
    [6, 10, 14],
    [6, 10, 14],
  ]);
  assert.throws(() => hessian((a: Tensor) => a, x), /has 2 numbers for a result, not one/);
});

test("products with vectors are those with the whole", () => {
  const fn = (a: Tensor): Tensor => torch.outer(a, a).sin().sum(1);
  const v = values(0.5, -2);
  const whole = jacobian(fn, x);
  const [output, left] = vjp(fn, x, v);
  assert.ok(output.allclose(fn(x)) && !output.requiresGrad);
  assert.ok(left.allclose(v.matmul(whole)));
  const [, right] = jvp(fn, x, v);
  assert.ok(right.allclose(whole.matmul(v)));
  const scalar = (a: Tensor): Tensor => fn(a).square().sum();
  const second = hessian(scalar, x);
  for (const product of [vhp, hvp]) {
    const [value, p] = product(scalar, x, v);
    assert.ok(value.allclose(scalar(x)));
    assert.ok(p.allclose(second.matmul(v)));
  }
  const [, [a, b]] = vjp((p: Tensor, q: Tensor) => p.sum().mul(q.sum()), [x, y] as readonly [Tensor, Tensor]);
  assert.deepEqual(
    [a.tolist(), b.tolist()],
    [
      [15, 15],
      [3, 3, 3],
    ],
  );
});

test("inputs keep their gradients and history; with createGraph the results have one", () => {
  const leaf = values(2).requiresGrad_();
  const first = jacobian((a: Tensor) => a.pow(3), leaf, { createGraph: true });
  first.sum().backward();
  assert.deepEqual([first.item(), leaf.grad?.tolist()], [12, [12]]);
  leaf.grad = null;
  assert.equal(jacobian((a: Tensor) => a.pow(3), leaf).requiresGrad, false);
  assert.equal(leaf.grad, null);
});

test("what does not depend on an input has zeros, or is an error when strict", () => {
  assert.deepEqual(jacobian(() => values(1), x).tolist(), [[0, 0]]);
  assert.throws(() => jacobian(() => values(1), x, { strict: true }), /does not depend on input 0/);
  assert.throws(() => vjp((a: Tensor) => a, x), /`vjp` needs a vector `v`/);
  assert.throws(() => vjp((a: Tensor) => a, x, y), /`v` of vjp has the shapes \[3\], but needs \[2\]/);
  assert.throws(() => jacobian(3 as never, x), /Expected `fn` to be a function, but got 3/);
  assert.throws(() => jacobian((a: Tensor) => a, 3 as never), TypeError);
  assert.throws(
    () => jacobian((a: Tensor) => a, x, { create_graph: true } as never),
    /It is called `createGraph` here/,
  );
});
