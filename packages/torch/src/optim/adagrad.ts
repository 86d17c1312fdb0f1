// Adagrad. The formulas and their order of operations are PyTorch's, so results have the same bits.

import { NotSupportedError } from "../errors.js";
import { unscoped } from "../memory.js";
import { checkBoolean, checkNumber, checkOptions } from "../nn/arguments.js";
import { operator } from "../ops.js";
import type { Tensor } from "../tensor.js";
import { foreachAddcdiv_, foreachAddcmul_, foreachAddScalar_, foreachSqrt } from "./foreach.js";
import { MomentOptimizer, type Work } from "./moment-optimizer.js";
import { type ImplementationOptions, implementationNames, withDefaults } from "./optimizer.js";
import type { ParamGroup, ParamsInput } from "./param-group.js";
import { indicesOf, sparseLike, valuesOf } from "./sparse.js";

/** Options of `Adagrad`. */
export interface AdagradOptions extends ImplementationOptions {
  /** Learning rate (default 0.01). */
  lr: number;
  /** How fast the learning rate falls: `lr / (1 + (step - 1) * lrDecay)` (default 0). */
  lrDecay: number;
  /** Added to the denominator (default 1e-10). */
  eps: number;
  /** Factor of the L2 penalty (default 0). */
  weightDecay: number;
  /** What the sums of squares begin with (default 0). */
  initialAccumulatorValue: number;
  /** Ascend instead of descend (default false). */
  maximize: boolean;
}

const optionNames = ["lr", "lrDecay", "eps", "weightDecay", "initialAccumulatorValue", "maximize"];
const defaultOptions = {
  lr: 1e-2,
  lrDecay: 0,
  eps: 1e-10,
  weightDecay: 0,
  initialAccumulatorValue: 0,
  foreach: null,
  maximize: false,
};

/** Adagrad (Duchi, Hazan and Singer, http://jmlr.org/papers/v12/duchi11a.html), as `torch.optim.Adagrad`. Takes sparse gradients, too. */
export class Adagrad extends MomentOptimizer {
  declare paramGroups: (ParamGroup & AdagradOptions)[];

  /** @param options see `AdagradOptions`; all have defaults */
  constructor(params: ParamsInput<AdagradOptions>, options: Partial<AdagradOptions> = {}) {
    checkOptions(options, [...optionNames, ...implementationNames], "new Adagrad(model.parameters(), { lr: 0.01 })");
    super(params, withDefaults(options, defaultOptions));
    // From the start, as in PyTorch, whose saved states have the sums before the first step.
    for (const group of this.paramGroups) {
      for (const param of group.params) unscoped(() => this.initialize(this.stateOf(param), param, group));
    }
  }

  protected override checkGroup(group: ParamGroup): void {
    for (const name of ["lr", "lrDecay", "eps", "weightDecay", "initialAccumulatorValue"])
      checkNumber(name, group[name], 0);
    checkBoolean("maximize", group.maximize);
  }

  protected override tensorNames(): readonly string[] {
    return ["sum"];
  }

  protected override initialize(record: Record<string, unknown>, param: Tensor, group: ParamGroup): void {
    super.initialize(record, param, group);
    const value = group.initialAccumulatorValue as number;
    if (value === 0) return;
    const sum = (record.sum as Tensor).detach();
    const parts = sum.isComplex() ? (operator("aten", "view_as_real")(sum) as Tensor) : sum;
    parts.fill_(value);
  }

  protected override updateWork(group: ParamGroup & AdagradOptions, { params, grads, step, state, made }: Work): void {
    const sums = state("sum");
    const lr = group.lr / (1 + (step - 1) * group.lrDecay);
    foreachAddcmul_(sums, grads, grads, 1);
    const denominators = made(foreachSqrt(sums));
    foreachAddScalar_(denominators, group.eps);
    foreachAddcdiv_(params, grads, denominators, -lr);
  }

  protected override updateRows(
    group: ParamGroup & AdagradOptions,
    param: Tensor,
    given: Tensor,
    record: Record<string, unknown>,
  ): void {
    if (group.weightDecay !== 0) {
      throw new NotSupportedError("Adagrad takes sparse gradients only without `weightDecay`.");
    }
    const lr = group.lr / (1 + ((record.step as number) - 1) * group.lrDecay);
    // Each row once: the update is not linear.
    const gradient = (group.maximize ? given.neg() : given).coalesce();
    const [rows, values] = [indicesOf(gradient), valuesOf(gradient)];
    const sum = record.sum as Tensor;
    sum.add_(sparseLike(gradient, rows, values.pow(2)));
    const denominators = valuesOf(sum.sparseMask(gradient)).sqrt_().add_(group.eps);
    param.add_(sparseLike(gradient, rows, values.div(denominators)), { alpha: -lr });
  }
}
