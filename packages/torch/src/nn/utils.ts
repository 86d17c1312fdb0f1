// `nn.utils`: limiting gradients, and parameters as one vector.
import { typeError } from "../check.js";
import { UsageError } from "../errors.js";
import { Tensor } from "../tensor.js";
import { aten } from "./aten.js";

/** Options of `clipGradNorm_`. */
export interface ClipGradNormOptions {
  /** The p of the p-norm (default 2); `Infinity` is the greatest size. */
  normType?: number | undefined;
  /** Throws when the norm is not finite instead of scaling by it (default false). */
  errorIfNonfinite?: boolean | undefined;
}

const norm = aten("norm");
const stack = aten("stack");
const max = aten("max");
const clamp = aten("clamp");
const zero = aten("zeros");
const cat = aten("cat");
const reciprocal = aten("reciprocal");

/**
 * Scales all gradients together, in place, so that their common norm is at most `maxNorm`. Returns the norm before.
 *
 *     nn.utils.clipGradNorm_(model.parameters(), 1.0);
 */
export function clipGradNorm_(
  parameters: Tensor | Iterable<Tensor>,
  maxNorm: number,
  options: ClipGradNormOptions = {},
): Tensor {
  const { normType = 2, errorIfNonfinite = false } = options;
  if (typeof maxNorm !== "number")
    throw typeError("maxNorm", "a number", maxNorm, "Type `clipGradNorm_(model.parameters(), 1.0)`.");
  const grads = gradsOf(parameters);
  const first = grads[0];
  if (first === undefined) return zero([]);
  const total = totalNorm(grads, normType, first);
  if (errorIfNonfinite && !Number.isFinite(total.item())) {
    throw new UsageError(
      `The total norm of order ${normType} of the gradients is non-finite, so they cannot be clipped: it is ${total.item()}.`,
      {
        hint: "Set `errorIfNonfinite: false` to scale the gradients by it anyway, or look for the step at which they diverge.",
      },
    );
  }
  // A number divided by a tensor is the reciprocal times the number in the engine, also in the last bit.
  const coefficient = clamp(reciprocal(total.add(1e-6)).mul(maxNorm), { max: 1 });
  for (const grad of grads) grad.detach().mul_(sameDevice(coefficient, grad));
  return total;
}

/** Cuts each element of the gradients off at `-clipValue` and `clipValue`, in place. */
export function clipGradValue_(parameters: Tensor | Iterable<Tensor>, clipValue: number): void {
  if (typeof clipValue !== "number") throw typeError("clipValue", "a number", clipValue);
  for (const grad of gradsOf(parameters)) grad.detach().clamp_(-clipValue, clipValue);
}

export { deepCopy } from "./deep-copy.js";
export * as rnn from "./packed-sequence.js";
export * as parametrize from "./parametrize/index.js";
export * as parametrizations from "./parametrize/norms.js";

/** All elements of the parameters, one after the other, with gradient history. */
export function parametersToVector(parameters: Iterable<Tensor>): Tensor {
  return cat([...parameters].map((parameter) => parameter.reshape([-1])));
}

/** Points the parameters at slices of a vector, in the order of `parametersToVector`. */
export function vectorToParameters(vector: Tensor, parameters: Iterable<Tensor>): void {
  if (!(vector instanceof Tensor)) throw typeError("vector", "a Tensor", vector);
  let start = 0;
  for (const parameter of parameters) {
    const length = parameter.numel();
    parameter.data = vector.narrow(0, start, length).viewAs(parameter).data;
    start += length;
  }
}

function gradsOf(parameters: Tensor | Iterable<Tensor>): Tensor[] {
  const list = parameters instanceof Tensor ? [parameters] : parameters;
  if (typeof (list as Partial<Iterable<Tensor>> | null)?.[Symbol.iterator] !== "function") {
    throw typeError("parameters", "a Tensor or a list of them", parameters, "Type `model.parameters()`.");
  }
  const grads: Tensor[] = [];
  for (const parameter of list) {
    const { grad } = parameter;
    if (grad !== null) grads.push(grad);
  }
  return grads;
}

function totalNorm(grads: Tensor[], normType: number, first: Tensor): Tensor {
  if (normType === Number.POSITIVE_INFINITY) {
    const norms = grads.map((grad) => sameDevice(max(grad.detach().abs()), first));
    return norms.length === 1 ? (norms[0] as Tensor) : max(stack(norms));
  }
  const norms = grads.map((grad) => sameDevice(pNorm(grad.detach(), normType), first));
  return pNorm(stack(norms), normType);
}

function pNorm(tensor: Tensor, p: number): Tensor {
  return norm(tensor, p, [...tensor.shape.keys()]);
}

function sameDevice(tensor: Tensor, other: Tensor): Tensor {
  const { device } = other;
  return tensor.device === device ? tensor : (tensor as unknown as { to(device: string): Tensor }).to(device);
}
