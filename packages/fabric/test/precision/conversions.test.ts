// What a precision converts when it is asked by itself: tensors at any depth, weights, new tensors, and what is as before afterwards.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  DoublePrecision,
  Fabric,
  HalfPrecision,
  MixedPrecision,
  Precision,
  type PrecisionName,
} from "@fabric-ts/fabric";
import * as torch from "@fabric-ts/torch";
import { type Dtype, nn, type Tensor } from "@fabric-ts/torch";

const plugins: Record<Exclude<PrecisionName, `transformer${string}`>, Precision> = {
  "32-true": new Precision(),
  "16-true": new HalfPrecision("16-true"),
  "bf16-true": new HalfPrecision("bf16-true"),
  "16-mixed": new MixedPrecision("16-mixed", "cpu"),
  "bf16-mixed": new MixedPrecision("bf16-mixed", "cpu"),
  "64-true": new DoublePrecision(),
};
const sixteenBits = (["16-true", "bf16-true"] as const).map((name) => plugins[name]);
const all = Object.values(plugins);
const zeros = (dtype: Dtype): Tensor => torch.zeros([1], { dtype });

describe("inputs and outputs", () => {
  it("are converted where they are floating-point tensors, at any depth; all else is the same object", () => {
    const others = [zeros("int64"), zeros("bool"), zeros("complex64"), "text", 0.5, null];
    for (const precision of all) {
      const { computeDtype } = precision;
      for (const dtype of ["float16", "bfloat16", "float32", "float64"] as const) {
        const batch = { deep: [{ x: zeros(dtype) }], map: new Map([["y", zeros(dtype)]]), others };
        const inputs = precision.convertInput(batch);
        const expected = precision.precision === "32-true" ? dtype : computeDtype;
        assert.deepEqual([inputs.deep[0]?.x.dtype, inputs.map.get("y")?.dtype], [expected, expected]);
        assert.ok(inputs.others === others);
        const outputs = precision.convertOutput(batch);
        const returned = precision.precision === "32-true" ? dtype : "float32";
        assert.deepEqual([outputs.deep[0]?.x.dtype, outputs.map.get("y")?.dtype], [returned, returned]);
        assert.ok(outputs.others === others);
      }
    }
  });
  it("come out in the default dtype of the caller, not in that inside of the model", () => {
    for (const precision of ["bf16-true", "bf16-mixed", "64-true"] as const) {
      const model = new Fabric({ accelerator: "cpu", precision }).setup(new nn.Linear(2, 2));
      assert.equal(model(torch.ones([2])).dtype, "float32", precision);
      assert.equal(torch.withDtype("float64", () => model(torch.ones([2]))).dtype, "float64", precision);
    }
  });
});

describe("weights", () => {
  it("and buffers are converted by the precisions whose names end in `true`, in place; integers stay", () => {
    for (const [name, precision] of Object.entries(plugins)) {
      const module = new nn.BatchNorm1d(2);
      const { weight } = module;
      assert.ok(precision.convertModule(module) === module && module.weight === weight);
      const expected = name.endsWith("-true") ? precision.computeDtype : "float32";
      assert.deepEqual([weight?.dtype, module.runningMean?.dtype], [expected, expected], name);
      assert.equal(module.numBatchesTracked?.dtype, "int64");
    }
  });
  it("of mixed precisions are made in float32, as all tensors are", () => {
    for (const name of ["16-mixed", "bf16-mixed"] as const) {
      for (const enter of ["tensorInitContext", "moduleInitContext"] as const) {
        using _ = plugins[name][enter]();
        assert.equal(torch.zeros([1]).dtype, "float32", name);
      }
    }
  });
});

describe("the forward context", () => {
  it("makes tensors in the precision's dtype, or casts in operators", () => {
    for (const precision of [...sixteenBits, plugins["64-true"]]) {
      using _ = precision.forwardContext();
      assert.equal(torch.zeros([1]).dtype, precision.computeDtype);
    }
    {
      using _ = plugins["bf16-mixed"].forwardContext();
      assert.deepEqual([torch.zeros([1]).dtype, torch.getAutocastDtype("cpu")], ["float32", "bfloat16"]);
      assert.equal(torch.ones([1, 1]).matmul(torch.ones([1, 1])).dtype, "bfloat16");
    }
    {
      using _ = new MixedPrecision("16-mixed", "cuda").forwardContext();
      assert.deepEqual([torch.isAutocastEnabled("cuda"), torch.getAutocastDtype("cuda")], [true, "float16"]);
    }
    assert.deepEqual([torch.isAutocastEnabled("cpu"), torch.isAutocastEnabled("cuda")], [false, false]);
  });
  it("gives way to the default dtype of the moment at which it was made", () => {
    for (const precision of [...sixteenBits, plugins["64-true"]]) {
      for (const before of ["float32", "float64", "bfloat16"] as const) {
        torch.withDtype(before, () => {
          const fails = (): void => {
            using _ = precision.forwardContext();
            assert.equal(torch.getDefaultDtype(), precision.computeDtype);
            throw new RangeError("inside");
          };
          assert.throws(fails, RangeError);
          assert.equal(torch.getDefaultDtype(), before);
        });
      }
    }
  });
});
