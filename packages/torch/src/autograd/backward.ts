// Backward passes and gradients of given inputs.
import { checkOptions, typeError } from "../check.js";
import { native } from "../native.js";
import { handleOf, Tensor, wrapOptional } from "../tensor.js";
import { runPass } from "./pass.js";

/** Options of a backward pass. */
export interface BackwardOptions {
  /** Keep the graph for another backward pass. Default: the value of `createGraph`. */
  retainGraph?: boolean | undefined;
  /** Record the backward pass itself, for higher derivatives. Default: false. */
  createGraph?: boolean | undefined;
  /** Accumulate only into these leaves. Default: all leaves. */
  inputs?: Tensor | readonly Tensor[] | undefined;
}

/** Options of `grad`. */
export interface GradOptions {
  /** Gradients of the outputs, each of its output's shape. Default: ones, for outputs with one element. */
  gradOutputs?: Tensor | readonly (Tensor | null)[] | null | undefined;
  /** Keep the graph for another pass. Default: the value of `createGraph`. */
  retainGraph?: boolean | undefined;
  /** Record the pass itself, for higher derivatives. Default: false. */
  createGraph?: boolean | undefined;
  /** Give null for inputs that the outputs do not depend on, rather than an error. Default: false. */
  allowUnused?: boolean | undefined;
}

function listOf(name: string, value: Tensor | readonly Tensor[]): readonly Tensor[] {
  const list = Array.isArray(value) ? (value as readonly Tensor[]) : [value as Tensor];
  for (const item of list)
    if (!(item instanceof Tensor)) throw typeError(name, "a Tensor or an array of Tensors", item);
  return list;
}

function gradientsOf(name: string, value: Tensor | readonly (Tensor | null)[] | null | undefined, count: number) {
  if (value === null || value === undefined) return new Array<null>(count).fill(null);
  const list = Array.isArray(value) ? (value as readonly (Tensor | null)[]) : [value as Tensor];
  if (list.length !== count)
    throw new TypeError(`\`${name}\` has ${list.length} entries, but there are ${count} tensors.`);
  return list.map((item) => {
    if (item !== null && !(item instanceof Tensor)) throw typeError(name, "a Tensor, null or an array of them", item);
    return item === null ? null : handleOf(item);
  });
}

/**
 * Accumulates the gradients of the leaves of the graph of `tensors` into their `grad`.
 * @param tensors outputs to start from; each with one element, or with a gradient of its shape in `gradients`
 */
export function backward(
  tensors: Tensor | readonly Tensor[],
  gradients?: Tensor | readonly (Tensor | null)[] | null,
  options: BackwardOptions = {},
): void {
  checkOptions(options, ["retainGraph", "createGraph", "inputs"], "loss.backward({ retainGraph: true })");
  const outputs = listOf("tensors", tensors);
  const createGraph = options.createGraph ?? false;
  const handles = outputs.map(handleOf);
  const weights = gradientsOf("gradients", gradients, outputs.length);
  const inputs = options.inputs === undefined ? null : listOf("inputs", options.inputs).map(handleOf);
  runPass(() => native().backward(handles, weights, options.retainGraph ?? createGraph, createGraph, inputs));
}

/** Gradients of the sum of `outputs` with respect to `inputs`, without touching anybody's `grad`. */
export function grad(
  outputs: Tensor | readonly Tensor[],
  inputs: Tensor | readonly Tensor[],
  options: GradOptions & { allowUnused: true },
): (Tensor | null)[];
export function grad(
  outputs: Tensor | readonly Tensor[],
  inputs: Tensor | readonly Tensor[],
  options?: GradOptions,
): Tensor[];
export function grad(
  outputs: Tensor | readonly Tensor[],
  inputs: Tensor | readonly Tensor[],
  options: GradOptions = {},
): (Tensor | null)[] {
  checkOptions(
    options,
    ["gradOutputs", "retainGraph", "createGraph", "allowUnused"],
    "autograd.grad(loss, [x], { createGraph: true })",
  );
  const from = listOf("outputs", outputs);
  const createGraph = options.createGraph ?? false;
  const handles = from.map(handleOf);
  const leaves = listOf("inputs", inputs).map(handleOf);
  const weights = gradientsOf("gradOutputs", options.gradOutputs, from.length);
  const { retainGraph = createGraph, allowUnused = false } = options;
  return runPass(() => native().gradOf(handles, leaves, weights, retainGraph, createGraph, allowUnused)).map(
    wrapOptional,
  );
}

declare module "../tensor.js" {
  interface Tensor {
    /**
     * Accumulates the gradients of this tensor's graph into the `grad` of its leaves.
     * @param gradient of this tensor's shape; may be left out for a tensor with one element
     */
    backward(gradient?: Tensor | null, options?: BackwardOptions): void;
    backward(options: BackwardOptions): void;
  }
}

Tensor.prototype.backward = function (
  this: Tensor,
  first?: Tensor | BackwardOptions | null,
  options?: BackwardOptions,
) {
  if (first === undefined || first === null) {
    if (options === undefined) runPass(() => native().backward([handleOf(this)], [null], false, false, null));
    else backward(this, null, options);
  } else if (first instanceof Tensor) {
    backward(this, first, options);
  } else if (typeof first === "object" && Object.getPrototypeOf(first) === Object.prototype && options === undefined) {
    backward(this, null, first);
  } else {
    throw typeError("gradient", "a Tensor, null or an object of options such as { retainGraph: true }", first);
  }
};
