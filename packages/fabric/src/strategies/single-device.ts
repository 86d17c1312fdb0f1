// One process, one device.
import type { Device, nn, Tensor } from "@fabric-ts/torch";
import { Strategy, type StrategyOptions } from "./strategy.js";

/** Runs on one device without other processes. */
export class SingleDeviceStrategy extends Strategy {
  readonly #device: Device;

  constructor(device: Device = "cpu", options: StrategyOptions = {}) {
    super(options);
    this.#device = device;
  }

  override get rootDevice(): Device {
    return this.#device;
  }
  override get isGlobalZero(): boolean {
    return true;
  }
  override moduleToDevice(module: nn.AnyModule): void {
    module.to(this.rootDevice);
  }
  override async allGather(tensor: Tensor): Promise<Tensor> {
    return tensor;
  }
  override async allReduce(tensor: Tensor): Promise<Tensor> {
    return tensor;
  }
  override async barrier(): Promise<void> {}
  override async broadcast<T>(value: T): Promise<T> {
    return value;
  }
}
