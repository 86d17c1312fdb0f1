// What `logger.experiment` is on ranks that do not log: an object that takes every call and does nothing.
import { currentRank } from "../utilities/rank-zero.js";

const nothing: ProxyHandler<() => void> = {
  get: (_target, key) => {
    // Not a promise, and nothing to print or convert specially.
    if (key === "then" || typeof key === "symbol") return undefined;
    return dummyExperiment;
  },
  set: () => true,
  deleteProperty: () => true,
  apply: () => undefined,
  has: () => false,
};

/** Any method can be called on it and any index read and written: nothing happens, calls return undefined. */
// biome-ignore lint/suspicious/noExplicitAny: it stands for any experiment
export const dummyExperiment: any = new Proxy(() => {}, nothing);

/**
 * Makes a getter of an experiment give the real one on rank zero and `dummyExperiment` on all others. As a decorator of the
 * getter, `@rankZeroExperiment get experiment() { ... }`, or around a function:
 *
 *     get experiment() { return rankZeroExperiment(() => (this.#writer ??= open()))(); }
 */
export function rankZeroExperiment<This, T>(
  getter: (this: This) => T,
  _context?: ClassGetterDecoratorContext<This, T>,
): (this: This) => T {
  return function (this: This): T {
    return currentRank() === 0 ? getter.call(this) : (dummyExperiment as T);
  };
}
