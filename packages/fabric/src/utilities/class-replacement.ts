// For the time of a block, classes in a registry are others: `new layers.Linear()` makes what takes its place.
import { types } from "node:util";
import { ConfigurationError } from "@fabric-ts/torch";
import { onLeave, within } from "./context.js";
import { className } from "./describe.js";

/**
 * Puts other classes into `registry` and takes them back at the end: `replaceClasses(layers, { Linear: QuantizedLinear }, () => new Model())`,
 * or `using _ = replaceClasses(...)`. The registry is an object of yours whose classes the models look up when they are made, such as
 * `export const layers = { ...nn }`: what a module exports cannot be replaced.
 */
export function replaceClasses<R extends object>(registry: R, replacements: Partial<R>): Disposable;
export function replaceClasses<R extends object, T>(registry: R, replacements: Partial<R>, body: () => T): T;
export function replaceClasses<R extends object, T>(
  registry: R,
  replacements: Partial<R>,
  body?: () => T,
): T | Disposable {
  if (types.isModuleNamespaceObject(registry)) {
    throw new ConfigurationError("The classes that a module exports cannot be replaced: its exports are read-only.", {
      hint: "Make an object of them, `export const layers = { ...nn }`, use `layers.Linear` in the models, and pass `layers`.",
    });
  }
  const target = registry as Record<string, unknown>;
  for (const [name, replacement] of Object.entries(replacements)) {
    if (!(name in target)) throw new ConfigurationError(`The registry has no class \`${name}\` to replace.`);
    if (typeof replacement !== "function") {
      throw new TypeError(`Expected the replacement for \`${name}\` to be a class, but got ${className(replacement)}.`);
    }
  }
  const before = Object.getOwnPropertyDescriptors(registry);
  Object.assign(registry, replacements);
  const context = onLeave(() => {
    for (const name of Object.keys(replacements)) restore(registry, name, before[name as keyof typeof before]);
  });
  return within(context, "replaceClasses", body);
}

/** What was inherited is inherited again. */
function restore(registry: object, name: string, before: PropertyDescriptor | undefined): void {
  if (before === undefined) Reflect.deleteProperty(registry, name);
  else Object.defineProperty(registry, name, before);
}
