// internal: saving a module's tensors by name and loading them back, with PyTorch's names, order and complaints.

import { noGrad } from "../autograd/grad-mode.js";
import { describe, typeError } from "../check.js";
import { UsageError } from "../errors.js";
import { Tensor } from "../tensor.js";
import { membersOf, setMember } from "./members.js";
import type { AnyModule } from "./module.js";
import { moduleState, type StateDictHook } from "./module-state.js";
import { Parameter } from "./parameter.js";

/** A module's tensors by dotted name, in PyTorch's order. */
export type StateDict = Record<string, Tensor>;

/** Options of `Module.stateDict`. */
export interface StateDictOptions {
  /** Put before every name. */
  prefix?: string | undefined;
  /** Gives the parameters themselves instead of detached tensors. */
  keepVars?: boolean | undefined;
  /** An object to add to instead of a new one. */
  destination?: StateDict | undefined;
}

/** Options of `Module.loadStateDict`. */
export interface LoadOptions {
  /** Throws when names are missing or unknown (default true). */
  strict?: boolean | undefined;
  /** Makes the given tensors the module's own instead of copying their values. */
  assign?: boolean | undefined;
  /** Only checks whether everything fits: throws what loading would throw, and changes nothing (default false). */
  dryRun?: boolean | undefined;
}

/** Names that did not match while loading. */
export interface LoadResult {
  /** What the module has and the state dict lacks. */
  missingKeys: string[];
  /** What the state dict has and the module lacks. */
  unexpectedKeys: string[];
}

/** internal: the key of the method that layers fill in old state dicts with. */
export const beforeLoad: unique symbol = Symbol("beforeLoad");

/** internal: what a module class may define beside its public methods. */
interface StateDictParts {
  /** State beside tensors, saved under `_extra_state`. */
  getExtraState?(): unknown;
  setExtraState?(state: unknown): void;
  /** Fills in what files of older versions lack. */
  [beforeLoad]?(state: Map<string, unknown>, prefix: string): void;
}

const extraState = "_extra_state";

/** internal: `Module.stateDict`. */
export function saveInto(module: AnyModule, options: StateDictOptions): StateDict {
  const destination: StateDict = options.destination ?? (Object.create(null) as StateDict);
  const prefix = options.prefix ?? "";
  const keepVars = options.keepVars ?? false;
  const { stateDictPreHooks, stateDictPostHooks } = module[moduleState];
  callHooks(stateDictPreHooks, module, prefix, keepVars);
  const { parameters, buffers, children } = membersOf(module);
  for (const [name, parameter] of parameters) destination[prefix + name] = keepVars ? parameter : detached(parameter);
  for (const [name, buffer] of buffers) {
    if (module[moduleState].buffers.get(name)) destination[prefix + name] = keepVars ? buffer : detached(buffer);
  }
  const parts = module as StateDictParts;
  if (parts.getExtraState) (destination as Record<string, unknown>)[prefix + extraState] = parts.getExtraState();
  for (const [name, child] of children) child.stateDict({ destination, prefix: `${prefix}${name}.`, keepVars });
  callHooks(stateDictPostHooks, module, destination, prefix);
  return destination;
}

function callHooks(hooks: ReadonlyMap<number, StateDictHook>, module: AnyModule, ...rest: unknown[]): void {
  for (const hook of hooks.values()) hook(module, ...(rest as never[]));
}

function detached(tensor: Tensor): Tensor {
  return tensor.detach();
}

/** internal: `Module.loadStateDict`. */
export function loadInto(
  module: AnyModule,
  state: Readonly<Record<string, unknown>> | ReadonlyMap<string, unknown>,
  options: LoadOptions,
): LoadResult {
  if (typeof state !== "object" || state === null || Array.isArray(state) || state instanceof Promise) {
    throw typeError(
      "stateDict",
      "an object or Map of tensors by name",
      state,
      state instanceof Promise
        ? "Await it: `model.loadStateDict(await torch.load(path))`."
        : "Pass what `stateDict()` of such a model returned.",
    );
  }
  const { strict = true, assign = false, dryRun = false } = options;
  const given = new Map<string, unknown>(state instanceof Map ? state : Object.entries(state));
  const load: Loading = { given, assign, missing: [], problems: [], known: new Set(), changes: [], loaded: [] };
  loadModule(load, module, "");
  const unexpected = [...given.keys()].filter((key) => !load.known.has(key));
  const lines: string[] = [];
  if (strict && load.missing.length > 0) lines.push(`Missing key(s) in state_dict: ${quoted(load.missing)}. `);
  if (strict && unexpected.length > 0) lines.push(`Unexpected key(s) in state_dict: ${quoted(unexpected)}. `);
  lines.push(...load.problems.slice(0, mostNamed));
  if (load.problems.length > mostNamed) lines.push(`... and ${load.problems.length - mostNamed} more.`);
  // Nothing is changed before all is known to fit, so that no model is ever loaded by halves.
  if (lines.length === 0 && !dryRun) {
    for (const change of load.changes) change();
    lines.push(...load.problems);
  }
  if (lines.length > 0) {
    throw new UsageError(`Error(s) in loading state_dict for ${module.constructor.name}:\n\t${lines.join("\n\t")}`, {
      code: "ERR_STATE_DICT",
      hint: hintFor(load, unexpected, strict),
    });
  }
  const result = { missingKeys: load.missing, unexpectedKeys: unexpected };
  if (!dryRun) for (const one of load.loaded) callHooks(one[moduleState].loadPostHooks, one, result);
  return result;
}

interface Loading {
  given: Map<string, unknown>;
  assign: boolean;
  missing: string[];
  problems: string[];
  known: Set<string>;
  /** What loading does once everything is checked. */
  changes: (() => void)[];
  /** The modules, children before their parents. */
  loaded: AnyModule[];
}

function loadModule(load: Loading, module: AnyModule, prefix: string): void {
  const parts = module as StateDictParts;
  parts[beforeLoad]?.(load.given, prefix);
  callHooks(module[moduleState].loadPreHooks, module, load.given, prefix);
  const { parameters, buffers, children } = membersOf(module);
  const persistent = buffers.filter(([name]) => module[moduleState].buffers.get(name));
  for (const [name, member] of [...parameters, ...persistent] as [string, Tensor][]) {
    const key = prefix + name;
    load.known.add(key);
    if (!load.given.has(key)) load.missing.push(key);
    else loadMember(load, module, name, key, member, load.given.get(key));
  }
  const extraKey = prefix + extraState;
  if (parts.setExtraState) {
    load.known.add(extraKey);
    if (load.given.has(extraKey)) load.changes.push(() => parts.setExtraState?.(load.given.get(extraKey)));
    else load.missing.push(extraKey);
  }
  for (const [name, child] of children) loadModule(load, child, `${prefix}${name}.`);
  load.loaded.push(module);
}

function loadMember(load: Loading, module: AnyModule, name: string, key: string, member: Tensor, value: unknown): void {
  if (!(value instanceof Tensor)) {
    load.problems.push(
      `While copying the parameter named "${key}", expected a Tensor from checkpoint but received ${describe(value)}.`,
    );
    return;
  }
  const wanted = member.shape;
  const source = wanted.length === 0 && value.ndim === 1 ? value.select(0, 0) : value;
  const shape = source.shape;
  if (shape.length !== wanted.length || shape.some((size, i) => size !== wanted[i])) {
    load.problems.push(
      `size mismatch for ${key}: copying a param with shape ${list(shape)} from checkpoint, the shape in current model is ${list(wanted)}.`,
    );
    return;
  }
  load.changes.push(() => {
    try {
      if (load.assign) setMember(module, name, adopted(member, source));
      else noGrad(() => member.copy_(source));
    } catch (error) {
      load.problems.push(
        `While copying the parameter named "${key}", whose dimensions in the model are ${list(wanted)} and whose dimensions in the ` +
          `checkpoint are ${list(shape)}, an exception occurred: ${(error as Error).message}.`,
      );
    }
  });
}

/** The given tensor in the role of the member that it replaces. */
function adopted(member: Tensor, source: Tensor): Tensor {
  if (!(member instanceof Parameter)) return source;
  if (source instanceof Parameter) {
    source.requiresGrad = member.requiresGrad;
    return source;
  }
  return new Parameter(source, member.requiresGrad);
}

const mostNamed = 5;

function quoted(keys: string[]): string {
  const named = keys.slice(0, mostNamed).map((key) => `"${key}"`);
  if (keys.length > mostNamed) named.push(`and ${keys.length - mostNamed} more`);
  return named.join(", ");
}

function list(shape: number[]): string {
  return `[${shape.join(", ")}]`;
}

/** The most frequent reason is a prefix that a wrapper added when the file was written. */
function hintFor(load: Loading, unexpected: string[], strict: boolean): string {
  const prefixes = ["module.", "_forward_module.", "_orig_mod.", "model."];
  const prefix = prefixes.find((p) => unexpected.length > 0 && unexpected.every((key) => key.startsWith(p)));
  if (prefix && load.missing.length > 0) {
    return `All unexpected names start with "${prefix}": the values were saved from a wrapped model. Take the prefix away, or save the inner module.`;
  }
  if (load.problems.some((problem) => problem.includes("expected a Tensor")))
    return "Pass what `stateDict()` of such a model returned: tensors by name.";
  if (load.problems.length > 0)
    return "The state dict comes from a model with other sizes: create the model with the sizes it was saved with.";
  const inside = load.missing.length > 0 && unexpected.find((key) => holdsAll(load.given.get(key), load.missing));
  if (inside)
    return `They are in its entry \`${inside}\`: pass \`state.${inside}\` (with Fabric \`fabric.load(path, { ${inside}: model })\`).`;
  return strict ? "Pass `{ strict: false }` to load what matches." : "";
}

/** True for a state dict with all of these names, such as that of the model in a whole checkpoint. */
function holdsAll(value: unknown, names: readonly string[]): boolean {
  if (typeof value !== "object" || value === null) return false;
  return names.every((name) => (value instanceof Map ? value.has(name) : Object.hasOwn(value, name)));
}
