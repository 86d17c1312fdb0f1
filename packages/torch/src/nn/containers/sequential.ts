// Modules one after the other.
import { typeError } from "../../check.js";
import type { Tensor } from "../../tensor.js";
import { type AnyModule, Module } from "../module.js";
import { isModule, moduleState } from "../module-state.js";
import { indexable } from "./by-index.js";

/** Brackets read and replace the modules of the first 512 positions. */
// biome-ignore lint/correctness/noUnusedVariables: they have to be those of the class
export interface Sequential<A extends unknown[] = [Tensor], R = Tensor> {
  [index: number]: AnyModule;
}

/**
 * Passes its input through modules, one after the other. Takes the arguments of the first, gives the result of the last.
 * Names are numbers, or given: `new nn.Sequential({ fc: new nn.Linear(2, 2), act: new nn.ReLU() })`.
 *
 *     const net = new nn.Sequential(new nn.Linear(784, 128), new nn.ReLU(), new nn.Linear(128, 10));
 */
// biome-ignore lint/suspicious/noUnsafeDeclarationMerging: brackets, see by-index.ts
export class Sequential<A extends unknown[] = [Tensor], R = Tensor>
  extends Module<A, R>
  implements Iterable<AnyModule>
{
  constructor(only: Module<A, R>);
  constructor(first: Module<A, unknown>, ...rest: [...AnyModule[], Module<never, R>]);
  constructor(...modules: AnyModule[]);
  constructor(named: Readonly<Record<string, AnyModule>> | ReadonlyMap<string, AnyModule>);
  constructor(...given: unknown[]) {
    super();
    indexable(Sequential.prototype as never);
    const children = this[moduleState].children;
    const [first] = given;
    if (given.length === 1 && typeof first === "object" && first !== null && !Array.isArray(first)) {
      for (const [name, module] of first instanceof Map ? first : Object.entries(first))
        children.set(name, checkModule(name, module));
    } else {
      if (Array.isArray(first)) throw typeError("modules", "modules", first, "Type `new nn.Sequential(...list)`.");
      given.forEach((module, i) => void children.set(String(i), checkModule(String(i), module)));
    }
  }

  /** Number of modules. */
  override get length(): number {
    return this[moduleState].children.size;
  }

  /** The module at a position; negative ones count from the end. */
  at(index: number): AnyModule | undefined {
    return [...this[moduleState].children.values()].at(index);
  }

  /** Adds a module at the end. */
  append(module: AnyModule): this {
    const { children } = this[moduleState];
    children.set(String(children.size), checkModule(String(children.size), module));
    return this;
  }

  /** Puts a module in the place of another. */
  set(index: number, module: AnyModule): this {
    const { children } = this[moduleState];
    const name = [...children.keys()].at(index);
    if (name === undefined) throw new RangeError(`There are ${children.size} modules, none at ${index}.`);
    children.set(name, checkModule(name, module));
    return this;
  }

  [Symbol.iterator](): Iterator<AnyModule> {
    return this[moduleState].children.values();
  }

  forward(...args: A): R {
    let values: unknown[] = args;
    let result: unknown = args[0];
    for (const module of this[moduleState].children.values()) {
      result = module(...values);
      values = [result];
    }
    return result as R;
  }
}

/** internal: refuses what is no module. */
export function checkModule(name: string, module: unknown): AnyModule {
  if (!isModule(module)) {
    throw typeError(
      name,
      "a Module",
      module,
      typeof module === "function" ? "Layers are made with `new`; functions go into `forward`." : undefined,
    );
  }
  return module;
}
