// What `fabric.setup` returns for an optimizer: the same optimizer, stepped through the strategy.
import type { optim, Tensor } from "@fabric-ts/torch";
import { refusePromise } from "../callbacks/hook-caller.js";
import type { Strategy } from "../strategies/strategy.js";
import { countStep, during } from "../utilities/activity.js";
import { forwardMembers } from "../utilities/forward-members.js";

/** An optimizer as `fabric.setup` returns it: everything the optimizer has, and `optimizer`, the one that was given. */
export type FabricOptimizer<O extends optim.Optimizer = optim.Optimizer> = O & { readonly optimizer: O };

interface FabricOptimizerConstructor {
  readonly prototype: FabricOptimizer;
  [Symbol.hasInstance](value: unknown): value is FabricOptimizer;
}

const wrappers = new WeakSet<object>();

/** The class of wrapped optimizers, for `instanceof`. They are instances of the class of the optimizer inside as well. */
export const FabricOptimizer = {
  [Symbol.hasInstance]: (value: unknown): boolean => typeof value === "object" && value !== null && wrappers.has(value),
} as unknown as FabricOptimizerConstructor;

/** internal: wraps an optimizer. `callbacks` is read at each step, so that callbacks added later are called, too. */
export function wrapOptimizer<O extends optim.Optimizer>(
  optimizer: O,
  strategy: Strategy,
  callbacks: readonly object[] = [],
): FabricOptimizer<O> {
  // The optimizer itself is the prototype: what it gets later is found, and `instanceof` holds.
  const wrapper = Object.create(optimizer) as object;
  const define = (name: string, value: unknown): void => {
    Object.defineProperty(wrapper, name, { value, writable: true, configurable: true, enumerable: false });
  };
  define("constructor", wrapperClass(optimizer.constructor.name));
  Object.defineProperty(wrapper, "optimizer", { value: optimizer, enumerable: false });
  define("step", (...args: [closure?: () => Tensor]): unknown => {
    strategy.refuseDuringSave("optimizer.step()");
    const output = during("step", () => strategy.optimizerStep(optimizer, ...args));
    countStep();
    for (const callback of callbacks) {
      const hook = (callback as { onAfterOptimizerStep?: unknown }).onAfterOptimizerStep;
      if (typeof hook !== "function") continue;
      refusePromise(hook.call(callback, { strategy, optimizer }), "optimizer.step", callback, "onAfterOptimizerStep");
    }
    return output;
  });
  define("stateDict", () => strategy.getOptimizerState(optimizer));
  forwardMembers(wrapper, optimizer);
  wrappers.add(wrapper);
  return wrapper as FabricOptimizer<O>;
}

const classes = new Map<string, object>();

/** A class called `FabricSGD` for `SGD`. */
function wrapperClass(name: string): object {
  const known = classes.get(name);
  if (known) return known;
  const made = class {};
  Object.defineProperty(made, "name", { value: `Fabric${name}` });
  classes.set(name, made);
  return made;
}
