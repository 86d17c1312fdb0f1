// A wrapped optimizer behaves like the one inside.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Fabric, FabricOptimizer, Precision, SingleDeviceStrategy } from "@fabric-ts/fabric";
import * as torch from "@fabric-ts/torch";
import { nn, optim } from "@fabric-ts/torch";

const fabric = new Fabric({ accelerator: "cpu" });
const make = () => {
  const raw = new nn.Linear(2, 1);
  const inner = new optim.SGD(raw.parameters(), { lr: 0.1, momentum: 0.9 });
  const [model, optimizer] = fabric.setup(raw, inner);
  return { raw, inner, model, optimizer };
};

describe("a wrapped optimizer", () => {
  it("is a FabricOptimizer and an SGD, called FabricSGD", () => {
    const { inner, optimizer } = make();
    assert.ok(optimizer instanceof FabricOptimizer);
    assert.ok((optimizer as unknown) instanceof optim.SGD);
    assert.ok((optimizer as unknown) instanceof optim.Optimizer);
    assert.equal(optimizer.constructor.name, "FabricSGD");
    assert.ok(optimizer.optimizer === inner);
    assert.equal((inner as unknown) instanceof FabricOptimizer, false);
  });

  it("shows the inner optimizer's groups and state, live, and writes to them", () => {
    const { inner, model, optimizer } = make();
    assert.ok(optimizer.paramGroups === inner.paramGroups);
    model(torch.ones([2]))
      .sum()
      .backward();
    optimizer.step();
    assert.equal(optimizer.state.size, 2);
    assert.ok(optimizer.state === inner.state);
    const groups = [...inner.paramGroups];
    optimizer.paramGroups = groups;
    assert.ok(inner.paramGroups === groups);
  });

  it("has what the inner optimizer has of its own, also what it gets later", () => {
    class Own extends optim.SGD {
      note = "first";
      #secret = 3;
      secret(): number {
        return this.#secret;
      }
    }
    const inner = new Own([new nn.Parameter(torch.ones([1]))], { lr: 0.1 });
    const optimizer = fabric.setupOptimizers(inner);
    assert.deepEqual([optimizer.note, optimizer.secret(), optimizer.constructor.name], ["first", 3, "FabricOwn"]);
    assert.ok(optimizer.defaults === inner.defaults);
    inner.note = "second";
    Object.assign(inner, { added: 4 });
    assert.deepEqual([optimizer.note, (optimizer as unknown as { added: number }).added], ["second", 4]);
    optimizer.note = "third";
    assert.equal(inner.note, "third");
  });

  it("shows the state that was loaded into it, live", () => {
    const { model, optimizer, inner } = make();
    const saved = optimizer.stateDict();
    fabric.backward(model(torch.ones([2])).sum());
    optimizer.step();
    assert.equal(optimizer.state.size, 2);
    optimizer.loadStateDict(saved);
    assert.ok(optimizer.state === inner.state);
    assert.equal(optimizer.state.size, 0);
  });

  it("steps, returns what the closure returned, and zeroes gradients", () => {
    const { raw, model, optimizer } = make();
    const before = raw.weight.tolist();
    assert.equal(
      optimizer
        .step(() => {
          optimizer.zeroGrad();
          const loss = model(torch.ones([2])).sum();
          fabric.backward(loss);
          return loss.item();
        })
        .toFixed(4),
      model(torch.ones([2]))
        .sum()
        .add(0.1 * 3)
        .item()
        .toFixed(4),
    );
    assert.notDeepEqual(raw.weight.tolist(), before);
    optimizer.zeroGrad();
    assert.equal(raw.weight.grad, null);
  });

  it("saves and loads the state of the one inside", () => {
    const { inner, optimizer } = make();
    assert.deepEqual(optimizer.stateDict(), inner.stateDict());
    (inner.paramGroups[0] as optim.ParamGroup).lr = 0.5;
    const other = make().optimizer;
    other.loadStateDict(optimizer.stateDict());
    assert.equal(other.paramGroups[0]?.lr, 0.5);
    assert.ok(other.state === other.optimizer.state, "of the state that was loaded");
  });

  it("adds groups through the private parts of the one inside", () => {
    const { inner, optimizer } = make();
    optimizer.addParamGroup({ params: [new nn.Parameter(torch.ones([1]))] });
    assert.equal(inner.paramGroups.length, 2);
  });

  it("tells callbacks after each step, also those that are added later", () => {
    const seen: object[] = [];
    const callbacks = [{ onAfterOptimizerStep: (facts: object) => seen.push(facts) }, { onAfterOptimizerStep: 1 }];
    const mine = new Fabric({ accelerator: "cpu", callbacks });
    const raw = new nn.Linear(2, 1);
    const inner = new optim.SGD(raw.parameters(), { lr: 0.1 });
    const [, optimizer] = mine.setup(raw, inner);
    optimizer.step();
    assert.deepEqual(seen, [{ strategy: mine.strategy, optimizer: inner }]);
    class Late extends nn.Linear {
      _fabric = null;
      heard: unknown[] = [];
      onAfterOptimizerStep(facts: object): void {
        this.heard.push(facts);
      }
    }
    const late = new Late(1, 1);
    mine.setup(late);
    optimizer.step();
    assert.deepEqual([late.heard, seen.length], [[{ strategy: mine.strategy, optimizer: inner }], 2]);
  });

  it("cannot be set up twice", () => {
    const { optimizer } = make();
    assert.throws(
      () => fabric.setup(new nn.Linear(2, 1), optimizer),
      /An optimizer should be passed only once to the `setup` method/,
    );
    assert.throws(
      () => fabric.setupOptimizers(optimizer),
      /An optimizer should be passed only once to the `setupOptimizers` method/,
    );
  });
});

describe("setupOptimizers", () => {
  it("returns one wrapper or a tuple", () => {
    const model = fabric.setupModule(new nn.Linear(2, 1));
    const sgd = new optim.SGD(model.parameters(), { lr: 0.1 });
    const adam = new optim.Adam(model.parameters(), { lr: 0.1 });
    assert.ok(fabric.setupOptimizers(sgd).optimizer === sgd);
    const [, second] = fabric.setupOptimizers(sgd, adam);
    assert.ok(second.optimizer === adam);
    assert.throws(() => (fabric.setupOptimizers as () => unknown)(), /requires at least one optimizer/);
  });
});

describe("setup", () => {
  it("returns the scheduler last, and explains a positional one", () => {
    const raw = new nn.Linear(2, 1);
    const scheduler = { step(): void {} };
    const inner = new optim.SGD(raw.parameters(), { lr: 0.1 });
    const results = fabric.setup(raw, inner, { scheduler });
    assert.equal(results.length, 3);
    assert.ok(results[2] === scheduler);
    class StepLR {
      step(): void {}
    }
    assert.throws(() => fabric.setup(raw, inner, new StepLR() as never), {
      name: "TypeError",
      message: /A scheduler goes by name: `fabric.setup\(model, optimizer, { scheduler }\)`/,
    });
    assert.throws(() => fabric.setup(raw, { scheduler } as never), {
      name: "TypeError",
      message: /scheduler without an optimizer/,
    });
    for (const none of [null, undefined]) {
      assert.ok((fabric.setup(raw, { scheduler: none } as never) as { module: unknown }).module === raw, "none given");
    }
    assert.throws(() => fabric.setup(raw, inner, { move_to_device: true } as never), /Did you mean `moveToDevice`/);
    assert.throws(() => fabric.setup(3 as never), /to be a Module, but got 3/);
  });

  it("clips gradients by norm to exactly half the norm, and by value", () => {
    const raw = new nn.Linear(32, 2, { bias: false });
    torch.noGrad(() => raw.weight.fill_(0.01));
    const [model, optimizer] = fabric.setup(raw, new optim.SGD(raw.parameters(), { lr: 0.1 }));
    const run = (): void => {
      optimizer.zeroGrad();
      fabric.backward(model(torch.full([32], 0.1)).sum());
    };
    run();
    const norm = raw.weight.grad?.norm().item() as number;
    const total = fabric.clipGradients(model, optimizer, { maxNorm: norm / 2 });
    assert.equal(total.item().toFixed(5), norm.toFixed(5));
    assert.equal(raw.weight.grad?.norm().item().toFixed(5), (norm / 2).toFixed(5));
    run();
    assert.equal(fabric.clipGradients(model, optimizer, { clipVal: 0.05 }), undefined);
    assert.equal(raw.weight.grad?.max().item().toFixed(5), "0.05000");
    assert.throws(() => fabric.clipGradients(model, optimizer, {} as never), {
      name: "ConfigurationError",
      message: /You have to specify either `clipVal` or `maxNorm`/,
    });
    assert.throws(() => fabric.clipGradients(model, optimizer, { clipVal: 1, maxNorm: 1 } as never), {
      name: "ConfigurationError",
      message: /Only one of `clipVal` or `maxNorm` can be set/,
    });
    run();
    const largest = fabric.clipGradients(model, optimizer, { maxNorm: 0.05, normType: Number.POSITIVE_INFINITY });
    assert.equal(largest.item().toFixed(5), "0.10000");
    assert.equal(raw.weight.grad?.max().item().toFixed(5), "0.05000");
    assert.throws(() => fabric.clipGradients(model, model as never, { maxNorm: 1 }), {
      name: "TypeError",
      message: /second argument of `clipGradients` to be an Optimizer/,
    });
    raw.weight.grad?.fill_(Number.NaN);
    assert.ok(Number.isNaN(fabric.clipGradients(model, optimizer, { maxNorm: 1, errorIfNonfinite: false }).item()));
    assert.throws(() => fabric.clipGradients(model, optimizer, { maxNorm: 1 }), /is non-finite.* is NaN/);
    raw.weight.grad?.fill_(Number.POSITIVE_INFINITY);
    assert.throws(() => fabric.clipGradients(model, optimizer, { maxNorm: 1 }), /is non-finite.* is Infinity/);
  });

  it("the strategy clips what is inside of the wrappers: the parameters that the precision says the optimizer changes", () => {
    const seen: unknown[][] = [];
    class Noting extends SingleDeviceStrategy {
      override clipGradientsValue(...args: [nn.AnyModule, optim.Optimizer, number]): void {
        seen.push(args);
        super.clipGradientsValue(...args);
      }
      override clipGradientsNorm(...args: Parameters<SingleDeviceStrategy["clipGradientsNorm"]>): torch.Tensor {
        seen.push(args);
        return super.clipGradientsNorm(...args);
      }
    }
    const main = new nn.Parameter(torch.zeros([2]));
    class Master extends Precision {
      override mainParams(): torch.Tensor[] {
        return [main];
      }
    }
    const mine = new Fabric({ accelerator: "cpu", strategy: new Noting(), plugins: new Master() });
    const raw = new nn.Linear(2, 1);
    const inner = new optim.SGD(raw.parameters(), { lr: 0.1 });
    const [model, optimizer] = mine.setup(raw, inner);
    main.grad = torch.tensor([3, 4], { dtype: "float32" });
    raw.weight.grad = torch.tensor([[5, 6]], { dtype: "float32" });
    const norm = mine.clipGradients(model, optimizer, { maxNorm: 1, normType: 1, errorIfNonfinite: false });
    assert.equal(norm.item(), 7);
    mine.clipGradients(model, optimizer, { clipVal: 0.5 });
    assert.ok(main.grad?.allclose(torch.tensor([3 / 7, 0.5])));
    assert.deepEqual(raw.weight.grad.tolist(), [[5, 6]]);
    for (const [module, optimizerInside] of seen) assert.ok(module === raw && optimizerInside === inner);
    assert.deepEqual(
      seen.map(([, , ...rest]) => rest),
      [[1, { normType: 1, errorIfNonfinite: false }], [0.5]],
    );
  });
});
