// NVIDIA GPUs.
import { ConfigurationError, cuda, type Device } from "@fabric-ts/torch";
import { parseGpuIds } from "../utilities/device-parser.js";
import { Accelerator } from "./accelerator.js";
import { TensorCoresHint } from "./tensor-cores.js";

// One for the process.
const hint = new TensorCoresHint();

/** Runs on NVIDIA GPUs, numbered as `CUDA_VISIBLE_DEVICES` shows them. */
export class CUDAAccelerator extends Accelerator {
  override readonly name: string = "cuda";

  override isAvailable(): boolean {
    return this.autoDeviceCount() > 0;
  }
  override autoDeviceCount(): number {
    return cuda.deviceCount();
  }
  override parseDevices(devices: unknown): number[] {
    const available = Array.from({ length: this.autoDeviceCount() }, (_, i) => i);
    return parseGpuIds(devices, available) ?? [];
  }
  override getParallelDevices(parsed: number | number[]): Device[] {
    return (parsed as number[]).map((index) => `cuda:${index}` as const);
  }
  override setupDevice(device: Device): void {
    if (!device.startsWith("cuda")) throw new ConfigurationError(`Device should be CUDA, got ${device} instead.`);
    hint.check(device);
    const index = device.split(":")[1];
    if (index !== undefined) cuda.setDevice(Number(index));
  }
  override teardown(): void {
    cuda.clearCublasWorkspaces();
    cuda.emptyCache();
  }
}
