// Copies of modules, which Python makes with `copy.deepcopy`: for averages of weights, target networks, stacks of layers.
import { NotSupportedError } from "../errors.js";
import { recordTensors, Tensor } from "../tensor.js";
import { type AnyModule, ModuleBase } from "./module.js";
import { isModule, moduleState } from "./module-state.js";
import { Parameter } from "./parameter.js";

const hookKinds = [
  "forwardPreHooks",
  "forwardHooks",
  "backwardPreHooks",
  "backwardHooks",
  "stateDictPreHooks",
  "stateDictPostHooks",
  "loadPreHooks",
  "loadPostHooks",
] as const;

/**
 * A copy of a module: parameters, buffers and children of its own with the same values, hooks and everything else as they
 * are. What occurs several times in the module occurs as often in the copy. No constructor runs and nothing is drawn.
 * Classes with private members (`#name`) cannot be copied: theirs exist only where their constructor ran.
 * @example
 * const target = nn.utils.deepCopy(network).requiresGrad_(false);
 */
export function deepCopy<M extends AnyModule>(module: M): M {
  const open = recordTensors(null);
  try {
    return new Copying().module(module) as M;
  } finally {
    recordTensors(open);
  }
}

/** internal: a module's method under this key is called with its copy. */
export const afterDeepCopy: unique symbol = Symbol("afterDeepCopy");

class Copying {
  readonly #made = new Map<unknown, unknown>();

  module(source: AnyModule): AnyModule {
    const known = this.#made.get(source);
    if (known !== undefined) return known as AnyModule;
    refusePrivateMembers(source);
    // The function object that the base makes, with the class's prototype: what the class's own constructor does is copied.
    const copy = Reflect.construct(ModuleBase, [], source.constructor) as AnyModule;
    this.#made.set(source, copy);
    const [from, to] = [source[moduleState], copy[moduleState]];
    to.training = from.training;
    for (const [name, persistent] of from.buffers) to.buffers.set(name, persistent);
    for (const [name, child] of from.children) to.children.set(name, this.module(child));
    for (const [name, parameter] of from.parameters) to.parameters.set(name, this.value(parameter) as Parameter);
    for (const kind of hookKinds) {
      for (const [id, hook] of from[kind]) (to[kind] as Map<number, unknown>).set(id, hook);
    }
    to.hooksChanged();
    for (const name of Object.keys(source)) {
      const value = this.value((source as unknown as Record<string, unknown>)[name]);
      Object.defineProperty(copy, name, { value, writable: true, enumerable: true, configurable: true });
    }
    (source as { [afterDeepCopy]?: (copy: AnyModule) => void })[afterDeepCopy]?.(copy);
    return copy;
  }

  value(source: unknown): unknown {
    if (isModule(source)) return this.module(source);
    if (typeof source !== "object" || source === null) return source;
    if (this.#made.has(source)) return this.#made.get(source);
    const copy = this.#object(source);
    this.#made.set(source, copy);
    return copy;
  }

  #object(source: object): unknown {
    if (source instanceof Parameter) return new Parameter(source.detach().clone(), source.requiresGrad);
    if (source instanceof Tensor) {
      const copy = source.detach().clone();
      if (source.isLeaf && source.requiresGrad) copy.requiresGrad = true;
      return copy;
    }
    if (Array.isArray(source)) return source.map((item) => this.value(item));
    if (source instanceof Map) return new Map([...source].map(([key, item]) => [key, this.value(item)]));
    if (source instanceof Set) return new Set([...source].map((item) => this.value(item)));
    const prototype = Object.getPrototypeOf(source) as unknown;
    if (prototype !== Object.prototype && prototype !== null) return source;
    return Object.fromEntries(Object.entries(source).map(([key, item]) => [key, this.value(item)]));
  }
}

const looksPrivate = new WeakMap<object, boolean>();

function refusePrivateMembers(module: AnyModule): void {
  for (
    let prototype = Object.getPrototypeOf(module) as object;
    prototype !== ModuleBase.prototype && prototype !== null;
    prototype = Object.getPrototypeOf(prototype) as object
  ) {
    const owner = prototype.constructor;
    let found = looksPrivate.get(owner);
    if (found === undefined) {
      const code = Function.prototype.toString
        .call(owner)
        .replace(/\/\*[\s\S]*?\*\/|\/\/.*|"[^"\n]*"|'[^'\n]*'|`[^`]*`/g, "");
      found = /(^|[^\w$])#[A-Za-z_$]/.test(code);
      looksPrivate.set(owner, found);
    }
    if (!found) continue;
    const { module: inner } = module as { module?: unknown };
    throw new NotSupportedError(`${owner.name} has private members (\`#name\`), which cannot be copied.`, {
      hint: isModule(inner)
        ? "Copy the model inside of it, its `module`: `nn.utils.deepCopy(model.module)`, `new AveragedModel(model.module, ...)`."
        : `Make another ${owner.name} and load the values into it: \`copy.loadStateDict(model.stateDict())\`.`,
    });
  }
}
