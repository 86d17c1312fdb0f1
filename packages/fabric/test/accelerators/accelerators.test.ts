// Kinds of hardware: what each accepts as devices, without the hardware.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  acceleratorRegistry,
  CPUAccelerator,
  CUDAAccelerator,
  Fabric,
  findUsableCudaDevices,
  MPSAccelerator,
} from "@fabric-ts/fabric";
import { cuda } from "@fabric-ts/torch";

class FourGpus extends CUDAAccelerator {
  override autoDeviceCount(): number {
    return 4;
  }
}

describe("accelerators", () => {
  it("set up devices of their own kind only", () => {
    const text = (kind: string): RegExp => new RegExp(`Device should be ${kind}, got .* instead\\.`);
    assert.throws(() => new CPUAccelerator().setupDevice("cuda:0"), text("CPU"));
    assert.throws(() => new CUDAAccelerator().setupDevice("cpu"), text("CUDA"));
    assert.throws(() => new MPSAccelerator().setupDevice("cpu"), text("MPS"));
    new CPUAccelerator().setupDevice("cpu");
  });
  it("turn counts and ids into devices", () => {
    assert.deepEqual(new CPUAccelerator().getParallelDevices(2), ["cpu", "cpu"]);
    const gpus = new FourGpus();
    assert.equal(gpus.isAvailable(), true);
    assert.deepEqual(gpus.getParallelDevices(gpus.parseDevices("1,3")), ["cuda:1", "cuda:3"]);
    assert.deepEqual(gpus.parseDevices(-1), [0, 1, 2, 3]);
    assert.deepEqual(gpus.parseDevices("2"), [0, 1]);
    const mps = new MPSAccelerator();
    assert.deepEqual(mps.getParallelDevices(mps.parseDevices(1)), ["mps:0"]);
    assert.throws(() => mps.parseDevices([1]), /You requested gpu: \[1\]\nBut your machine only has: \[0\]/);
  });
  it("count what there is", () => {
    assert.equal(new CPUAccelerator().autoDeviceCount(), 1);
    assert.equal(new CPUAccelerator().isAvailable(), true);
    assert.equal(new CUDAAccelerator().autoDeviceCount(), cuda.deviceCount());
    assert.equal(new MPSAccelerator().autoDeviceCount(), 1);
  });
  it("hide Apple's GPU with DISABLE_MPS=1", () => {
    process.env.DISABLE_MPS = "1";
    assert.equal(new MPSAccelerator().isAvailable(), false);
    delete process.env.DISABLE_MPS;
  });
  it("say what TPUs would need", () => {
    assert.throws(() => new Fabric({ accelerator: "tpu" }), /can not run on your system[\s\S]*PyTorch\/XLA/);
    assert.throws(() => acceleratorRegistry.get("tpu").parseDevices(1), /TPUs need PyTorch\/XLA/);
  });
});

describe("findUsableCudaDevices", { skip: cuda.deviceCount() > 0 && "there are CUDA devices" }, () => {
  it("finds none where none are asked for, and says that there are none", () => {
    assert.deepEqual(findUsableCudaDevices(0), []);
    for (const count of [-1, 2]) {
      assert.throws(() => findUsableCudaDevices(count), {
        name: "ConfigurationError",
        message: new RegExp(`You requested to find ${count} devices but there are no visible CUDA devices`),
      });
    }
  });
});
