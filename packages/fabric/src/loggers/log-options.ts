// The last arguments of `fabric.log` and `fabric.logDict`: a step, options, or both.
import { checkOptions } from "../utilities/describe.js";
import { checkEvery, checkStep } from "./metrics.js";

/** Options of `fabric.log` and `fabric.logDict`. */
export interface LogOptions {
  /** Number of the step, which may also stand before the options. */
  step?: number | undefined;
  /** Record the first call in each block of this many steps only; between these, tensors are not even read. */
  every?: number | undefined;
}

/** internal: both forms as one. */
export function logOptions(what: string, step: number | LogOptions | undefined, options: LogOptions = {}): LogOptions {
  if (typeof step === "object" && step !== null) return logOptions(what, undefined, step);
  checkOptions(what, options, ["step", "every"]);
  // Python's None is null for some.
  const result = { step: step ?? options.step ?? undefined, every: options.every ?? 1 };
  checkStep(result.step);
  checkEvery(what, result.every);
  return result;
}
