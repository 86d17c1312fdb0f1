// The GPU of Apple Silicon.
import { ConfigurationError, type Device } from "@fabric-ts/torch";
import { parseGpuIds } from "../utilities/device-parser.js";
import { Accelerator } from "./accelerator.js";

/** Runs on the GPU of Apple Silicon; there is one. `DISABLE_MPS=1` hides it. */
export class MPSAccelerator extends Accelerator {
  override readonly name: string = "mps";

  override isAvailable(): boolean {
    return hasMps(process);
  }
  override autoDeviceCount(): number {
    return 1;
  }
  override parseDevices(devices: unknown): number[] {
    return parseGpuIds(devices, [0]) ?? [];
  }
  override getParallelDevices(parsed: number | number[]): Device[] {
    return (parsed as number[]).map((index) => `mps:${index}` as const);
  }
  override setupDevice(device: Device): void {
    if (!device.startsWith("mps")) throw new ConfigurationError(`Device should be MPS, got ${device} instead.`);
  }
  override teardown(): void {}
}

/** internal: true on Apple Silicon, unless the environment says otherwise. */
export function hasMps({ platform, arch, env }: Pick<NodeJS.Process, "platform" | "arch" | "env">): boolean {
  return platform === "darwin" && arch === "arm64" && env.DISABLE_MPS !== "1";
}
