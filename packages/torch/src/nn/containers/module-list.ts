// A list of modules that their parent knows of.
import { typeError } from "../../check.js";
import { NotSupportedError } from "../../errors.js";
import { type AnyModule, Module } from "../module.js";
import { moduleState } from "../module-state.js";
import { indexable } from "./by-index.js";
import { checkModule } from "./sequential.js";

/** Brackets read and replace the modules of the first 512 positions; `at` and `set` those of all. */
export interface ModuleList<T extends AnyModule = AnyModule> {
  [index: number]: T;
}

/**
 * Modules by position. A plain array would hide its modules from `parameters()`, `stateDict()` and `to()`.
 *
 *     blocks = new nn.ModuleList([new Block(), new Block()]);
 *     forward(x: Tensor) { for (const block of this.blocks) x = block(x); return x; }
 */
// biome-ignore lint/suspicious/noUnsafeDeclarationMerging: brackets, see by-index.ts
export class ModuleList<T extends AnyModule = AnyModule> extends Module<unknown[], unknown> implements Iterable<T> {
  constructor(modules: Iterable<T> = []) {
    super();
    indexable(ModuleList.prototype as never);
    if (typeof (modules as Partial<Iterable<T>>)?.[Symbol.iterator] !== "function") {
      throw typeError("modules", "an array of modules", modules, "Type `new nn.ModuleList([a, b])`.");
    }
    this.extend(modules);
  }

  /** Number of modules. */
  override get length(): number {
    return this[moduleState].children.size;
  }

  /** The module at a position; negative ones count from the end. */
  at(index: number): T | undefined {
    return [...this].at(index);
  }

  /** Adds a module at the end. */
  append(module: T): this {
    const name = String(this.length);
    this[moduleState].children.set(name, checkModule(name, module));
    return this;
  }

  /** Adds several modules at the end. */
  extend(modules: Iterable<T>): this {
    for (const module of modules) this.append(module);
    return this;
  }

  /** Adds a module before a position. */
  insert(index: number, module: T): this {
    const modules = [...this];
    modules.splice(index, 0, module);
    this[moduleState].children.clear();
    return this.extend(modules);
  }

  /** Puts a module in the place of another. */
  set(index: number, module: T): this {
    const name = String(index < 0 ? index + this.length : index);
    if (!this[moduleState].children.has(name))
      throw new RangeError(`The list has ${this.length} modules, none at ${index}.`);
    this[moduleState].children.set(name, checkModule(name, module));
    return this;
  }

  [Symbol.iterator](): Iterator<T> {
    return this[moduleState].children.values() as Iterator<T>;
  }

  forward(): unknown {
    throw new NotSupportedError("A ModuleList cannot be called.", {
      hint: "Call its modules one by one, or take `nn.Sequential`.",
    });
  }
}
