// Adam for sparse gradients. The formulas and their order of operations are PyTorch's, so results have the same bits.

import { UsageError } from "../errors.js";
import { unscoped } from "../memory.js";
import { native } from "../native.js";
import { checkBoolean, checkNumber, checkOptions } from "../nn/arguments.js";
import { zerosLike } from "../ops.generated.js";
import type { Tensor } from "../tensor.js";
import { checkBetas } from "./betas.js";
import { Optimizer, withDefaults } from "./optimizer.js";
import type { ParamGroup, ParamsInput } from "./param-group.js";
import { indicesOf, isSparse, sparseLike, valuesOf } from "./sparse.js";

/** Options of `SparseAdam`. */
export interface SparseAdamOptions {
  /** Learning rate (default 0.001). */
  lr: number;
  /** Decay of the running averages of the gradient and of its square (default `[0.9, 0.999]`). */
  betas: [number, number];
  /** Added to the denominator (default 1e-8). */
  eps: number;
  /** Ascend instead of descend (default false). */
  maximize: boolean;
}

const optionNames = ["lr", "betas", "eps", "maximize"];

/**
 * Adam that changes, of parameters and averages, only the rows that are in the gradient, as `torch.optim.SparseAdam`: for
 * embeddings with `{ sparse: true }`.
 */
export class SparseAdam extends Optimizer {
  declare paramGroups: (ParamGroup & SparseAdamOptions)[];

  /** @param options see `SparseAdamOptions`; all have defaults */
  constructor(params: ParamsInput<SparseAdamOptions>, options: Partial<SparseAdamOptions> = {}) {
    checkOptions(options, optionNames, "new SparseAdam(embedding.parameters(), { lr: 0.001 })");
    super(params, withDefaults(options, { lr: 1e-3, betas: [0.9, 0.999], eps: 1e-8, maximize: false }));
  }

  protected override checkGroup(group: ParamGroup): void {
    for (const name of ["lr", "eps"]) checkNumber(name, group[name], Number.MIN_VALUE);
    checkBetas(group.betas);
    checkBoolean("maximize", group.maximize);
  }

  protected override stateNames(): readonly string[] {
    return ["step", "exp_avg", "exp_avg_sq"];
  }

  protected override updateGroup(group: ParamGroup & SparseAdamOptions): void {
    for (const param of group.params) {
      const { grad } = param;
      if (grad === null) continue;
      if (!isSparse(grad)) {
        throw new UsageError("SparseAdam does not support dense gradients, please consider Adam instead.", {
          hint: "Make the embedding with `{ sparse: true }`, or give its optimizer only the parameters of such embeddings.",
        });
      }
      const record = this.stateOf(param);
      if (record.step === undefined) {
        record.step = 0;
        unscoped(() => Object.assign(record, { exp_avg: zerosLike(param), exp_avg_sq: zerosLike(param) }));
      }
      record.step = (record.step as number) + 1;
      update(group, param, grad, record as unknown as Averages);
    }
  }
}

interface Averages {
  step: number;
  exp_avg: Tensor;
  exp_avg_sq: Tensor;
}

function update({ lr, betas, eps, maximize }: SparseAdamOptions, param: Tensor, given: Tensor, state: Averages): void {
  const [beta1, beta2] = betas;
  const { step, exp_avg: average, exp_avg_sq: square } = state;
  // Each row once: the update is not linear.
  const gradient = (maximize ? given.neg() : given).coalesce();
  const values = valuesOf(gradient);
  const rows = indicesOf(gradient);
  const oldAverage = valuesOf(average.sparseMask(gradient));
  const averageChange = values.sub(oldAverage).mul_(1 - beta1);
  average.add_(sparseLike(gradient, rows, averageChange));
  const oldSquare = valuesOf(square.sparseMask(gradient));
  const squareChange = values
    .pow(2)
    .sub_(oldSquare)
    .mul_(1 - beta2);
  square.add_(sparseLike(gradient, rows, squareChange));
  const numerator = averageChange.add_(oldAverage);
  const denominator = squareChange.add_(oldSquare).sqrt_().add_(eps);
  const { pow } = native();
  const size = (lr * Math.sqrt(1 - pow(beta2, step))) / (1 - pow(beta1, step));
  param.add_(sparseLike(gradient, rows, numerator.div_(denominator).mul(-size)));
}
