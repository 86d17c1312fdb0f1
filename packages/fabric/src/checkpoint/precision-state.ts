// The state of the precision (the loss scaler of `16-mixed`) travels with every checkpoint, so that nobody forgets it.
import type { Precision } from "../precision/precision.js";
import { className } from "../utilities/describe.js";

/** internal: the state with the precision's in it, under the name of its class, unless it is there already or has nothing to save. */
export function withPrecision(state: object, precision: Precision): object {
  const key = className(precision);
  if (key === "" || key in state || Object.values(state).includes(precision)) return state;
  return Object.keys(precision.stateDict()).length === 0 ? state : { ...state, [key]: precision };
}

/** internal: what is restored beside the user's state: the precision, unless the user restores it or it has nothing to restore. */
export function precisionToRestore(state: unknown, precision: Precision): Record<string, Precision> {
  const key = className(precision);
  if (typeof state !== "object" || state === null || key === "" || Object.values(state).includes(precision)) return {};
  return Object.keys(precision.stateDict()).length === 0 ? {} : { [key]: precision };
}
