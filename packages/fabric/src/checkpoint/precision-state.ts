// The state of the precision (the loss scaler of `16-mixed`) travels with every checkpoint, so that nobody forgets it.
import type { Precision } from "../precision/precision.js";
import { isPlainObject } from "../utilities/apply-to-collection.js";
import { className } from "../utilities/describe.js";

/** internal: the state with the precision's in it, under the name of its class, unless it is there already or has nothing to save. */
export function withPrecision(state: object, precision: Precision): object {
  const key = className(precision);
  if (key === "" || key in state || Object.values(state).includes(precision)) return state;
  return Object.keys(precision.stateDict()).length === 0 ? state : { ...state, [key]: precision };
}

/** internal: restores what `withPrecision` has added and takes it from the remainder, where the user did not ask for it. */
export function restorePrecision(remainder: Record<string, unknown>, state: unknown, precision: Precision): void {
  const key = className(precision);
  const stored = Object.hasOwn(remainder, key) ? remainder[key] : undefined;
  if (typeof state !== "object" || state === null || stored === undefined) return;
  if (Object.values(state).includes(precision) || Object.keys(precision.stateDict()).length === 0) return;
  const entries = stored instanceof Map ? (Object.fromEntries(stored) as Record<string, unknown>) : stored;
  if (!isPlainObject(entries)) return;
  precision.loadStateDict(entries as Record<string, unknown>);
  delete remainder[key];
}
