// NAdam. The formulas and their order of operations are PyTorch's, so results have the same bits.
import { native } from "../native.js";
import { checkBoolean, checkNumber, checkOptions } from "../nn/arguments.js";
import type { Tensor } from "../tensor.js";
import { checkBetas } from "./betas.js";
import {
  foreachAddcdiv_,
  foreachAddcmul_,
  foreachAddScalar_,
  foreachAverage_,
  foreachDivScalar,
  foreachMulScalar_,
  foreachSqrt_,
} from "./foreach.js";
import { MomentOptimizer, type Work } from "./moment-optimizer.js";
import { type ImplementationOptions, implementationNames, withDefaults } from "./optimizer.js";
import type { ParamGroup, ParamsInput } from "./param-group.js";

/** Options of `NAdam`. */
export interface NAdamOptions extends ImplementationOptions {
  /** Learning rate (default 0.002). */
  lr: number;
  /** Decay of the running averages of the gradient and of its square (default `[0.9, 0.999]`). */
  betas: [number, number];
  /** Added to the denominator (default 1e-8). */
  eps: number;
  /** Factor of the L2 penalty, or of the decoupled decay (default 0). */
  weightDecay: number;
  /** How fast the momentum rises (default 0.004). */
  momentumDecay: number;
  /** Decay the parameters rather than the gradients, as AdamW does (default false). */
  decoupledWeightDecay: boolean;
  /** Ascend instead of descend (default false). */
  maximize: boolean;
}

const optionNames = ["lr", "betas", "eps", "weightDecay", "momentumDecay", "decoupledWeightDecay", "maximize"];
const defaultOptions = {
  lr: 2e-3,
  betas: [0.9, 0.999],
  eps: 1e-8,
  weightDecay: 0,
  momentumDecay: 4e-3,
  foreach: null,
  decoupledWeightDecay: false,
  maximize: false,
};

/** Adam with Nesterov momentum (Dozat, https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ), as `torch.optim.NAdam`. */
export class NAdam extends MomentOptimizer {
  declare paramGroups: (ParamGroup & NAdamOptions)[];

  /** @param options see `NAdamOptions`; all have defaults */
  constructor(params: ParamsInput<NAdamOptions>, options: Partial<NAdamOptions> = {}) {
    checkOptions(options, [...optionNames, ...implementationNames], "new NAdam(model.parameters(), { lr: 0.002 })");
    super(params, withDefaults(options, defaultOptions));
  }

  protected override checkGroup(group: ParamGroup): void {
    for (const name of ["lr", "eps", "weightDecay", "momentumDecay"]) checkNumber(name, group[name], 0);
    checkBetas(group.betas);
    for (const name of ["decoupledWeightDecay", "maximize"]) checkBoolean(name, group[name]);
  }

  protected override tensorNames(): readonly string[] {
    return ["exp_avg", "exp_avg_sq"];
  }
  protected override stateNames(): readonly string[] {
    return ["step", "mu_product", "exp_avg", "exp_avg_sq"];
  }
  protected override initialize(record: Record<string, unknown>, param: Tensor, group: ParamGroup): void {
    record.step = 0;
    record.mu_product = 1;
    super.initialize(record, param, group);
  }

  protected override updateWork(group: ParamGroup & NAdamOptions, work: Work): void {
    const { params, grads, step, records, state, made } = work;
    const { lr, eps, momentumDecay } = group;
    const [beta1, beta2] = group.betas;
    const { pow } = native();
    const momentum = (at: number): number => beta1 * (1 - 0.5 * pow(0.96, at * momentumDecay));
    const now = momentum(step);
    const next = momentum(step + 1);
    // A float32 tensor in PyTorch. Parameters of one step count differ in it only if `betas` changed between their steps.
    const { fround } = Math;
    for (const record of records) record.mu_product = fround((record.mu_product as number) * fround(now));
    const product = records[0]?.mu_product as number;
    const productNext = fround(fround(product * fround(now)) * fround(next));
    const averages = state("exp_avg");
    const squares = state("exp_avg_sq");
    foreachAverage_(averages, grads, beta1);
    foreachMulScalar_(squares, beta2);
    foreachAddcmul_(squares, grads, grads, 1 - beta2);
    const denominators = made(foreachDivScalar(squares, 1 - pow(beta2, step)));
    foreachSqrt_(denominators);
    foreachAddScalar_(denominators, eps);
    foreachAddcdiv_(params, grads, denominators, (-lr * (1 - now)) / (1 - product));
    foreachAddcdiv_(params, averages, denominators, (-lr * next) / (1 - productNext));
  }
}
