// Moves batches: everything in a nested collection that has a `to` method.
import type { Device } from "@fabric-ts/torch";
import { applyToCollection } from "./apply-to-collection.js";

interface Movable {
  to(device: Device, options?: { nonBlocking?: boolean }): unknown;
}

/**
 * Moves every tensor, and every other object with a `to` method, in a nested collection of arrays, plain objects and Maps.
 * Other values stay as they are. Copies to accelerators do not block.
 */
export function moveDataToDevice<T>(data: T, device: Device): T {
  const nonBlocking = device !== "cpu" && !device.startsWith("mps");
  return applyToCollection(data, isMovable, (item: Movable) => {
    const moved = nonBlocking ? item.to(device, { nonBlocking }) : item.to(device);
    return moved === undefined ? item : moved;
  }) as T;
}

function isMovable(value: unknown): boolean {
  return (
    ((typeof value === "object" && value !== null) || typeof value === "function") &&
    typeof (value as { to?: unknown }).to === "function"
  );
}
