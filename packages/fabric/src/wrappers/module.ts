// What `fabric.setup(model)` returns: the model, called through the strategy and the precision. The wrapper is a module of its own behind a
// Proxy that finds everything it does not define on the user's model.
import { autograd, type Device, type Dtype, isGradEnabled, nn, Tensor, UsageError } from "@fabric-ts/torch";
import { Precision } from "../precision/precision.js";
import { Strategy } from "../strategies/strategy.js";
import { during } from "../utilities/activity.js";
import { applyToCollection } from "../utilities/apply-to-collection.js";
import { className, describe } from "../utilities/describe.js";
import { DeviceDtypeModule, remember } from "../utilities/device-dtype-module.js";
import { modelName, withoutCompiled } from "./compiled.js";
import { callAsForward } from "./forward-redirect.js";
import { callGuarded } from "./method-guard.js";

/** Names of the methods that a model's class adds to those of `nn.Module`. */
export type ForwardMethodName<M> = {
  [K in keyof M]: K extends keyof nn.Module
    ? never
    : M[K] extends nn.AnyModule
      ? never
      : // biome-ignore lint/suspicious/noExplicitAny: any function
        M[K] extends (...args: any[]) => any
        ? K
        : never;
}[keyof M] &
  string;

/** What the wrapper adds to the model. */
export interface FabricModuleMembers<M> {
  /** The model that was given to `fabric.setup`. */
  readonly module: M;
  /** The device that the model is on. */
  readonly device: Device;
  /** The dtype that the model was last converted to. */
  readonly dtype: Dtype;
  /**
   * Lets a method run through the strategy and the precision, as `forward` does. Takes the method or its name:
   * `model.markForwardMethod(model.generate)`, `model.markForwardMethod("generate")`.
   */
  markForwardMethod(method: ForwardMethodName<M> | M[ForwardMethodName<M>]): void;
  /** What is called: the model, or the strategy's module around it. Its options are the strategy's. */
  readonly _forwardModule: nn.AnyModule;
  /** The names of the methods that take the way of `forward`. */
  readonly _forwardMethods: ReadonlySet<string>;
}

/** A wrapper cannot be iterated, whatever its model can: `for (const layer of model.module)`. */
type NoIteration<M> = M extends Iterable<unknown> ? { readonly [Symbol.iterator]: never } : unknown;

/**
 * A model as `fabric.setup` returns it: everything the model has but iteration, and `module`, `device`, `dtype` and
 * `markForwardMethod`.
 */
export type FabricModule<M extends nn.AnyModule = nn.AnyModule> = M & FabricModuleMembers<M> & NoIteration<M>;

interface FabricModuleConstructor {
  new <M extends nn.AnyModule>(forwardModule: nn.AnyModule, strategy: Strategy, originalModule?: M): FabricModule<M>;
  readonly prototype: FabricModule;
  [Symbol.hasInstance](value: unknown): value is FabricModule;
}

type AnyFunction = (...args: unknown[]) => unknown;

/** What reading a method of the model gives, kept so that reading it again gives the same function. */
interface CachedMethod {
  source: AnyFunction;
  kind: "bound" | "guarded" | "redirected";
  made: AnyFunction;
}

/** The wrapper's state, under a symbol so that it hides nothing of the model's. */
class WrapperState {
  readonly forwardMethods = new Set(["trainingStep", "validationStep", "testStep", "predictStep"]);
  readonly methods = new Map<string, CachedMethod>();
  readonly ownMethods = new WeakMap<AnyFunction, AnyFunction>();
  readonly guard: autograd.BackwardGuard | null;
  /** What users see of the wrapper. */
  proxy: Wrapper | null = null;
  depth = 0;
  hasNotedInputs = false;

  constructor(
    readonly wrapper: { readonly _forwardModule: nn.AnyModule },
    readonly original: nn.AnyModule,
    readonly strategy: Strategy,
  ) {
    this.guard = requiresFabricBackward(strategy)
      ? new autograd.BackwardGuard(
          "The current strategy and precision selection requires you to call `fabric.backward(loss)` instead of `loss.backward()`.",
          `Replace \`loss.backward()\` by \`fabric.backward(loss)\`: ${className(strategy)} and ${className(strategy.precision)} have work to do in it.`,
        )
      : null;
  }

  /** What is called: another one, once another is assigned. */
  get forwardModule(): nn.AnyModule {
    return this.wrapper._forwardModule;
  }
  /** True when calls have to go through something around the model, so that methods are guarded. */
  get isStrategyWrapped(): boolean {
    return withoutCompiled(this.forwardModule) !== withoutCompiled(this.original);
  }
  /** True when `forward` does more than the model's own, so that marked methods take its way. */
  get isMoreThanModel(): boolean {
    return this.isStrategyWrapped || this.guard !== null || convertsForward(this.strategy.precision);
  }
  get strategyName(): string {
    return className(this.strategy);
  }
}

type HookArguments<K extends HookMethod> = Parameters<nn.Module<unknown[], unknown>[K]>;
type HookMethod =
  | "registerForwardPreHook"
  | "registerForwardHook"
  | "registerFullBackwardPreHook"
  | "registerFullBackwardHook"
  | "registerStateDictPreHook"
  | "registerStateDictPostHook"
  | "registerLoadStateDictPreHook"
  | "registerLoadStateDictPostHook";

const wrapperChildren = new Set(["_forwardModule", "_originalModule"]);

const wrapperState: unique symbol = Symbol("wrapperState");

// Which model's method a function stands for, so that markForwardMethod takes what reading a method gave.
const methodLinks = new WeakMap<AnyFunction, { owner: nn.AnyModule; name: string }>();

// Never looked up on the model: promises, JSON and the language itself ask for these on their own account.
const neverForwarded = new Set(["then", "toJSON", "constructor", "__proto__"]);

const Wrapper = class FabricModule extends DeviceDtypeModule<unknown[], unknown> {
  declare readonly [wrapperState]: WrapperState;
  /** What is called: the model, or the strategy's module around it. */
  readonly _forwardModule: nn.AnyModule;
  /** What the user gave to `setup`. */
  readonly _originalModule: nn.AnyModule;

  constructor(forwardModule: nn.AnyModule, strategy: Strategy, originalModule?: nn.AnyModule) {
    super();
    const original = originalModule ?? forwardModule;
    this._forwardModule = forwardModule;
    this._originalModule = original;
    const state = new WrapperState(this, original, strategy);
    Object.defineProperty(this, wrapperState, { value: state });
    this.training = original.training;
    state.proxy = new Proxy(this, proxyHandler);
    const first = original.parameters().find((parameter) => parameter.isFloatingPoint());
    if (first) remember(this, { device: first.device, dtype: first.dtype });
    // biome-ignore lint/correctness/noConstructorReturn: the instance that users see is the Proxy
    return state.proxy;
  }

  /** The names of the methods that take the way of `forward`. */
  get _forwardMethods(): ReadonlySet<string> {
    return this[wrapperState].forwardMethods;
  }
  get module(): nn.AnyModule {
    return this[wrapperState].original;
  }
  set module(_value: unknown) {
    throw new UsageError("Cannot set `module`: it is the model that was given to `fabric.setup()`.", {
      hint: "Set up the other model.",
    });
  }
  override get device(): Device {
    return super.device;
  }
  override set device(_value: unknown) {
    throw new UsageError("Cannot set the device explicitly.", { hint: "Please use `model.to(newDevice)`." });
  }
  override get dtype(): Dtype {
    return super.dtype;
  }
  override set dtype(_value: unknown) {
    throw new UsageError("Cannot set the dtype explicitly.", { hint: "Please use `model.to(newDtype)`." });
  }

  override forward(...args: unknown[]): unknown {
    const state = this[wrapperState];
    const { precision } = state.strategy;
    if (!state.hasNotedInputs && state.isStrategyWrapped && this.training && isGradEnabled()) {
      state.hasNotedInputs = true;
      state.strategy.noteFirstInputs(args);
    }
    const input = precision.convertInput(args);
    let output: unknown;
    const context = precision.forwardContext();
    state.depth++;
    try {
      output = during("forward", () => state.forwardModule(...input));
    } finally {
      state.depth--;
      context[Symbol.dispose]();
    }
    output = precision.convertOutput(output);
    const { guard } = state;
    if (guard !== null) {
      applyToCollection(
        output,
        (value) => value instanceof Tensor,
        (tensor: Tensor) => {
          if (tensor.requiresGrad) guard.attach(tensor);
          return tensor;
        },
      );
    }
    return output;
  }

  override namedModules(prefix = ""): [string, nn.AnyModule][] {
    return super.namedModules(prefix).map(([name, module]) => [name, this.#visible(module)]);
  }
  override modules(): nn.AnyModule[] {
    return super.modules().map((module) => this.#visible(module));
  }
  override apply(fn: (module: nn.AnyModule) => void): this {
    return super.apply((module) => fn(this.#visible(module)));
  }
  /** Finds what the model has under its own names; under those of `namedModules()` too. */
  override getSubmodule(path: string): nn.AnyModule {
    return wrapperChildren.has(path.split(".", 1)[0] as string) || path === ""
      ? this.#visible(super.getSubmodule(path))
      : this[wrapperState].original.getSubmodule(path);
  }
  override getParameter(path: string): nn.Parameter {
    return wrapperChildren.has(path.split(".", 1)[0] as string)
      ? super.getParameter(path)
      : this[wrapperState].original.getParameter(path);
  }
  override getBuffer(path: string): Tensor {
    return wrapperChildren.has(path.split(".", 1)[0] as string)
      ? super.getBuffer(path)
      : this[wrapperState].original.getBuffer(path);
  }
  // What is registered belongs to the model, as what is assigned does: the state dict is the model's, and so are its hooks.
  override registerBuffer<T extends Tensor | null>(name: string, tensor: T, options?: { persistent?: boolean }): T {
    return this[wrapperState].original.registerBuffer(name, tensor, options);
  }
  override registerParameter(name: string, parameter: nn.Parameter | null): void {
    this[wrapperState].original.registerParameter(name, parameter);
  }
  override registerModule(name: string, module: nn.AnyModule | null): void {
    this[wrapperState].original.registerModule(name, module);
  }

  override registerStateDictPreHook(...[hook]: HookArguments<"registerStateDictPreHook">): nn.RemovableHandle {
    return this[wrapperState].original.registerStateDictPreHook(hook);
  }
  override registerStateDictPostHook(...[hook]: HookArguments<"registerStateDictPostHook">): nn.RemovableHandle {
    return this[wrapperState].original.registerStateDictPostHook(hook);
  }
  override registerLoadStateDictPreHook(...[hook]: HookArguments<"registerLoadStateDictPreHook">): nn.RemovableHandle {
    return this[wrapperState].original.registerLoadStateDictPreHook(hook);
  }
  override registerLoadStateDictPostHook(
    ...[hook]: HookArguments<"registerLoadStateDictPostHook">
  ): nn.RemovableHandle {
    return this[wrapperState].original.registerLoadStateDictPostHook(hook);
  }

  override registerForwardPreHook(...[hook, options]: HookArguments<"registerForwardPreHook">): nn.RemovableHandle {
    return super.registerForwardPreHook(this.#seen(hook), options);
  }
  override registerForwardHook(...[hook, options]: HookArguments<"registerForwardHook">): nn.RemovableHandle {
    return super.registerForwardHook(this.#seen(hook), options);
  }
  override registerFullBackwardPreHook(
    ...[hook, options]: HookArguments<"registerFullBackwardPreHook">
  ): nn.RemovableHandle {
    return super.registerFullBackwardPreHook(this.#seen(hook), options);
  }
  override registerFullBackwardHook(...[hook, options]: HookArguments<"registerFullBackwardHook">): nn.RemovableHandle {
    return super.registerFullBackwardHook(this.#seen(hook), options);
  }
  /** Hooks get the wrapper that users see as their module. */
  #seen<H>(hook: H): H {
    if (typeof hook !== "function") return hook;
    const seen = (module: nn.AnyModule, ...rest: unknown[]): unknown => hook(this.#visible(module), ...rest);
    return seen as H;
  }
  #visible(module: nn.AnyModule): nn.AnyModule {
    const { proxy } = this[wrapperState];
    return module === (this as unknown) ? (proxy as unknown as nn.AnyModule) : module;
  }

  /** The model as it prints itself; the strategy where it put something around it. */
  override toString(): string {
    const { original, strategy, isStrategyWrapped } = this[wrapperState];
    const lines = [`(module): ${original.toString().replaceAll("\n", "\n  ")}`];
    if (isStrategyWrapped) lines.unshift(`strategy=${className(strategy)}`);
    return `FabricModule(\n  ${lines.join("\n  ")}\n)`;
  }

  override stateDict(...args: Parameters<nn.AnyModule["stateDict"]>): ReturnType<nn.AnyModule["stateDict"]> {
    return this[wrapperState].original.stateDict(...args);
  }
  override loadStateDict(
    ...args: Parameters<nn.AnyModule["loadStateDict"]>
  ): ReturnType<nn.AnyModule["loadStateDict"]> {
    return this[wrapperState].original.loadStateDict(...args);
  }

  markForwardMethod(method: unknown, ...more: unknown[]): void {
    if (more.length > 0) {
      throw new TypeError(
        `\`markForwardMethod\` marks one method, but got ${describe([method, ...more])}.\nCall it once for each of them.`,
      );
    }
    const { original, forwardMethods } = this[wrapperState];
    const name = methodName(original, method);
    if (name === "forward") {
      throw new UsageError("You cannot mark the forward method itself as a forward method.", {
        hint: "It goes through the strategy anyway.",
      });
    }
    if (wrapperNames.has(name)) {
      throw new UsageError(
        `\`${name}\` cannot be marked as a forward method: it is a method of every module, and the wrapper has its own.`,
        {
          hint: `Give one of the methods that ${modelName(original)} adds.`,
        },
      );
    }
    if (name in Object.prototype || !isMethod((original as unknown as Record<string, unknown>)[name])) {
      throw new UsageError(
        `You marked \`${name}\` as a forward method, but \`${modelName(original)}.${name}\` does not exist or is not a method.`,
        { hint: `Give one of the methods of ${modelName(original)} that compute something.` },
      );
    }
    forwardMethods.add(name);
  }
};

type Wrapper = InstanceType<typeof Wrapper>;

/** The class of what `fabric.setup(model)` returns. */
export const FabricModule = Wrapper as unknown as FabricModuleConstructor;

/** internal: what is called, the model, and the strategy of a wrapper. */
export function partsOf(wrapper: FabricModule): {
  forwardModule: nn.AnyModule;
  original: nn.AnyModule;
  strategy: Strategy;
} {
  return (wrapper as unknown as Wrapper)[wrapperState];
}

// Everything that is defined on the wrapper's own classes down to nn.Module: these names are the wrapper's.
const wrapperNames = new Set<string>();
for (
  let level: object = Wrapper.prototype;
  level !== Object.prototype;
  level = Object.getPrototypeOf(level) as object
) {
  for (const name of Object.getOwnPropertyNames(level)) wrapperNames.add(name);
}

const proxyHandler: ProxyHandler<Wrapper> = {
  get(target, name) {
    if (typeof name === "symbol" || neverForwarded.has(name) || isOnWrapper(target, name))
      return ownMember(target, name);
    const state = target[wrapperState];
    const model = state.original as unknown as Record<string, unknown>;
    if (!(name in model)) return undefined;
    const value = model[name];
    if (typeof value !== "function") return value;
    if (name in Object.prototype && value === (Object.prototype as Record<string, unknown>)[name])
      return ownMember(target, name);
    return methodOf(target, state, name, value as AnyFunction);
  },
  set(target, name, value) {
    if (typeof name === "symbol") return Reflect.set(target, name, value, target);
    const model = target[wrapperState].original as unknown as Record<string, unknown>;
    const isOwn = isOnWrapper(target, name);
    const isModels = name in model;
    if (isOwn && !Reflect.set(target, name, value, target)) return false;
    return isModels || !isOwn ? Reflect.set(model, name, value) : true;
  },
  deleteProperty(target, name) {
    if (typeof name === "string" && !isOnWrapper(target, name) && name in target[wrapperState].original) {
      throw new UsageError(`\`${name}\` is a member of the model, which its wrapper does not delete.`, {
        hint: `Type \`delete model.module.${name}\`.`,
      });
    }
    return Reflect.deleteProperty(target, name);
  },
  has(target, name) {
    if (Reflect.has(target, name)) return true;
    return typeof name === "string" && !neverForwarded.has(name) && name in target[wrapperState].original;
  },
};

function isOnWrapper(target: Wrapper, name: string): boolean {
  return Object.hasOwn(target, name) || wrapperNames.has(name);
}

/** A member of the wrapper itself. Methods run on the target behind the Proxy and return the Proxy where they return `this`. */
function ownMember(target: Wrapper, name: PropertyKey): unknown {
  const value: unknown = Reflect.get(target, name, target);
  if (
    typeof value !== "function" ||
    value instanceof nn.Module ||
    name === "constructor" ||
    Object.hasOwn(target, name)
  )
    return value;
  const { ownMethods, proxy, original } = target[wrapperState];
  const source = value as AnyFunction;
  let bound = ownMethods.get(source);
  if (!bound) {
    bound = (...args) => {
      const result = source.apply(target, args);
      return result === target ? proxy : result;
    };
    Object.defineProperties(bound, { name: { value: source.name }, length: { value: source.length } });
    ownMethods.set(source, bound);
    methodLinks.set(bound, { owner: original, name: String(name) });
  }
  return bound;
}

/** A function of the model: as it is, bound to the model, guarded, or redirected. The same function each time. */
function methodOf(target: Wrapper, state: WrapperState, name: string, source: AnyFunction): unknown {
  const isRedirected = state.forwardMethods.has(name) && state.isMoreThanModel;
  const kind = isRedirected ? "redirected" : state.isStrategyWrapped ? "guarded" : "bound";
  const known = state.methods.get(name);
  if (known && known.source === source && known.kind === kind) return known.made;
  if (!isMethod(source)) return source;
  const { original } = state;
  const made: AnyFunction =
    kind === "bound"
      ? (...args) => source.apply(original, args)
      : kind === "guarded"
        ? (...args) => callGuarded(state, name, source, args)
        : (...args) => callAsForward(original, name, (...inner) => target.forward(...inner), args);
  Object.defineProperties(made, { name: { value: source.name || name }, length: { value: source.length } });
  methodLinks.set(made, { owner: original, name });
  state.methods.set(name, { source, kind, made });
  return made;
}

/** True for functions, on the class or as a field, that are neither modules nor classes. */
function isMethod(value: unknown): value is AnyFunction {
  return (
    typeof value === "function" &&
    !(value instanceof nn.Module) &&
    !/^class\b/.test(Function.prototype.toString.call(value))
  );
}

/** The name of the method that the user meant: by its name, by what the wrapper gave for it, or by the model's own function. */
function methodName(original: nn.AnyModule, method: unknown): string {
  if (typeof method === "string") return method;
  if (isMethod(method)) {
    const link = methodLinks.get(method);
    if (link?.owner === original) return link.name;
    const name = link ? undefined : nameOf(original, method);
    if (name !== undefined) return name;
  }
  throw new TypeError(
    `Expected a method or a string, but got: ${describe(method)}.\nGive a method of ${modelName(original)}, such as \`model.generate\`, or its name.`,
  );
}

function nameOf(original: nn.AnyModule, method: AnyFunction): string | undefined {
  for (
    let level: object | null = original;
    level !== null && level !== Object.prototype;
    level = Object.getPrototypeOf(level)
  ) {
    for (const name of Object.getOwnPropertyNames(level)) {
      if (Object.getOwnPropertyDescriptor(level, name)?.value === method) return name;
    }
  }
  return undefined;
}

/** True when the precision does something with inputs, outputs, or what is computed between them. */
function convertsForward(precision: Precision): boolean {
  return (
    precision.convertInput !== Precision.prototype.convertInput ||
    precision.forwardContext !== Precision.prototype.forwardContext ||
    precision.convertOutput !== Precision.prototype.convertOutput
  );
}

/** True when the strategy or the precision does something of its own in the backward pass. */
function requiresFabricBackward(strategy: Strategy): boolean {
  const { precision } = strategy;
  return (
    strategy.backward !== Strategy.prototype.backward ||
    precision.preBackward !== Precision.prototype.preBackward ||
    precision.backward !== Precision.prototype.backward ||
    precision.postBackward !== Precision.prototype.postBackward
  );
}
