// The base class of everything with parameters. An instance is a function, so that `model(x)` works without a Proxy: the
// constructor returns a function object with the class's prototype. Walking is in members.ts, state dicts in state-dict.ts.
import { inspect } from "node:util";
import { checkOptions, describe, typeError } from "../check.js";
import type { Device, Dtype } from "../dtype.js";
import { UsageError } from "../errors.js";
import { recordTensors, Tensor } from "../tensor.js";
import { BackwardHooks } from "./backward-hooks.js";
import { convertModule, type ModuleTarget, moduleTarget, moveToEmpty } from "./convert.js";
import { childrenOf, membersOf, namedMembers, walk } from "./members.js";
import {
  type BackwardHook,
  type BackwardPreHook,
  type ForwardHook,
  type ForwardPreHook,
  type Gradients,
  isModule,
  ModuleState,
  moduleState,
  type StateDictHook,
} from "./module-state.js";
import { Parameter } from "./parameter.js";
import { addHook, type RemovableHandle } from "./removable-handle.js";
import { moduleText } from "./repr.js";
import {
  type LoadOptions,
  type LoadResult,
  loadInto,
  type StateDict,
  type StateDictOptions,
  saveInto,
} from "./state-dict.js";

/** A module of any arguments and result. */
// biome-ignore lint/suspicious/noExplicitAny: the only type that every module is assignable to
export type AnyModule = Module<any[], any>;

/**
 * A part of a network: parameters, buffers and other modules as properties, and `forward`. Calling the module runs its
 * hooks and `forward`. `A` is the type of the arguments (a tuple), `R` that of the result.
 *
 *     class MyModel extends nn.Module<[Tensor], Tensor> {
 *       layer = new nn.Linear(10, 2);
 *       forward(x: Tensor) { return this.layer(x); }
 *       generate() { return this(torch.randn([10])); }
 *     }
 *     const output = new MyModel()(torch.randn([4, 10]));
 */
export interface Module<A extends unknown[] = [Tensor], R = Tensor> extends ModuleBase<A, R> {
  (...args: A): R;
}

// Written as methods with a property beside them, which is what makes TypeScript compare their parameters in both directions:
// a module that takes further, optional arguments stays assignable to one that does not.
type Bivariant<F extends { call: unknown }> = F["call"] & { readonly name?: string };
/** Called with the module and its arguments before `forward`. */
export type PreHookFunction<M, A extends unknown[]> = Bivariant<{ call(module: M, args: A): unknown }>;
/** Called with the module, its arguments and its output after `forward`. */
export type HookFunction<M, A extends unknown[], R> = Bivariant<{
  // biome-ignore lint/suspicious/noConfusingVoidType: hooks mostly return nothing
  call(module: M, args: A, output: R): R | null | undefined | void;
}>;

// biome-ignore lint/suspicious/noConfusingVoidType: hooks mostly return nothing
type NewGradients = Tensor | readonly (Tensor | null)[] | null | undefined | void;
/** Called with the module and the gradients of its inputs and outputs during a backward pass. */
export type FullBackwardHook<M> = Bivariant<{
  call(module: M, gradInput: Gradients, gradOutput: Gradients): NewGradients;
}>;
/** Called with the module and the gradients of its outputs during a backward pass. */
export type FullBackwardPreHook<M> = Bivariant<{ call(module: M, gradOutput: Gradients): NewGradients }>;

/** Called with the module, the prefix of its names and `keepVars` before its part of a state dict is made. */
export type StateDictPreHook<M> = Bivariant<{ call(module: M, prefix: string, keepVars: boolean): void }>;
/** Called with the module, the state dict that its part is in and the prefix of its names. */
export type StateDictPostHook<M> = Bivariant<{ call(module: M, state: StateDict, prefix: string): void }>;
/** Called with the module, all values to be loaded by name and the prefix of its names. */
export type LoadStateDictPreHook<M> = Bivariant<{
  call(module: M, state: Map<string, unknown>, prefix: string): void;
}>;
/** Called with the module and the names that did not match. */
export type LoadStateDictPostHook<M> = Bivariant<{ call(module: M, result: LoadResult): void }>;

/** internal: the class behind `Module`, which is exported with the call signature added. */
export abstract class ModuleBase<A extends unknown[], R> {
  /** internal: see module-state.ts. */
  declare readonly [moduleState]: ModuleState;

  // Private names of this class would be on the object that is dropped here: none may be declared.
  constructor() {
    const state = new ModuleState();
    const self = ((...args: A): R =>
      state.hooked ? callWithHooks(self, state, args) : self.forward(...args)) as Module<A, R>;
    // A function's own `name` and `length` would stand in the way of fields and getters of those names.
    Reflect.deleteProperty(self, "name");
    Reflect.deleteProperty(self, "length");
    Object.setPrototypeOf(self, new.target.prototype);
    Object.defineProperty(self, moduleState, { value: state });
    // biome-ignore lint/correctness/noConstructorReturn: the instance is the function
    return self;
  }

  /** What the module computes. Call the module itself instead, so that hooks run. */
  abstract forward(...args: A): R;

  /** True in training mode (the default), which dropout and normalization layers look at. Set it with `train()` and `eval()`. */
  get training(): boolean {
    return this[moduleState].training;
  }
  set training(mode: boolean) {
    if (typeof mode !== "boolean") throw typeError("training", "true or false", mode);
    this[moduleState].training = mode;
  }

  /** All parameters, each once, in definition order; only the module's own with `recurse = false`. */
  parameters(recurse = true): Parameter[] {
    return this.namedParameters("", recurse).map(([, parameter]) => parameter);
  }
  /** All parameters with their dotted names, each once, in definition order. */
  namedParameters(prefix = "", recurse = true): [string, Parameter][] {
    return namedMembers(asModule(this), "parameters", prefix, recurse);
  }
  /** All buffers, each once. */
  buffers(recurse = true): Tensor[] {
    return this.namedBuffers("", recurse).map(([, buffer]) => buffer);
  }
  /** All buffers with their dotted names, each once. */
  namedBuffers(prefix = "", recurse = true): [string, Tensor][] {
    return namedMembers(asModule(this), "buffers", prefix, recurse);
  }
  /** The direct children, each once, in definition order. */
  children(): AnyModule[] {
    return this.namedChildren().map(([, child]) => child);
  }
  /** The direct children with their names, each once, in definition order. */
  namedChildren(): [string, AnyModule][] {
    const seen = new Set<AnyModule>();
    return childrenOf(asModule(this)).filter(([, child]) => !seen.has(child) && seen.add(child));
  }
  /** This module and all below it, each once. */
  modules(): AnyModule[] {
    return walk(asModule(this)).map(([, module]) => module);
  }
  /** This module (its name is `prefix`) and all below it with their dotted names, each once. */
  namedModules(prefix = ""): [string, AnyModule][] {
    return walk(asModule(this), prefix);
  }

  /** The module at a dotted path such as `"encoder.layers.0"`; the empty path is this module. */
  getSubmodule(path: string): AnyModule {
    let module = asModule(this);
    if (path === "") return module;
    for (const name of path.split(".")) {
      const child = childrenOf(module).find(([key]) => key === name)?.[1];
      if (!child) throw missing(this, "module", path, module, name, childrenOf(module));
      module = child;
    }
    return module;
  }
  /** The parameter at a dotted path such as `"encoder.layers.0.weight"`. */
  getParameter(path: string): Parameter {
    const [module, name] = locate(this, path);
    const { parameters } = membersOf(module);
    const found = parameters.find(([key]) => key === name)?.[1];
    if (!found) throw missing(this, "parameter", path, module, name, parameters);
    return found;
  }
  /** The buffer at a dotted path such as `"norm.running_mean"`. */
  getBuffer(path: string): Tensor {
    const [module, name] = locate(this, path);
    const { buffers } = membersOf(module);
    const found = buffers.find(([key]) => key === name)?.[1];
    if (!found) throw missing(this, "buffer", path, module, name, buffers);
    return found;
  }

  /**
   * Adds a tensor that is part of the state but not learned. It is the property `name`, moves with `to()`, and is saved
   * unless `persistent` is false. Returns the tensor: `mask = this.registerBuffer("mask", torch.ones([3]))`.
   */
  registerBuffer<T extends Tensor | null>(name: string, tensor: T, options: { persistent?: boolean } = {}): T {
    const state = this[moduleState];
    if (tensor !== null && !(tensor instanceof Tensor)) throw typeError("tensor", "a Tensor or null", tensor);
    if (tensor instanceof Parameter) {
      throw typeError(
        "tensor",
        "a Tensor that is no Parameter",
        tensor,
        "Assign a Parameter as a plain property instead.",
      );
    }
    if (!state.buffers.has(name)) checkName(this, name);
    state.buffers.set(name, options.persistent ?? true);
    (this as unknown as Record<string, unknown>)[name] = tensor;
    if (tensor !== null) keepBeyondScope(tensor);
    return tensor;
  }
  /** Adds a parameter under a name that is known only at run time; otherwise assign it to a property. */
  registerParameter(name: string, parameter: Parameter | null): void {
    if (parameter !== null && !(parameter instanceof Parameter)) {
      throw typeError("parameter", "a Parameter or null", parameter, "Type `new nn.Parameter(tensor)`.");
    }
    checkName(this, name);
    (this as unknown as Record<string, unknown>)[name] = parameter;
  }
  /** Adds a child under a name that is known only at run time; otherwise assign it to a property. */
  registerModule(name: string, module: AnyModule | null): void {
    if (module !== null && !isModule(module)) throw typeError("module", "a Module or null", module);
    checkName(this, name);
    (this as unknown as Record<string, unknown>)[name] = module;
  }
  /** The same as `registerModule`. */
  addModule(name: string, module: AnyModule | null): void {
    this.registerModule(name, module);
  }

  /** Calls `hook(module, args)` before each `forward`; what it returns other than null replaces the arguments. */
  registerForwardPreHook(hook: PreHookFunction<this, A>, options: { prepend?: boolean } = {}): RemovableHandle {
    checkHook(hook);
    const state = this[moduleState];
    return addHook(
      state.forwardPreHooks,
      hook as unknown as ForwardPreHook<never>,
      options.prepend,
      state.hooksChanged,
    );
  }
  /** Calls `hook(module, args, output)` after each `forward`; what it returns other than null replaces the output. */
  registerForwardHook(hook: HookFunction<this, A, R>, options: { prepend?: boolean } = {}): RemovableHandle {
    checkHook(hook);
    const state = this[moduleState];
    return addHook(
      state.forwardHooks,
      hook as unknown as ForwardHook<never, never>,
      options.prepend,
      state.hooksChanged,
    );
  }

  /**
   * Calls `hook(module, gradInput, gradOutput)` in each backward pass, when the gradients of the inputs have been computed.
   * Both are arrays with an entry for each argument and each output, null for what needs no gradient. A Tensor or an array
   * that it returns replaces `gradInput`. Inputs and outputs must not be changed in place while hooks are registered.
   *
   *     model.layer.registerFullBackwardHook((_, [gradInput], [gradOutput]) => console.log(gradOutput?.norm().item()));
   */
  registerFullBackwardHook(hook: FullBackwardHook<this>, options: { prepend?: boolean } = {}): RemovableHandle {
    checkHook(hook);
    const state = this[moduleState];
    return addHook(state.backwardHooks, hook as unknown as BackwardHook, options.prepend, state.hooksChanged);
  }
  /**
   * Calls `hook(module, gradOutput)` in each backward pass, before the module's own part of it. A Tensor or an array that it
   * returns replaces `gradOutput`.
   */
  registerFullBackwardPreHook(hook: FullBackwardPreHook<this>, options: { prepend?: boolean } = {}): RemovableHandle {
    checkHook(hook);
    const state = this[moduleState];
    return addHook(state.backwardPreHooks, hook as unknown as BackwardPreHook, options.prepend, state.hooksChanged);
  }

  /** Calls `hook(module, prefix, keepVars)` before the module's part of a state dict is made. */
  registerStateDictPreHook(hook: StateDictPreHook<this>): RemovableHandle {
    checkHook(hook);
    return addHook(this[moduleState].stateDictPreHooks, hook as unknown as StateDictHook);
  }
  /** Calls `hook(module, state, prefix)` when the module's part of a state dict is made: it may change, add and delete entries. */
  registerStateDictPostHook(hook: StateDictPostHook<this>): RemovableHandle {
    checkHook(hook);
    return addHook(this[moduleState].stateDictPostHooks, hook as unknown as StateDictHook);
  }
  /**
   * Calls `hook(module, state, prefix)` before the module is loaded. `state` is a copy of what is to be loaded, a Map by name, which the hook
   * may change: files of older versions of a class get the names of today.
   */
  registerLoadStateDictPreHook(hook: LoadStateDictPreHook<this>): RemovableHandle {
    checkHook(hook);
    return addHook(this[moduleState].loadPreHooks, hook as unknown as StateDictHook);
  }
  /**
   * Calls `hook(module, result)` when everything has been loaded, for children before their parents. What did not match with
   * `strict: false` stands in `result`, whose lists the hook may change.
   */
  registerLoadStateDictPostHook(hook: LoadStateDictPostHook<this>): RemovableHandle {
    checkHook(hook);
    return addHook(this[moduleState].loadPostHooks, hook as unknown as StateDictHook);
  }

  /**
   * The parameters and persistent buffers by name, without gradient history, sharing the module's memory. The names and
   * their order are PyTorch's, so that files can be exchanged.
   */
  stateDict(options: StateDictOptions = {}): StateDict {
    return saveInto(asModule(this), options);
  }
  /**
   * Copies values into the parameters and buffers by name. With `strict` (the default) all names have to match; shapes
   * always have to. `assign` keeps the given tensors instead of copying. Returns the names that did not match.
   */
  loadStateDict(
    state: Readonly<Record<string, unknown>> | ReadonlyMap<string, unknown>,
    options: LoadOptions = {},
  ): LoadResult {
    return loadInto(asModule(this), state, options);
  }

  /** Sets training mode for this module and all below it. */
  train(mode = true): this {
    this.training = mode;
    for (const child of this.children()) child.train(mode);
    return this;
  }
  /** Sets evaluation mode: the same as `train(false)`. */
  eval(): this {
    return this.train(false);
  }
  /** Says whether gradients are computed for the parameters. */
  requiresGrad_(requiresGrad = true): this {
    for (const parameter of this.parameters()) parameter.requiresGrad = requiresGrad;
    return this;
  }
  /** Drops the gradients of all parameters, or fills them with zeros when `setToNone` is false. */
  zeroGrad(options: { setToNone?: boolean } = {}): void {
    checkOptions(options, ["setToNone"], "model.zeroGrad({ setToNone: false })");
    const setToNone = options.setToNone ?? true;
    for (const parameter of this.parameters()) {
      const { grad } = parameter;
      if (grad === null) continue;
      if (setToNone) parameter.grad = null;
      else {
        if (grad.gradFn !== null) grad.detach_();
        else grad.requiresGrad = false;
        grad.zero_();
      }
    }
  }
  /** Calls `fn` for every module below and then for this one. */
  apply(fn: (module: AnyModule) => void): this {
    for (const child of this.children()) child.apply(fn);
    fn(asModule(this));
    return this;
  }

  /**
   * Moves parameters, gradients and buffers to a device, or converts the floating-point ones to a dtype, in place: the
   * parameters stay the same objects. `to("cuda:0")`, `to("bfloat16")`, `to(otherTensor)`, `to({ device, dtype })`.
   */
  to(target: Device | Dtype | Tensor | ModuleTarget, options?: ModuleTarget): this;
  to(device: Device, dtype: Dtype): this;
  to(target: unknown, more?: unknown): this {
    convertModule(asModule(this), moduleTarget(target, more));
    return this;
  }
  /**
   * Gives all parameters and buffers new, uninitialized memory on a device: the way away from the `"meta"` device. `recurse: false`: only
   * the module's own.
   */
  toEmpty(options: { device: Device; recurse?: boolean }): this {
    checkOptions(options, ["device", "recurse"], 'model.toEmpty({ device: "cpu" })');
    moveToEmpty(asModule(this), options.device, options.recurse ?? true);
    return this;
  }
  /** Moves everything to the CPU. */
  cpu(): this {
    return this.to("cpu");
  }
  /** Moves everything to a CUDA device, the current one unless told. */
  cuda(index?: number): this {
    return this.to(index === undefined ? "cuda" : `cuda:${index}`);
  }
  /** Converts floating-point members to `float32`. */
  float(): this {
    return this.to("float32");
  }
  /** Converts floating-point members to `float64`. */
  double(): this {
    return this.to("float64");
  }
  /** Converts floating-point members to `float16`. */
  half(): this {
    return this.to("float16");
  }
  /** Converts floating-point members to `bfloat16`. */
  bfloat16(): this {
    return this.to("bfloat16");
  }

  /** What stands between the brackets when the module is printed; layers override it. */
  extraRepr(): string {
    return "";
  }
  /** The module and all below it, as PyTorch prints them. */
  toString(): string {
    return moduleText(asModule(this));
  }
  [inspect.custom](): string {
    return this.toString();
  }
}

// Classes written in plain JavaScript may lack what TypeScript demands.
Object.defineProperty(ModuleBase.prototype, "forward", {
  configurable: true,
  writable: true,
  value(this: AnyModule) {
    throw new UsageError(`${this.constructor.name} has no \`forward\`.`, {
      hint: "Define `forward(...)` in the class: it is what calling the module runs.",
    });
  },
});

type ModuleConstructor = (abstract new <A extends unknown[] = [Tensor], R = Tensor>() => Module<A, R>) & {
  readonly prototype: AnyModule;
};

export const Module = ModuleBase as unknown as ModuleConstructor;

function asModule(module: unknown): AnyModule {
  return module as AnyModule;
}

/** The module that a dotted path's last name belongs to, and that name. */
function locate(module: unknown, path: string): [AnyModule, string] {
  const dot = path.lastIndexOf(".");
  return [asModule(module).getSubmodule(dot < 0 ? "" : path.slice(0, dot)), path.slice(dot + 1)];
}

function callWithHooks<A extends unknown[], R>(module: Module<A, R>, state: ModuleState, args: A): R {
  for (const hook of state.forwardPreHooks.values()) {
    const changed = (hook as unknown as ForwardPreHook<A>)(module, args);
    refusePromise(changed);
    if (changed !== undefined && changed !== null) args = (Array.isArray(changed) ? changed : [changed]) as A;
  }
  const backwardHooks = state.hasBackwardHooks ? new BackwardHooks(module as unknown as AnyModule, state) : null;
  if (backwardHooks !== null) args = backwardHooks.watchInputs(args);
  let output = module.forward(...args);
  for (const hook of state.forwardHooks.values()) {
    const changed = (hook as unknown as ForwardHook<A, R>)(module, args, output);
    if (changed !== output) refusePromise(changed);
    if (changed !== undefined && changed !== null) output = changed as R;
  }
  return backwardHooks === null ? output : backwardHooks.watchOutput(output);
}

/** Refuses names that cannot be keys of a state dict or would hide something. An own property without a value is free. */
function checkName(module: object, name: string): void {
  if (typeof name !== "string") throw typeError("name", "a string", name);
  if (name === "" || name.includes(".")) {
    throw new UsageError(`The name ${describe(name)} cannot be used: names are parts of dotted paths.`, {
      hint: "Take a name that is not empty and has no dot.",
    });
  }
  const taken = Object.hasOwn(module, name) ? (module as Record<string, unknown>)[name] !== undefined : name in module;
  if (taken) {
    throw new UsageError(`${module.constructor.name} already has a member called \`${name}\`.`, {
      hint: "Take another name, or delete the other member first.",
    });
  }
}

/** A buffer lives as long as its module, also when both were made inside a `scope()`. */
function keepBeyondScope(tensor: Tensor): void {
  const open = recordTensors(null);
  const at = open?.lastIndexOf(tensor) ?? -1;
  if (at >= 0) open?.splice(at, 1);
  recordTensors(open);
}

function checkHook(hook: unknown): void {
  if (typeof hook !== "function") throw typeError("hook", "a function", hook);
}

/** A hook's promise would take the place of what the module computes. */
function refusePromise(returned: unknown): void {
  if (typeof (returned as { then?: unknown } | null | undefined)?.then !== "function") return;
  throw new TypeError(
    "A hook returned a promise, but a module computes synchronously.\nMake the hook a plain function; collect what it sees, and await afterwards.",
  );
}

function missing(
  root: object,
  kind: string,
  path: string,
  at: AnyModule,
  name: string,
  present: [string, unknown][],
): UsageError {
  const names = present.map(([key]) => key).join(", ") || "none";
  return new UsageError(
    `${root.constructor.name} has no ${kind} "${path}": ${at.constructor.name} has no ${describe(name)}.`,
    {
      hint: `It has: ${names}.`,
    },
  );
}
