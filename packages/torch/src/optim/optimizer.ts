// The base of all optimizers: parameter groups, state, zeroing gradients, and state dictionaries laid out as PyTorch's.
// What a step computes is in the subclasses.
import { inspect } from "node:util";
import { noGrad } from "../autograd/grad-mode.js";
import { checkOptions, describe, typeError } from "../check.js";
import { ConfigurationError, NotSupportedError, UsageError } from "../errors.js";
import { unscoped } from "../memory.js";
import { type Handle, native } from "../native.js";
import { addHook, type RemovableHandle } from "../nn/removable-handle.js";
import { operator } from "../ops.js";
import { markFloats, Tuple } from "../serialization/python-types.js";
import { handleOf, Tensor } from "../tensor.js";
import { foreachZero_ } from "./foreach.js";
import type { ParamGroup } from "./param-group.js";
import { camelCase, floatOptions, pyValue, snakeCase } from "./python-names.js";

/** An optimizer's state as saved: the layout and the names are those of `torch.optim.Optimizer.state_dict()`. */
export interface OptimizerStateDict {
  /** State of each parameter, by the parameter's position over all groups. */
  state: Map<number, Record<string, unknown>>;
  /** Options of each group with Python's names, and `params`: the positions of its parameters. */
  param_groups: Record<string, unknown>[];
}

/** A hook that runs before or after each step. */
export type OptimizerHook = (optimizer: Optimizer) => void;

/** Options with which PyTorch's optimizers choose among their implementations. There is one here: over the list operators. */
export interface ImplementationOptions {
  /** Accepted; the list operators are used in any case. */
  foreach?: boolean | null | undefined;
  /** Only false or null. */
  fused?: false | null | undefined;
  /** Only false. */
  capturable?: false | undefined;
  /** Only false. */
  differentiable?: false | undefined;
}

/** internal: the names of those options. */
export const implementationNames: readonly string[] = ["foreach", "fused", "capturable", "differentiable"];

const whyNot: Record<string, string> = {
  fused: "There are no fused kernels here: a step is a handful of calls over all parameters anyway",
  capturable: "There are no CUDA graphs here",
  differentiable: "A step cannot be differentiated here: write it with operators of your own",
};

/** internal: options with defaults for those that are missing or undefined, in the order of the defaults. */
export function withDefaults(options: object, defaults: object): Record<string, unknown> {
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  const result: Record<string, unknown> = { ...defaults };
  for (const [name, value] of given) {
    if (implementationNames.includes(name)) {
      if (value !== null && typeof value !== "boolean") throw typeError(name, "a boolean", value);
      if (value === true && name in whyNot) {
        throw new NotSupportedError(`\`${name}: true\` is not supported.`, { hint: `${whyNot[name]}. Leave it out.` });
      }
      if (!(name in defaults)) continue;
    }
    result[name] = value;
  }
  return result;
}

/**
 * Base class of optimizers. A subclass implements `updateGroup`, which changes the parameters of one group in place; it
 * runs without recording gradients. Parameters whose `grad` is null are to be left alone.
 *
 *     class PlainDescent extends optim.Optimizer {
 *       constructor(params: Iterable<Tensor>, options: { lr: number }) { super(params, options); }
 *       protected override updateGroup(group: optim.ParamGroup) {
 *         for (const p of group.params) if (p.grad) p.add_(p.grad, { alpha: -group.lr });
 *       }
 *     }
 */
export abstract class Optimizer {
  /** The groups, each with `params` and its options. Change an option here (`group.lr = 0.01`) and the next step uses it. */
  paramGroups: ParamGroup[] = [];
  /** What the optimizer remembers for each parameter, under PyTorch's names (`momentum_buffer`, `exp_avg`). */
  readonly state = new Map<Tensor, Record<string, unknown>>();
  /** Options for groups that do not set them. */
  readonly defaults: Readonly<Record<string, unknown>>;

  // State that a loaded dictionary held for something other than a parameter; it is saved again as it came.
  #foreignState = new Map<unknown, unknown>();
  readonly #preHooks = new Map<number, OptimizerHook>();
  readonly #postHooks = new Map<number, OptimizerHook>();

  /**
   * @param params tensors, or groups `{ params, ...options }`
   * @param defaults options for groups that do not set them
   * @throws ConfigurationError for an empty list, a tensor with history, or a tensor in two groups
   */
  constructor(params: Iterable<Tensor> | Iterable<object>, defaults: object) {
    this.defaults = { ...defaults };
    const items = this.#listOf(params, "params");
    if (items.length === 0) {
      throw new ConfigurationError(`${this.#name} got an empty list of parameters.`, {
        hint: "Pass `model.parameters()` of a model that has parameters.",
      });
    }
    const groups = items[0] instanceof Tensor || !isGroup(items[0]) ? [{ params: items }] : items;
    for (const group of groups) this.addParamGroup(group as { params: Iterable<Tensor> });
  }

  get #name(): string {
    return this.constructor.name;
  }

  /** Changes the parameters of one group in place. Runs without recording gradients. */
  protected abstract updateGroup(group: ParamGroup): void;

  /** Refuses a group whose options cannot work. Runs for each new group, options that were missing filled in. */
  protected checkGroup(_group: ParamGroup): void {}

  /**
   * Changes all parameters that have a gradient. A closure computes the loss again (with gradients recorded) and returns
   * it; `step` hands it on.
   */
  step(): undefined;
  step<T>(closure: () => T): T;
  step<T>(closure?: () => T): T | undefined {
    if (closure !== undefined && typeof closure !== "function") {
      throw typeError("closure", "a function that returns the loss", closure, "Type `optimizer.step()`.");
    }
    for (const hook of this.#preHooks.values()) hook(this);
    const binding = native();
    const recording = binding.isGradEnabled();
    let loss: T | undefined;
    try {
      binding.setGradEnabled(false);
      loss = this.advance(closure);
    } finally {
      binding.setGradEnabled(recording);
    }
    for (const hook of this.#postHooks.values()) hook(this);
    return loss;
  }

  /** What a step does between its hooks, without recording: the closure, where there is one, then every group. */
  protected advance<T>(closure?: () => T): T | undefined {
    const loss = closure === undefined ? undefined : this.evaluate(closure);
    for (const group of this.paramGroups) this.updateGroup(group);
    return loss;
  }

  /** Calls a closure with recording. */
  protected evaluate<T>(closure: () => T): T {
    const binding = native();
    const recording = binding.isGradEnabled();
    binding.setGradEnabled(true);
    let loss: T;
    try {
      loss = closure();
    } finally {
      binding.setGradEnabled(recording);
    }
    if (typeof (loss as { then?: unknown } | undefined)?.then === "function") {
      throw new TypeError(
        "The closure given to `step` returned a promise, but a step is synchronous.\nCompute the loss before, then call `optimizer.step()`.",
      );
    }
    return loss;
  }

  /**
   * Forgets the gradients of all parameters. They become null (as in PyTorch 2), so that a step skips parameters that the
   * next backward pass does not reach; `{ setToNone: false }` fills them with zeros instead.
   */
  zeroGrad(options: { setToNone?: boolean } = {}): void {
    checkOptions(options, ["setToNone"], "optimizer.zeroGrad({ setToNone: false })");
    const { setToNone = true } = options;
    if (typeof setToNone !== "boolean") throw typeError("setToNone", "a boolean", setToNone);
    if (setToNone) {
      for (const group of this.paramGroups) for (const param of group.params) param.grad = null;
      return;
    }
    const grads: Handle[] = [];
    for (const group of this.paramGroups) {
      for (const param of group.params) {
        const grad = param.grad;
        if (grad === null) continue;
        if (grad.gradFn !== null) operator("aten", "detach_")(grad);
        else if (grad.requiresGrad) grad.requiresGrad = false;
        grads.push(handleOf(grad));
      }
    }
    if (grads.length > 0) noGrad(() => foreachZero_(grads));
  }

  /**
   * Adds a group, for example layers that are trained from now on. Options that are missing come from `defaults`.
   * The given object becomes the group, as in PyTorch.
   */
  addParamGroup(group: { params: Tensor | Iterable<Tensor>; [option: string]: unknown }): void {
    if (!isGroup(group))
      throw typeError("group", "an object with `params`", group, "Type `{ params: layer.parameters(), lr: 0.01 }`.");
    const params = group.params instanceof Tensor ? [group.params] : this.#listOf(group.params, "params");
    this.#checkParams(params);
    for (const [name, value] of Object.entries(this.defaults)) {
      const python = snakeCase(name);
      if (python !== name && python in group) {
        throw new TypeError(`Unknown option \`${python}\` in a parameter group.\nIt is called \`${name}\` here.`);
      }
      if (group[name] === undefined) group[name] = Array.isArray(value) ? [...value] : value;
    }
    const made = group as unknown as ParamGroup;
    made.params = params as Tensor[];
    this.checkGroup(made);
    this.paramGroups.push(made);
  }

  #checkParams(params: readonly unknown[]): asserts params is Tensor[] {
    const taken = new Set<unknown>();
    for (const group of this.paramGroups) for (const param of group.params) taken.add(param);
    const seen = new Set<unknown>();
    params.forEach((param, i) => {
      if (!(param instanceof Tensor)) {
        const hint = Array.isArray(param)
          ? "Pass `model.parameters()` rather than named ones."
          : "Pass `model.parameters()`.";
        throw new TypeError(
          `${this.#name} can only optimize tensors, but parameter ${i} is ${describe(param)}.\n${hint}`,
        );
      }
      if (!param.isLeaf) {
        throw new ConfigurationError(
          `${this.#name} cannot optimize parameter ${i} of shape [${param.shape.join(", ")}]: it is the result of an operation (${param.gradFn}).`,
          {
            hint: "Optimize the tensors it was computed from, or make it one of its own with `new nn.Parameter(x.detach())`.",
          },
        );
      }
      if (taken.has(param)) {
        throw new ConfigurationError(
          `Parameter ${i} of shape [${param.shape.join(", ")}] is in more than one parameter group.`,
          {
            hint: "Put each parameter into one group only.",
          },
        );
      }
      if (seen.has(param)) {
        process.emitWarning(
          `Parameter ${i} of shape [${param.shape.join(", ")}] is twice in one parameter group and would be updated twice a step.`,
          { type: "UserWarning", code: "FABRIC_OPTIM" },
        );
      }
      seen.add(param);
    });
  }

  #listOf(value: unknown, name: string): unknown[] {
    const hint = `Type \`new ${this.#name}(model.parameters(), ...)\`.`;
    if (value instanceof Tensor) {
      throw typeError(
        name,
        "a list of tensors or of parameter groups",
        value,
        `Put it into a list: \`new ${this.#name}([tensor], ...)\`.`,
      );
    }
    if (typeof (value as { parameters?: unknown } | null)?.parameters === "function") {
      throw new TypeError(
        `Expected \`${name}\` to be a list of tensors or of parameter groups, but got a module (${describe(value)}).\n${hint}`,
      );
    }
    if (typeof value !== "object" || value === null || !(Symbol.iterator in value)) {
      throw typeError(name, "a list of tensors or of parameter groups", value, hint);
    }
    return [...(value as Iterable<unknown>)];
  }

  /** The record for a parameter, made empty when there is none yet. */
  protected stateOf(param: Tensor): Record<string, unknown> {
    let record = this.state.get(param);
    if (record === undefined) {
      record = {};
      this.state.set(param, record);
    }
    return record;
  }

  /** What is saved of one parameter's state. Tensors are saved as they are, not copied. */
  protected packState(record: Record<string, unknown>): Record<string, unknown> {
    return record;
  }

  /**
   * Names of what the state of a parameter of this group has after its first step, as saved; a loaded dictionary is checked
   * against them. No names: unchecked.
   */
  protected stateNames(_group: ParamGroup): readonly string[] {
    return [];
  }

  /** The reverse of `packState`, for a loaded copy. */
  protected unpackState(record: Record<string, unknown>): Record<string, unknown> {
    return record;
  }

  /**
   * The state to be saved, which PyTorch's `load_state_dict` reads: options with Python's names, parameters by position.
   * Its tensors are the optimizer's own and change with the next step.
   */
  stateDict(): OptimizerStateDict {
    const positions = new Map<Tensor, number>();
    let start = 0;
    // Lists become tuples, as PyTorch saves `betas`.
    const groups = this.paramGroups.map((group) => {
      const packed: Record<string, unknown> = {};
      for (const [name, value] of Object.entries(group)) {
        if (name === "params") continue;
        const python = name in this.defaults ? snakeCase(name) : name;
        packed[python] = Array.isArray(value) ? packTuple(python, value) : value;
      }
      markFloats(packed, floatOptions);
      group.params.forEach((param, i) => {
        if (!positions.has(param)) positions.set(param, start + i);
      });
      start += group.params.length;
      packed.params = group.params.map((param) => positions.get(param));
      return packed;
    });
    const state = new Map<number, Record<string, unknown>>();
    for (const [param, record] of this.state) {
      const position = positions.get(param);
      if (position !== undefined) state.set(position, this.packState(record));
    }
    for (const [key, value] of this.#foreignState) state.set(key as number, value as Record<string, unknown>);
    return { state, param_groups: groups };
  }

  /**
   * Takes over a state made by `stateDict()` here or by `state_dict()` in PyTorch (1.12 or newer, and older ones). Tensors
   * are copied and, but for `step`, cast to the dtype and device of their parameter; options are overwritten.
   * Throws a `ConfigurationError` when it does not fit: another number of groups or parameters, other shapes, or the state of
   * another optimizer. Options that PyTorch added later (`maximize`, `foreach`, ...) may be missing.
   */
  loadStateDict(stateDict: OptimizerStateDict | Record<string, unknown>): void {
    const { state: savedState, param_groups: savedGroups } = (stateDict ?? {}) as Record<string, unknown>;
    if (!Array.isArray(savedGroups) || typeof savedState !== "object" || savedState === null) {
      throw typeError(
        "stateDict",
        "an object with `state` and `param_groups`",
        stateDict,
        "Pass what `optimizer.stateDict()` returned.",
      );
    }
    const byKey = this.#matchParams(savedGroups as Record<string, unknown>[]);
    const groups = this.paramGroups.map((group, i) =>
      this.#withSavedOptions(group, savedGroups[i] as Record<string, unknown>, i),
    );
    const groupOf = new Map(groups.flatMap((group) => group.params.map((param) => [param, group] as const)));
    const state = new Map<Tensor, Record<string, unknown>>();
    const foreign = new Map<unknown, unknown>();
    const entries = savedState instanceof Map ? savedState : Object.entries(savedState);
    noGrad(() =>
      unscoped(() => {
        for (const [key, record] of entries) {
          const param = byKey.get(String(key));
          if (param === undefined) {
            foreign.set(key, copyOf(record, null, ""));
            continue;
          }
          this.#checkState(key, param, record, groupOf.get(param) as ParamGroup);
          state.set(param, this.unpackState(copyOf(record, param, "") as Record<string, unknown>));
        }
      }),
    );
    this.paramGroups.forEach((group, i) => {
      Object.assign(group, groups[i], { params: group.params });
    });
    this.state.clear();
    for (const [param, record] of state) this.state.set(param, record);
    this.#foreignState = foreign;
  }

  /** The parameter for each key of a saved state: the n-th saved key is the n-th parameter. */
  #matchParams(saved: readonly Record<string, unknown>[]): Map<string, Tensor> {
    const groups = this.paramGroups;
    if (saved.length !== groups.length) {
      throw new ConfigurationError(
        `The loaded state has ${saved.length} parameter groups, but the optimizer has ${groups.length}.`,
        { hint: "Make the optimizer with the same groups as the one that was saved." },
      );
    }
    const byKey = new Map<string, Tensor>();
    groups.forEach((group, i) => {
      const keys = saved[i]?.params;
      if (!Array.isArray(keys) || keys.length !== group.params.length) {
        throw new ConfigurationError(
          `Group ${i} of the loaded state has ${Array.isArray(keys) ? keys.length : "no"} parameters, but the optimizer's has ${group.params.length}.`,
          { hint: "Make the optimizer over the same parameters as the one that was saved." },
        );
      }
      group.params.forEach((param, j) => {
        byKey.set(String(keys[j]), param);
      });
    });
    return byKey;
  }

  /** A copy of a group with the options that were saved, which have to be this optimizer's. */
  #withSavedOptions(current: ParamGroup, saved: Record<string, unknown>, index: number): ParamGroup {
    const group = { ...current };
    const lacking = Object.keys(this.defaults)
      .map(snakeCase)
      .filter((name) => !(name in saved) && !laterOptions.has(name));
    if (lacking.length > 0) {
      const known = new Set(Object.keys(this.defaults).map(snakeCase));
      const others = Object.keys(saved).filter(
        (name) => name !== "params" && !known.has(name) && !laterOptions.has(name),
      );
      throw new ConfigurationError(
        `Group ${index} of the loaded state has no ${listed(lacking)}, which are options of ${this.#name}${others.length > 0 ? `, but ${listed(others)}` : ""}.`,
        { hint: `Load a state that was saved by ${this.#name}.` },
      );
    }
    for (const [key, value] of Object.entries(saved)) {
      if (key === "params") continue;
      const camel = camelCase(key);
      // Options may be tensors in PyTorch 2 (`lr`); here they are numbers.
      const plain = value instanceof Tensor && value.numel() === 1 ? value.item() : copyOf(value, null, key);
      group[camel in this.defaults ? camel : key] = plain;
    }
    this.checkGroup(group);
    return group;
  }

  #checkState(key: unknown, param: Tensor, record: unknown, group: ParamGroup): void {
    if (typeof record !== "object" || record === null) {
      throw new ConfigurationError(`The loaded state of parameter ${key} is ${describe(record)}.`, {
        hint: `Load a state that was saved by ${this.#name}.`,
      });
    }
    const names = this.stateNames(group);
    const entries = new Map(record instanceof Map ? record : Object.entries(record));
    if (entries.size === 0) return;
    const lacking = names.filter((name) => !entries.has(name));
    if (lacking.length > 0) {
      throw new ConfigurationError(
        `The loaded state of parameter ${key} has ${listed([...entries.keys()].map(String))}, but ${this.#name} needs ${listed(names)}.`,
        { hint: `Load a state that was saved by ${this.#name} with the same options.` },
      );
    }
    for (const name of names) {
      const value = entries.get(name);
      if (!(value instanceof Tensor) || scalarState.has(name)) continue;
      if (value.shape.join() === param.shape.join()) continue;
      throw new ConfigurationError(
        `\`${name}\` of parameter ${key} has the shape [${value.shape.join(", ")}] in the loaded state, but the parameter has [${param.shape.join(", ")}].`,
        { hint: "Make the optimizer over the same parameters as the one that was saved." },
      );
    }
  }

  /** Calls `hook(optimizer)` before each step. */
  registerStepPreHook(hook: OptimizerHook): RemovableHandle {
    return addHook(this.#preHooks, hook);
  }

  /** Calls `hook(optimizer)` after each step. */
  registerStepPostHook(hook: OptimizerHook): RemovableHandle {
    return addHook(this.#postHooks, hook);
  }

  /** The groups and their options as PyTorch prints them. */
  toString(): string {
    let text = `${this.#name} (`;
    this.paramGroups.forEach((group, i) => {
      const options = Object.entries(group)
        .filter(([name]) => name !== "params")
        .map(([name, value]) => [name in this.defaults ? snakeCase(name) : name, value] as const)
        .sort(([a], [b]) => (a < b ? -1 : 1));
      text += `\nParameter Group ${i}\n`;
      for (const [name, value] of options) text += `    ${name}: ${pyValue(value)}\n`;
    });
    return `${text})`;
  }

  [inspect.custom](): string {
    return this.toString();
  }
}

// Options that PyTorch added over time: dictionaries of its older versions lack them.
const laterOptions: ReadonlySet<string> = new Set(
  "maximize foreach capturable differentiable fused decoupled_weight_decay".split(" "),
);
// State that is no tensor of the parameter's shape.
const scalarState: ReadonlySet<string> = new Set(["step", "mu_product"]);

function listed(names: readonly string[]): string {
  return names.map((name) => `\`${name}\``).join(", ");
}

function isGroup(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !(value instanceof Tensor) && "params" in value;
}

function packTuple(name: string, items: readonly unknown[]): Tuple {
  const tuple = Tuple.from(items);
  return floatOptions.has(name) ? markFloats(tuple, "all") : tuple;
}

/** A deep copy; floating-point state takes the dtype of its parameter, and its device, unless it counts steps. */
function copyOf(value: unknown, param: Tensor | null, key: string): unknown {
  if (value instanceof Tensor) {
    if (param === null || key === "step") return operator("aten", "clone")(value);
    const dtype = param.isFloatingPoint() ? param.dtype : value.dtype;
    return operator("aten", "_to_copy")(value, { dtype, device: param.device });
  }
  if (Array.isArray(value)) return value.map((item) => copyOf(item, param, ""));
  if (value instanceof Map) return new Map([...value].map(([name, item]) => [name, copyOf(item, param, String(name))]));
  if (typeof value === "object" && value !== null && [Object.prototype, null].includes(Object.getPrototypeOf(value))) {
    return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, copyOf(item, param, name)]));
  }
  return value;
}

/** internal: refuses sparse gradients, which the list operators do not take. */
export function refuseSparse(grads: readonly Handle[], optimizer: Optimizer): void {
  if (!grads.some((grad) => native().isSparse(grad))) return;
  throw new NotSupportedError(`${optimizer.constructor.name} does not support sparse gradients.`, {
    hint: "Make the embedding with `{ sparse: false }`.",
  });
}

/** internal: one `UsageError` for state that was tampered with. */
export function missingState(optimizer: Optimizer, key: string): UsageError {
  return new UsageError(`${optimizer.constructor.name} has state for a parameter, but no \`${key}\` in it.`, {
    hint: "Was a state dictionary of another optimizer loaded, or an option such as `amsgrad` switched on after the first step?",
  });
}
