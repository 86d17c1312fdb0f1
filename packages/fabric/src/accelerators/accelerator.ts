// The interface of a kind of hardware.
import type { Device } from "@fabric-ts/torch";

/** What `devices` accepts: a count, ids, or a text that says either. */
export type DevicesInput = number | string | readonly number[];

/** A kind of hardware: how many devices there are, how the user names them, and how one is made ready. */
export abstract class Accelerator {
  /** The name under which it is selected, such as `"cuda"`. */
  abstract readonly name: string;

  /** True when this machine has such a device. Must not initialise it. */
  abstract isAvailable(): boolean;
  /** How many devices `devices: "auto"` means. */
  abstract autoDeviceCount(): number;
  /** What the user gave as `devices`: a count for the CPU, ids otherwise. Throws when it makes no sense here. */
  abstract parseDevices(devices: unknown): number | number[];
  /** The devices for what `parseDevices` returned. */
  abstract getParallelDevices(parsed: number | number[]): Device[];
  /** Makes a device ready for this process. */
  abstract setupDevice(device: Device): void;
  /** Frees what the devices hold. */
  abstract teardown(): void;
}
