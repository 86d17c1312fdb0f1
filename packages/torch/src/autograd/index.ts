// The `autograd` namespace.
import { type Context, runContext } from "../context.js";
import { native } from "../native.js";

export { type BackwardOptions, backward, type GradOptions, grad } from "./backward.js";
export { BackwardGuard } from "./backward-guard.js";
export { enableGrad, inferenceMode, isGradEnabled, noGrad, setGradEnabled } from "./grad-mode.js";
export type { HookHandle } from "./hooks.js";

/** Errors of a backward pass name the forward operation that led to them, and NaN gradients become errors. Slow: for debugging. */
export function detectAnomaly(): Context;
export function detectAnomaly<T>(body: () => T): T;
export function detectAnomaly<T>(body?: () => T): T | Context {
  return runContext(
    "detectAnomaly",
    () => {
      native().setDetectAnomaly(true, true);
      return () => native().setDetectAnomaly(false, true);
    },
    body,
  );
}
