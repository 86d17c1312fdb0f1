// Counting floating-point operations, and what devices can do.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  catchWarnings,
  DoublePrecision,
  Fabric,
  getAvailableFlops,
  HalfPrecision,
  MixedPrecision,
  measureFlops,
  Precision,
} from "@fabric-ts/fabric";
import * as torch from "@fabric-ts/torch";
import { nn, type Tensor } from "@fabric-ts/torch";
// What a machine without GPUs cannot show from outside.
import { chipOf } from "../../dist/utilities/chip-flops.js";
import { availableFlopsOf } from "../../dist/utilities/flops.js";

describe("measureFlops", () => {
  it("counts forward, and backward with a loss", () => {
    const model = new nn.Linear(32, 2);
    const x = torch.randn([2, 32]);
    const forward = measureFlops(model, () => model(x));
    assert.equal(forward, 2 * 2 * 32 * 2);
    assert.equal(
      measureFlops(
        model,
        () => model(x),
        (y) => y.sum(),
      ),
      2 * forward,
    );
  });
  it("needs no memory on the meta device", () => {
    const size = 2 ** 20;
    const model = torch.withDevice("meta", () => new nn.Linear(size, size));
    const x = torch.zeros([4, size], { device: "meta" });
    const flops = measureFlops(
      model,
      () => model(x),
      (y: Tensor) => y.sum(),
    );
    assert.equal(flops, 2 * (2 * 4 * size * size));
  });
  it("works with a model that was set up, whose backward pass is guarded", () => {
    const model = new Fabric({ accelerator: "cpu" }).setup(new nn.Linear(4, 1));
    const flops = measureFlops(
      model,
      () => model(torch.ones([1, 4])),
      (y) => y.sum(),
    );
    assert.equal(flops, 16);
  });
  it("counts up to an error, and no further", () => {
    const model = new nn.Linear(4, 1);
    assert.throws(() => measureFlops(model, () => model(torch.ones([1, 3]))));
    const counter = new torch.FlopCounter();
    counter[Symbol.dispose]();
    model(torch.ones([1, 4]));
    assert.equal(counter.total, 0);
  });
  it("says what it needs", () => {
    assert.throws(() => measureFlops((() => 1) as never, () => 1), /Expected `model` to be a Module/);
    const model = new nn.Linear(1, 1);
    assert.throws(() => measureFlops(model, undefined as never), /Expected `forwardFn` to be a function/);
    assert.throws(
      () => measureFlops(model, () => 1, null as never),
      /Expected `lossFn` to be a function, but got null/,
    );
    assert.throws(
      () => measureFlops(new nn.Linear(1, 1), () => 1, (() => 2) as never),
      /Expected `lossFn` to return a Tensor, but got 2/,
    );
  });
});

describe("getAvailableFlops", () => {
  it("is null for devices other than CUDA", () => {
    assert.equal(getAvailableFlops("cpu", "float32"), null);
    assert.equal(getAvailableFlops("mps", "float32"), null);
  });
  it("knows the chips by what drivers call them", () => {
    const names: Record<string, string> = {
      "NVIDIA H200": "h200 sxm1",
      "NVIDIA H200 NVL": "h200 nvl1",
      "NVIDIA H100 NVL": "h100 nvl",
      "NVIDIA H100 80GB HBM3": "h100 sxm",
      "NVIDIA H100 PCIe": "h100 pcie",
      "NVIDIA L4": "l4",
      "NVIDIA L40": "l40",
      "Tesla L40": "l40",
      "NVIDIA A100-SXM4-80GB": "a100",
      "NVIDIA A100 80GB PCIe": "a100",
      "NVIDIA RTX A6000": "a6000",
      "NVIDIA A40": "a40",
      "NVIDIA A10G": "a10g",
      "NVIDIA GeForce RTX 4090": "rtx 4090",
      "NVIDIA GeForce RTX 4080": "rtx 4080",
      "NVIDIA GeForce RTX 4080 SUPER": "rtx 4080 super",
      "NVIDIA GeForce RTX 3090 Ti": "rtx 3090 ti",
      "NVIDIA GeForce RTX 3090": "rtx 3090",
      "NVIDIA GeForce RTX 3080 Ti": "rtx 3080 ti",
      "NVIDIA GeForce RTX 3080": "rtx 3080",
      "NVIDIA GeForce RTX 3070": "rtx 3070",
      "Tesla T4": "t4",
      "Quadro RTX 5000 with Max-Q Design": "quadro rtx 5000",
      "NVIDIA GeForce RTX 2080 SUPER": "rtx 2080 super",
      "NVIDIA GeForce RTX 2080 Ti": "rtx 2080 ti",
      "NVIDIA GeForce RTX 2080": "rtx 2080",
      "NVIDIA GeForce RTX 2070 SUPER": "rtx 2070 super",
      "NVIDIA TITAN RTX": "titan rtx",
      "Tesla V100-SXM2-32GB": "v100 sxm",
      "Tesla V100-PCIE-16GB": "v100 pcie",
      "Tesla V100S-PCIE-32GB": "v100s pcie",
    };
    for (const [name, chip] of Object.entries(names)) {
      assert.equal(chipOf(name), chip);
      assert.ok((availableFlopsOf(name, "float32", false) ?? 0) > 1e12, name);
      assert.ok((availableFlopsOf(name, "float16", false) ?? 0) > 1e12, name);
    }
    assert.equal(availableFlopsOf("NVIDIA H100 PCIe", "bfloat16", false), 756e12);
  });
  it("takes float32 as TF32 where that is allowed and the chip has it", () => {
    assert.equal(availableFlopsOf("NVIDIA A100-SXM4-40GB", "float32", false), 19.5e12);
    assert.equal(availableFlopsOf("NVIDIA A100-SXM4-40GB", "float32", true), 156e12);
    assert.equal(availableFlopsOf("Tesla T4", "float32", true), 8.1e12);
  });
  it("warns of what is not known", async () => {
    const warnings = async (name: string, dtype: torch.Dtype): Promise<string[]> => {
      const caught = await catchWarnings(() => assert.equal(availableFlopsOf(name, dtype, false), null));
      return caught.map(({ message }) => message);
    };
    assert.deepEqual(await warnings("Voodoo 2", "float32"), ["FLOPs not found for 'Voodoo 2'."]);
    const unknown = "NVIDIA GeForce RTX 4070 Ti";
    assert.deepEqual(await warnings(unknown, "float32"), [`FLOPs not found for '${unknown}', chip is 'rtx 4070 ti'.`]);
    const laptop = "NVIDIA GeForce RTX 4090 Laptop GPU";
    assert.deepEqual(await warnings(laptop, "float32"), [
      `FLOPs not found for '${laptop}', chip is 'rtx 4090 laptop'.`,
    ]);
    assert.deepEqual(await warnings("NVIDIA H100", "float32"), ["FLOPs not found for 'NVIDIA H100', chip is 'h100'."]);
    assert.deepEqual(await warnings("Tesla V100-SXM2-16GB", "bfloat16"), [
      "'Tesla V100-SXM2-16GB' does not support bfloat16.",
    ]);
  });
  it("is asked for the dtype in which a precision computes", () => {
    assert.equal(new Precision().computeDtype, "float32");
    assert.equal(new DoublePrecision().computeDtype, "float64");
    assert.equal(new HalfPrecision("bf16-true").computeDtype, "bfloat16");
    assert.equal(new HalfPrecision("16-true").computeDtype, "float16");
    assert.equal(new MixedPrecision("16-mixed", "cuda").computeDtype, "float16");
    assert.equal(new MixedPrecision("bf16-mixed", "cpu").computeDtype, "bfloat16");
  });
});
