// Cutting the arguments of a call into one part for each device.
import type { Device } from "../../dtype.js";
import { Tensor } from "../../tensor.js";
import { isPlain } from "./output-tensors.js";

/**
 * internal: for each device that gets anything, the value with its tensors cut along `dim`; other values are the same in all parts. There
 * are fewer parts than devices when there are fewer samples.
 */
export function scatter(value: unknown, devices: readonly Device[], dim: number): unknown[] {
  if (value instanceof Tensor) {
    const chunks = value.ndim === 0 ? devices.map(() => value) : value.chunk(devices.length, dim);
    return chunks.map((chunk, index) => chunk.to(devices[index] as Device));
  }
  if (Array.isArray(value)) return together(value, devices, dim, (items) => items);
  if (value instanceof Map) {
    return together([...value.values()], devices, dim, (items) => {
      return new Map([...value.keys()].map((key, index) => [key, items[index]]));
    });
  }
  if (isPlain(value)) {
    return together(Object.values(value), devices, dim, (items) => {
      return Object.fromEntries(Object.keys(value).map((key, index) => [key, items[index]]));
    });
  }
  return devices.map(() => value);
}

/** The parts of a collection are as many as those of the item with the fewest. */
function together(
  items: readonly unknown[],
  devices: readonly Device[],
  dim: number,
  build: (items: unknown[]) => unknown,
): unknown[] {
  const scattered = items.map((item) => scatter(item, devices, dim));
  const count = Math.min(devices.length, ...scattered.map((parts) => parts.length));
  return Array.from({ length: count }, (_, part) => build(scattered.map((parts) => parts[part])));
}
