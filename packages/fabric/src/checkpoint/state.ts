// From what the user gives to `save` (modules, optimizers, anything) to what is stored. The way back is in restore.ts.
import { ConfigurationError, nn, optim, Tensor } from "@fabric-ts/torch";
import { isPlainObject, setOwn } from "../utilities/apply-to-collection.js";
import { describe } from "../utilities/describe.js";

/** For each key of the state: which entries of the dictionary found there are saved. */
export type CheckpointFilter = Record<string, (key: string, value: unknown) => boolean>;

/** Anything that can be saved and restored: schedulers, precision plugins, objects of the user. */
export interface Stateful {
  stateDict(): unknown;
  loadStateDict(state: never): unknown;
}

/** internal: how a strategy reads the state of models and optimizers. */
export interface StateAccess {
  getModuleStateDict(module: nn.AnyModule): Record<string, unknown>;
  getOptimizerState(optimizer: optim.Optimizer): unknown;
}

/** internal: true for everything with `stateDict` and `loadStateDict`. */
export function isStateful(value: unknown): value is Stateful {
  if (value === null || (typeof value !== "object" && typeof value !== "function")) return false;
  const { stateDict, loadStateDict } = value as Partial<Stateful>;
  return typeof stateDict === "function" && typeof loadStateDict === "function";
}

/** internal: replaces models, optimizers and other stateful entries by their states and applies the filter. */
export function convertState(
  access: StateAccess,
  state: object,
  filter: CheckpointFilter = {},
): Record<string, unknown> {
  const converted: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(state)) {
    const stored = stateOf(access, value);
    const keep = Object.hasOwn(filter, key) ? filter[key] : undefined;
    const kept = keep ? filtered(stored, keep) : stored;
    if (kept !== nothing) setOwn(converted, key, kept);
  }
  return converted;
}

/** internal: what is saved and loaded goes by name. Anything without names would be a file without its contents. */
export function checkState(method: "save" | "load", state: unknown): asserts state is object {
  const isNamed =
    typeof state === "object" &&
    state !== null &&
    !isStateful(state) &&
    !Array.isArray(state) &&
    !(state instanceof Map || state instanceof Set || state instanceof Tensor || state instanceof Promise);
  if (isNamed) return;
  const hint =
    state instanceof Map
      ? `Type \`const state = Object.fromEntries(map)\` and \`await fabric.${method}(path, state)\`.`
      : `Type \`await fabric.${method}(path, { model, optimizer })\`.`;
  throw new TypeError(`Expected the state of \`${method}\` to be an object, but got ${describe(state)}.\n${hint}`);
}

/** internal: checks the filter's keys and values against the state. */
export function checkFilter(filter: unknown, state: object): asserts filter is CheckpointFilter {
  if (!isPlainObject(filter)) throw new TypeError(`Filter should be a dictionary, given ${describe(filter)}.`);
  const unknown = Object.keys(filter).filter((key) => !Object.hasOwn(state, key));
  if (unknown.length > 0) {
    throw new ConfigurationError(
      `The filter keys ${unknown.map((key) => `'${key}'`).join(", ")} are not present in the state keys.`,
      {
        hint: `The state has: ${Object.keys(state).join(", ") || "no keys"}.`,
      },
    );
  }
  for (const [key, value] of Object.entries(filter)) {
    if (typeof value !== "function") {
      throw new TypeError(`Expected \`filter\` for key '${key}' to be a callable, given ${describe(value)}.`);
    }
  }
}

const nothing = Symbol("nothing");

function stateOf(access: StateAccess, value: unknown): unknown {
  if (value instanceof nn.Module) return access.getModuleStateDict(value as nn.AnyModule);
  if (value instanceof optim.Optimizer) return access.getOptimizerState(value);
  return isStateful(value) ? value.stateDict() : value;
}

/** Keeps the entries of a dictionary that pass; `nothing` when none does. What is no dictionary passes whole. */
function filtered(value: unknown, keep: (key: string, value: unknown) => boolean): unknown {
  if (value instanceof Map) {
    const kept = new Map([...value].filter(([key, item]) => keep(key as string, item)));
    return kept.size === 0 ? nothing : kept;
  }
  if (!isPlainObject(value)) return value;
  const kept = Object.create(Object.getPrototypeOf(value)) as Record<string, unknown>;
  for (const [key, item] of Object.entries(value)) if (keep(key, item)) setOwn(kept, key, item);
  return Object.keys(kept).length === 0 ? nothing : kept;
}
