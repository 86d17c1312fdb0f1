// internal: what a module knows about itself beside its properties. Kept under a symbol on the module, so that users'
// fields can have any name.
import type { AnyModule } from "./module.js";
import type { Parameter } from "./parameter.js";

/** internal: a forward pre-hook: may return other arguments (an array), or one other argument. */
export type ForwardPreHook<A extends unknown[]> = (module: AnyModule, args: A) => unknown;
/** internal: a forward hook: may return another output. */
export type ForwardHook<A extends unknown[], R> = (module: AnyModule, args: A, output: R) => unknown;

/** internal: the key of a module's state. */
export const moduleState: unique symbol = Symbol("moduleState");

/** internal: the state of one module. */
export class ModuleState {
  training = true;
  /** True while any hook is registered: the one thing that a call looks at. */
  hooked = false;
  readonly forwardPreHooks = new Map<number, ForwardPreHook<never>>();
  readonly forwardHooks = new Map<number, ForwardHook<never, never>>();
  /** Names of properties that are buffers, and whether they belong to the state dict. */
  readonly buffers = new Map<string, boolean>();
  /** Children of containers, which are no properties: their names are numbers or anything. */
  readonly children = new Map<string, AnyModule>();
  /** The same for parameters. */
  readonly parameters = new Map<string, Parameter>();
  /** Fields whose plain lists and objects have been reported. */
  readonly checkedFields = new Set<string>();

  /** Sets `hooked` after a change of the tables. */
  readonly hooksChanged = (): void => {
    this.hooked = this.forwardPreHooks.size > 0 || this.forwardHooks.size > 0;
  };
}

/** internal: true for modules, also behind a Proxy. */
export function isModule(value: unknown): value is AnyModule {
  return typeof value === "function" && moduleState in value;
}
