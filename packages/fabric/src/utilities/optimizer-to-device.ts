// Moves what an optimizer remembers, after its parameters were moved.
import { type Device, optim, Tensor } from "@fabric-ts/torch";
import { applyToCollection } from "./apply-to-collection.js";
import { describe } from "./describe.js";

/**
 * Moves the tensors in an optimizer's state to a device, in place. The step counters stay where they are, because optimizers read them on
 * the CPU.
 */
export function optimizerToDevice(optimizer: optim.Optimizer, device: Device): void {
  if (!(optimizer instanceof optim.Optimizer)) {
    throw new TypeError(`Expected \`optimizer\` to be an Optimizer, but got ${describe(optimizer)}.`);
  }
  const move = (value: unknown): unknown =>
    applyToCollection(value, Tensor, (tensor) => tensor.to(device), { allowFrozen: true });
  for (const state of optimizer.state.values()) {
    for (const [name, value] of Object.entries(state)) if (name !== "step") state[name] = move(value);
  }
}
