// What each precision does to inputs, weights, outputs, gradients and new tensors.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  DoublePrecision,
  Fabric,
  GradScaler,
  HalfPrecision,
  MixedPrecision,
  Precision,
  type PrecisionName,
} from "@fabric-ts/fabric";
import * as torch from "@fabric-ts/torch";
import { type Dtype, nn, optim, type Tensor } from "@fabric-ts/torch";

const cases: { precision: PrecisionName; seen: Dtype; weight: Dtype; inner: Dtype; created: Dtype }[] = [
  { precision: "32-true", seen: "float32", weight: "float32", inner: "float32", created: "float32" },
  { precision: "64-true", seen: "float64", weight: "float64", inner: "float64", created: "float64" },
  { precision: "bf16-true", seen: "bfloat16", weight: "bfloat16", inner: "bfloat16", created: "bfloat16" },
  { precision: "bf16-mixed", seen: "bfloat16", weight: "float32", inner: "bfloat16", created: "float32" },
];

class Spy extends nn.Module<[Tensor, { ids: Tensor; flags: Tensor }], Tensor[]> {
  layer = new nn.Linear(4, 2);
  seen: Dtype[] = [];
  inner: Dtype = "float32";
  created: Dtype = "float32";
  forward(x: Tensor, more: { ids: Tensor; flags: Tensor }): Tensor[] {
    this.seen = [x.dtype, more.ids.dtype, more.flags.dtype];
    this.created = torch.zeros([1]).dtype;
    const y = this.layer(x);
    this.inner = y.dtype;
    return [y, more.ids, more.flags];
  }
}

for (const { precision, seen, weight, inner, created } of cases) {
  it(`${precision}: the model sees ${seen}, has ${weight} weights, and returns float32`, () => {
    const fabric = new Fabric({ accelerator: "cpu", precision });
    const model = fabric.setup(new Spy());
    const ids = torch.ones([3], { dtype: "int64" });
    const flags = torch.ones([3], { dtype: "bool" });
    const inputs: Dtype[] = precision === "32-true" ? ["float32"] : ["float32", "float64"];
    for (const given of inputs) {
      const [y, ...rest] = model(torch.ones([3, 4], { dtype: given }), { ids, flags });
      assert.deepEqual(model.module.seen, [seen, "int64", "bool"]);
      assert.equal(model.module.inner, inner);
      assert.equal(model.module.created, created);
      assert.equal(y?.dtype, "float32");
      assert.deepEqual(
        rest.map((tensor) => tensor.dtype),
        ["int64", "bool"],
      );
      fabric.backward((y as Tensor).sum());
      assert.equal(model.layer.weight.grad?.dtype, weight);
    }
    assert.equal(model.layer.weight.dtype, weight);
    assert.equal(torch.getDefaultDtype(), "float32");
  });
}

describe("contexts", () => {
  it("restore the default dtype when something is thrown inside", () => {
    for (const precision of [new HalfPrecision("bf16-true"), new HalfPrecision("16-true"), new DoublePrecision()]) {
      for (const enter of ["forwardContext", "tensorInitContext", "moduleInitContext"] as const) {
        assert.throws(() => {
          using _ = precision[enter]();
          assert.notEqual(torch.getDefaultDtype(), "float32");
          throw new Error("inside");
        }, /inside/);
        assert.equal(torch.getDefaultDtype(), "float32");
      }
    }
  });

  it("are left when the model throws", () => {
    class Throws extends nn.Module<[Tensor], Tensor> {
      forward(_x: Tensor): Tensor {
        throw new Error("model");
      }
    }
    for (const precision of ["bf16-true", "bf16-mixed"] as const) {
      const model = new Fabric({ accelerator: "cpu", precision }).setup(new Throws());
      assert.throws(() => model(torch.ones([1])), /^Error: model$/);
      assert.equal(torch.getDefaultDtype(), "float32");
      assert.equal(torch.isAutocastEnabled("cpu"), false);
    }
  });

  it("initTensor and initModule make tensors in the precision's dtype", () => {
    const fabric = new Fabric({ accelerator: "cpu", precision: "bf16-true" });
    assert.equal(fabric.initTensor(() => torch.rand([2])).dtype, "bfloat16");
    assert.equal(fabric.initTensor(() => torch.tensor([1, 2])).dtype, "int64");
    assert.equal(fabric.initTensor(() => torch.rand([2], { dtype: "float64" })).dtype, "float64");
    assert.equal(fabric.initModule(() => new nn.Linear(2, 2)).weight.dtype, "bfloat16");
    assert.equal(
      new Fabric({ accelerator: "cpu", precision: "64-true" }).initModule(() => new nn.Linear(2, 2)).weight.dtype,
      "float64",
    );
    assert.equal(torch.getDefaultDtype(), "float32");
  });

  it("initModule with emptyInit does not initialize", () => {
    const fabric = new Fabric({ accelerator: "cpu" });
    const ran = fabric.initModule({ emptyInit: true }, () => nn.init.ones_(torch.zeros([2])).tolist());
    assert.deepEqual(ran, [0, 0]);
    assert.deepEqual(
      fabric.initModule(() => nn.init.ones_(torch.zeros([2])).tolist()),
      [1, 1],
    );
  });

  it("autocast works outside of a model, as a block and with a callback", () => {
    const fabric = new Fabric({ accelerator: "cpu", precision: "bf16-mixed" });
    const a = torch.ones([2, 2]);
    assert.equal(fabric.autocast(() => a.matmul(a)).dtype, "bfloat16");
    {
      using _ = fabric.autocast();
      assert.equal(a.matmul(a).dtype, "bfloat16");
    }
    assert.equal(a.matmul(a).dtype, "float32");
    assert.throws(() => fabric.autocast(async () => a), /returned a promise/);
  });

  it("autocast sets the default dtype where the precision does", () => {
    for (const [precision, dtype] of [
      ["32-true", "float32"],
      ["64-true", "float64"],
      ["16-true", "float16"],
      ["bf16-true", "bfloat16"],
    ] as const) {
      const fabric = new Fabric({ accelerator: "cpu", precision });
      assert.equal(fabric.autocast(() => torch.ones([1])).dtype, dtype);
    }
    assert.equal(torch.ones([1]).dtype, "float32");
  });
});

describe("MixedPrecision", () => {
  it("refuses other names, and a scaler for bfloat16", () => {
    assert.throws(() => new MixedPrecision("32-true" as never, "cpu"), /Precision must be '16-mixed' or 'bf16-mixed'/);
    assert.throws(() => new MixedPrecision("bf16-mixed", "cpu", new GradScaler("cpu")), /does not use a scaler/);
  });
  it("scales only float16", () => {
    for (const device of ["cpu", "cuda"] as const) {
      const { scaler } = new MixedPrecision("16-mixed", device);
      assert.ok(scaler instanceof GradScaler);
      assert.equal(scaler.device, device);
    }
    assert.equal(new MixedPrecision("bf16-mixed", "cpu").scaler, null);
    assert.deepEqual(new MixedPrecision("bf16-mixed", "cpu").stateDict(), {});
  });
  it("skips a step whose gradients overflow, and halves the scale", () => {
    const weight = new nn.Parameter(torch.tensor([1.0, 2.5]));
    const optimizer = new optim.SGD([weight], { lr: 1 });
    const precision = new MixedPrecision("16-mixed", "cpu", new GradScaler("cpu", { initScale: 8, growthInterval: 2 }));
    const step = (factor: number): unknown => {
      optimizer.zeroGrad();
      precision.backward(weight.mul(factor).sum(), null);
      return precision.optimizerStep(optimizer);
    };
    assert.equal(step(Number.POSITIVE_INFINITY), null);
    assert.deepEqual(weight.tolist(), [1, 2.5]);
    assert.equal(precision.scaler?.getScale(), 4);
    step(0.5);
    assert.deepEqual(weight.tolist(), [0.5, 2]);
    assert.deepEqual(precision.stateDict(), {
      scale: 4,
      growth_factor: 2,
      backoff_factor: 0.5,
      growth_interval: 2,
      _growth_tracker: 1,
    });
    step(0.5);
    assert.equal(precision.scaler?.getScale(), 8);
  });
  it("unscales once before clipping", () => {
    const weight = new nn.Parameter(torch.ones([2]));
    const optimizer = new optim.SGD([weight], { lr: 1 });
    const precision = new MixedPrecision("16-mixed", "cpu");
    precision.backward(weight.mul(3).sum(), null);
    assert.deepEqual(weight.grad?.tolist(), [3 * 65536, 3 * 65536]);
    precision.unscaleGradients(optimizer);
    assert.deepEqual(weight.grad?.tolist(), [3, 3]);
    assert.throws(() => precision.unscaleGradients(optimizer), /unscale_\(\) has already been called/);
    precision.optimizerStep(optimizer);
    assert.deepEqual(weight.tolist(), [-2, -2]);
  });
  it("serves several optimizers: a step of one leaves what the other has unscaled, and what it has found, alone", () => {
    const weights = [1, 1, 1].map((value) => new nn.Parameter(torch.tensor([value], { dtype: "float32" })));
    const [first, second, third] = weights.map((weight) => new optim.SGD([weight], { lr: 1 })) as [
      optim.SGD,
      optim.SGD,
      optim.SGD,
    ];
    const scaler = new GradScaler("cpu", { initScale: 8 });
    const precision = new MixedPrecision("16-mixed", "cpu", scaler);
    const factors = torch.tensor([1, 3, Number.POSITIVE_INFINITY]);
    precision.backward(torch.cat(weights).mul(factors).sum(), null);
    precision.unscaleGradients(second);
    precision.unscaleGradients(third);
    precision.optimizerStep(first);
    assert.equal(scaler.getScale(), 8);
    assert.throws(() => precision.unscaleGradients(second), /unscale_\(\) has already been called/);
    precision.optimizerStep(second);
    assert.equal(precision.optimizerStep(third), null);
    assert.deepEqual(
      weights.map((weight) => weight.item()),
      [0, -2, 1],
    );
    assert.equal(scaler.getScale(), 4);
  });
  it("unscales by the scale of the loss, also after another optimizer's step has changed it", () => {
    const weights = [1, 1].map((value) => new nn.Parameter(torch.tensor([value], { dtype: "float32" })));
    const [first, second] = weights.map((weight) => new optim.SGD([weight], { lr: 1 })) as [optim.SGD, optim.SGD];
    const precision = new MixedPrecision("16-mixed", "cpu", new GradScaler("cpu", { initScale: 8 }));
    const backward = (factor: number): void =>
      precision.backward(
        torch
          .cat(weights)
          .mul(torch.tensor([factor, 3]))
          .sum(),
        null,
      );
    backward(Number.POSITIVE_INFINITY);
    assert.equal(precision.optimizerStep(first), null);
    precision.optimizerStep(second);
    assert.deepEqual(
      weights.map((weight) => weight.item()),
      [1, -2],
    );
    for (const optimizer of [first, second]) optimizer.zeroGrad();
    backward(1);
    assert.deepEqual(
      weights.map((weight) => weight.grad?.item()),
      [4, 12],
    );
    const { scale, _growth_tracker } = precision.stateDict();
    assert.deepEqual([scale, _growth_tracker], [4, 1]);
    precision.optimizerStep(first);
    const loaded = new GradScaler("cpu");
    loaded.loadStateDict(precision.stateDict() as never);
    assert.equal(loaded.stateDict()._growth_tracker, 2);
  });
  it("works in steps that are scopes, whose tensors go at their end", () => {
    const weight = new nn.Parameter(torch.ones([1]));
    const optimizer = new optim.SGD([weight], { lr: 1 });
    const precision = new MixedPrecision("16-mixed", "cpu", new GradScaler("cpu", { initScale: 8, growthInterval: 2 }));
    for (let step = 0; step < 4; step++) {
      torch.scope(() => {
        optimizer.zeroGrad();
        precision.backward(weight.mul(3).sum(), null);
        precision.unscaleGradients(optimizer);
      });
      torch.scope(() => precision.optimizerStep(optimizer));
    }
    assert.deepEqual([weight.item(), precision.scaler?.getScale()], [1 - 4 * 3, 32]);
  });
  it("begins with PyTorch's numbers", () => {
    assert.deepEqual(new MixedPrecision("16-mixed", "cpu").stateDict(), {
      scale: 65536,
      growth_factor: 2,
      backoff_factor: 0.5,
      growth_interval: 2000,
      _growth_tracker: 0,
    });
  });
  it("refuses what does not go together with scaling: LBFGS, closures, clipping where the optimizer unscales", () => {
    class LBFGS extends optim.SGD {}
    class Fused extends optim.SGD {
      stepSupportsAmpScaling = true;
    }
    const scaled = new MixedPrecision("16-mixed", "cpu");
    const plain = new MixedPrecision("bf16-mixed", "cpu");
    const weight = new nn.Parameter(torch.ones([1]));
    weight.grad = torch.ones([1]);
    const [lbfgs, fused] = [new LBFGS([weight], { lr: 1 }), new Fused([weight], { lr: 1 })];
    assert.throws(() => scaled.optimizerStep(lbfgs), {
      name: "TypeError",
      message: /AMP and the LBFGS optimizer are not/,
    });
    plain.optimizerStep(lbfgs);
    assert.deepEqual(weight.tolist(), [0]);
    assert.throws(() => scaled.optimizerStep(fused, () => weight.sum()), /closure cannot be used together with a loss/);
    assert.throws(() => scaled.unscaleGradients(fused), {
      name: "NotSupportedError",
      message: /Gradient clipping is not implemented for optimizers handling the unscaling/,
    });
    plain.unscaleGradients(fused);
    assert.deepEqual(weight.grad?.tolist(), [1]);
    const fabric = new Fabric({ accelerator: "cpu", plugins: scaled });
    assert.throws(() => fabric.clipGradients(new nn.Linear(1, 1), fused, { maxNorm: 1 }), /is not implemented/);
  });
  it("clips what it has unscaled, by norm and by value, once between two steps", () => {
    const weight = new nn.Parameter(torch.ones([2]));
    const optimizer = new optim.SGD([weight], { lr: 1 });
    const precision = new MixedPrecision("16-mixed", "cpu");
    const fabric = new Fabric({ accelerator: "cpu", plugins: precision });
    const [module, wrapped] = [new nn.Linear(1, 1), fabric.setupOptimizers(optimizer)];
    fabric.backward(weight.mul(torch.tensor([3, 4])).sum());
    assert.equal(fabric.clipGradients(module, wrapped, { maxNorm: 1 }).item(), 5);
    assert.ok(weight.grad?.allclose(torch.tensor([0.6, 0.8])));
    assert.throws(() => fabric.clipGradients(module, wrapped, { clipVal: 1 }), /unscale_\(\) has already been called/);
    wrapped.step();
    wrapped.zeroGrad();
    fabric.backward(weight.mul(3).sum());
    fabric.clipGradients(module, wrapped, { clipVal: 0.5 });
    assert.deepEqual(weight.grad?.tolist(), [0.5, 0.5]);
  });
  it("saves and restores the scaler's state", () => {
    const scaler = new GradScaler("cpu", { initScale: 16 });
    const other = new GradScaler("cpu");
    other.loadStateDict(scaler.stateDict());
    assert.equal(other.getScale(), 16);
    assert.throws(() => other.loadStateDict({} as never), /has no number `scale`/);
  });
});

describe("64-true", () => {
  class Waves extends nn.Module<[Tensor], Tensor> {
    declare made: Tensor;
    constructor() {
      super();
      this.registerBuffer("made", torch.complex(torch.rand([2]), torch.rand([2])));
    }
    forward(x: Tensor): Tensor {
      return x;
    }
  }
  it("has complex128 for complex numbers that are made of its own, and leaves those that exist", () => {
    const fabric = new Fabric({ accelerator: "cpu", precision: "64-true" });
    assert.equal(fabric.initModule(() => new Waves()).made.dtype, "complex128");
    const before = new Waves();
    const imaginary = before.made.imag().tolist();
    assert.equal(fabric.setup(before).made.dtype, "complex64");
    assert.deepEqual(before.made.imag().tolist(), imaginary);
    const x = torch.complex(torch.ones([1]), torch.ones([1]));
    assert.equal(fabric.setup(new Waves())(x).dtype, "complex64");
  });
});

describe("a precision", () => {
  it("does nothing to anything unless a class says otherwise", () => {
    const precision = new Precision();
    const module = new nn.Linear(1, 1);
    const optimizer = new optim.SGD(module.parameters(), { lr: 1 });
    const data = { x: torch.ones([1], { dtype: "float64" }) };
    assert.equal(precision.precision, "32-true");
    assert.ok(precision.convertModule(module) === module);
    assert.ok(precision.convertInput(data) === data && precision.convertOutput(data) === data);
    for (const enter of ["forwardContext", "tensorInitContext", "moduleInitContext"] as const) {
      using _ = precision[enter]();
      assert.equal(torch.getDefaultDtype(), "float32");
    }
    assert.deepEqual([...precision.mainParams(optimizer)], module.parameters());
    precision.unscaleGradients(optimizer);
    assert.deepEqual(precision.stateDict(), {});
    precision.loadStateDict({});
    precision.teardown();
    assert.equal(precision.optimizerStep(optimizer, () => torch.tensor(3) as never) instanceof torch.Tensor, true);
  });
  it("of 16 bits throughout has no other names", () => {
    assert.throws(() => new HalfPrecision("16-mixed" as never), {
      name: "ConfigurationError",
      message: /^Precision must be '16-true' or 'bf16-true', got "16-mixed"/,
    });
    assert.deepEqual([new HalfPrecision().precision, new DoublePrecision().precision], ["16-true", "64-true"]);
  });
  it("has the parameters of all groups of an optimizer", () => {
    const [a, b] = [new nn.Linear(1, 1), new nn.Linear(1, 1)];
    const optimizer = new optim.SGD([{ params: a.parameters() }, { params: b.parameters() }], { lr: 1 });
    assert.deepEqual([...new Precision().mainParams(optimizer)], [...a.parameters(), ...b.parameters()]);
  });
});

it("a custom precision sees every step of backward and the optimizer", () => {
  const calls: string[] = [];
  class Custom extends Precision {
    override preBackward(): void {
      calls.push("pre");
    }
    override postBackward(): void {
      calls.push("post");
    }
    override optimizerStep(optimizer: optim.Optimizer): unknown {
      calls.push("step");
      return super.optimizerStep(optimizer);
    }
  }
  const fabric = new Fabric({ accelerator: "cpu", plugins: new Custom() });
  const raw = new nn.Linear(2, 1);
  const [model, optimizer] = fabric.setup(raw, new optim.SGD(raw.parameters(), { lr: 0.1 }));
  fabric.backward(model(torch.ones([2])).sum());
  optimizer.step();
  assert.deepEqual(calls, ["pre", "post", "step"]);
});
