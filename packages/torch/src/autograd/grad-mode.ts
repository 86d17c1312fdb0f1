// Whether operations are recorded for a backward pass.
import { typeError } from "../check.js";
import { type Context, runContext } from "../context.js";
import { native } from "../native.js";

function gradMode(name: string, enabled: boolean, body?: () => unknown): unknown {
  return runContext(
    name,
    () => {
      const before = native().isGradEnabled();
      native().setGradEnabled(enabled);
      return () => native().setGradEnabled(before);
    },
    body,
  );
}

/**
 * Operations inside are not recorded for `backward`.
 * @example
 * using _ = torch.noGrad();               // until the end of the block
 * const y = torch.noGrad(() => model(x)); // for one callback
 */
export function noGrad(): Context;
export function noGrad<T>(body: () => T): T;
export function noGrad<T>(body?: () => T): T | Context {
  return gradMode("noGrad", false, body) as T | Context;
}

/** Operations inside are recorded, also within `noGrad`. */
export function enableGrad(): Context;
export function enableGrad<T>(body: () => T): T;
export function enableGrad<T>(body?: () => T): T | Context {
  return gradMode("enableGrad", true, body) as T | Context;
}

/**
 * Switches recording on or off, at once; the result restores what was before when used with `using`. With a callback, for it alone:
 * `torch.setGradEnabled(isTraining, () => model(x))`.
 */
export function setGradEnabled(enabled: boolean): Context;
export function setGradEnabled<T>(enabled: boolean, body: () => T): T;
export function setGradEnabled<T>(enabled: boolean, body?: () => T): T | Context {
  if (typeof enabled !== "boolean") throw typeError("enabled", "a boolean", enabled);
  return gradMode("setGradEnabled", enabled, body) as T | Context;
}

/** True when operations are being recorded. */
export function isGradEnabled(): boolean {
  return native().isGradEnabled();
}

/** Like `noGrad`, and the tensors made inside can never take part in a backward pass: less bookkeeping, faster. */
export function inferenceMode(): Context;
export function inferenceMode<T>(body: () => T): T;
export function inferenceMode<T>(body?: () => T): T | Context {
  return runContext(
    "inferenceMode",
    () => {
      native().pushInferenceMode(true);
      return () => native().popInferenceMode();
    },
    body,
  );
}

/** True inside `inferenceMode`. */
export function isInferenceModeEnabled(): boolean {
  return native().isInferenceMode();
}
