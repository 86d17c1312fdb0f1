// Kinds of hardware: what each accepts as devices, without the hardware.
import assert from "node:assert/strict";
import { describe, it, type TestContext } from "node:test";
import {
  Accelerator,
  acceleratorRegistry,
  CPUAccelerator,
  CUDAAccelerator,
  Fabric,
  findUsableCudaDevices,
  MPSAccelerator,
} from "@fabric-ts/fabric";
import { cuda } from "@fabric-ts/torch";
import { hasMps } from "../../dist/accelerators/mps.js";
import { type MatmulFacts, TensorCoresHint } from "../../dist/accelerators/tensor-cores.js";
import { usableDevices } from "../../dist/accelerators/usable-cuda-devices.js";

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
    assert.equal(new CUDAAccelerator().isAvailable(), cuda.deviceCount() > 0);
    class NoGpu extends CUDAAccelerator {
      override autoDeviceCount(): number {
        return 0;
      }
    }
    assert.equal(new NoGpu().isAvailable(), false);
    assert.equal(new MPSAccelerator().autoDeviceCount(), 1);
  });
  it("have Apple's GPU on Apple Silicon only", () => {
    const mac = { platform: "darwin", arch: "arm64", env: {} } as const;
    assert.equal(hasMps(mac), true);
    assert.equal(hasMps({ ...mac, env: { DISABLE_MPS: "0" } }), true);
    assert.equal(hasMps({ ...mac, env: { DISABLE_MPS: "1" } }), false);
    assert.equal(hasMps({ ...mac, arch: "x64" }), false);
    assert.equal(hasMps({ ...mac, platform: "linux" }), false);
    assert.equal(new MPSAccelerator().isAvailable(), hasMps(process));
  });
  it("hide Apple's GPU with DISABLE_MPS=1", () => {
    process.env.DISABLE_MPS = "1";
    assert.equal(new MPSAccelerator().isAvailable(), false);
    delete process.env.DISABLE_MPS;
  });
  it("say what TPUs would need", () => {
    assert.throws(() => new Fabric({ accelerator: "tpu" }), /can not run on your system[\s\S]*PyTorch\/XLA/);
    const tpu = acceleratorRegistry.get("tpu");
    assert.ok(tpu instanceof Accelerator && tpu.name === "tpu");
    assert.deepEqual([tpu.isAvailable(), tpu.autoDeviceCount()], [false, 0]);
    for (const call of ["parseDevices", "getParallelDevices", "setupDevice"] as const) {
      assert.throws(() => tpu[call]("cpu" as never), { name: "NotSupportedError", message: /TPUs need PyTorch\/XLA/ });
    }
    tpu.teardown();
  });
  it("are taken down without a GPU, too", () => {
    for (const name of acceleratorRegistry.names()) acceleratorRegistry.get(name).teardown();
  });
  it("have a sentence each in the registry", () => {
    for (const name of acceleratorRegistry.names()) assert.match(acceleratorRegistry.description(name) ?? "", /\.$/);
    assert.equal(acceleratorRegistry.description("gpu"), undefined);
  });
});

describe("the hint at Tensor Cores", () => {
  const ampere: MatmulFacts = { deviceName: "A100", major: 8, precision: "highest" };
  const saidFor = (t: TestContext, hint: TensorCoresHint, facts: MatmulFacts): string[] => {
    const write = t.mock.method(process.stderr, "write", () => true);
    hint.check("cuda:1", (device) => {
      assert.equal(device, "cuda:1");
      return facts;
    });
    write.mock.restore();
    return write.mock.calls.map(({ arguments: [text] }) => String(text));
  };

  it("is given once, where a GPU has them and nobody has chosen a precision", (t) => {
    const hint = new TensorCoresHint();
    const [text = "", ...more] = saidFor(t, hint, ampere);
    assert.match(
      text,
      /^You are using a CUDA device \('A100'\) that has Tensor Cores.*setFloat32MatmulPrecision\("medium"\)/,
    );
    assert.deepEqual(more, []);
    assert.deepEqual(saidFor(t, hint, ampere), []);
  });
  it("is not given for older GPUs, nor when a precision was chosen", (t) => {
    assert.deepEqual(saidFor(t, new TensorCoresHint(), { ...ampere, major: 7 }), []);
    assert.deepEqual(saidFor(t, new TensorCoresHint(), { ...ampere, precision: "high" }), []);
  });
});

describe("usable GPUs", () => {
  const four = (...occupied: number[]) => {
    const tried: number[] = [];
    const use = (index: number): void => {
      tried.push(index);
      if (occupied.includes(index)) throw new Error("out of memory");
    };
    return { count: 4, use, tried };
  };

  it("are those on which something can be made, as many as are asked for, in order", () => {
    const gpus = four(1);
    assert.deepEqual(usableDevices(2, gpus), [0, 2]);
    assert.deepEqual(gpus.tried, [0, 1, 2], "the last one is left alone");
    assert.deepEqual(usableDevices(-1, four(1, 3)), [0, 2]);
    assert.deepEqual(usableDevices(-1, four(0, 1, 2, 3)), []);
    const untouched = four();
    assert.deepEqual(usableDevices(0, untouched), []);
    assert.deepEqual(untouched.tried, []);
  });
  it("are too few: the error counts them, and says which are occupied", () => {
    assert.throws(() => usableDevices(5, four()), {
      name: "ConfigurationError",
      message: /You requested to find 5 devices but this machine only has 4 GPUs/,
    });
    assert.throws(() => usableDevices(4, four(1, 2)), {
      name: "UsageError",
      message: /You requested to find 4 devices but only 2 are currently available.\nDevices 1, 2 are occupied/,
    });
  });
  it("are asked for by a number", () => {
    for (const wrong of [1.5, -2, "2", null]) {
      assert.throws(() => usableDevices(wrong as never, four()), {
        name: "TypeError",
        message: /to be a number of GPUs/,
      });
    }
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
