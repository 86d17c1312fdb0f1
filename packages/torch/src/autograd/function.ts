// Operations with a derivative of one's own: a class with a static `forward` and `backward`, called through `apply`.
import { typeError } from "../check.js";
import { UsageError } from "../errors.js";
import { type FunctionHandle, type Handle, native } from "../native.js";
import { handleOf, Tensor, wrapHandle, wrapOptional } from "../tensor.js";

/** What `backward` may give for one argument of `forward`. */
export type Gradient = Tensor | null | undefined;

// The private side of a context, for this file.
let settingsOf: (ctx: Context<never>) => {
  saved: readonly (Tensor | null)[];
  dirty: readonly Tensor[];
  constant: readonly Tensor[];
  materialize: boolean;
};
let forget: (ctx: Context<never>) => void;
let during: <T>(ctx: Context<never>, node: FunctionHandle, body: () => T) => T;

/**
 * What `forward` and `backward` of one call share. Fields of your own may be set on it: `ctx.scale = 2`. Tensors belong
 * in `saveForBackward`, outputs above all: kept in a field they would never be freed.
 */
class Context<Saved extends readonly (Tensor | null)[]> {
  /** For each argument of `forward`: whether it is a tensor whose gradient is wanted. */
  readonly needsInputGrad: readonly boolean[];
  #saved: readonly (Tensor | null)[] = [];
  #dirty: readonly Tensor[] = [];
  #constant: readonly Tensor[] = [];
  #materialize = true;
  #node: FunctionHandle | null = null;

  static {
    settingsOf = (ctx) => ({
      saved: ctx.#saved,
      dirty: ctx.#dirty,
      constant: ctx.#constant,
      materialize: ctx.#materialize,
    });
    forget = (ctx) => {
      ctx.#saved = ctx.#dirty = ctx.#constant = [];
    };
    during = (ctx, node, body) => {
      ctx.#node = node;
      try {
        return body();
      } finally {
        ctx.#node = null;
      }
    };
  }

  constructor(needsInputGrad: readonly boolean[]) {
    this.needsInputGrad = needsInputGrad;
  }

  /** In `forward`: keeps inputs and outputs for `backward`, which finds them in `savedTensors`. */
  saveForBackward(...tensors: Saved): void {
    for (const tensor of tensors) {
      if (tensor !== null && !(tensor instanceof Tensor)) {
        throw typeError(
          "argument of saveForBackward",
          "a Tensor or null",
          tensor,
          "Keep other values in fields of `ctx`.",
        );
      }
    }
    this.#saved = tensors;
  }

  /** In `backward`: what `saveForBackward` kept. A tensor that was changed in place since then is an error. */
  get savedTensors(): Saved {
    if (this.#node === null) {
      throw new UsageError("`ctx.savedTensors` can be read in `backward` only.", {
        hint: "In `forward` use the tensors themselves.",
      });
    }
    return native().savedTensors(this.#node).map(wrapOptional) as readonly (Tensor | null)[] as Saved;
  }

  /** In `forward`: says which inputs were changed in place. Each of them must be returned, too. */
  markDirty(...inputs: Tensor[]): void {
    this.#dirty = tensorsIn("markDirty", inputs);
  }

  /** In `forward`: says which outputs have no gradient, such as indices. */
  markNonDifferentiable(...outputs: Tensor[]): void {
    this.#constant = tensorsIn("markNonDifferentiable", outputs);
  }

  /** In `forward`: with false, `backward` gets null instead of zeros for outputs that nothing used. */
  setMaterializeGrads(value: boolean): void {
    if (typeof value !== "boolean") throw typeError("value", "a boolean", value);
    this.#materialize = value;
  }
}

/**
 * The `ctx` of a function. `Fields` are the fields that you set on it, `Saved` the list of saved tensors.
 * @example
 * static forward(ctx: autograd.FunctionContext<{ scale: number }, [Tensor]>, x: Tensor, scale: number) {
 */
export type FunctionContext<
  // biome-ignore lint/suspicious/noExplicitAny: without `Fields` any field may be set
  Fields = Record<string, any>,
  Saved extends readonly (Tensor | null)[] = Tensor[],
> = Context<Saved> & Fields;

/** internal: the static side of a class derived from `Function`. */
interface FunctionClass {
  readonly name: string;
  // biome-ignore lint/suspicious/noExplicitAny: users type their own arguments
  forward(...args: any[]): unknown;
  // biome-ignore lint/suspicious/noExplicitAny: likewise
  backward?(ctx: any, ...gradients: any[]): Gradient | readonly Gradient[];
  // biome-ignore lint/suspicious/noExplicitAny: likewise
  setupContext?(ctx: any, inputs: any, output: any): void;
  // biome-ignore lint/suspicious/noExplicitAny: likewise
  jvp?(ctx: any, ...tangents: any[]): Gradient | readonly Gradient[];
}

type Arguments<C> = C extends { setupContext: unknown; forward(...args: infer A): unknown }
  ? A
  : // biome-ignore lint/suspicious/noExplicitAny: whatever type the user gave it
    C extends { forward(ctx: any, ...args: infer A): unknown }
    ? A
    : never;
type Result<C> = C extends { forward(...args: never[]): infer R } ? R : never;

/**
 * Base class of operations with a derivative of your own. Nothing is recorded inside `forward`; `backward` gets the
 * gradient of each output and gives one for each argument of `forward`, null for those that are no tensors or need none.
 * What `backward` computes can itself be differentiated.
 *
 * With a third method, `setupContext(ctx, inputs, output)`, `forward` takes no `ctx`. A `jvp(ctx, ...tangents)` serves
 * forward-mode differentiation.
 * @example
 * class Exp extends autograd.Function {
 *   static forward(ctx: autograd.FunctionContext, x: Tensor) {
 *     const y = x.exp();
 *     ctx.saveForBackward(y);
 *     return y;
 *   }
 *   static backward(ctx: autograd.FunctionContext<object, [Tensor]>, grad: Tensor) {
 *     const [y] = ctx.savedTensors;
 *     return grad.mul(y);
 *   }
 * }
 * const y = Exp.apply(x);
 */
// biome-ignore lint/complexity/noStaticOnlyClass: its static side is what users extend
abstract class AutogradFunction {
  /** Calls `forward` and records the call. Tensors are looked for among the arguments, not inside of them. */
  declare static readonly apply: <C extends FunctionClass>(this: C, ...args: Arguments<C>) => Result<C>;
}
// A getter, so that `const relu = MyReLU.apply` works in JavaScript as it does in Python.
Object.defineProperty(AutogradFunction, "apply", {
  get(this: FunctionClass) {
    return (...args: unknown[]) => applyFunction(this, args);
  },
});

export { AutogradFunction as Function };

function tensorsIn(method: string, values: readonly unknown[]): Tensor[] {
  for (const value of values)
    if (!(value instanceof Tensor)) throw typeError(`argument of ${method}`, "a Tensor", value);
  return values as Tensor[];
}

function checkClass(cls: FunctionClass): void {
  for (const name of ["forward", "backward"] as const) {
    if (typeof cls[name] === "function") continue;
    const prototype = (cls as unknown as { prototype?: Record<string, unknown> }).prototype;
    if (typeof prototype?.[name] === "function") {
      throw new TypeError(
        `\`${cls.name}.${name}\` is not static.\nWrite \`static ${name}(ctx, ...)\`: nothing is ever made by \`new ${cls.name}\`.`,
      );
    }
    if (name === "forward") {
      throw new TypeError(`\`${cls.name}\` has no \`static forward(ctx, ...)\`.`);
    }
  }
}

function refusePromise(what: string, value: unknown): void {
  if (typeof (value as { then?: unknown } | null | undefined)?.then !== "function") return;
  throw new TypeError(
    `\`${what}\` returned a promise, but it has to be synchronous.\nCompute first, then await outside.`,
  );
}

function applyFunction(cls: FunctionClass, args: readonly unknown[]): unknown {
  checkClass(cls);
  const inputs = args.filter((arg) => arg instanceof Tensor);
  const isTensor = args.map((arg) => arg instanceof Tensor);
  const ctx = new Context<never>(args.map((arg) => arg instanceof Tensor && arg.requiresGrad));
  const recording = native().isGradEnabled() && inputs.some((input) => input.requiresGrad);
  const result = runForward(cls, ctx, args);
  const outputs: readonly unknown[] = Array.isArray(result) ? result : [result];
  const { saved, dirty, constant, materialize } = settingsOf(ctx);
  forget(ctx);
  if (recording) refuseOutputsInFields(cls, ctx, outputs, inputs, dirty, constant);
  const raw = outputs.map(toHandle);
  const handles = native().applyFunction(
    `${cls.name}Backward`,
    inputs.map(handleOf),
    raw,
    dirty.map(handleOf),
    constant.map(handleOf),
    saved.map(toHandle),
    materialize,
    recording ? backwardOf(cls, ctx, isTensor) : null,
    cls.jvp ? jvpOf(cls, ctx, isTensor, outputs.length) : null,
  );
  const wrapped = handles.map((handle, i) => (handle === null || handle === raw[i] ? outputs[i] : wrapHandle(handle)));
  return Array.isArray(result) ? wrapped : wrapped[0];
}

function toHandle(value: unknown): Handle | null {
  return value instanceof Tensor ? handleOf(value) : null;
}

function runForward(cls: FunctionClass, ctx: Context<never>, args: readonly unknown[]): unknown {
  const before = native().isGradEnabled();
  const forwardMode = native().setForwardGradEnabled(false);
  native().setGradEnabled(false);
  try {
    const result = cls.setupContext ? cls.forward(...args) : cls.forward(ctx, ...args);
    refusePromise(`${cls.name}.forward`, result);
    cls.setupContext?.(ctx, args, result);
    return result;
  } finally {
    native().setGradEnabled(before);
    native().setForwardGradEnabled(forwardMode);
  }
}

// An output that `ctx` holds holds `ctx` in turn, through its graph and outside of what the collector sees.
function refuseOutputsInFields(
  cls: FunctionClass,
  ctx: Context<never>,
  outputs: readonly unknown[],
  inputs: readonly Tensor[],
  dirty: readonly Tensor[],
  constant: readonly Tensor[],
): void {
  const includes = (list: readonly unknown[], value: unknown): boolean => list.includes(value);
  for (const [name, value] of Object.entries(ctx)) {
    const held = Array.isArray(value) ? value : [value];
    for (const tensor of held) {
      if (!(tensor instanceof Tensor) || !outputs.includes(tensor) || constant.includes(tensor)) continue;
      if (includes(inputs, tensor) && !includes(dirty, tensor)) continue;
      throw new UsageError(
        `\`ctx.${name}\` of \`${cls.name}\` holds an output of \`forward\`, which would never be freed.`,
        {
          hint: "Keep it with `ctx.saveForBackward(...)`, and read it from `ctx.savedTensors` in `backward`.",
        },
      );
    }
  }
}

function listFrom(what: string, result: Gradient | readonly Gradient[]): readonly Gradient[] {
  refusePromise(what, result);
  if (result === undefined) throw new TypeError(`\`${what}\` returned nothing.\nReturn a gradient, or null for none.`);
  const list = Array.isArray(result) ? (result as readonly Gradient[]) : [result as Gradient];
  for (const item of list) {
    if (item !== null && item !== undefined && !(item instanceof Tensor)) {
      throw typeError(`result of ${what}`, "a Tensor, null or an array of them", item);
    }
  }
  return list;
}

// The closures below are made here and not in `applyFunction`, whose tensors they would keep alive, outputs for ever:
// closures hold all variables of their function that any of them uses.
function backwardOf(cls: FunctionClass, ctx: Context<never>, isTensor: readonly boolean[]) {
  return (gradients: (Handle | null)[], node: FunctionHandle) =>
    during(ctx, node, () => runBackward(cls, ctx, isTensor, gradients));
}

function jvpOf(cls: FunctionClass, ctx: Context<never>, isTensor: readonly boolean[], outputs: number) {
  return (tangents: (Handle | null)[]) => runJvp(cls, ctx, isTensor, outputs, tangents);
}

function runBackward(
  cls: FunctionClass,
  ctx: Context<never>,
  isTensor: readonly boolean[],
  gradients: readonly (Handle | null)[],
): (Handle | null)[] {
  const what = `${cls.name}.backward`;
  if (!cls.backward) {
    throw new UsageError(`\`${cls.name}\` has no \`static backward(ctx, ...)\`, so it cannot be differentiated.`);
  }
  const list = listFrom(what, cls.backward(ctx, ...gradients.map(wrapOptional)));
  const spare = list.slice(isTensor.length).some((item) => item !== null && item !== undefined);
  if (list.length < isTensor.length || spare) {
    throw new UsageError(
      `\`${what}\` returned ${count(list)}, but \`forward\` has ${plural(isTensor.length, "argument")}.`,
      {
        hint: "Return one for each argument in order, null for those that are no tensors or need none.",
      },
    );
  }
  const result: (Handle | null)[] = [];
  isTensor.forEach((wanted, i) => {
    const gradient = list[i] ?? null;
    if (wanted) result.push(gradient === null ? null : handleOf(gradient));
    else if (gradient !== null) {
      throw new UsageError(
        `\`${what}\` returned a gradient in place ${i + 1}, where \`forward\` was given no tensor.`,
        { hint: "Return null in the place of such an argument." },
      );
    }
  });
  return result;
}

function runJvp(
  cls: FunctionClass,
  ctx: Context<never>,
  isTensor: readonly boolean[],
  outputs: number,
  tangents: readonly (Handle | null)[],
): (Handle | null)[] {
  let next = 0;
  const given = isTensor.map((wanted) => (wanted ? wrapOptional(tangents[next++]) : null));
  const list = listFrom(`${cls.name}.jvp`, cls.jvp?.(ctx, ...given));
  if (list.length !== outputs) {
    throw new UsageError(
      `\`${cls.name}.jvp\` returned ${count(list)}, but \`forward\` has ${plural(outputs, "output")}.`,
    );
  }
  return list.map(toHandle);
}

const plural = (n: number, noun: string): string => `${n} ${noun}${n === 1 ? "" : "s"}`;
const count = (list: readonly unknown[]): string => plural(list.length, "gradient");

/**
 * Wraps a `backward` whose own computation cannot be differentiated: it runs without recording, and a derivative of its
 * results is an error instead of a wrong number.
 * @example
 * static backward = autograd.onceDifferentiable((ctx, grad) => grad.mul(2));
 */
export function onceDifferentiable<A extends unknown[], R extends Gradient | readonly Gradient[]>(
  backward: (...args: A) => R,
): (...args: A) => R {
  if (typeof backward !== "function") throw typeError("backward", "a function", backward);
  return (...args) => {
    const recording = native().isGradEnabled() && args.some((arg) => arg instanceof Tensor && arg.requiresGrad);
    const before = native().isGradEnabled();
    native().setGradEnabled(false);
    let result: R;
    try {
      result = backward(...args);
    } finally {
      native().setGradEnabled(before);
    }
    if (!recording) return result;
    const list = Array.isArray(result) ? (result as readonly Gradient[]) : [result as Gradient];
    const guarded = native()
      .delayedError(
        "The backward of this function was marked as `onceDifferentiable`: it has no derivative.",
        list.map(toHandle),
      )
      .map(wrapOptional);
    return (Array.isArray(result) ? guarded : guarded[0]) as R;
  };
}
