// RAdam. The formulas and their order of operations are PyTorch's, so results have the same bits.
import { native } from "../native.js";
import { checkBoolean, checkNumber, checkOptions } from "../nn/arguments.js";
import { checkBetas } from "./betas.js";
import {
  foreachAdd_,
  foreachAddcmul_,
  foreachAddScalar_,
  foreachAverage_,
  foreachDivScalar,
  foreachMul_,
  foreachMulScalar_,
  foreachReciprocal_,
  foreachSqrt,
} from "./foreach.js";
import { MomentOptimizer, type Work } from "./moment-optimizer.js";
import { type ImplementationOptions, implementationNames, withDefaults } from "./optimizer.js";
import type { ParamGroup, ParamsInput } from "./param-group.js";

/** Options of `RAdam`. */
export interface RAdamOptions extends ImplementationOptions {
  /** Learning rate (default 0.001). */
  lr: number;
  /** Decay of the running averages of the gradient and of its square (default `[0.9, 0.999]`). */
  betas: [number, number];
  /** Added to the denominator (default 1e-8). */
  eps: number;
  /** Factor of the L2 penalty, or of the decoupled decay (default 0). */
  weightDecay: number;
  /** Decay the parameters rather than the gradients, as AdamW does (default false). */
  decoupledWeightDecay: boolean;
  /** Ascend instead of descend (default false). */
  maximize: boolean;
}

const optionNames = ["lr", "betas", "eps", "weightDecay", "decoupledWeightDecay", "maximize"];
const defaultOptions = {
  lr: 1e-3,
  betas: [0.9, 0.999],
  eps: 1e-8,
  weightDecay: 0,
  foreach: null,
  decoupledWeightDecay: false,
  maximize: false,
};

/** Rectified Adam (Liu and others, https://arxiv.org/abs/1908.03265), as `torch.optim.RAdam`. */
export class RAdam extends MomentOptimizer {
  declare paramGroups: (ParamGroup & RAdamOptions)[];

  /** @param options see `RAdamOptions`; all have defaults */
  constructor(params: ParamsInput<RAdamOptions>, options: Partial<RAdamOptions> = {}) {
    checkOptions(options, [...optionNames, ...implementationNames], "new RAdam(model.parameters(), { lr: 0.001 })");
    super(params, withDefaults(options, defaultOptions));
  }

  protected override checkGroup(group: ParamGroup): void {
    for (const name of ["lr", "eps", "weightDecay"]) checkNumber(name, group[name], 0);
    checkBetas(group.betas);
    for (const name of ["decoupledWeightDecay", "maximize"]) checkBoolean(name, group[name]);
  }

  protected override tensorNames(): readonly string[] {
    return ["exp_avg", "exp_avg_sq"];
  }

  protected override updateWork(group: ParamGroup & RAdamOptions, { params, grads, step, state, made }: Work): void {
    const { lr, eps } = group;
    const [beta1, beta2] = group.betas;
    const { pow } = native();
    const correction1 = 1 - pow(beta1, step);
    const correction2 = 1 - pow(beta2, step);
    const averages = state("exp_avg");
    const squares = state("exp_avg_sq");
    foreachAverage_(averages, grads, beta1);
    foreachMulScalar_(squares, beta2);
    foreachAddcmul_(squares, grads, grads, 1 - beta2);
    const steps = made(foreachDivScalar(averages, correction1));
    foreachMulScalar_(steps, lr);
    // The length of the running average's window, at most and now: the variance is known well enough from about 5 on.
    const longest = 2 / (1 - beta2) - 1;
    const length = longest - (2 * step * pow(beta2, step)) / correction2;
    if (length > 5) {
      const rectification = Math.sqrt(
        ((length - 4) * (length - 2) * longest) / ((longest - 4) * (longest - 2) * length),
      );
      // A number divided by a tensor is the tensor's reciprocal times the number in PyTorch.
      const rates = made(foreachSqrt(squares));
      foreachAddScalar_(rates, eps);
      foreachReciprocal_(rates);
      foreachMulScalar_(rates, Math.sqrt(correction2));
      foreachMul_(steps, rates);
      foreachMulScalar_(steps, rectification);
    }
    foreachAdd_(params, steps, -1);
  }
}
