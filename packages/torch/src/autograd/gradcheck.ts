// Derivatives compared with finite differences: the test that a custom function, or any other, is differentiated correctly.
import { checkOptions, typeError } from "../check.js";
import { FabricError, UsageError } from "../errors.js";
import { stack, zerosLike } from "../ops.generated.js";
import { Tensor } from "../tensor.js";
import { grad } from "./backward.js";

/** Options of `gradcheck` and `gradgradcheck`. */
export interface GradCheckOptions {
  /** Step of the finite differences. Default: 1e-6. */
  eps?: number | undefined;
  /** Greatest absolute difference. Default: 1e-5. */
  atol?: number | undefined;
  /** Greatest difference relative to the numerical value. Default: 1e-3. */
  rtol?: number | undefined;
  /** How far two backward passes over the same graph may be apart. Default: 0. */
  nondetTol?: number | undefined;
  /** Throw at a mismatch; with false, return false. Default: true. */
  raiseException?: boolean | undefined;
}

/** A function of tensors whose derivative is to be checked. */
export type Checked = (...inputs: Tensor[]) => Tensor | readonly Tensor[];

const OPTIONS = ["eps", "atol", "rtol", "nondetTol", "raiseException"];

class GradientMismatch extends FabricError {
  constructor(message: string) {
    super(message, { code: "ERR_GRADIENT" });
    this.name = "GradientMismatch";
  }
}

/**
 * Checks the gradients of `fn` at `inputs` against central differences: every output element with respect to every
 * element of the inputs that require gradients. Use float64: float32 has too few digits for the differences.
 * @returns true; a mismatch is an error that shows both Jacobians
 * @example
 * autograd.gradcheck((x) => MyFn.apply(x), torch.randn([3], { dtype: "float64", requiresGrad: true }));
 */
export function gradcheck(fn: Checked, inputs: Tensor | readonly Tensor[], options: GradCheckOptions = {}): boolean {
  checkOptions(options, OPTIONS, "autograd.gradcheck(fn, [x], { atol: 1e-4 })");
  if (typeof fn !== "function") throw typeError("fn", "a function", fn);
  const given = Array.isArray(inputs) ? (inputs as readonly Tensor[]) : [inputs as Tensor];
  const checked = differentiable(given);
  try {
    const outputs = outputsOf(fn, given);
    outputs.forEach((output, o) => {
      const numerical = numericalJacobians(fn, given, checked, o, options.eps ?? 1e-6);
      const analytical = analyticalJacobians(output, checked, o, options.nondetTol ?? 0);
      checked.forEach((input, i) => {
        const [expected, found] = [numerical[i], analytical[i]];
        if (expected && found) compare(expected, found, o, given.indexOf(input), options);
      });
    });
    return true;
  } catch (error) {
    if (error instanceof GradientMismatch && options.raiseException === false) return false;
    throw error;
  }
}

/**
 * Checks second derivatives: `gradcheck` of the function that maps inputs and output gradients to input gradients.
 * @param gradOutputs one for each output. Default: random ones
 */
export function gradgradcheck(
  fn: Checked,
  inputs: Tensor | readonly Tensor[],
  gradOutputs?: Tensor | readonly Tensor[] | null,
  options: GradCheckOptions = {},
): boolean {
  const given = Array.isArray(inputs) ? (inputs as readonly Tensor[]) : [inputs as Tensor];
  const outputs = outputsOf(fn, given);
  const weights = gradOutputs
    ? Array.isArray(gradOutputs)
      ? (gradOutputs as readonly Tensor[])
      : [gradOutputs as Tensor]
    : outputs.map((output) => output.detach().clone().uniform_(0.5, 1.5));
  for (const weight of weights) if (weight.isLeaf) weight.requiresGrad = true;
  const first = (...all: Tensor[]): Tensor[] => {
    const own = all.slice(0, given.length);
    const found = grad(outputsOf(fn, own), differentiable(own), {
      gradOutputs: all.slice(given.length),
      createGraph: true,
      allowUnused: true,
    });
    return found.filter((item) => item?.requiresGrad) as Tensor[];
  };
  return gradcheck(first, [...given, ...weights], options);
}

function differentiable(inputs: readonly Tensor[]): Tensor[] {
  for (const input of inputs)
    if (!(input instanceof Tensor)) throw typeError("inputs", "a Tensor or an array of Tensors", input);
  const checked = inputs.filter((input) => input.requiresGrad);
  if (checked.length === 0) {
    throw new UsageError("`gradcheck` needs at least one input that requires gradients.", {
      hint: 'Make it so: `torch.randn([3], { dtype: "float64", requiresGrad: true })`.',
    });
  }
  for (const input of checked) {
    if (input.dtype === "float64") continue;
    throw new UsageError(`\`gradcheck\` compares float64 numbers, but an input is ${input.dtype}.`, {
      hint: "Convert it: `x.detach().double()`, then set `requiresGrad`. Finite differences need the digits.",
    });
  }
  return checked;
}

function outputsOf(fn: Checked, inputs: readonly Tensor[]): Tensor[] {
  const result = fn(...inputs);
  const list = Array.isArray(result) ? (result as readonly Tensor[]) : [result as Tensor];
  for (const item of list)
    if (!(item instanceof Tensor)) throw typeError("result of fn", "a Tensor or an array of Tensors", item);
  const outputs = list.filter((item) => item.requiresGrad);
  if (outputs.length === 0) {
    throw new UsageError("No output of the function requires gradients.", {
      hint: "It has to compute them from the inputs by recorded operations.",
    });
  }
  return outputs;
}

// For each input a matrix [elements of the input, elements of the output].
function numericalJacobians(
  fn: Checked,
  inputs: readonly Tensor[],
  checked: readonly Tensor[],
  output: number,
  eps: number,
) {
  const value = (): Tensor => {
    const all = outputsOf(fn, inputs);
    return (all[output] as Tensor).detach().clone().reshape([-1]);
  };
  return checked.map((input) => {
    const elements = elementsOf(input.data);
    const rows = elements.map((element) => {
      const before = element.item();
      const at = (x: number): Tensor => {
        element.fill_(x);
        return value();
      };
      const row = at(before + eps)
        .sub(at(before - eps))
        .div(2 * eps);
      element.fill_(before);
      return row;
    });
    return rows.length === 0 ? null : stack(rows);
  });
}

// Views of the single elements, in row-major order.
function elementsOf(input: Tensor): Tensor[] {
  let views = [input];
  for (let d = 0; d < input.ndim; d++) views = views.flatMap((view) => view.unbind(0));
  return views;
}

function analyticalJacobians(output: Tensor, checked: readonly Tensor[], index: number, tolerance: number) {
  const columns: Tensor[][] = checked.map(() => []);
  for (let k = 0; k < output.numel(); k++) {
    const weight = zerosLike(output, { requiresGrad: false }).reshape([-1]);
    weight.select(0, k).fill_(1);
    const pass = (): Tensor[] =>
      grad(output, checked, { gradOutputs: weight.reshape(output.shape), retainGraph: true, allowUnused: true }).map(
        (found, i) => (found ?? zerosLike(checked[i] as Tensor)).detach().reshape([-1]),
      );
    const once = pass();
    pass().forEach((again, i) => {
      const apart = (once[i] as Tensor).sub(again).abs();
      if (apart.numel() > 0 && apart.max().item() > tolerance) {
        throw new GradientMismatch(
          `Two backward passes over the same graph gave different gradients for output ${index}: they are ${apart.max().item()} apart.`,
        );
      }
      columns[i]?.push(once[i] as Tensor);
    });
  }
  return columns.map((list) => (list.length === 0 ? null : stack(list, 1)));
}

function compare(expected: Tensor, found: Tensor, output: number, input: number, options: GradCheckOptions): void {
  if (found.allclose(expected, { atol: options.atol ?? 1e-5, rtol: options.rtol ?? 1e-3 })) return;
  throw new GradientMismatch(
    `The gradient of output ${output} with respect to input ${input} is wrong.\nby finite differences:\n${expected}\nby backward:\n${found}`,
  );
}
