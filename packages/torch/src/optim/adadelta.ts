// Adadelta. The formulas and their order of operations are PyTorch's, so results have the same bits.
import { checkBoolean, checkNumber, checkOptions } from "../nn/arguments.js";
import {
  foreachAdd_,
  foreachAddcmul_,
  foreachAddScalar,
  foreachDiv_,
  foreachMul_,
  foreachMulScalar_,
  foreachSqrt_,
} from "./foreach.js";
import { MomentOptimizer, type Work } from "./moment-optimizer.js";
import { type ImplementationOptions, implementationNames, withDefaults } from "./optimizer.js";
import type { ParamGroup, ParamsInput } from "./param-group.js";

/** Options of `Adadelta`. */
export interface AdadeltaOptions extends ImplementationOptions {
  /** Factor of the steps (default 1). */
  lr: number;
  /** Decay of the running averages of the squared gradients and steps (default 0.9). */
  rho: number;
  /** Added below the roots (default 1e-6). */
  eps: number;
  /** Factor of the L2 penalty (default 0). */
  weightDecay: number;
  /** Ascend instead of descend (default false). */
  maximize: boolean;
}

const optionNames = ["lr", "rho", "eps", "weightDecay", "maximize"];
const defaultOptions = { lr: 1, rho: 0.9, eps: 1e-6, weightDecay: 0, maximize: false, foreach: null };

/** Adadelta (Zeiler, https://arxiv.org/abs/1212.5701), as `torch.optim.Adadelta`. */
export class Adadelta extends MomentOptimizer {
  declare paramGroups: (ParamGroup & AdadeltaOptions)[];

  /** @param options see `AdadeltaOptions`; all have defaults */
  constructor(params: ParamsInput<AdadeltaOptions>, options: Partial<AdadeltaOptions> = {}) {
    checkOptions(options, [...optionNames, ...implementationNames], "new Adadelta(model.parameters(), { rho: 0.9 })");
    super(params, withDefaults(options, defaultOptions));
  }

  protected override checkGroup(group: ParamGroup): void {
    for (const name of ["lr", "eps", "weightDecay"]) checkNumber(name, group[name], 0);
    checkNumber("rho", group.rho, 0, 1);
    checkBoolean("maximize", group.maximize);
  }

  protected override tensorNames(): readonly string[] {
    return ["square_avg", "acc_delta"];
  }

  // An int in PyTorch 1.13, and taken as one by all versions.
  protected override packState(record: Record<string, unknown>): Record<string, unknown> {
    return record;
  }

  protected override updateWork(group: ParamGroup & AdadeltaOptions, { params, grads, state, made }: Work): void {
    const { lr, rho, eps } = group;
    const squares = state("square_avg");
    const steps = state("acc_delta");
    foreachMulScalar_(squares, rho);
    foreachAddcmul_(squares, grads, grads, 1 - rho);
    const deviations = made(foreachAddScalar(squares, eps));
    foreachSqrt_(deviations);
    const deltas = made(foreachAddScalar(steps, eps));
    foreachSqrt_(deltas);
    foreachDiv_(deltas, deviations);
    foreachMul_(deltas, grads);
    foreachMulScalar_(steps, rho);
    foreachAddcmul_(steps, deltas, deltas, 1 - rho);
    foreachAdd_(params, deltas, -lr);
  }
}
