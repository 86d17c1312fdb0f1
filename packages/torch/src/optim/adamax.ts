// Adamax. The formulas and their order of operations are PyTorch's, so results have the same bits.
import { native } from "../native.js";
import { checkBoolean, checkNumber, checkOptions } from "../nn/arguments.js";
import { checkBetas } from "./betas.js";
import {
  foreachAbs,
  foreachAddcdiv_,
  foreachAddScalar_,
  foreachAverage_,
  foreachMaximum_,
  foreachMulScalar_,
} from "./foreach.js";
import { MomentOptimizer, type Work } from "./moment-optimizer.js";
import { type ImplementationOptions, implementationNames, withDefaults } from "./optimizer.js";
import type { ParamGroup, ParamsInput } from "./param-group.js";

/** Options of `Adamax`. */
export interface AdamaxOptions extends ImplementationOptions {
  /** Learning rate (default 0.002). */
  lr: number;
  /** Decay of the running average of the gradient and of the infinity norm (default `[0.9, 0.999]`). */
  betas: [number, number];
  /** Added to the gradient's size (default 1e-8). */
  eps: number;
  /** Factor of the L2 penalty (default 0). */
  weightDecay: number;
  /** Ascend instead of descend (default false). */
  maximize: boolean;
}

const optionNames = ["lr", "betas", "eps", "weightDecay", "maximize"];
const defaultOptions = { lr: 2e-3, betas: [0.9, 0.999], eps: 1e-8, weightDecay: 0, foreach: null, maximize: false };

/** Adamax, Adam with the infinity norm (Kingma and Ba, https://arxiv.org/abs/1412.6980), as `torch.optim.Adamax`. */
export class Adamax extends MomentOptimizer {
  declare paramGroups: (ParamGroup & AdamaxOptions)[];

  /** @param options see `AdamaxOptions`; all have defaults */
  constructor(params: ParamsInput<AdamaxOptions>, options: Partial<AdamaxOptions> = {}) {
    checkOptions(options, [...optionNames, ...implementationNames], "new Adamax(model.parameters(), { lr: 0.002 })");
    super(params, withDefaults(options, defaultOptions));
  }

  protected override checkGroup(group: ParamGroup): void {
    for (const name of ["lr", "eps", "weightDecay"]) checkNumber(name, group[name], 0);
    checkBetas(group.betas);
    checkBoolean("maximize", group.maximize);
  }

  protected override tensorNames(): readonly string[] {
    return ["exp_avg", "exp_inf"];
  }

  protected override updateWork(group: ParamGroup & AdamaxOptions, { params, grads, step, state, made }: Work): void {
    const [beta1, beta2] = group.betas;
    const averages = state("exp_avg");
    const norms = state("exp_inf");
    foreachAverage_(averages, grads, beta1);
    foreachMulScalar_(norms, beta2);
    const sizes = made(foreachAbs(grads));
    foreachAddScalar_(sizes, group.eps);
    foreachMaximum_(norms, sizes);
    foreachAddcdiv_(params, averages, norms, -(group.lr / (1 - native().pow(beta1, step))));
  }
}
