// internal: which parameters, buffers and children a module has. They are looked up among its own properties each time,
// in definition order, so that assigning, replacing and deleting a property needs no registration.
import { Tensor } from "../tensor.js";
import { guardMember } from "./guarded-members.js";
import type { AnyModule } from "./module.js";
import { isModule, type ModuleState, moduleState } from "./module-state.js";
import { Parameter } from "./parameter.js";
import { warnOnce } from "./warn.js";

/** internal: the members of one module, without those of its children. */
export interface Members {
  parameters: [string, Parameter][];
  buffers: [string, Tensor][];
  children: [string, AnyModule][];
}

/** internal: reads a module's members. What a container registered comes before its properties. */
export function membersOf(module: AnyModule): Members {
  const state = module[moduleState];
  const parameters: [string, Parameter][] = state.parameters.size > 0 ? [...state.parameters] : [];
  const buffers: [string, Tensor][] = [];
  const children: [string, AnyModule][] = state.children.size > 0 ? [...state.children] : [];
  const properties = module as unknown as Record<string, unknown>;
  for (const name of Object.keys(module)) {
    const value = properties[name];
    if (typeof value === "function") {
      if (isModule(value)) {
        children.push([name, value]);
        guardMember(module, "module", name, value);
      }
    } else if (typeof value === "object" && value !== null) {
      if (value instanceof Parameter) {
        parameters.push([name, value]);
        guardMember(module, "parameter", name, value);
      } else if (!(value instanceof Tensor)) warnOfHidden(module, state, name, value);
    }
  }
  for (const name of state.buffers.keys()) {
    const value = properties[name];
    if (!(value instanceof Tensor) || value instanceof Parameter) continue;
    buffers.push([name, value]);
    guardMember(module, "buffer", name, value);
  }
  return { parameters, buffers, children };
}

/** internal: guards a new layer's members at once rather than when it is first walked over: the last line of its constructor. */
export function guardMembers(module: AnyModule): void {
  membersOf(module);
}

/** internal: only the children, for the walks that need nothing else. */
export function childrenOf(module: AnyModule): [string, AnyModule][] {
  const children: [string, AnyModule][] = [...module[moduleState].children];
  const properties = module as unknown as Record<string, unknown>;
  for (const name of Object.keys(module)) {
    const value = properties[name];
    if (!isModule(value)) continue;
    children.push([name, value]);
    guardMember(module, "module", name, value);
  }
  return children;
}

/** internal: puts another tensor in the place of a parameter or buffer. */
export function setMember(module: AnyModule, name: string, value: Tensor): void {
  const { parameters } = module[moduleState];
  if (parameters.has(name)) parameters.set(name, value as Parameter);
  else (module as unknown as Record<string, unknown>)[name] = value;
}

/** internal: the parameters or buffers of a module, and of all below it with `recurse`, each once, with dotted paths. */
export function namedMembers<K extends "parameters" | "buffers">(
  root: AnyModule,
  kind: K,
  prefix: string,
  recurse: boolean,
): Members[K] {
  const found: [string, Tensor][] = [];
  const seen = new Set<Tensor | AnyModule>();
  const visit = (module: AnyModule, path: string): void => {
    const members = membersOf(module);
    for (const [name, value] of members[kind]) {
      if (seen.has(value)) continue;
      seen.add(value);
      found.push([path ? `${path}.${name}` : name, value]);
    }
    if (!recurse) return;
    for (const [name, child] of members.children) {
      if (seen.has(child)) continue;
      seen.add(child);
      visit(child, path ? `${path}.${name}` : name);
    }
  };
  seen.add(root);
  visit(root, prefix);
  return found as Members[K];
}

/** internal: a module and all modules below it, each once, with its dotted path. */
export function walk(root: AnyModule, prefix = ""): [string, AnyModule][] {
  const found: [string, AnyModule][] = [];
  const seen = new Set<AnyModule>();
  const visit = (module: AnyModule, path: string): void => {
    if (seen.has(module)) return;
    seen.add(module);
    found.push([path, module]);
    for (const [name, child] of childrenOf(module)) visit(child, path ? `${path}.${name}` : name);
  };
  visit(root, prefix);
  return found;
}

// How many elements of a list are looked at for modules that nobody registered: a list of data may be long.
const LOOKED_AT = 32;

/** Warns once a class and field when modules or parameters sit in a plain list or object, where nobody finds them. */
function warnOfHidden(module: AnyModule, state: ModuleState, name: string, value: object): void {
  if (state.checkedFields.has(name)) return;
  const hidden: unknown[] = [];
  for (const item of elements(value)) {
    if (isModule(item) || item instanceof Parameter) hidden.push(item);
  }
  if (hidden.length === 0) return;
  state.checkedFields.add(name);
  const known = new Set<unknown>();
  for (const [, part] of walk(module)) {
    known.add(part);
    for (const [, parameter] of membersOf(part).parameters) known.add(parameter);
  }
  if (hidden.every((item) => known.has(item))) return;
  const list = Array.isArray(value);
  const kind = hidden.find((item) => !known.has(item)) instanceof Parameter ? "Parameter" : "Module";
  const wrapper = `${kind}${list ? "List" : "Dict"}`;
  const example = list ? `new nn.${wrapper}([...])` : `new nn.${wrapper}({ ... })`;
  const className = module.constructor.name;
  warnOnce(
    `hidden:${className}.${name}`,
    `${className}.${name} is a plain ${list ? "array" : "object"} that holds ${kind}s: parameters(), stateDict() and to() do not see them. ` +
      `Type \`${name} = ${example}\`.`,
  );
}

function elements(value: object): unknown[] {
  if (Array.isArray(value)) return value.slice(0, LOOKED_AT);
  const prototype = Object.getPrototypeOf(value);
  if (prototype === Object.prototype || prototype === null) return Object.values(value).slice(0, LOOKED_AT);
  if (value instanceof Map || value instanceof Set) {
    const found: unknown[] = [];
    for (const item of value.values()) {
      found.push(item);
      if (found.length === LOOKED_AT) break;
    }
    return found;
  }
  return [];
}
