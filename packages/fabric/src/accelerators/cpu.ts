// The CPU: always there, one process for each "device".
import { ConfigurationError, type Device } from "@fabric-ts/torch";
import { parseCpuCores } from "../utilities/device-parser.js";
import { Accelerator } from "./accelerator.js";

/** Runs on the CPU; `devices` is the number of processes. */
export class CPUAccelerator extends Accelerator {
  override readonly name = "cpu";

  override isAvailable(): boolean {
    return true;
  }
  override autoDeviceCount(): number {
    return 1;
  }
  override parseDevices(devices: unknown): number {
    return parseCpuCores(devices);
  }
  override getParallelDevices(parsed: number | number[]): Device[] {
    return new Array<Device>(this.parseDevices(parsed)).fill("cpu");
  }
  override setupDevice(device: Device): void {
    if (device !== "cpu") throw new ConfigurationError(`Device should be CPU, got ${device} instead.`);
  }
  override teardown(): void {}
}
