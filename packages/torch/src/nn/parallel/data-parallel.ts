// Training one model on several devices of one process: each gets a part of the batch and a copy of the weights for the time of the call.
// Lighter than processes and slower than DistributedDataParallel: one thread asks all devices to work.
import { checkOptions, typeError } from "../../check.js";
import * as cuda from "../../cuda.js";
import type { Device } from "../../dtype.js";
import { ConfigurationError } from "../../errors.js";
import { isDevice } from "../../target.js";
import type { Tensor } from "../../tensor.js";
import { membersOf, walk } from "../members.js";
import { Module } from "../module.js";
import { isModule, moduleState } from "../module-state.js";
import { gather } from "./gather.js";
import { scatter } from "./scatter.js";

/** Options of `DataParallel`. */
export interface DataParallelOptions {
  /** The devices, or numbers of CUDA devices; the module is on the first. Default: all CUDA devices. */
  deviceIds?: readonly (Device | number)[] | null | undefined;
  /** Where the outputs are put together. Default: the first device. */
  outputDevice?: Device | number | null | undefined;
  /** The dimension of the batch (default 0). */
  dim?: number | undefined;
}

/**
 * Wraps a module so that calls are split over devices: the tensors among the arguments are cut along the batch, each device computes its
 * part with a copy of the parameters, and the outputs are put together on the first device. Gradients arrive in the module's own parameters.
 * Changes that the module makes to its buffers stay when they are made on the first device. Without CUDA devices it calls the module.
 *
 *     const model = new nn.parallel.DataParallel(new MyModel().to("cuda:0"), { deviceIds: [0, 1] });
 */
export class DataParallel<
  A extends unknown[] = [Tensor],
  R = Tensor,
  M extends Module<A, R> = Module<A, R>,
> extends Module<A, R> {
  /** The wrapped module. */
  readonly module: M;
  /** The devices; empty where there are none. */
  readonly devices: readonly Device[];
  /** Where the outputs are put together. */
  readonly outputDevice: Device;
  /** The dimension of the batch. */
  readonly dim: number;

  constructor(module: M & Module<A, R>, options: DataParallelOptions = {}) {
    super();
    if (!isModule(module)) throw typeError("module", "a Module", module);
    checkOptions(options, ["deviceIds", "outputDevice", "dim"], "new DataParallel(module, { deviceIds: [0, 1] })");
    const { deviceIds, outputDevice, dim = 0 } = options;
    this.module = module;
    this.devices = (deviceIds ?? Array.from({ length: cuda.deviceCount() }, (_, index) => index)).map(deviceOf);
    this.outputDevice = deviceOf(outputDevice ?? this.devices[0] ?? "cpu");
    this.dim = dim;
  }

  override forward(...args: A): R {
    const { module, devices } = this;
    const [first] = devices;
    if (first === undefined) return module(...args);
    this.#checkPlace(first);
    // Without arguments there is nothing to share: the first device computes.
    const parts = args.length === 0 ? [[]] : scatter(args, devices, this.dim);
    if (devices.length === 1) return module(...(parts[0] as A));
    const outputs = parts.map((part, index) => this.#runOn(devices[index] as Device, part as A));
    return gather(outputs, this.outputDevice, this.dim) as R;
  }

  #checkPlace(first: Device): void {
    for (const [name, tensor] of [...this.module.namedParameters(), ...this.module.namedBuffers()]) {
      if (tensor.device === first) continue;
      throw new ConfigurationError(
        `The module has to be on ${first}, the first of the devices, but its \`${name}\` is on ${tensor.device}.`,
        { hint: `Move it before the call: \`model.to("${first}")\`.` },
      );
    }
  }

  /** Runs the module with its parameters and buffers replaced by copies on `device`, which lead gradients back to them. */
  #runOn(device: Device, args: A): R {
    using _ = current(device);
    using __ = replaced(this.module, device);
    return this.module(...args);
  }
}

function deviceOf(given: Device | number): Device {
  const device = typeof given === "number" ? (`cuda:${given}` as const) : given;
  if (isDevice(device)) return device === "cuda" ? `cuda:${cuda.currentDevice()}` : device;
  throw typeError("deviceIds", "devices or numbers of CUDA devices", given, "Such as `{ deviceIds: [0, 1] }`.");
}

/** Makes a CUDA device the current one for a while. */
function current(device: Device): Disposable {
  if (!device.startsWith("cuda")) return { [Symbol.dispose]() {} };
  const before = cuda.currentDevice();
  cuda.setDevice(device);
  return { [Symbol.dispose]: () => cuda.setDevice(before) };
}

/** Puts copies on `device` in the places of a module's tensors, and the tensors back at the end. */
function replaced(module: Module<never, unknown>, device: Device): Disposable {
  const copies = new Map<Tensor, Tensor>();
  const restore: (() => void)[] = [];
  for (const [, part] of walk(module)) {
    const { parameters, buffers } = membersOf(part);
    const { slots, parameters: listed } = part[moduleState];
    for (const [name, tensor] of [...parameters, ...buffers]) {
      if (tensor.device === device) continue;
      const copy = copies.get(tensor) ?? tensor.to(device);
      copies.set(tensor, copy);
      const put = (value: Tensor): void => {
        const slot = slots.get(name);
        if (slot) slot.value = value;
        else listed.set(name, value as never);
      };
      put(copy);
      restore.push(() => put(tensor));
    }
  }
  return {
    [Symbol.dispose]() {
      for (const back of restore) back();
    },
  };
}
