// internal: what a module knows about itself beside its properties. Kept under a symbol on the module, so that users'
// fields can have any name.

import type { Tensor } from "../tensor.js";
import type { Slot } from "./guarded-members.js";
import type { AnyModule } from "./module.js";
import type { Parameter } from "./parameter.js";

/** internal: a forward pre-hook: may return other arguments (an array), or one other argument. */
export type ForwardPreHook<A extends unknown[]> = (module: AnyModule, args: A) => unknown;
/** internal: a forward hook: may return another output. */
export type ForwardHook<A extends unknown[], R> = (module: AnyModule, args: A, output: R) => unknown;

/** Gradients of a module's inputs or outputs, in order; null for those that need none. */
export type Gradients = (Tensor | null)[];
/** internal: a backward hook: may return other gradients of the inputs. */
export type BackwardHook = (module: AnyModule, gradInput: Gradients, gradOutput: Gradients) => unknown;
/** internal: a backward pre-hook: may return other gradients of the outputs. */
export type BackwardPreHook = (module: AnyModule, gradOutput: Gradients) => unknown;

/** internal: a hook around `stateDict`: gets the prefix and `keepVars` before, the state and the prefix afterwards. */
export type StateDictHook = (module: AnyModule, ...rest: never[]) => unknown;

/** internal: the key of a module's state. */
export const moduleState: unique symbol = Symbol("moduleState");

/** internal: the state of one module. */
export class ModuleState {
  training = true;
  /** True while any hook is registered: the one thing that a call looks at. */
  hooked = false;
  readonly forwardPreHooks = new Map<number, ForwardPreHook<never>>();
  readonly forwardHooks = new Map<number, ForwardHook<never, never>>();
  readonly backwardPreHooks = new Map<number, BackwardPreHook>();
  readonly backwardHooks = new Map<number, BackwardHook>();
  readonly stateDictPreHooks = new Map<number, StateDictHook>();
  readonly stateDictPostHooks = new Map<number, StateDictHook>();
  readonly loadPreHooks = new Map<number, StateDictHook>();
  readonly loadPostHooks = new Map<number, StateDictHook>();
  /** Names of properties that are buffers, and whether they belong to the state dict. */
  readonly buffers = new Map<string, boolean>();
  /** Children of containers, which are no properties: their names are numbers or anything. */
  readonly children = new Map<string, AnyModule>();
  /** The same for parameters. */
  readonly parameters = new Map<string, Parameter>();
  /** Properties that have been seen holding a parameter, buffer or module; see guarded-members.ts. */
  readonly slots = new Map<string, Slot>();
  /** Fields whose plain lists and objects have been reported. */
  readonly checkedFields = new Set<string>();

  /** True while a backward hook is registered. */
  get hasBackwardHooks(): boolean {
    return this.backwardPreHooks.size > 0 || this.backwardHooks.size > 0;
  }

  /** Sets `hooked` after a change of the tables. */
  readonly hooksChanged = (): void => {
    this.hooked = this.forwardPreHooks.size > 0 || this.forwardHooks.size > 0 || this.hasBackwardHooks;
  };
}

/** internal: true for modules, also behind a Proxy. */
export function isModule(value: unknown): value is AnyModule {
  return typeof value === "function" && moduleState in value;
}
