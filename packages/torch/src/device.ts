// Devices are strings; this is for those who are used to make them.
import { typeError } from "./check.js";
import type { Device } from "./dtype.js";
import { isDevice, noDevice } from "./target.js";

/**
 * The name of a device, checked for its spelling: `torch.device("cuda", 1)` is `"cuda:1"`. Whether there is such a device is
 * asked when it is used.
 * @example
 * const device = torch.device(torch.cuda.isAvailable() ? "cuda" : "cpu");
 */
export function device(name: string, index?: number): Device {
  if (index !== undefined && !(Number.isInteger(index) && index >= 0)) {
    throw typeError("index", "a whole number of at least 0", index);
  }
  const full = index === undefined ? name : `${name}:${index}`;
  if (!isDevice(full)) throw noDevice(full);
  return full;
}
