// How many processes `fabric run` starts on this machine. LibTorch, and the library's own index rather than one more file that every program
// would load, are loaded only where GPUs have to be counted.
import { ConfigurationError, processControl } from "@fabric-ts/torch/base";
import { parseCpuCores } from "../utilities/device-parser.js";

/** internal: the number that follows from `--accelerator`, `--strategy` and `--devices`; `fail` is told what is wrong with them. */
export async function processCount(
  options: { accelerator?: string; strategy?: string; devices: string },
  fail: (message: string) => never,
): Promise<number> {
  const { strategy, devices } = options;
  const accelerator = await resolved(options.accelerator ?? "auto");
  if (accelerator === "tpu") {
    throw new ConfigurationError("Launching processes for TPU through the CLI is not supported.", {
      hint: "Choose --accelerator cpu, cuda or mps.",
    });
  }
  // On the CPU 'dp' means 'ddp'.
  if (strategy === "dp" && accelerator !== "cpu") return 1;
  if (devices === "auto") return 1;
  try {
    if (accelerator === "cpu") return parseCpuCores(devices);
    const { acceleratorRegistry } = await import("../index.js");
    const parsed = acceleratorRegistry.get(accelerator).parseDevices(devices);
    return typeof parsed === "number" ? parsed : parsed.length;
  } catch (error) {
    return fail(`Invalid value for '--devices': '${devices}'. ${(error as Error).message}`);
  }
}

/** The accelerator behind `auto` and `gpu`. */
async function resolved(name: string): Promise<string> {
  if (name !== "auto" && name !== "gpu") return name;
  const build = processControl.addonBuild();
  const hasNone = process.platform === "linux" && !(build instanceof Error) && build.cuda === false;
  if (!hasNone) {
    const { acceleratorRegistry } = await import("../index.js");
    const found = ["mps", "cuda"].find((gpu) => acceleratorRegistry.get(gpu).isAvailable());
    if (found !== undefined) return found;
  }
  if (name === "auto") return "cpu";
  throw new ConfigurationError("No supported gpu backend found!", {
    hint: "Leave --accelerator out, or choose --accelerator cpu.",
  });
}
