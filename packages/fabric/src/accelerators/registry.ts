// Accelerators by name.
import { Registry } from "../utilities/registry.js";
import { Accelerator } from "./accelerator.js";
import { CPUAccelerator } from "./cpu.js";
import { CUDAAccelerator } from "./cuda.js";
import { MPSAccelerator } from "./mps.js";
import { TPUAccelerator } from "./tpu.js";

/** The names that `Fabric({ accelerator })` accepts beside registered ones. */
export type AcceleratorName = "auto" | "cpu" | "cuda" | "gpu" | "mps" | "tpu";

/** Accelerators that `Fabric({ accelerator })` knows by name. */
export class AcceleratorRegistry extends Registry<Accelerator> {
  constructor() {
    super({ base: Accelerator, one: "accelerator", many: "accelerators", variable: "acceleratorRegistry" });
  }

  /** All names. */
  availableAccelerators(): Set<string> {
    return new Set(this.names());
  }
}

/** The accelerators of this process: `cpu`, `cuda`, `mps`, `tpu` and what is added. */
export const acceleratorRegistry = new AcceleratorRegistry();
acceleratorRegistry.register("cpu", CPUAccelerator, { description: "The CPU: one process for each device." });
acceleratorRegistry.register("cuda", CUDAAccelerator, { description: "GPUs of NVIDIA." });
acceleratorRegistry.register("mps", MPSAccelerator, { description: "The GPU of Apple Silicon." });
acceleratorRegistry.register("tpu", TPUAccelerator, {
  description: "A name that is answered: there are no TPUs here.",
});
