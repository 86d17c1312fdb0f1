// Callbacks that come with every Fabric without being asked for: a package registers a function that makes them.
import { describe } from "../utilities/describe.js";
import { rankZeroInfo } from "../utilities/rank-zero.js";
import { checkCallback } from "./hook-caller.js";

/** Makes callbacks for a new Fabric: one, a list, or none. */
export type CallbackFactory = () => object | readonly object[];

const factories = new Map<CallbackFactory, string>();

/**
 * Has `factory` called for every Fabric that is made from now on; what it returns is appended to the user's callbacks, and a line on
 * standard error says so. `name` (default: the function's) says where they come from. Returns a function that takes the factory away
 * again.
 *
 *     registerCallbackFactory(() => new UsageReporter(), { name: "usage-reporter" });
 */
export function registerCallbackFactory(factory: CallbackFactory, options: { name?: string } = {}): () => void {
  if (typeof factory !== "function") {
    throw new TypeError(
      `Expected a function that makes callbacks, but got ${describe(factory)}.\nType \`registerCallbackFactory(() => new MyCallback())\`.`,
    );
  }
  factories.set(factory, options.name ?? (factory.name || "registerCallbackFactory"));
  return () => {
    factories.delete(factory);
  };
}

/** internal: calls all factories, in the order of their registration. */
export function callbacksFromFactories(): object[] {
  const all: object[] = [];
  for (const [factory, name] of factories) {
    const made = factory();
    const callbacks = (Array.isArray(made) ? made : [made]).map(checkCallback);
    if (callbacks.length === 0) continue;
    const s = callbacks.length === 1 ? "" : "s";
    const names = callbacks.map((callback) => callback.constructor?.name || "Object").join(", ");
    rankZeroInfo(`Adding ${callbacks.length} callback${s} from entry point '${name}': ${names}`);
    all.push(...callbacks);
  }
  return all;
}
