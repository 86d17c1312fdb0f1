// Finding GPUs that nobody else keeps busy.
import { ConfigurationError, cuda, tensor, UsageError } from "@fabric-ts/torch";
import { describe } from "../utilities/describe.js";

/** internal: the GPUs of a machine, so that tests can have some. */
export interface Gpus {
  count: number;
  /** Throws where the GPU cannot be used. */
  use(index: number): void;
}

/**
 * The ids of GPUs on which a small tensor can be made, in order, for `new Fabric({ devices })`; -1 (the default) means all that there are. Throws
 * when fewer than `numDevices` work.
 */
export function findUsableCudaDevices(numDevices = -1): number[] {
  return usableDevices(numDevices, {
    count: cuda.deviceCount(),
    use: (index) => tensor([0], { device: `cuda:${index}` }).dispose(),
  });
}

/** internal: the same for given GPUs. */
export function usableDevices(numDevices: number, gpus: Gpus): number[] {
  if (!Number.isInteger(numDevices) || numDevices < -1) {
    throw new TypeError(
      `Expected \`numDevices\` to be a number of GPUs, but got ${describe(numDevices)}.\nType \`findUsableCudaDevices(2)\`; without a number it finds all.`,
    );
  }
  if (numDevices === 0) return [];
  const asked = `You requested to find ${numDevices} devices`;
  if (gpus.count === 0) throw new ConfigurationError(`${asked} but there are no visible CUDA devices on this machine.`);
  if (numDevices > gpus.count) throw new ConfigurationError(`${asked} but this machine only has ${gpus.count} GPUs.`);
  const usable: number[] = [];
  const occupied: number[] = [];
  for (let index = 0; index < gpus.count && usable.length !== numDevices; index++) {
    try {
      gpus.use(index);
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
