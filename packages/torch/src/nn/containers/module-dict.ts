// Modules by name that their parent knows of.
import { typeError } from "../../check.js";
import { NotSupportedError } from "../../errors.js";
import { type AnyModule, Module } from "../module.js";
import { moduleState } from "../module-state.js";
import { checkModule } from "./sequential.js";

/**
 * Modules by name, for names that are known only at run time; others are better as properties.
 *
 *     heads = new nn.ModuleDict({ actor: new nn.Linear(64, 4), critic: new nn.Linear(64, 1) });
 *     forward(x: Tensor, head: string) { return this.heads.get(head)(x); }
 */
export class ModuleDict<T extends AnyModule = AnyModule>
  extends Module<unknown[], unknown>
  implements Iterable<[string, T]>
{
  constructor(modules: Readonly<Record<string, T>> | Iterable<readonly [string, T]> = {}) {
    super();
    if (typeof modules !== "object" || modules === null) {
      throw typeError("modules", "an object or Map of modules", modules, "Type `new nn.ModuleDict({ a, b })`.");
    }
    const entries = Symbol.iterator in modules ? (modules as Iterable<readonly [string, T]>) : Object.entries(modules);
    for (const [name, module] of entries) this.set(name, module);
  }

  /** Number of modules. */
  get size(): number {
    return this[moduleState].children.size;
  }

  /** The module of a name. Throws when there is none. */
  get(name: string): T {
    const found = this[moduleState].children.get(name);
    if (!found)
      throw new RangeError(
        `The dict has no module called "${name}". It has: ${[...this.keys()].join(", ") || "none"}.`,
      );
    return found as T;
  }

  /** True when there is a module of that name. */
  has(name: string): boolean {
    return this[moduleState].children.has(name);
  }

  /** Adds a module or replaces the one of that name. */
  set(name: string, module: T): this {
    if (typeof name !== "string" || name === "" || name.includes(".")) {
      throw typeError("name", "a string that is not empty and has no dot", name, "Names are parts of dotted paths.");
    }
    this[moduleState].children.set(name, checkModule(name, module));
    return this;
  }

  /** Removes a module; true when there was one. */
  delete(name: string): boolean {
    return this[moduleState].children.delete(name);
  }

  /** The names, in the order in which they were added. */
  keys(): IterableIterator<string> {
    return this[moduleState].children.keys();
  }
  /** The modules, in the order in which they were added. */
  values(): IterableIterator<T> {
    return this[moduleState].children.values() as IterableIterator<T>;
  }
  /** Names and modules, in the order in which they were added. */
  entries(): IterableIterator<[string, T]> {
    return this[moduleState].children.entries() as IterableIterator<[string, T]>;
  }
  [Symbol.iterator](): Iterator<[string, T]> {
    return this.entries();
  }

  forward(): unknown {
    throw new NotSupportedError("A ModuleDict cannot be called.", {
      hint: "Call one of its modules: `dict.get(name)(x)`.",
    });
  }
}
