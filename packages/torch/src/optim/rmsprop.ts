// RMSprop. The formulas and their order of operations are PyTorch's, so results have the same bits.
import { checkBoolean, checkNumber, checkOptions } from "../nn/arguments.js";
import {
  foreachAdd_,
  foreachAddcdiv_,
  foreachAddcmul,
  foreachAddcmul_,
  foreachAddScalar_,
  foreachAverage_,
  foreachMulScalar_,
  foreachSqrt,
  foreachSqrt_,
} from "./foreach.js";
import { MomentOptimizer, type Work } from "./moment-optimizer.js";
import { type ImplementationOptions, implementationNames, withDefaults } from "./optimizer.js";
import type { ParamGroup, ParamsInput } from "./param-group.js";

/** Options of `RMSprop`. */
export interface RMSpropOptions extends ImplementationOptions {
  /** Learning rate (default 0.01). */
  lr: number;
  /** Share of the last step's direction that is kept (default 0). */
  momentum: number;
  /** Decay of the running average of the squared gradient (default 0.99). */
  alpha: number;
  /** Added to the denominator (default 1e-8). */
  eps: number;
  /** Divide by the variance of the gradient rather than by its size (default false). */
  centered: boolean;
  /** Factor of the L2 penalty (default 0). */
  weightDecay: number;
  /** Ascend instead of descend (default false). */
  maximize: boolean;
}

const optionNames = ["lr", "momentum", "alpha", "eps", "centered", "weightDecay", "maximize"];
const defaultOptions = {
  lr: 1e-2,
  momentum: 0,
  alpha: 0.99,
  eps: 1e-8,
  centered: false,
  weightDecay: 0,
  foreach: null,
  maximize: false,
  differentiable: false,
};

/** RMSprop (Hinton's lecture 6e of "Neural Networks for Machine Learning"), as `torch.optim.RMSprop`. */
export class RMSprop extends MomentOptimizer {
  declare paramGroups: (ParamGroup & RMSpropOptions)[];

  /** @param options see `RMSpropOptions`; all have defaults */
  constructor(params: ParamsInput<RMSpropOptions>, options: Partial<RMSpropOptions> = {}) {
    checkOptions(options, [...optionNames, ...implementationNames], "new RMSprop(model.parameters(), { lr: 0.01 })");
    super(params, withDefaults(options, defaultOptions));
  }

  protected override checkGroup(group: ParamGroup): void {
    for (const name of ["lr", "momentum", "alpha", "eps", "weightDecay"]) checkNumber(name, group[name], 0);
    for (const name of ["centered", "maximize"]) checkBoolean(name, group[name]);
  }

  protected override tensorNames(group: ParamGroup): readonly string[] {
    const momentum = (group.momentum as number) > 0 ? ["momentum_buffer"] : [];
    return ["square_avg", ...momentum, ...(group.centered ? ["grad_avg"] : [])];
  }

  // An int in PyTorch 1.13, and taken as one by all versions.
  protected override packState(record: Record<string, unknown>): Record<string, unknown> {
    return record;
  }

  protected override updateWork(group: ParamGroup & RMSpropOptions, { params, grads, state, made }: Work): void {
    const { lr, alpha, eps, momentum } = group;
    const squares = state("square_avg");
    foreachMulScalar_(squares, alpha);
    foreachAddcmul_(squares, grads, grads, 1 - alpha);
    let denominators: ReturnType<typeof made>;
    if (group.centered) {
      const means = state("grad_avg");
      foreachAverage_(means, grads, alpha);
      denominators = made(foreachAddcmul(squares, means, means, -1));
      foreachSqrt_(denominators);
    } else denominators = made(foreachSqrt(squares));
    foreachAddScalar_(denominators, eps);
    if (momentum > 0) {
      const buffers = state("momentum_buffer");
      foreachMulScalar_(buffers, momentum);
      foreachAddcdiv_(buffers, grads, denominators, 1);
      foreachAdd_(params, buffers, -lr);
    } else foreachAddcdiv_(params, grads, denominators, -lr);
  }
}
