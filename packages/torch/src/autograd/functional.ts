// Derivatives of functions as wholes: Jacobians, Hessians, and their products with vectors. Python:
// `torch.autograd.functional`. Each element of a result takes a backward pass.
import { checkOptions, typeError } from "../check.js";
import { ConfigurationError, UsageError } from "../errors.js";
import { onesLike, stack, zerosLike } from "../ops.generated.js";
import { Tensor } from "../tensor.js";
import { grad } from "./backward.js";
import { enableGrad } from "./grad-mode.js";

/** Options of these functions. */
export interface FunctionalOptions {
  /** Make the results differentiable (default false). */
  createGraph?: boolean | undefined;
  /** Make it an error when an output does not depend on an input, whose derivative is zero otherwise (default false). */
  strict?: boolean | undefined;
}

type Inputs = Tensor | readonly Tensor[];
// biome-ignore lint/suspicious/noExplicitAny: functions of any number of tensors
type Fn<R> = (...inputs: any[]) => R;

const listed = (value: Inputs): Tensor[] => (value instanceof Tensor ? [value] : [...value]);

function prepared(name: string, fn: unknown, inputs: Inputs, options: FunctionalOptions): Tensor[] {
  checkOptions(options, ["createGraph", "strict"], `autograd.functional.${name}(fn, x, { createGraph: true })`);
  if (typeof fn !== "function") throw typeError("fn", "a function", fn);
  const list = listed(inputs);
  for (const input of list)
    if (!(input instanceof Tensor)) throw typeError("inputs", "a Tensor or a list of them", input);
  // Tensors of their own, so that nobody's `grad` or history is touched; with a graph, views that keep theirs.
  return list.map((input) => {
    if (options.createGraph && input.requiresGrad) return input.viewAs(input);
    const own = input.detach();
    own.requiresGrad = true;
    return own;
  });
}

function outputsOf(name: string, result: unknown): Tensor[] {
  const outputs = listed(result as Inputs);
  for (const output of outputs) {
    if (!(output instanceof Tensor))
      throw typeError(`result of the function given to ${name}`, "a Tensor or a list", output);
  }
  return outputs;
}

function gradients(
  outputs: readonly Tensor[],
  inputs: readonly Tensor[],
  weights: readonly (Tensor | null)[] | null,
  options: FunctionalOptions,
  createGraph = options.createGraph ?? false,
): Tensor[] {
  const kept = outputs
    .map((output, i) => [output, weights?.[i] ?? null] as const)
    .filter(([output]) => output.requiresGrad);
  const found =
    kept.length === 0
      ? inputs.map(() => null)
      : grad(
          kept.map(([output]) => output),
          inputs,
          { gradOutputs: kept.map(([, weight]) => weight), retainGraph: true, createGraph, allowUnused: true },
        );
  return found.map((gradient, i) => {
    if (gradient !== null) return gradient;
    if (options.strict) {
      throw new UsageError(`The output of the function does not depend on input ${i}.`, {
        hint: "Leave `strict` out to get zeros.",
      });
    }
    return zerosLike(inputs[i] as Tensor, { requiresGrad: false });
  });
}

const result = (inputs: Inputs, list: Tensor[]): Tensor | Tensor[] =>
  inputs instanceof Tensor ? (list[0] as Tensor) : list;
const finished = (tensor: Tensor, options: FunctionalOptions): Tensor =>
  options.createGraph ? tensor : tensor.detach();

/**
 * The derivative of every output element with respect to every input element: shape `[...output, ...input]`. Lists of inputs
 * give lists; a function with a list of outputs gives a list for each.
 */
export function jacobian(fn: Fn<Tensor>, inputs: Tensor, options?: FunctionalOptions): Tensor;
export function jacobian(fn: Fn<Tensor>, inputs: readonly Tensor[], options?: FunctionalOptions): Tensor[];
export function jacobian(fn: Fn<readonly Tensor[]>, inputs: Tensor, options?: FunctionalOptions): Tensor[];
export function jacobian(fn: Fn<readonly Tensor[]>, inputs: readonly Tensor[], options?: FunctionalOptions): Tensor[][];
export function jacobian(
  fn: Fn<Tensor | readonly Tensor[]>,
  inputs: Inputs,
  options: FunctionalOptions = {},
): Tensor | Tensor[] | Tensor[][] {
  return enableGrad(() => {
    const own = prepared("jacobian", fn, inputs, options);
    const value = fn(...own);
    const blocks = outputsOf("jacobian", value).map((output) => {
      const rows = own.map((): Tensor[] => []);
      const flat = output.reshape([-1]);
      for (let i = 0; i < flat.numel(); i++) {
        gradients([flat.select(0, i)], own, null, options).forEach((gradient, j) => {
          rows[j]?.push(gradient);
        });
      }
      return rows.map((row, j) => {
        const shape = [...output.shape, ...(own[j] as Tensor).shape];
        const all = row.length === 0 ? (own[j] as Tensor).newZeros(shape) : stack(row).reshape(shape);
        return finished(all, options);
      });
    });
    const each = blocks.map((block) => result(inputs, block));
    return (value instanceof Tensor ? each[0] : each) as Tensor | Tensor[] | Tensor[][];
  });
}

/** The second derivatives of a function with one number for a result: shape `[...input, ...input]`; lists of lists for lists. */
export function hessian(fn: Fn<Tensor>, inputs: Tensor, options?: FunctionalOptions): Tensor;
export function hessian(fn: Fn<Tensor>, inputs: readonly Tensor[], options?: FunctionalOptions): Tensor[][];
export function hessian(fn: Fn<Tensor>, inputs: Inputs, options: FunctionalOptions = {}): Tensor | Tensor[][] {
  prepared("hessian", fn, inputs, options);
  const slope = (...own: Tensor[]): Tensor | Tensor[] => {
    const output = oneNumber("hessian", fn(...own));
    return result(inputs, gradients([output], own, null, options, true));
  };
  return jacobian(slope as Fn<Tensor>, inputs as Tensor, options) as Tensor | Tensor[][];
}

function oneNumber(name: string, output: unknown): Tensor {
  if (!(output instanceof Tensor)) throw typeError(`result of the function given to ${name}`, "a Tensor", output);
  if (output.numel() === 1) return output.reshape([]);
  throw new ConfigurationError(`The function given to ${name} has ${output.numel()} numbers for a result, not one.`, {
    hint: "Reduce it: `x.sum()`.",
  });
}

function vectorsFor(name: string, v: Inputs | null | undefined, likes: readonly Tensor[]): Tensor[] {
  if (v === null || v === undefined) {
    if (likes.length === 1 && likes[0]?.numel() === 1) return [onesLike(likes[0], { requiresGrad: false })];
    throw new UsageError(`\`${name}\` needs a vector \`v\`, unless there is one number only.`);
  }
  const list = listed(v);
  likes.forEach((like, i) => {
    if (list.length === likes.length && list[i]?.shape.join() === like.shape.join()) return;
    throw new ConfigurationError(
      `\`v\` of ${name} has the shapes ${list.map((x) => `[${x.shape.join(", ")}]`).join(", ")}, but needs ${likes.map((x) => `[${x.shape.join(", ")}]`).join(", ")}.`,
    );
  });
  return list;
}

/** The outputs, and the product of the vector `v` (of the outputs' shapes) with the Jacobian. */
export function vjp<R extends Inputs, I extends Inputs>(
  fn: Fn<R>,
  inputs: I,
  v?: R | null,
  options: FunctionalOptions = {},
): [outputs: R, vjp: I] {
  return enableGrad(() => {
    const own = prepared("vjp", fn, inputs, options);
    const value = fn(...own);
    const outputs = outputsOf("vjp", value);
    const products = gradients(outputs, own, vectorsFor("vjp", v, outputs), options);
    return [
      settled(value, options),
      result(
        inputs,
        products.map((p) => finished(p, options)),
      ),
    ] as [R, I];
  });
}

/** The outputs, and the product of the Jacobian with the vector `v` (of the inputs' shapes), by two backward passes. */
export function jvp<R extends Inputs, I extends Inputs>(
  fn: Fn<R>,
  inputs: I,
  v?: I | null,
  options: FunctionalOptions = {},
): [outputs: R, jvp: R] {
  return enableGrad(() => {
    const own = prepared("jvp", fn, inputs, options);
    const vectors = vectorsFor("jvp", v, own);
    const value = fn(...own);
    const outputs = outputsOf("jvp", value);
    // The product with a vector is linear in it: its derivative there is the product from the other side.
    const dummies = outputs.map((output) => zerosLike(output, { requiresGrad: true }));
    const linear = gradients(outputs, own, dummies, options, true);
    const products = gradients(linear, dummies, vectors, { ...options, strict: false });
    const list = products.map((product) => finished(product, options));
    return [settled(value, options), value instanceof Tensor ? list[0] : list] as [R, R];
  });
}

/** The value of a function with one number for a result, and the product of the vector `v` with its Hessian. */
export function vhp<I extends Inputs>(
  fn: Fn<Tensor>,
  inputs: I,
  v?: I | null,
  options: FunctionalOptions = {},
): [output: Tensor, vhp: I] {
  return enableGrad(() => {
    const own = prepared("vhp", fn, inputs, options);
    const vectors = vectorsFor("vhp", v, own);
    const output = oneNumber("vhp", fn(...own));
    const slopes = gradients([output], own, null, options, true);
    const products = gradients(slopes, own, vectors, options);
    return [
      finished(output, options),
      result(
        inputs,
        products.map((p) => finished(p, options)),
      ),
    ] as [Tensor, I];
  });
}

/** The same from the other side; the Hessian is symmetric wherever it is continuous. */
export const hvp: typeof vhp = (fn, inputs, v, options) => vhp(fn, inputs, v, options);

function settled<R extends Inputs>(value: R, options: FunctionalOptions): R {
  return (value instanceof Tensor ? finished(value, options) : [...value].map((x) => finished(x, options))) as R;
}
