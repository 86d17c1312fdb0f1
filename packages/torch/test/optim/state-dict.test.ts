// State dictionaries: PyTorch's layout, and training that goes on as if it had not stopped.
import assert from "node:assert/strict";
import { test } from "node:test";
import * as torch from "@fabric-ts/torch";
import { optim, type Tensor } from "@fabric-ts/torch";

function params(): Tensor[] {
  return [
    torch.tensor([1, 2, 3], { dtype: "float32", requiresGrad: true }),
    torch.tensor([[-1]], { dtype: "float32", requiresGrad: true }),
  ];
}

function train(optimizer: optim.Optimizer, from: number, to: number): void {
  for (let step = from; step < to; step++) {
    for (const group of optimizer.paramGroups) {
      for (const p of group.params) p.grad = p.detach().mul(0.3).add(step);
    }
    optimizer.step();
  }
}

test("SGD's state dictionary has PyTorch's names, order and positions", () => {
  const optimizer = new optim.SGD(params(), { lr: 0.1, momentum: 0.9 });
  assert.deepEqual([...optimizer.stateDict().state], []);
  train(optimizer, 0, 1);
  const { state, param_groups } = optimizer.stateDict();
  assert.deepEqual(
    [...state].map(([key, record]) => [key, Object.keys(record)]),
    [
      [0, ["momentum_buffer"]],
      [1, ["momentum_buffer"]],
    ],
  );
  assert.deepEqual(Object.entries(param_groups[0] as object), [
    ["lr", 0.1],
    ["momentum", 0.9],
    ["dampening", 0],
    ["weight_decay", 0],
    ["nesterov", false],
    ["maximize", false],
    ["foreach", null],
    ["differentiable", false],
    ["params", [0, 1]],
  ]);
});

test("Adam's state dictionary has PyTorch's names, and steps as float32 tensors", () => {
  const [p, q] = params() as [Tensor, Tensor];
  const optimizer = new optim.Adam([{ params: [p] }, { params: [q], amsgrad: true, name: "head" }]);
  train(optimizer, 0, 3);
  const { state, param_groups } = optimizer.stateDict();
  assert.deepEqual(Object.keys(state.get(0) ?? {}), ["step", "exp_avg", "exp_avg_sq"]);
  assert.deepEqual(Object.keys(state.get(1) ?? {}), ["step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq"]);
  const step = state.get(0)?.step as Tensor;
  assert.deepEqual([step.dtype, step.shape, step.item()], ["float32", [], 3]);
  const [first, second] = param_groups;
  assert.deepEqual(
    [first?.params, second?.params, second?.name, Array.from(first?.betas as number[])],
    [[0], [1], "head", [0.9, 0.999]],
  );
});

test("whole numbers that are floats in Python are saved as floats, and stay numbers here", async () => {
  const [p] = params() as [Tensor];
  const adam = new optim.Adam([{ params: [p], steps: 3 }], { lr: 1, betas: [0, 0.999], weightDecay: 0 });
  const saved = adam.stateDict();
  assert.deepEqual([saved.param_groups[0]?.lr, Array.from(saved.param_groups[0]?.betas as number[])], [1, [0, 0.999]]);
  const bytes = Buffer.from(torch.serialization.serialize(saved)).toString("latin1");
  const float = (value: number): string => {
    const binary = Buffer.alloc(9, "G");
    binary.writeDoubleBE(value, 1);
    return binary.toString("latin1");
  };
  const entry = (key: string, value: string): RegExp => {
    const escaped = value.replace(/[^\w]/g, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, "0")}`);
    // A key is followed by its number in the memo.
    return new RegExp(`${key}q[^]${escaped}`);
  };
  assert.match(bytes, entry("lr", float(1)));
  assert.match(bytes, entry("betas", float(0) + float(0.999)));
  assert.match(bytes, entry("weight_decay", float(0)));
  assert.match(bytes, entry("steps", "K\x03"));
  const loaded = torch.serialization.deserialize(Buffer.from(bytes, "latin1")) as optim.OptimizerStateDict;
  const again = new optim.Adam([p]);
  again.loadStateDict(loaded);
  assert.deepEqual([again.paramGroups[0]?.lr, again.paramGroups[0]?.betas], [1, [0, 0.999]]);
});

for (const [name, make] of [
  ["SGD", (p: Tensor[]) => new optim.SGD(p, { lr: 0.1, momentum: 0.9, nesterov: true })],
  ["Adam", (p: Tensor[]) => new optim.Adam(p, { lr: 0.1, amsgrad: true })],
  ["AdamW", (p: Tensor[]) => new optim.AdamW(p, { lr: 0.1 })],
  ["RMSprop", (p: Tensor[]) => new optim.RMSprop(p, { lr: 0.1, momentum: 0.5, centered: true })],
  ["Adagrad", (p: Tensor[]) => new optim.Adagrad(p, { lr: 0.1, lrDecay: 0.1, initialAccumulatorValue: 0.5 })],
  ["Adadelta", (p: Tensor[]) => new optim.Adadelta(p)],
  ["Adamax", (p: Tensor[]) => new optim.Adamax(p, { lr: 0.1 })],
  ["NAdam", (p: Tensor[]) => new optim.NAdam(p, { lr: 0.1, decoupledWeightDecay: true, weightDecay: 0.1 })],
  ["RAdam", (p: Tensor[]) => new optim.RAdam(p, { lr: 0.1, maximize: true })],
] as const) {
  test(`${name} resumed from its state dictionary has the bits of an uninterrupted run`, () => {
    const whole = params();
    const uninterrupted = make(whole);
    train(uninterrupted, 0, 8);

    const start = params();
    const first = make(start);
    train(first, 0, 4);
    const saved = first.stateDict();
    const copies = start.map((p) => {
      const copy = p.detach().clone();
      copy.requiresGrad = true;
      return copy;
    });
    const second = make(copies);
    second.loadStateDict(saved);
    train(first, 4, 6); // must not touch what was loaded
    train(second, 4, 8);
    assert.deepEqual(
      copies.map((p) => p.tolist()),
      whole.map((p) => p.tolist()),
    );
  });
}

test("loading overwrites options and keeps the group objects", () => {
  const optimizer = new optim.SGD(params(), { lr: 0.1 });
  const group = optimizer.paramGroups[0];
  const saved = new optim.SGD(params(), { lr: 0.5, momentum: 0.8, weightDecay: 0.1 }).stateDict();
  optimizer.loadStateDict(saved);
  assert.equal(optimizer.paramGroups[0], group);
  assert.deepEqual([group?.lr, group?.momentum, group?.weightDecay], [0.5, 0.8, 0.1]);
});

test("dictionaries of other PyTorch versions load", () => {
  const [p] = params() as [Tensor];
  const moments = { exp_avg: torch.ones([3]), exp_avg_sq: torch.ones([3]) };
  const options = { lr: torch.tensor(0.25), betas: [0.8, 0.9], eps: 1e-8, weight_decay: 0, amsgrad: false };
  // Before 1.12 `step` was an integer; from 2.0 on groups have more entries.
  for (const step of [7, torch.tensor(7, { dtype: "float32" })]) {
    const optimizer = new optim.Adam([p]);
    optimizer.loadStateDict({
      state: { 0: { step, ...moments } },
      param_groups: [{ ...options, decoupled_weight_decay: false, fused: true, params: [0] }],
    });
    assert.equal(optimizer.state.get(p)?.step, 7);
    assert.deepEqual(optimizer.paramGroups[0]?.betas, [0.8, 0.9]);
    assert.equal(optimizer.paramGroups[0]?.lr, 0.25);
    assert.equal(optimizer.stateDict().param_groups[0]?.decoupled_weight_decay, false);
    train(optimizer, 0, 1);
  }
  const sgd = new optim.SGD([p], { lr: 1 });
  sgd.loadStateDict({
    state: new Map([[0, { momentum_buffer: null }]]),
    param_groups: [{ lr: 0.1, momentum: 0.9, dampening: 0, weight_decay: 0, nesterov: false, params: [0] }],
  });
  train(sgd, 0, 2);
});

test("loaded moments take their parameter's dtype, steps do not", () => {
  const half = torch.zeros([3], { dtype: "bfloat16", requiresGrad: true });
  const optimizer = new optim.Adam([half]);
  const source = new optim.Adam([params()[0] as Tensor]);
  train(source, 0, 2);
  optimizer.loadStateDict(source.stateDict());
  assert.equal((optimizer.state.get(half) as { exp_avg: Tensor }).exp_avg.dtype, "bfloat16");
  assert.equal((optimizer.stateDict().state.get(0) as { step: Tensor }).step.dtype, "float32");
});

test("a state dictionary that does not fit is refused and changes nothing", () => {
  const optimizer = new optim.SGD(params(), { lr: 0.1 });
  const [p, q] = params() as [Tensor, Tensor];
  const twoGroups = new optim.SGD([{ params: [p] }, { params: [q] }], { lr: 1 }).stateDict();
  const onlyOne = new optim.SGD([p], { lr: 1 }).stateDict();
  assert.throws(() => optimizer.loadStateDict(twoGroups), /has 2 parameter groups, but the optimizer has 1/);
  assert.throws(
    () => optimizer.loadStateDict(onlyOne),
    /Group 0 of the loaded state has 1 parameters, but the optimizer's has 2/,
  );
  assert.throws(() => optimizer.loadStateDict({} as never), TypeError);
  const otherShapes = new optim.SGD([q, p], { lr: 1, momentum: 0.9 });
  train(otherShapes, 0, 1);
  assert.throws(() => optimizer.loadStateDict(otherShapes.stateDict()), {
    name: "ConfigurationError",
    message: /`momentum_buffer` of parameter 0 has the shape \[1, 1\] in the loaded state, but the parameter has \[3\]/,
  });
  const badOption = new optim.SGD(params(), { lr: 1 }).stateDict();
  (badOption.param_groups[0] as { lr: unknown }).lr = "fast";
  assert.throws(() => optimizer.loadStateDict(badOption), /Expected `lr` to be a number, but got "fast"/);
  assert.equal(optimizer.paramGroups[0]?.lr, 0.1);
});

test("the state of another optimizer is refused with what it has and what is needed", () => {
  const sgd = new optim.SGD(params(), { lr: 0.1, momentum: 0.9 });
  const adam = new optim.Adam(params(), { lr: 0.2 });
  train(sgd, 0, 1);
  train(adam, 0, 1);
  assert.throws(() => adam.loadStateDict(sgd.stateDict()), {
    name: "ConfigurationError",
    message:
      "Group 0 of the loaded state has no `betas`, `eps`, `amsgrad`, which are options of Adam, but `momentum`, `dampening`, `nesterov`.\n" +
      "Load a state that was saved by Adam.",
  });
  assert.throws(
    () => sgd.loadStateDict(adam.stateDict()),
    /has no `momentum`, `dampening`, `nesterov`, which are options of SGD, but `betas`, `eps`, `amsgrad`\./,
  );
  const mixed = { state: sgd.stateDict().state, param_groups: adam.stateDict().param_groups };
  assert.throws(
    () => adam.loadStateDict(mixed),
    /state of parameter 0 has `momentum_buffer`, but Adam needs `step`, `exp_avg`, `exp_avg_sq`\./,
  );
  const amsgrad = structuredClone(adam.stateDict().param_groups) as { amsgrad: boolean }[];
  (amsgrad[0] as { amsgrad: boolean }).amsgrad = true;
  const switched = { state: adam.stateDict().state, param_groups: amsgrad as never };
  assert.throws(() => adam.loadStateDict(switched), /but Adam needs .*`max_exp_avg_sq`/);
  assert.deepEqual([sgd.paramGroups[0]?.lr, adam.paramGroups[0]?.lr, adam.paramGroups[0]?.amsgrad], [0.1, 0.2, false]);
  train(sgd, 1, 2);
  train(adam, 1, 2);
});

test("newer PyTorch's mark tells Adam's state from AdamW's", () => {
  const adam = new optim.Adam(params());
  const saved = adam.stateDict();
  (saved.param_groups[0] as Record<string, unknown>).decoupled_weight_decay = true;
  assert.throws(() => adam.loadStateDict(saved), /saved by AdamW, but this is Adam\.\nLoad it into `new optim\.AdamW/);
  new optim.AdamW(params()).loadStateDict(saved);
});
