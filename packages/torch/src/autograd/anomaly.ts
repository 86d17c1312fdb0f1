// Finding where a wrong gradient comes from.
import { checkOptions, typeError } from "../check.js";
import { type Context, optionsAndCallback, runContext } from "../context.js";
import { native } from "../native.js";

/** Options of `detectAnomaly`. */
export interface DetectAnomalyOptions {
  /** Make NaN gradients errors. Default: true. */
  checkNan?: boolean | undefined;
}

/**
 * Errors of backward passes say where the forward call was made that they belong to, and NaN gradients are errors.
 * Forward has to run inside as well. Slow: for debugging. Holds for all threads of the process.
 */
export function detectAnomaly(options?: DetectAnomalyOptions): Context;
export function detectAnomaly<T>(body: () => T, options?: DetectAnomalyOptions): T;
export function detectAnomaly<T>(options: DetectAnomalyOptions, body: () => T): T;
export function detectAnomaly<T>(
  first: DetectAnomalyOptions | (() => T) = {},
  second?: DetectAnomalyOptions | (() => T),
): T | Context {
  const [options, body] = optionsAndCallback<DetectAnomalyOptions, T>(first, second);
  checkOptions(options, ["checkNan"], "autograd.detectAnomaly({ checkNan: false }, () => loss.backward())");
  const { checkNan = true } = options;
  if (typeof checkNan !== "boolean") throw typeError("checkNan", "a boolean", checkNan);
  return runContext(
    "detectAnomaly",
    () => {
      const [enabled, checked] = native().detectAnomalyState();
      native().setDetectAnomaly(true, checkNan);
      return () => native().setDetectAnomaly(enabled, checked);
    },
    body,
  );
}
