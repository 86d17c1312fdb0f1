// Parameters that are computed from others each time they are read: `module.weight` becomes a function of what is learned.
// Python: `torch.nn.utils.parametrize`.
import { noGrad } from "../../autograd/grad-mode.js";
import { typeError } from "../../check.js";
import { type Context, runContext } from "../../context.js";
import { ConfigurationError, UsageError } from "../../errors.js";
import { Tensor } from "../../tensor.js";
import { checkOptions } from "../arguments.js";
import { ModuleDict } from "../containers/module-dict.js";
import { afterDeepCopy } from "../deep-copy.js";
import { membersOf } from "../members.js";
import { type AnyModule, Module } from "../module.js";
import { isModule, moduleState } from "../module-state.js";
import { Parameter } from "../parameter.js";

/** A module whose `forward` makes the parameter of what is learned, and whose `rightInverse`, if any, does the reverse. */
export interface Parametrization extends AnyModule {
  rightInverse?(value: Tensor): Tensor | readonly Tensor[];
}

/** Options of `registerParametrization`. */
export interface ParametrizeOptions {
  /** Let the shape, the dtype or the device change (default false). */
  unsafe?: boolean | undefined;
}

/** What is learned for one parameter (`original`, or `original0` and further ones), and what makes the parameter of it. */
export class ParametrizationList extends Module<[], Tensor> {
  constructor(module: Parametrization, value: Tensor, learned: boolean) {
    super();
    const originals = noGrad(() => module.rightInverse?.(value)) ?? value;
    const list = originals instanceof Tensor ? [originals] : originals;
    list.forEach((original, i) => {
      const name = originals instanceof Tensor ? "original" : `original${i}`;
      if (!(original instanceof Tensor))
        throw typeError("result of rightInverse", "a Tensor or a list of them", original);
      if (learned) this.registerParameter(name, original instanceof Parameter ? original : new Parameter(original));
      else this.registerBuffer(name, original);
    });
    this[moduleState].children.set("0", module);
  }

  /** The tensors that are learned. */
  get originals(): Tensor[] {
    const { parameters, buffers } = membersOf(this as unknown as AnyModule);
    return [...parameters, ...buffers].filter(([name]) => name.startsWith("original")).map(([, tensor]) => tensor);
  }

  forward(): Tensor {
    const [first, ...others] = this.children();
    let value = (first as AnyModule)(...this.originals) as Tensor;
    for (const module of others) value = module(value) as Tensor;
    return value;
  }

  /** Sets what is learned so that the parameter becomes `value`, as far as the parametrizations have a `rightInverse`. */
  assign(value: Tensor): void {
    noGrad(() => {
      let originals: Tensor | readonly Tensor[] = value;
      for (const module of this.children().reverse() as Parametrization[]) {
        if (typeof module.rightInverse !== "function") {
          throw new UsageError(
            `\`${module.constructor.name}\` has no \`rightInverse\`, so its parameter cannot be assigned.`,
            {
              hint: "Set `module.parametrizations.get(name).original` instead.",
            },
          );
        }
        originals = module.rightInverse(originals as Tensor);
      }
      const list = originals instanceof Tensor ? [originals] : (originals as readonly Tensor[]);
      this.originals.forEach((original, i) => {
        original.data.copy_(list[i] as Tensor);
      });
    });
  }
}

type Parametrized = AnyModule & { parametrizations?: ModuleDict<ParametrizationList> };

// Values computed inside of `cached`, by list.
let cache: Map<ParametrizationList, Tensor> | null = null;

/** Inside, each parametrized parameter is computed once rather than at every reading. Nothing may be changed inside. */
export function cached(): Context;
export function cached<T>(body: () => T): T;
export function cached<T>(body?: () => T): T | Context {
  return runContext(
    "cached",
    () => {
      const outer = cache;
      cache ??= new Map();
      return () => {
        cache = outer;
      };
    },
    body,
  );
}

function computed(list: ParametrizationList): Tensor {
  if (cache === null) return list();
  let value = cache.get(list);
  if (value === undefined) {
    value = list();
    cache.set(list, value);
  }
  return value;
}

/**
 * Makes the parameter (or buffer) `name` a function of what is learned: reading `module.weight` calls
 * `parametrization(original)`. A second one is applied to the result of the first. Returns the module.
 * @example
 * class Symmetric extends nn.Module<[Tensor], Tensor> {
 *   forward(x: Tensor) { return x.triu().add(x.triu(1).t()); }
 * }
 * nn.utils.parametrize.registerParametrization(layer, "weight", new Symmetric());
 */
export function registerParametrization<M extends AnyModule>(
  module: M,
  name: string,
  parametrization: Parametrization,
  options: ParametrizeOptions = {},
): M {
  checkOptions(options, ["unsafe"], 'registerParametrization(layer, "weight", module, { unsafe: true })');
  if (!isModule(module)) throw typeError("module", "a module", module);
  if (!isModule(parametrization)) throw typeError("parametrization", "a module", parametrization);
  const owner = module as Parametrized;
  const known = isParametrized(module, name)
    ? (owner.parametrizations as ModuleDict<ParametrizationList>).get(name)
    : null;
  const { parameters, buffers } = membersOf(module);
  const found = [...parameters, ...buffers].find(([key]) => key === name);
  if (known === null && found === undefined) {
    throw new ConfigurationError(`${module.constructor.name} has no parameter or buffer \`${name}\`.`, {
      hint: `It has: ${[...parameters, ...buffers].map(([key]) => key).join(", ") || "none"}.`,
    });
  }
  if (known !== null) {
    const before = noGrad(() => known());
    if (!options.unsafe)
      checkUnchanged(
        module,
        name,
        before,
        noGrad(() => parametrization(before) as unknown),
      );
    known[moduleState].children.set(String(known.children().length), parametrization);
    return module;
  }
  const [, before] = found as [string, Tensor];
  const list = new ParametrizationList(parametrization, before, before instanceof Parameter);
  if (!options.unsafe)
    checkUnchanged(
      module,
      name,
      before,
      noGrad(() => list()),
    );
  if (owner.parametrizations === undefined) {
    owner.parametrizations = new ModuleDict<ParametrizationList>();
    Object.setPrototypeOf(owner, parametrizedClass(owner.constructor as ModuleClass).prototype);
  }
  owner.parametrizations.set(name, list);
  install(owner, name);
  return module;
}

type ModuleClass = new (...args: never[]) => AnyModule;
const classes = new WeakMap<ModuleClass, ModuleClass>();

/** A class of its own, named as in Python: a parametrized Linear is a ParametrizedLinear. */
function parametrizedClass(base: ModuleClass): ModuleClass {
  let made = classes.get(base);
  if (made === undefined) {
    const name = `Parametrized${base.name}`;
    made = { [name]: class extends (base as new () => object) {} }[name] as unknown as ModuleClass;
    classes.set(base, made);
  }
  return made;
}

function checkUnchanged(module: AnyModule, name: string, before: Tensor, after: unknown): void {
  const what = `The parametrization of \`${name}\` of ${module.constructor.name}`;
  if (!(after instanceof Tensor)) throw typeError(`result of the parametrization of ${name}`, "a Tensor", after);
  if (after.shape.join() !== before.shape.join()) {
    throw new ConfigurationError(
      `${what} changes its shape from [${before.shape.join(", ")}] to [${after.shape.join(", ")}].`,
      { hint: "Where that is meant, type `{ unsafe: true }`." },
    );
  }
  if (after.dtype !== before.dtype) {
    throw new ConfigurationError(`${what} changes its dtype from ${before.dtype} to ${after.dtype}.`, {
      hint: "Where that is meant, type `{ unsafe: true }`.",
    });
  }
}

// In the place of the parameter an accessor, which is none of the module's members.
function install(module: Parametrized, name: string): void {
  Reflect.deleteProperty(module, name);
  const state = module[moduleState];
  state.slots.delete(name);
  state.buffers.delete(name);
  Object.defineProperty(module, name, {
    get: () => computed(listOf(module, name)),
    set(value: unknown) {
      if (!(value instanceof Tensor)) throw typeError(name, "a Tensor", value);
      listOf(module, name).assign(value);
    },
    enumerable: false,
    configurable: true,
  });
  Object.defineProperty(module, afterDeepCopy, {
    value: (copy: Parametrized) => {
      for (const key of copy.parametrizations?.keys() ?? []) install(copy, key);
    },
    configurable: true,
  });
}

function listOf(module: Parametrized, name: string): ParametrizationList {
  return (module.parametrizations as ModuleDict<ParametrizationList>).get(name);
}

/** True when a module has a parametrized parameter, or one of that name. */
export function isParametrized(module: AnyModule, name?: string): boolean {
  const { parametrizations } = module as Parametrized;
  if (!(parametrizations instanceof ModuleDict) || parametrizations.size === 0) return false;
  return name === undefined || parametrizations.has(name);
}

/**
 * Makes `module.weight` an ordinary parameter again: with the value that it has now, or with what was learned when
 * `leaveParametrized` is false. Returns the module.
 */
export function removeParametrizations<M extends AnyModule>(
  module: M,
  name: string,
  options: { leaveParametrized?: boolean } = {},
): M {
  checkOptions(options, ["leaveParametrized"], 'removeParametrizations(layer, "weight", { leaveParametrized: false })');
  if (!isParametrized(module, name)) {
    throw new UsageError(`\`${name}\` of ${module.constructor.name} is not parametrized.`);
  }
  const owner = module as Parametrized;
  const list = listOf(owner, name);
  const [original, ...others] = list.originals as [Tensor, ...Tensor[]];
  const leave = options.leaveParametrized ?? true;
  if (!leave && others.length > 0) {
    throw new UsageError(`\`${name}\` learns several tensors: none of them can take its place.`, {
      hint: "Leave `leaveParametrized` out.",
    });
  }
  const value = leave ? noGrad(() => list().clone()) : original;
  (owner.parametrizations as ModuleDict<ParametrizationList>).delete(name);
  if (owner.parametrizations?.size === 0) {
    Reflect.deleteProperty(owner, "parametrizations");
    Object.setPrototypeOf(owner, Object.getPrototypeOf(Object.getPrototypeOf(owner) as object) as object);
  }
  Reflect.deleteProperty(owner, name);
  if (!(original instanceof Parameter)) {
    owner.registerBuffer(name, value);
    return module;
  }
  // The same parameter where it fits: an optimizer may hold it.
  const fits = others.length === 0 && value.shape.join() === original.shape.join();
  if (fits && leave) original.data.copy_(value);
  owner.registerParameter(name, fits ? original : new Parameter(value, original.requiresGrad));
  return module;
}
