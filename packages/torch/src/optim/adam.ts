// Adam. The formulas and their order of operations are those of PyTorch's single-tensor code of the same version as the
// engine, so results have the same bits; bias corrections are computed in double precision with C's pow.

import { ConfigurationError } from "../errors.js";
import { unscoped } from "../memory.js";
import { type Handle, native } from "../native.js";
import { checkBoolean, checkNumber, checkOptions } from "../nn/arguments.js";
import { operator } from "../ops.js";
import { handleOf, Tensor, wrapHandle } from "../tensor.js";
import { checkBetas } from "./betas.js";
import { type Bucket, gradientBuckets } from "./buckets.js";
import {
  asReal,
  foreachAdd,
  foreachAddcdiv_,
  foreachAddcdivScalars_,
  foreachAddcmul_,
  foreachAddScalar_,
  foreachAverage_,
  foreachDivScalar_,
  foreachDivScalars_,
  foreachMaximum_,
  foreachMulScalar_,
  foreachNeg,
  foreachSqrt,
  releaseAll,
} from "./foreach.js";
import {
  type ImplementationOptions,
  implementationNames,
  missingState,
  Optimizer,
  refuseSparse,
  withDefaults,
} from "./optimizer.js";
import type { ParamGroup, ParamsInput } from "./param-group.js";

/** Options of `Adam` and `AdamW`. */
export interface AdamOptions extends ImplementationOptions {
  /** Learning rate (default 0.001). */
  lr: number;
  /** Decay of the running averages of the gradient and of its square (default `[0.9, 0.999]`). */
  betas: [number, number];
  /** Added to the denominator (default 1e-8). */
  eps: number;
  /** Factor of the L2 penalty in `Adam` (default 0), of the decoupled decay in `AdamW` (default 0.01). */
  weightDecay: number;
  /** Keep the maximum of the second moment (default false). */
  amsgrad: boolean;
  /** Ascend instead of descend (default false). */
  maximize: boolean;
}

/** A parameter group of `Adam` and `AdamW`. */
export interface AdamGroup extends ParamGroup, AdamOptions {
  params: Tensor[];
  lr: number;
}

/** What Adam remembers of a parameter. `step` is a number here and a float32 tensor in state dictionaries, as in PyTorch. */
interface AdamState {
  step: number;
  exp_avg: Tensor;
  exp_avg_sq: Tensor;
  max_exp_avg_sq?: Tensor;
}

/** internal: the handles that a step works on, by parameter, and the number of the step. */
interface Moments {
  first: Handle[];
  second: Handle[];
  largest: Handle[];
  steps: number[];
}

const optionNames = ["lr", "betas", "eps", "weightDecay", "amsgrad", "maximize"];

// In the order in which PyTorch saves them. The last four choose among its implementations and are only kept.
const defaultOptions = {
  lr: 1e-3,
  betas: [0.9, 0.999],
  eps: 1e-8,
  weightDecay: 0,
  amsgrad: false,
  maximize: false,
  foreach: null,
  capturable: false,
  differentiable: false,
  fused: null,
};

/**
 * Adam (Kingma and Ba, https://arxiv.org/abs/1412.6980), with AMSGrad on request, as `torch.optim.Adam`.
 *
 *     const optimizer = new optim.Adam(model.parameters(), { lr: 1e-3 });
 */
export class Adam extends Optimizer {
  declare paramGroups: AdamGroup[];

  /**
   * @param params `model.parameters()`, or groups such as `[{ params: model.head.parameters(), lr: 1e-4 }]`
   * @param options see `AdamOptions`; all have defaults
   */
  constructor(params: ParamsInput<AdamOptions>, options: Partial<AdamOptions> = {}) {
    checkOptions(
      options,
      [...optionNames, ...implementationNames],
      `new ${new.target.name}(model.parameters(), { lr: 1e-3 })`,
    );
    super(params, withDefaults(options, defaultOptions));
  }

  /** True when the weight decay acts on the parameters rather than on the gradients (`AdamW`). */
  protected get decoupledWeightDecay(): boolean {
    return false;
  }

  protected override checkGroup(group: ParamGroup): void {
    for (const name of ["lr", "eps", "weightDecay"]) checkNumber(name, group[name], 0);
    for (const name of ["amsgrad", "maximize"]) checkBoolean(name, group[name]);
    checkBetas(group.betas);
    // PyTorch 2.7 and newer say in the groups which of the two optimizers wrote them.
    const decoupled = group.decoupled_weight_decay;
    if (typeof decoupled === "boolean" && decoupled !== this.decoupledWeightDecay) {
      const [own, other] = decoupled ? ["Adam", "AdamW"] : ["AdamW", "Adam"];
      throw new ConfigurationError(`The loaded state was saved by ${other}, but this is ${own}.`, {
        hint: `Load it into \`new optim.${other}(...)\`, or set \`decoupled_weight_decay\` in its groups.`,
      });
    }
  }

  protected override stateNames(group: ParamGroup): readonly string[] {
    return ["step", "exp_avg", "exp_avg_sq", ...(group.amsgrad ? ["max_exp_avg_sq"] : [])];
  }

  protected override packState(record: Record<string, unknown>): Record<string, unknown> {
    if (typeof record.step !== "number") return record;
    const step = wrapHandle(native().fromBytes(new Float32Array([record.step]), "float32", []));
    return { ...record, step };
  }

  // PyTorch keeps `step` as a tensor since 1.12, as an integer before.
  protected override unpackState(record: Record<string, unknown>): Record<string, unknown> {
    const { step } = record;
    return { ...record, step: step instanceof Tensor ? Number(step.item()) : Number(step) };
  }

  protected override updateGroup(group: AdamGroup): void {
    for (const bucket of gradientBuckets(group)) {
      try {
        refuseSparse(bucket.grads, this);
        this.#updateBucket(group, bucket);
      } finally {
        releaseAll(bucket.grads);
      }
    }
  }

  #updateBucket(group: AdamGroup, bucket: Bucket): void {
    const { lr, betas, eps, weightDecay } = group;
    const [beta1, beta2] = betas;
    const moments = this.#moments(group, bucket);
    const temporary: Handle[][] = [];
    const made = (list: Handle[]): Handle[] => {
      temporary.push(list);
      return list;
    };
    let { handles, grads } = bucket;
    let { first, second } = moments;
    if (group.maximize) grads = made(foreachNeg(grads));
    if (weightDecay !== 0) {
      if (this.decoupledWeightDecay) foreachMulScalar_(handles, 1 - lr * weightDecay);
      else grads = made(foreachAdd(grads, handles, weightDecay));
    }
    if (bucket.isComplex) {
      [handles, grads, first, second] = [handles, grads, first, second].map((list) => made(asReal(list))) as [
        Handle[],
        Handle[],
        Handle[],
        Handle[],
      ];
    }

    foreachAverage_(first, grads, beta1);
    foreachMulScalar_(second, beta2);
    foreachAddcmul_(second, grads, grads, 1 - beta2);
    let largest = second;
    if (group.amsgrad) {
      largest = bucket.isComplex ? made(asReal(moments.largest)) : moments.largest;
      foreachMaximum_(largest, second);
    }

    const { pow } = native();
    const steps = moments.steps;
    const denominators = made(foreachSqrt(largest));
    const root = (step: number) => Math.sqrt(1 - pow(beta2, step));
    const size = (step: number) => -(lr / (1 - pow(beta1, step)));
    const step = steps[0] as number;
    if (steps.every((other) => other === step)) {
      foreachDivScalar_(denominators, root(step));
      foreachAddScalar_(denominators, eps);
      foreachAddcdiv_(handles, first, denominators, size(step));
    } else {
      foreachDivScalars_(denominators, steps.map(root));
      foreachAddScalar_(denominators, eps);
      foreachAddcdivScalars_(handles, first, denominators, steps.map(size));
    }
    for (const list of temporary) releaseAll(list);
  }

  /** The moments of a bucket's parameters, zeros where there are none yet, with their step counts moved on. */
  #moments(group: AdamGroup, { params }: Bucket): Moments {
    const moments: Moments = { first: [], second: [], largest: [], steps: [] };
    for (let i = 0; i < params.length; i++) {
      const param = params[i] as Tensor;
      const state = this.stateOf(param) as unknown as AdamState;
      if (state.exp_avg === undefined) initialize(state, param, group.amsgrad);
      state.step += 1;
      moments.steps.push(state.step);
      moments.first.push(handleOf(state.exp_avg));
      moments.second.push(handleOf(state.exp_avg_sq));
      if (group.amsgrad) {
        if (state.max_exp_avg_sq === undefined) throw missingState(this, "max_exp_avg_sq");
        moments.largest.push(handleOf(state.max_exp_avg_sq));
      }
    }
    return moments;
  }
}

function initialize(state: AdamState, param: Tensor, amsgrad: boolean): void {
  const zeros = () => operator("aten", "zeros_like")(param) as Tensor;
  unscoped(() => {
    state.step = 0;
    state.exp_avg = zeros();
    state.exp_avg_sq = zeros();
    if (amsgrad) state.max_exp_avg_sq = zeros();
  });
}
