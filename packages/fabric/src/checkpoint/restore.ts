// From a checkpoint back into the user's models, optimizers and values: checked first, then put in place in steps that can be
// undone, so that what does not fit, here or on another rank, changes nothing.
import { CheckpointError, ConfigurationError, nn, optim, type Tensor } from "@fabric-ts/torch";
import { isPlainObject, setOwn } from "../utilities/apply-to-collection.js";
import { describe } from "../utilities/describe.js";
import { isPerRank, ownShare } from "./per-rank.js";
import { isStateful, type Stateful } from "./state.js";

/** internal: how a strategy puts a saved state into models. */
export interface RestoreAccess {
  readonly globalRank: number;
  loadModuleStateDict(module: nn.AnyModule, state: Record<string, unknown>, strict: boolean): void;
  /** Throws what `loadModuleStateDict` would throw, and changes nothing. */
  checkModuleStateDict(module: nn.AnyModule, state: Record<string, unknown>, strict: boolean): void;
}

/** internal: options of `Restoration`. */
export interface RestoreOptions {
  /** Missing and unknown keys are errors (default true). */
  strict?: boolean;
  /** Stateful objects that are restored beside those of the user where the checkpoint has them. */
  extras?: Record<string, unknown>;
}

/** internal: a checkpoint that was found to fit. */
export class Restoration {
  /** The entries that were not asked for. */
  readonly remainder: Record<string, unknown>;
  readonly #objects: Change[] = [];
  readonly #modules: Change[] = [];
  #done: Change[] = [];

  /**
   * Checks keys, names and shapes; nothing is changed yet.
   * @throws CheckpointError, or what a model says about a state that does not fit
   */
  constructor(access: RestoreAccess, checkpoint: unknown, state: unknown, options: RestoreOptions = {}) {
    const { strict = true, extras = {} } = options;
    const single = state instanceof nn.Module || isStateful(state);
    if (state === undefined || state === null || (!single && Object.keys(state as object).length === 0)) {
      this.remainder = checkpoint as Record<string, unknown>;
      return;
    }
    this.remainder = {};
    if (single) {
      this.#plan(access, state, checkpoint, strict);
      return;
    }
    const wanted = state as Record<string, unknown>;
    const rest = entriesOf(checkpoint);
    if (strict) checkKeys(wanted, rest);
    for (const [key, target] of Object.entries(wanted)) {
      if (!rest.has(key)) continue;
      const stored = rest.get(key);
      rest.delete(key);
      if (target instanceof nn.Module || isStateful(target)) this.#plan(access, target, stored, strict);
      else this.#modules.push(assignment(wanted, key, target, stored));
    }
    for (const [key, target] of Object.entries(extras)) {
      if (!rest.has(key)) continue;
      this.#plan(access, target as Stateful, rest.get(key), strict);
      rest.delete(key);
    }
    for (const [key, value] of rest) setOwn(this.remainder, key, value);
  }

  /** Restores optimizers and other objects, which find out whether a state fits only when they take it. */
  applyObjects(): void {
    this.#apply(this.#objects);
  }
  /** Restores models and plain values. */
  applyModules(): void {
    this.#apply(this.#modules);
  }
  /** Goes back to what was there before. */
  undo(): void {
    for (const change of this.#done.reverse()) change.undo();
    this.#done = [];
  }

  #apply(changes: readonly Change[]): void {
    for (const change of changes) {
      this.#done.push(change);
      change.apply();
    }
  }

  #plan(access: RestoreAccess, target: object, stored: unknown, strict: boolean): void {
    if (target instanceof nn.Module) {
      const module = target as nn.AnyModule;
      const state = stored as Record<string, unknown>;
      if (hasOwnLoading(module)) {
        this.#modules.push(change(module, () => access.loadModuleStateDict(module, state, strict)));
        return;
      }
      access.checkModuleStateDict(module, state, strict);
      this.#modules.push({ apply: () => access.loadModuleStateDict(module, state, strict), undo: () => {} });
      return;
    }
    const object = target as Stateful;
    const mine = isPerRank(object) ? ownShare(stored, access.globalRank) : stored;
    if (mine === undefined) return;
    this.#objects.push(change(object, () => object.loadStateDict(mine as never)));
  }
}

interface Change {
  apply(): void;
  undo(): void;
}

/** A change that is undone by loading a copy of the state from before. */
function change(target: Stateful, load: () => unknown): Change {
  let before: unknown;
  return {
    apply: () => {
      // An optimizer replaces its tensors, so references to the old ones are enough.
      before = target instanceof optim.Optimizer ? target.stateDict() : copyOf(target.stateDict());
      load();
    },
    undo: () => {
      if (before !== undefined) target.loadStateDict(before as never);
    },
  };
}

/** A value of the state takes the one that was saved, through its setter where it has one. */
function assignment(state: Record<string, unknown>, key: string, before: unknown, stored: unknown): Change {
  checkAssignable(state, key);
  const set = (value: unknown): void => {
    state[key] = value;
  };
  return { apply: () => set(stored), undo: () => set(before) };
}

function checkAssignable(state: object, key: string): void {
  const own = Object.getOwnPropertyDescriptor(state, key);
  if (own?.writable || own?.set) return;
  throw new ConfigurationError(
    `The entry '${key}' of the state cannot take the saved value: ${Object.isFrozen(state) ? "the state is frozen" : "it is read-only"}.`,
    {
      hint: "Give `load` an object whose entries can be set, or take what was saved from its result: `const saved = await fabric.load(path)`.",
    },
  );
}

/** internal: refuses a state with plain values that cannot be replaced, where loading works on a copy of it, `unwrapped`. */
export function checkReplaceable(state: object, unwrapped: object): void {
  for (const [key, value] of Object.entries(unwrapped)) {
    if (!(value instanceof nn.Module) && !isStateful(value)) checkAssignable(state, key);
  }
}

/** True for models whose classes load in a way of their own, which cannot be tried out. */
function hasOwnLoading(module: nn.AnyModule): boolean {
  return module
    .modules()
    .some((part) => part.loadStateDict !== nn.Module.prototype.loadStateDict || "setExtraState" in part);
}

function copyOf(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (typeof (value as Tensor).detach === "function") return (value as Tensor).detach().clone();
  if (Array.isArray(value)) return Object.assign(value.slice(), value.map(copyOf));
  if (value instanceof Map) return new Map([...value].map(([key, item]) => [key, copyOf(item)]));
  if (!isPlainObject(value)) return value;
  const copy = Object.create(Object.getPrototypeOf(value)) as object;
  for (const [key, item] of Object.entries(value)) setOwn(copy, key, copyOf(item));
  return copy;
}

function entriesOf(checkpoint: unknown): Map<string, unknown> {
  if (checkpoint instanceof Map) return new Map(checkpoint);
  if (isPlainObject(checkpoint)) return new Map(Object.entries(checkpoint));
  throw new CheckpointError(`The checkpoint is ${describe(checkpoint)}, not a dictionary.`, {
    hint: "Use `fabric.loadRaw(path, model)` for a file that holds the state of one object.",
  });
}

const mostNamed = 5;

function checkKeys(wanted: object, checkpoint: ReadonlyMap<string, unknown>): void {
  const missing = Object.keys(wanted).filter((key) => !checkpoint.has(key));
  const [first, ...others] = missing;
  if (first === undefined) return;
  const named = others.slice(0, mostNamed - 1).map((key) => `'${key}'`);
  if (others.length > named.length) named.push(`${others.length - named.length} more`);
  const also = named.length > 0 ? ` Also missing: ${named.join(", ")}.` : "";
  throw new CheckpointError(
    `The requested state contains a key '${first}' that does not exist in the loaded checkpoint.${also}`,
    {
      code: "ERR_CHECKPOINT_KEY",
      hint: `It has: ${[...checkpoint.keys()].join(", ") || "no keys"}. To disable strict loading, set \`strict: false\`.`,
    },
  );
}
