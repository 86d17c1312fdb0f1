// NVIDIA GPUs.
import { ConfigurationError, cuda, type Device, tensor, UsageError } from "@fabric-ts/torch";
import { parseGpuIds } from "../utilities/device-parser.js";
import { Accelerator } from "./accelerator.js";

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
    const index = device.split(":")[1];
    if (index !== undefined) cuda.setDevice(Number(index));
  }
  override teardown(): void {
    cuda.emptyCache();
  }
}

/**
 * The ids of GPUs on which a small tensor can be made, in order; -1 means all of them. Throws when fewer than `numDevices` work.
 */
export function findUsableCudaDevices(numDevices = -1): number[] {
  if (numDevices === 0) return [];
  const visible = cuda.deviceCount();
  const asked = `You requested to find ${numDevices} devices`;
  if (visible === 0) throw new ConfigurationError(`${asked} but there are no visible CUDA devices on this machine.`);
  if (numDevices > visible) throw new ConfigurationError(`${asked} but this machine only has ${visible} GPUs.`);
  const usable: number[] = [];
  const occupied: number[] = [];
  for (let index = 0; index < visible && usable.length !== numDevices; index++) {
    try {
      tensor([0], { device: `cuda:${index}` }).dispose();
      usable.push(index);
    } catch {
      occupied.push(index);
    }
  }
  if (numDevices !== -1 && usable.length < numDevices) {
    throw new UsageError(`${asked} but only ${usable.length} are currently available.`, {
      hint: `Devices ${occupied.join(", ")} are occupied by other processes.`,
    });
  }
  return usable;
}
