// internal: runs a piece of code of this folder without recording gradients.
import { native } from "../native.js";

/** internal: calls `body` with gradient mode off and restores the mode, also after an error. */
export function withoutGrad<T>(body: () => T): T {
  const binding = native();
  const before = binding.isGradEnabled();
  if (!before) return body();
  binding.setGradEnabled(false);
  try {
    return body();
  } finally {
    binding.setGradEnabled(true);
  }
}
