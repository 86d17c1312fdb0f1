// Models from `torch.compile` before and after `fabric.setup`.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { DataParallelStrategy, Fabric, isWrapped, Strategy } from "@fabric-ts/fabric";
import * as torch from "@fabric-ts/torch";
import { nn, OptimizedModule, optim, type Tensor } from "@fabric-ts/torch";
import { unwrapCompiled } from "../../dist/wrappers/compiled.js";
import { partsOf } from "../../dist/wrappers/module.js";
import { unwrapObjects } from "../../dist/wrappers/wrap.js";
import { runRanks } from "../support/run-ranks.js";
import { Outer, wrapping } from "../support/wrapping.js";

class Net extends nn.Module<[Tensor], Tensor> {
  layer = new nn.Linear(3, 2);
  forward(x: Tensor) {
    return this.layer(x);
  }
  generate() {
    return this(torch.ones([1, 3]));
  }
}

describe("fabric.setup of a compiled model", () => {
  const fabric = new Fabric({ accelerator: "cpu" });
  const options = { fullgraph: true, dynamic: true };

  it("sets the model inside up, and compiles what the strategy makes of it with the same options", () => {
    const net = new Net();
    const compiled = torch.compile(net, options);
    const [model] = fabric.setup(compiled, new optim.SGD(compiled.parameters(), { lr: 0.1 }));
    const { forwardModule, original } = partsOf(model);
    assert.equal(original, net);
    assert.equal(model.module, net);
    assert.ok(forwardModule instanceof OptimizedModule);
    assert.notEqual(forwardModule, compiled as nn.AnyModule);
    assert.equal(forwardModule._orig_mod, net);
    assert.deepEqual(forwardModule.compileOptions, options);
    assert.equal(model.layer.weight, net.layer.weight);
    assert.deepEqual(model(torch.ones([1, 3])).tolist(), net(torch.ones([1, 3])).tolist());
    assert.deepEqual(model.generate().tolist(), net.generate().tolist());
    assert.deepEqual(Object.keys(model.stateDict()), ["layer.weight", "layer.bias"]);
  });

  it("puts the strategy's module between the compiled one and the model", () => {
    const net = new Net();
    const { forwardModule, original } = partsOf(wrapping().setup(torch.compile(net, options)));
    assert.ok(forwardModule instanceof OptimizedModule && original === net);
    assert.ok(forwardModule._orig_mod instanceof Outer && forwardModule._orig_mod.inner === net);
    assert.deepEqual(forwardModule.compileOptions, options);
  });

  it("is called by its own name in errors, also with reapplyCompile: false", () => {
    const model = wrapping().setup(torch.compile(new Net()), { reapplyCompile: false });
    assert.throws(() => model.generate(), /You are calling the method `Net\.generate\(\)`/);
    assert.throws(() => model.markForwardMethod("missing" as never), /`Net\.missing` does not exist/);
    model.markForwardMethod(model.generate);
    assert.deepEqual(model.generate().shape, [1, 2]);
  });

  it("does the same in setupModule", () => {
    const net = new Net();
    const model = fabric.setupModule(torch.compile(net, options));
    assert.equal(partsOf(model).original, net);
    assert.ok(partsOf(model).forwardModule instanceof OptimizedModule);
  });

  it("leaves it as it is with reapplyCompile: false", () => {
    const compiled = torch.compile(new Net());
    for (const model of [
      fabric.setup(compiled, { reapplyCompile: false }),
      fabric.setupModule(compiled, { reapplyCompile: false }),
    ]) {
      assert.equal(partsOf(model).forwardModule, compiled);
      assert.equal(partsOf(model).original, compiled);
    }
  });
});

describe("compile of what fabric.setup returned", () => {
  let folder: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "fabric-compiled-"));
  });
  after(() => rmSync(folder, { recursive: true }));

  it("counts as wrapped, trains, and cannot be set up again", () => {
    const fabric = new Fabric({ accelerator: "cpu" });
    const net = new Net();
    const model = torch.compile(fabric.setup(net));
    assert.equal(isWrapped(model), true);
    assert.equal(isWrapped(torch.compile(new Net())), false);
    assert.equal(model.layer.weight, net.layer.weight);
    assert.equal(
      fabric.noBackwardSync(model, () => 3),
      3,
    );
    fabric.backward(model(torch.ones([1, 3])).sum());
    assert.ok(net.layer.weight.grad);
    assert.throws(() => fabric.setup(model), /should be passed only once to the `setup` method/);
    assert.throws(() => fabric.noBackwardSync(torch.compile(new Net()) as never, () => 3), /need to set up the model/);
  });

  it("has the methods of what is inside, the very same, so that they can be marked", () => {
    for (const fabric of [new Fabric({ accelerator: "cpu" }), wrapping()]) {
      const inside = fabric.setup(new Net());
      const model = torch.compile(inside);
      assert.equal(model.generate, inside.generate);
      if (partsOf(inside).forwardModule !== inside.module) assert.throws(() => model.generate(), /`Net\.generate\(\)`/);
      model.markForwardMethod(model.generate);
      assert.deepEqual(model.generate().shape, [1, 2]);
      model.markForwardMethod("generate");
    }
  });

  it("is saved and loaded like the model itself, and stays in the state", async () => {
    const fabric = new Fabric({ accelerator: "cpu" });
    const path = join(folder, "model.pt");
    const saved = new Net();
    await fabric.save(path, {
      a: torch.compile(fabric.setup(saved)),
      b: fabric.setup(torch.compile(saved)),
      c: torch.compile(saved),
    });
    const { a, b, c } = (await fabric.load(path)) as Record<string, object>;
    for (const dict of [a, b, c]) assert.deepEqual(Object.keys(dict ?? {}), ["layer.weight", "layer.bias"]);
    const [first, second] = [new Net(), new Net()];
    const state = { a: torch.compile(fabric.setup(first)), c: torch.compile(second) };
    const before = { ...state };
    await fabric.load(path, state);
    assert.equal(state.a, before.a);
    assert.equal(state.c, before.c);
    for (const net of [first, second]) assert.ok(net.layer.weight.equal(saved.layer.weight));
  });

  it("is taken off with the rest, outside and inside of what was set up", () => {
    const fabric = new Fabric({ accelerator: "cpu" });
    const net = new Net();
    const [outside, inside] = [torch.compile(fabric.setup(net)), fabric.setup(torch.compile(net))];
    assert.deepEqual(
      unwrapObjects([outside, inside, torch.compile(net), 3]).map((value) => value === net),
      [true, true, true, false],
    );
    const options = { fullgraph: true };
    const unwrapped = unwrapCompiled(torch.compile(net, options));
    assert.ok(unwrapped.module === net);
    assert.deepEqual(unwrapped.options, options);
    assert.deepEqual(unwrapCompiled(net), { module: net, options: null });
  });

  it("the strategy gets models without it", () => {
    const fabric = new Fabric({ accelerator: "cpu" });
    assert.ok(fabric.strategy instanceof Strategy);
    const model = torch.compile(fabric.setup(new Net()));
    const optimizer = fabric.setupOptimizers(new optim.SGD(model.parameters(), { lr: 0.1 }));
    fabric.backward(model(torch.ones([1, 3])).sum());
    assert.ok(fabric.clipGradients(model, optimizer, { maxNorm: 0.1 }).item() > 0);
  });

  it("and so do backward, clipping and noBackwardSync, wherever the model was compiled", () => {
    const seen: unknown[] = [];
    class Noting extends DataParallelStrategy {
      override readonly backwardSyncControl = {
        noBackwardSync: (module: nn.AnyModule, enabled: boolean): Disposable => {
          seen.push(["noBackwardSync", module, enabled]);
          return { [Symbol.dispose]: () => {} };
        },
      };
      override backward(...args: Parameters<Strategy["backward"]>): void {
        seen.push(["backward", args[1]]);
        super.backward(...args);
      }
      override clipGradientsValue(...args: Parameters<Strategy["clipGradientsValue"]>): void {
        seen.push(["clip", args[0]]);
      }
    }
    const fabric = new Fabric({ strategy: new Noting({ parallelDevices: ["cpu"] }) });
    const optimizer = new optim.SGD(new Net().parameters(), { lr: 0.1 });
    const inner = fabric.setup(torch.compile(new Net()));
    const wrapped = fabric.setup(new Net());
    for (const [model, called] of [
      [inner, (partsOf(inner).forwardModule as OptimizedModule)._orig_mod],
      [torch.compile(wrapped), wrapped._forwardModule],
    ] as const) {
      assert.ok(called instanceof nn.parallel.DataParallel);
      fabric.noBackwardSync(model, () => fabric.backward(model(torch.ones([1, 3])).sum(), { model }));
      fabric.noBackwardSync(model, () => {}, { enabled: false });
      fabric.clipGradients(model, optimizer, { clipVal: 1 });
      const given = seen.splice(0) as [string, unknown, boolean?][];
      assert.deepEqual(
        given.map(([call, module, enabled]) => [call, module === called, enabled]),
        [
          ["noBackwardSync", true, true],
          ["backward", true, undefined],
          ["noBackwardSync", true, false],
          ["clip", true, undefined],
        ],
      );
    }
  });
});

it("under DDP the strategy's module is inside the compiled one, and everything works as without", async () => {
  const ranks = await runRanks<{ plain: number[]; compiled: number[]; guarded: string; keys: string[] }>("compiled");
  assert.equal(ranks.length, 2);
  for (const { plain, compiled, guarded, keys } of ranks) {
    assert.deepEqual(compiled, plain);
    assert.deepEqual(compiled, ranks[0]?.compiled);
    assert.match(guarded, /Net.generate\(\).*markForwardMethod/s);
    assert.deepEqual(keys, ["layer.weight", "layer.bias"]);
  }
});
