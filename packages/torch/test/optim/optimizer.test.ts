// What all optimizers share: groups, steps, zeroing gradients, hooks, and what wrong usage says.
import assert from "node:assert/strict";
import { test } from "node:test";
import * as torch from "@fabric-ts/torch";
import { nn, optim, type Tensor } from "@fabric-ts/torch";

function param(...values: number[]): Tensor {
  return torch.tensor(values, { dtype: "float32", requiresGrad: true });
}

function withGrad(values: number[], grad: number[]): Tensor {
  const p = param(...values);
  p.grad = torch.tensor(grad, { dtype: "float32" });
  return p;
}

test("a step changes the parameters in place and leaves the gradients", () => {
  const p = withGrad([1, 2], [10, -10]);
  const optimizer = new optim.SGD([p], { lr: 0.5 });
  assert.equal(optimizer.step(), undefined);
  assert.deepEqual(p.tolist(), [-4, 7]);
  assert.deepEqual(p.grad?.tolist(), [10, -10]);
  assert.equal(p.requiresGrad, true);
  assert.equal(p.isLeaf, true);
});

test("a parameter without a gradient is left alone and gets no state", () => {
  const p = param(1);
  const q = withGrad([1], [1]);
  const optimizer = new optim.Adam([p, q], { lr: 0.5 });
  optimizer.step();
  assert.deepEqual(p.tolist(), [1]);
  assert.deepEqual([...optimizer.state.keys()], [q]);
});

test("groups have options of their own, also changed between steps", () => {
  const p = withGrad([1], [1]);
  const q = withGrad([1], [1]);
  const optimizer = new optim.SGD([{ params: [p] }, { params: q, lr: 0.25 }], { lr: 0.5 });
  assert.equal(optimizer.paramGroups.length, 2);
  optimizer.step();
  assert.deepEqual([p.item(), q.item()], [0.5, 0.75]);
  const [group] = optimizer.paramGroups;
  assert.ok(group);
  group.lr = 0.125;
  optimizer.step();
  assert.deepEqual([p.item(), q.item()], [0.375, 0.5]);
});

test("a group can be added later", () => {
  const p = withGrad([1], [1]);
  const optimizer = new optim.SGD([param(1)], { lr: 0.5, momentum: 0.9 });
  optimizer.addParamGroup({ params: [p], lr: 1 });
  optimizer.step();
  assert.equal(p.item(), 0);
  assert.equal(optimizer.paramGroups[1]?.momentum, 0.9);
});

test("parameters of several dtypes share a group", () => {
  const p = withGrad([1], [1]);
  const q = torch.tensor([1], { dtype: "float64", requiresGrad: true });
  q.grad = torch.tensor([1], { dtype: "float64" });
  const r = withGrad([2], [1]);
  new optim.SGD([p, q, r], { lr: 0.5, momentum: 0.9 }).step();
  assert.deepEqual([p.item(), q.item(), r.item()], [0.5, 0.5, 1.5]);
  assert.equal(q.dtype, "float64");
});

test("Adam takes complex parameters", () => {
  const p = torch.viewAsComplex(torch.tensor([[1, 2]], { dtype: "float32" })).clone();
  p.requiresGrad = true;
  p.grad = torch.viewAsComplex(torch.tensor([[0.5, -4]], { dtype: "float32" })).clone();
  new optim.Adam([p], { lr: 0.25, amsgrad: true }).step();
  assert.deepEqual(torch.viewAsReal(p.detach()).tolist(), [[0.75, 2.25]]);
});

test("a closure runs with gradients recorded, and its loss is returned", () => {
  const p = param(3);
  const optimizer = new optim.SGD([p], { lr: 0.25 });
  const step = () =>
    optimizer.step(() => {
      optimizer.zeroGrad();
      const loss = p.mul(p).sum();
      loss.backward();
      return loss;
    });
  const loss = torch.noGrad(step);
  assert.equal(loss.item(), 9);
  assert.equal(p.item(), 1.5);
  assert.equal(torch.isGradEnabled(), true);
});

test("a closure that returns a promise is refused", () => {
  const p = withGrad([1], [1]);
  assert.throws(() => new optim.SGD([p], { lr: 1 }).step(async () => 1), /returned a promise/);
  assert.equal(p.item(), 1);
  assert.equal(torch.isGradEnabled(), true);
});

test("zeroGrad sets gradients to null, or to zero", () => {
  const p = withGrad([1], [5]);
  const q = param(1);
  const optimizer = new optim.SGD([p, q], { lr: 1 });
  const grad = p.grad;
  optimizer.zeroGrad({ setToNone: false });
  assert.equal(p.grad, grad);
  assert.deepEqual(p.grad?.tolist(), [0]);
  assert.equal(q.grad, null);
  optimizer.zeroGrad();
  assert.equal(p.grad, null);
});

test("state made inside a scope outlives it", () => {
  const p = withGrad([1], [1]);
  const optimizer = new optim.Adam([p], { lr: 0.1 });
  torch.scope(() => optimizer.step());
  optimizer.step();
  assert.equal((optimizer.state.get(p) as { exp_avg: Tensor }).exp_avg.isDisposed, false);
});

test("hooks run before and after a step until they are removed", () => {
  const optimizer = new optim.SGD([withGrad([1], [1])], { lr: 1 });
  const seen: string[] = [];
  const before = optimizer.registerStepPreHook(() => seen.push("before"));
  optimizer.registerStepPostHook((o) => seen.push(o === optimizer ? "after" : "?"));
  optimizer.step();
  before.remove();
  optimizer.step();
  assert.deepEqual(seen, ["before", "after", "after"]);
});

test("an optimizer of one's own needs only updateGroup", () => {
  class PlainDescent extends optim.Optimizer {
    constructor(params: Iterable<Tensor>, options: { lr: number }) {
      super(params, options);
    }
    protected override updateGroup(group: optim.ParamGroup): void {
      for (const p of group.params) if (p.grad) p.add_(p.grad, { alpha: -group.lr });
    }
  }
  const p = withGrad([1], [1]);
  new PlainDescent([p], { lr: 0.5 }).step();
  assert.equal(p.item(), 0.5);
});

test("sparse gradients are refused with the way out where they cannot work", () => {
  const table = torch.ones([4, 2], { requiresGrad: true });
  const backward = (sparse: boolean): void =>
    nn.functional
      .embedding(torch.tensor([1, 1]), table, { sparse })
      .sum()
      .backward();
  backward(true);
  const refused: [optim.Optimizer, RegExp][] = [
    [new optim.Adam([table]), /does not support sparse gradients/],
    [new optim.RMSprop([table]), /RMSprop does not support sparse gradients[\s\S]*SparseAdam/],
    [new optim.SGD([table], { lr: 0.1, momentum: 0.9 }), /SGD takes sparse gradients only without `momentum`/],
    [new optim.Adagrad([table], { weightDecay: 0.1 }), /Adagrad takes sparse gradients only without `weightDecay`/],
  ];
  for (const [optimizer, text] of refused) assert.throws(() => optimizer.step(), text);
  assert.deepEqual(table.tolist(), torch.ones([4, 2]).tolist());
  table.grad = null;
  backward(false);
  assert.throws(() => new optim.SparseAdam([table]).step(), /does not support dense gradients[\s\S]*sparse: true/);
});

test("options that choose among PyTorch's implementations are accepted where nothing depends on them", () => {
  const params = [torch.ones([1], { requiresGrad: true })];
  const adam = new optim.Adam(params, { foreach: true, fused: false, capturable: false, differentiable: false });
  assert.equal(adam.paramGroups[0]?.foreach, true);
  new optim.RMSprop(params, { fused: null, foreach: false });
  for (const name of ["fused", "capturable", "differentiable"]) {
    assert.throws(
      () => new optim.SGD(params, { lr: 0.1, [name]: true }),
      new RegExp(`\`${name}: true\` is not supported(.|\\n)*Leave it out`),
    );
  }
  assert.throws(() => new optim.Adam(params, { foreach: 1 as never }), /Expected `foreach` to be a boolean, but got 1/);
});

test("LBFGS needs a closure that returns the loss, and one group", () => {
  const x = torch.ones([2], { requiresGrad: true });
  const optimizer = new optim.LBFGS([x]);
  assert.throws(
    () => optimizer.step(),
    /evaluates the loss several times a step: `step` needs a closure[\s\S]*return loss/,
  );
  assert.throws(() => optimizer.step(() => undefined), /did not return the loss/);
  assert.throws(() => optimizer.step(async () => 1), /returned a promise/);
  assert.throws(() => new optim.LBFGS([{ params: [x] }, { params: [torch.ones([1])] }]), /one parameter group only/);
  assert.throws(() => new optim.LBFGS([x], { lineSearchFn: "wolfe" as never }), /`lineSearchFn` is "wolfe"/);
});

test("an error in LBFGS's closure comes out, and LBFGS goes on from its saved state with the same bits", () => {
  const start = (): Tensor => torch.tensor([3, -2, 1], { dtype: "float64", requiresGrad: true });
  const closureOf = (x: Tensor, optimizer: optim.Optimizer) => () => {
    optimizer.zeroGrad();
    const loss = x.pow(4).sum().add(x.sub(1).pow(2).sum());
    loss.backward();
    return loss;
  };
  const options = { maxIter: 3, lineSearchFn: "strong_wolfe" } as const;
  const [x, y] = [start(), start()];
  const first = new optim.LBFGS([x], options);
  const own = new RangeError("own");
  assert.throws(
    () =>
      first.step(() => {
        throw own;
      }),
    (error) => error === own,
  );
  assert.equal(torch.isGradEnabled(), true);
  const before = first.step(closureOf(x, first)).item();
  torch.noGrad(() => y.copy_(x));
  const second = new optim.LBFGS([y], options);
  second.loadStateDict(first.stateDict());
  const [a, b] = [first.step(closureOf(x, first)).item(), second.step(closureOf(y, second)).item()];
  assert.ok(a < before);
  assert.equal(a, b);
  assert.deepEqual(y.tolist(), x.tolist());
});

test("wrong parameters are refused with what to type", () => {
  const p = param(1);
  const model = new nn.Linear(2, 1);
  assert.throws(
    () => new optim.SGD(model as never, { lr: 1 }),
    /got a module[\s\S]*new SGD\(model\.parameters\(\), \.\.\.\)/,
  );
  assert.throws(() => new optim.SGD(p as never, { lr: 1 }), /new SGD\(\[tensor\], \.\.\.\)/);
  assert.throws(() => new optim.SGD([], { lr: 1 }), {
    name: "ConfigurationError",
    message: /empty list of parameters/,
  });
  assert.throws(() => new optim.SGD(3 as never, { lr: 1 }), TypeError);
  assert.throws(() => new optim.SGD(["a"] as never, { lr: 1 }), /can only optimize tensors, but parameter 0 is "a"/);
  assert.throws(() => new optim.SGD(model.namedParameters() as never, { lr: 1 }), /rather than named ones/);
  assert.throws(
    () => new optim.SGD([p.mul(2)], { lr: 1 }),
    /cannot optimize parameter 0 of shape \[1\]: it is the result of an operation/,
  );
  assert.throws(() => new optim.SGD([{ params: [p] }, { params: [p] }], { lr: 1 }), /in more than one parameter group/);
});

test("wrong options are refused with what to type", () => {
  const p = [param(1)];
  assert.throws(() => new optim.SGD(p), { name: "TypeError", message: /needs a learning rate[\s\S]*\{ lr: 0\.1 \}/ });
  assert.throws(() => new optim.SGD(p, 0.1 as never), /\{ lr: 0\.1/);
  assert.throws(() => new optim.SGD(p, { lr: -0.1 }), /`lr` has to be at least 0, but is -0\.1/);
  assert.throws(() => new optim.SGD(p, { lr: Number.NaN }), /`lr` has to be at least 0/);
  assert.throws(() => new optim.SGD(p, { lr: 1, momentum: -1 }), /`momentum`/);
  assert.throws(() => new optim.SGD(p, { lr: 1, weight_decay: 1 } as never), /It is called `weightDecay` here/);
  assert.throws(() => new optim.SGD([{ params: p, weight_decay: 1 }], { lr: 1 }), /It is called `weightDecay` here/);
  assert.throws(() => new optim.SGD(p, { lr: 1, nesterov: true }), /Nesterov momentum requires a momentum/);
  assert.throws(() => new optim.Adam(p, { betas: [0.9, 1] }), /`betas`/);
  assert.throws(() => new optim.Adam(p, { eps: -1 }), /`eps`/);
  assert.throws(
    () => new optim.AdamW(p, { learningRate: 1 } as never),
    /Unknown option `learningRate`[\s\S]*new AdamW/,
  );
});

test("the optimizers with running averages refuse options that cannot work, with their names", () => {
  const p = [torch.zeros([1], { requiresGrad: true })];
  assert.throws(() => new optim.RMSprop(p, { alpha: -1 }), /`alpha` has to be at least 0, but is -1/);
  assert.throws(() => new optim.Adadelta(p, { rho: 2 }), /`rho` has to be between 0 and 1, but is 2/);
  assert.throws(() => new optim.NAdam(p, { betas: [1, 2] }), /`betas` has to be two numbers.*\[1, 2\]/);
  assert.throws(() => new optim.RAdam(p, { weight_decay: 1 } as never), /It is called `weightDecay` here/);
  assert.throws(() => new optim.Adagrad(p, { lrdecay: 1 } as never), /It is called `lrDecay` here/);
});

test("momentum that is switched on later is an error that says so", () => {
  const p = torch.zeros([1], { requiresGrad: true });
  const optimizer = new optim.RMSprop([p]);
  p.grad = torch.ones([1]);
  optimizer.step();
  (optimizer.paramGroups[0] as optim.ParamGroup).momentum = 0.9;
  assert.throws(() => optimizer.step(), /RMSprop has state for a parameter, but no `momentum_buffer` in it/);
});
