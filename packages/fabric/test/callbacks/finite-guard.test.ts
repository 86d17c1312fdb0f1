// FiniteGuard on one process; that two find a bad gradient in the same step is in decisions.test.ts.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  catchWarnings,
  Fabric,
  FabricError,
  FiniteGuard,
  GradScaler,
  MixedPrecision,
  NonFiniteError,
} from "@fabric-ts/fabric";
import * as torch from "@fabric-ts/torch";
import { nn, optim, type Tensor } from "@fabric-ts/torch";

class Net extends nn.Module<[Tensor], Tensor> {
  first = new nn.Linear(2, 3);
  second = new nn.Linear(3, 1);
  forward(x: Tensor): Tensor {
    return this.second(this.first(x));
  }
}

const good = torch.ones([4, 2]);
const bad = torch.tensor([[Number.NaN, 1]]);

function start(guard: FiniteGuard) {
  const fabric = new Fabric({ accelerator: "cpu", callbacks: [guard] });
  const net = new Net();
  const [model, optimizer] = fabric.setup(net, new optim.Adam(net.parameters(), { lr: 0.1 }));
  const weights = (): unknown => net.parameters().map((parameter) => parameter.tolist());
  const step = async (x: Tensor, number?: number): Promise<void> => {
    const loss = model(x).sum();
    fabric.backward(loss);
    await fabric.call("onBeforeOptimizerStep", { model, optimizer, loss, step: number });
    optimizer.step();
  };
  return { fabric, net, model, optimizer, weights, step };
}

describe("FiniteGuard", () => {
  it("throws by default, naming the first bad parameter, the step and the loss, before the weights change", async () => {
    const { optimizer, weights, step } = start(new FiniteGuard());
    await step(good);
    const before = weights();
    await assert.rejects(step(bad, 12), (error: unknown) => {
      assert.ok(error instanceof NonFiniteError && error instanceof FabricError);
      assert.equal(error.code, "ERR_NON_FINITE");
      assert.match(
        error.message,
        /^The gradient of `first.weight` has NaN elements after step 12, with a loss of NaN; 2 of 4 parameters are affected.\nLook for/,
      );
      return true;
    });
    assert.deepEqual(weights(), before);
    optimizer.zeroGrad();
    await step(torch.tensor([[1e38, 1e38]]).mul(10), 1).then(
      () => assert.fail("infinity was not found"),
      (error: Error) => assert.match(error.message, /The gradient of `first.weight` has infinite elements/),
    );
  });

  it("skips the step: the optimizer changes nothing, not even its state, and training goes on", async () => {
    const guard = new FiniteGuard({ action: "skip" });
    const { weights, optimizer, step, net } = start(guard);
    await step(good);
    const before = weights();
    const state = JSON.stringify(optimizer.stateDict().param_groups);
    const moments = (): unknown => [...optimizer.state.values()].map(({ step: made }) => made);
    const steps = moments();
    const caught = await catchWarnings(() => step(bad, 1));
    assert.deepEqual(
      [weights(), moments(), JSON.stringify(optimizer.stateDict().param_groups)],
      [before, steps, state],
    );
    assert.equal(net.first.weight.grad, null);
    assert.match(caught[0]?.message ?? "", /has NaN elements after step 1.* The step is left out \(number 1 so far\)/);
    await step(good);
    assert.notDeepEqual(weights(), before);
    assert.deepEqual([guard.skipped, guard.shouldStop], [1, false]);
  });

  it("stops: no step, and shouldStop says so", async () => {
    const guard = new FiniteGuard({ action: "stop" });
    const { weights, step } = start(guard);
    await step(good);
    assert.equal(guard.shouldStop, false);
    const before = weights();
    await step(bad);
    assert.deepEqual([weights(), guard.shouldStop, guard.skipped], [before, true, 1]);
    assert.match(guard.reason ?? "", /^The gradient of `first.weight` has NaN elements with a loss of NaN; 2 of 4/);
  });

  it("looks at the optimizer's parameters only, or at all of the model", () => {
    const net = new Net();
    net(bad).sum().backward();
    const guard = new FiniteGuard();
    const second = new optim.SGD([net.second.bias as nn.Parameter], { lr: 1 });
    assert.equal(guard.check(net, { optimizer: second }), true);
    assert.throws(() => guard.check(net), NonFiniteError);
    const foreign = new nn.Parameter(torch.ones([1]));
    foreign.mul(Number.NaN).sum().backward();
    assert.throws(
      () => guard.check(net, { optimizer: new optim.SGD([foreign], { lr: 1 }) }),
      /a parameter that is not the model's/,
    );
  });

  it("is not fooled by large gradients, sparse ones, missing ones, or many dtypes", () => {
    const guard = new FiniteGuard();
    const net = new nn.Linear(2, 1);
    assert.equal(guard.check(net), true);
    net.weight.grad = torch.full([1, 2], 3e38);
    assert.equal(guard.check(net), true);
    const table = new nn.Embedding(4, 2, { sparse: true });
    table(torch.tensor([1, 1]))
      .sum()
      .backward();
    assert.equal(guard.check(table), true);
    table.weight.grad = null;
    table(torch.tensor([1]))
      .mul(Number.NaN)
      .sum()
      .backward();
    assert.throws(() => guard.check(table), /The gradient of `weight` has NaN elements\./);
    const half = new nn.Linear(2, 1).to("bfloat16");
    const mixed = new nn.Sequential(new nn.Linear(2, 1).to("float64"), half as unknown as nn.Linear);
    for (const parameter of mixed.parameters()) parameter.grad = torch.onesLike(parameter);
    assert.equal(guard.check(mixed), true);
  });

  it("leaves infinite gradients to the loss scaler", async () => {
    const guard = new FiniteGuard();
    const precision = new MixedPrecision("16-mixed", "cpu", new GradScaler("cpu"));
    const fabric = new Fabric({ accelerator: "cpu", plugins: [precision], callbacks: [guard] });
    const net = new nn.Linear(2, 1);
    const model = fabric.setup(net);
    net.weight.grad = torch.full([1, 2], Number.POSITIVE_INFINITY);
    await fabric.call("onBeforeOptimizerStep", { model });
    assert.equal(guard.reason, null);
  });

  it("refuses other actions, and hooks without the model", async () => {
    assert.throws(
      () => new FiniteGuard({ action: "warn" as never }),
      /`action` of FiniteGuard is "warn".\nChoose "error"/,
    );
    const { fabric } = start(new FiniteGuard());
    await assert.rejects(
      async () => fabric.call("onBeforeOptimizerStep", {}),
      /to be given the `model`, but got undefined.\nType/,
    );
  });
});
