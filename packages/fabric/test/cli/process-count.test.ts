// How many processes `fabric run` starts. GPUs are those of a registry that is put in place of the machine's.
import assert from "node:assert/strict";
import { after, before, it } from "node:test";
import { acceleratorRegistry, CUDAAccelerator, MPSAccelerator } from "@fabric-ts/fabric";
import { processControl } from "@fabric-ts/torch";
import { processCount } from "../../dist/cli/process-count.js";

class TwoGpus extends CUDAAccelerator {
  override autoDeviceCount(): number {
    return 2;
  }
}
class NoMps extends MPSAccelerator {
  override isAvailable(): boolean {
    return false;
  }
}
before(() => {
  acceleratorRegistry.register("cuda", TwoGpus, { override: true });
  acceleratorRegistry.register("mps", NoMps, { override: true });
});
after(() => {
  acceleratorRegistry.register("cuda", CUDAAccelerator, { override: true });
  acceleratorRegistry.register("mps", MPSAccelerator, { override: true });
});

const count = (accelerator: string | undefined, devices: string, strategy?: string): Promise<number> =>
  processCount({ devices, ...(accelerator ? { accelerator } : {}), ...(strategy ? { strategy } : {}) }, (message) => {
    throw new Error(message);
  });

it("on the CPU it is the number of devices", async () => {
  assert.deepEqual(await Promise.all([count("cpu", "1"), count("cpu", "3"), count("cpu", "auto")]), [1, 3, 1]);
  await assert.rejects(count("cpu", "0"), /Invalid value for '--devices': '0'\. .*int > 0/);
});

it("on GPUs it is the number of those that are chosen", async () => {
  const cases = ["2", "0,", "0,1", "-1", "auto"].map((devices) => count("cuda", devices));
  assert.deepEqual(await Promise.all(cases), [2, 1, 2, 2, 1]);
  await assert.rejects(count("cuda", "3"), /Invalid value for '--devices': '3'\. You requested gpu: \[0, 1, 2\]/);
  assert.equal(await count("mps", "1"), 1);
});

it("`dp` is one process for several GPUs, and `ddp` on the CPU", async () => {
  assert.deepEqual(await Promise.all([count("cuda", "2", "dp"), count("cpu", "2", "dp")]), [1, 2]);
});

it("TPUs are refused", async () => {
  await assert.rejects(count("tpu", "1"), /Launching processes for TPU through the CLI is not supported\./);
});

it("without an accelerator, and for `gpu`, it goes by what there is", async () => {
  // A build for LibTorch without CUDA answers by itself; then there is no GPU whatever the registry says.
  const build = processControl.addonBuild();
  if (!(build instanceof Error) && build.cuda === false && process.platform === "linux") {
    assert.deepEqual(await Promise.all([count(undefined, "2"), count("auto", "2")]), [2, 2]);
    await assert.rejects(count("gpu", "auto"), /No supported gpu backend found!/);
  } else {
    assert.deepEqual(await Promise.all([count(undefined, "-1"), count("gpu", "auto")]), [2, 1]);
  }
});
