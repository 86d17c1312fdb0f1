// Backward passes: leaves, gradients of one's own, graphs that are kept, higher derivatives, `grad`.
import assert from "node:assert/strict";
import { test } from "node:test";
import * as torch from "@fabric-ts/torch";

const { autograd } = torch;
const leaf = (...values: number[]): torch.Tensor => torch.tensor(values, { dtype: "float32", requiresGrad: true });

test("gradients accumulate until they are set to null", () => {
  const x = leaf(1, 2);
  x.mul(3).sum().backward();
  x.mul(3).sum().backward();
  assert.deepEqual(x.grad?.tolist(), [6, 6]);
  x.grad = null;
  assert.equal(x.grad, null);
  x.sum().backward();
  const grad = x.grad as torch.Tensor | null;
  assert.deepEqual(grad?.tolist(), [1, 1]);
  assert.ok(x.grad === grad);
});

test("a result names the function that made it, a leaf does not", () => {
  const x = leaf(1);
  assert.deepEqual([x.gradFn, x.isLeaf], [null, true]);
  assert.deepEqual([x.add(1).gradFn, x.add(1).isLeaf], ["AddBackward0", false]);
  assert.equal(x.detach().requiresGrad, false);
});

test("a tensor with several elements needs a gradient", () => {
  const x = leaf(1, 2);
  assert.throws(() => x.mul(2).backward(), /needs a tensor with one element, but this one has 2/);
  x.mul(2).backward(torch.tensor([1, 10]).float());
  assert.deepEqual(x.grad?.tolist(), [2, 20]);
  assert.throws(() => x.mul(2).backward(torch.ones([3])), torch.FabricError);
  assert.throws(
    () => x.mul(2).backward(3 as never),
    /Expected `gradient` to be a Tensor, null or an object of options/,
  );
});

test("several outputs go backward in one pass", () => {
  const x = leaf(1, 2);
  autograd.backward([x.sum(), x.mul(2)], [null, torch.ones([2])]);
  assert.deepEqual(x.grad?.tolist(), [3, 3]);
  assert.throws(() => autograd.backward([x.sum(), x.sum()], [null]), /has 1 entries, but there are 2 tensors/);
});

test("inputs limit which leaves receive gradients", () => {
  const x = leaf(1);
  const y = leaf(2);
  x.mul(y).backward({ inputs: x });
  assert.deepEqual([x.grad?.tolist(), y.grad], [[2], null]);
});

test("a second pass needs retainGraph", () => {
  const x = leaf(2);
  const y = x.mul(x);
  y.backward({ retainGraph: true });
  y.backward();
  assert.deepEqual(x.grad?.tolist(), [8]);
  assert.throws(() => y.backward(), { name: "TorchError", message: /backward through the graph a second time/ });
});

test("a tensor without history is refused with the next move", () => {
  assert.throws(() => torch.ones([]).backward(), {
    name: "UsageError",
    message: /does not require gradients and has no history\.\nCompute the loss from parameters/,
  });
});

test("a loss of two dtypes says which tensor to convert", () => {
  const loss = torch.nn.functional.mseLoss(leaf(1, 2), torch.tensor([3, 4]));
  assert.throws(() => loss.backward(), {
    name: "TorchError",
    message: /^Found dtype Long but expected Float\n.*a loss.*`target\.to\(output\.dtype\)`\.$/,
  });
});

test("grad gives gradients and leaves everybody's grad alone", () => {
  const x = leaf(3);
  const y = leaf(4);
  const [dx, dy] = autograd.grad(x.mul(x).mul(y), [x, y]) as [torch.Tensor, torch.Tensor];
  assert.deepEqual([dx.tolist(), dy.tolist()], [[24], [9]]);
  assert.deepEqual([x.grad, y.grad], [null, null]);
  const [weighted] = autograd.grad(leaf(1, 2).mul(x), x, { gradOutputs: torch.tensor([1, 10]).float() });
  assert.deepEqual(weighted?.tolist(), [21]);
});

test("grad of an unused input is an error, or null where that is allowed", () => {
  const x = leaf(3);
  const unused = leaf(1);
  assert.throws(() => autograd.grad(x.mul(2), [x, unused]), torch.TorchError);
  const [dx, nothing] = autograd.grad(x.mul(2), [x, unused], { allowUnused: true });
  assert.deepEqual([dx?.tolist(), nothing], [[2], null]);
});

test("createGraph gives second and third derivatives", () => {
  const x = leaf(2);
  const [first] = autograd.grad(x.pow(4), x, { createGraph: true }) as [torch.Tensor];
  const [second] = autograd.grad(first, x, { createGraph: true }) as [torch.Tensor];
  const [third] = autograd.grad(second, x) as [torch.Tensor];
  assert.deepEqual([first.tolist(), second.tolist(), third.tolist()], [[32], [48], [48]]);
  assert.equal(third.requiresGrad, false);
  const y = leaf(3);
  y.pow(3).backward({ createGraph: true });
  assert.equal(y.grad?.requiresGrad, true);
});

test("grad can be assigned, and has to fit", () => {
  const x = leaf(1, 2);
  const gradient = torch.tensor([5, 6]).float();
  x.grad = gradient;
  assert.ok(x.grad === gradient);
  assert.throws(() => {
    x.grad = torch.ones([3]);
  }, /The gradient has shape \[3\], but its tensor has \[2\]/);
  assert.throws(() => {
    x.grad = 3 as never;
  }, /Expected `grad` to be a Tensor or null, but got 3/);
});

test("data changes under a tensor without history, and keeps its identity", () => {
  const x = leaf(1, 2);
  x.data = torch.tensor([7, 8]).float();
  assert.deepEqual([x.tolist(), x.requiresGrad, x.isLeaf], [[7, 8], true, true]);
  x.data.zero_();
  assert.deepEqual(x.tolist(), [0, 0]);
});

test("only leaves of floating-point type can be asked for gradients", () => {
  const x = torch.ones([2]);
  x.requiresGrad = true;
  x.sum().backward();
  assert.deepEqual(x.grad?.tolist(), [1, 1]);
  assert.throws(() => torch.tensor([1], { requiresGrad: true }), /Only floating-point and complex tensors.*int64/);
  assert.throws(() => {
    x.add(1).requiresGrad = false;
  }, torch.FabricError);
  assert.throws(() => {
    x.requiresGrad = 1 as never;
  }, /Expected `requiresGrad` to be a boolean, but got 1/);
});

test("a saved tensor that was changed in place is reported", () => {
  const x = leaf(2);
  const y = x.mul(1);
  const z = y.mul(y);
  y.add_(1);
  assert.throws(() => z.backward(), { name: "TorchError", message: /modified by an inplace operation/ });
});

test("detectAnomaly turns NaN gradients into errors, inside only", () => {
  const x = leaf(0);
  const pass = (): void => x.sqrt().mul(0).backward();
  pass();
  assert.ok(Number.isNaN(x.grad?.item()));
  assert.throws(() => autograd.detectAnomaly(pass), { name: "TorchError", message: /returned nan values/ });
  pass();
});

test("unknown options are refused, and named as they are called here", () => {
  const x = leaf(1);
  assert.throws(() => x.sum().backward({ retain_graph: true } as never), /It is called `retainGraph` here/);
  assert.throws(() => autograd.backward(x.sum(), null, { retain: true } as never), /Unknown option `retain`/);
  assert.throws(() => autograd.grad(x.sum(), [x], { create_graph: true } as never), /It is called `createGraph` here/);
  assert.equal(x.grad, null);
});
