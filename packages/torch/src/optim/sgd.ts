// Stochastic gradient descent with momentum. The formulas and their order of operations are PyTorch's, so results have the
// same bits.

import { ConfigurationError, NotSupportedError } from "../errors.js";
import { unscoped } from "../memory.js";
import { type Handle, native } from "../native.js";
import { checkBoolean, checkNumber, checkOptions } from "../nn/arguments.js";
import { handleOf, type Tensor, wrapHandle } from "../tensor.js";
import { type Bucket, gradientBuckets } from "./buckets.js";
import { foreachAdd, foreachAdd_, foreachMulScalar_, foreachNeg, listOperator, releaseAll } from "./foreach.js";
import { type ImplementationOptions, implementationNames, Optimizer, withDefaults } from "./optimizer.js";
import type { ParamGroup, ParamsInput } from "./param-group.js";
import { takeSparse } from "./sparse.js";

/** Options of `SGD`. */
export interface SGDOptions extends ImplementationOptions {
  /** Learning rate. Required, here or in every group. */
  lr: number;
  /** Share of the last step's direction that is kept (default 0). */
  momentum: number;
  /** Share of the gradient that momentum leaves out (default 0). */
  dampening: number;
  /** Factor of the L2 penalty (default 0). */
  weightDecay: number;
  /** Look ahead along the momentum (default false). */
  nesterov: boolean;
  /** Ascend instead of descend (default false). */
  maximize: boolean;
}

/** A parameter group of `SGD`. */
export interface SGDGroup extends ParamGroup, SGDOptions {
  params: Tensor[];
  lr: number;
}

const optionNames = ["lr", "momentum", "dampening", "weightDecay", "nesterov", "maximize"];

// In the order in which PyTorch saves them. The last two choose among its implementations and are only kept.
const defaultOptions = {
  lr: undefined,
  momentum: 0,
  dampening: 0,
  weightDecay: 0,
  nesterov: false,
  maximize: false,
  foreach: null,
  differentiable: false,
};

const clone = listOperator("clone");

/**
 * Stochastic gradient descent, optionally with momentum (Polyak's or Nesterov's) and weight decay, as `torch.optim.SGD`.
 *
 *     const optimizer = new optim.SGD(model.parameters(), { lr: 0.1, momentum: 0.9 });
 */
export class SGD extends Optimizer {
  declare paramGroups: SGDGroup[];

  /**
   * @param params `model.parameters()`, or groups such as `[{ params: model.head.parameters(), lr: 0.01 }]`
   * @param options `lr` is required unless every group has its own
   */
  constructor(params: ParamsInput<SGDOptions>, options: Partial<SGDOptions> = {}) {
    checkOptions(
      options,
      [...optionNames, ...implementationNames],
      "new SGD(model.parameters(), { lr: 0.1, momentum: 0.9 })",
    );
    super(params, withDefaults(options, defaultOptions));
  }

  protected override checkGroup(group: ParamGroup): void {
    if (group.lr === undefined) {
      throw new TypeError("SGD needs a learning rate.\nType `new SGD(model.parameters(), { lr: 0.1 })`.");
    }
    for (const name of ["lr", "momentum", "weightDecay"]) checkNumber(name, group[name], 0);
    checkNumber("dampening", group.dampening);
    for (const name of ["nesterov", "maximize"]) checkBoolean(name, group[name]);
    if (group.nesterov && (group.momentum === 0 || group.dampening !== 0)) {
      throw new ConfigurationError(
        `Nesterov momentum requires a momentum and no dampening, but \`momentum\` is ${group.momentum} and \`dampening\` ${group.dampening}.`,
        { hint: "Type `{ lr: 0.1, momentum: 0.9, nesterov: true }`." },
      );
    }
  }

  protected override stateNames(): readonly string[] {
    return ["momentum_buffer"];
  }

  protected override updateGroup(group: SGDGroup): void {
    for (const bucket of gradientBuckets(group)) {
      try {
        for (const { param, grad } of takeSparse(bucket)) this.#updateRows(group, param, grad);
        if (bucket.params.length > 0) this.#updateBucket(group, bucket);
      } finally {
        releaseAll(bucket.grads);
      }
    }
  }

  #updateRows({ lr, momentum, weightDecay, maximize }: SGDGroup, param: Tensor, grad: Tensor): void {
    if (momentum !== 0 || weightDecay !== 0) {
      throw new NotSupportedError("SGD takes sparse gradients only without `momentum` and `weightDecay`.", {
        hint: "Use SparseAdam for such embeddings, or make them with `{ sparse: false }`.",
      });
    }
    param.add_(maximize ? grad.neg() : grad, { alpha: -lr });
  }

  #updateBucket(group: SGDGroup, { params, handles, grads }: Bucket): void {
    const { lr, momentum, weightDecay } = group;
    let directions = grads;
    // Lists made on the way; `directions` may be modified in place only when it is one of them.
    const temporary: Handle[][] = [];
    const made = (list: Handle[]): Handle[] => {
      temporary.push(list);
      return list;
    };
    if (group.maximize) directions = made(foreachNeg(directions));
    if (weightDecay !== 0) directions = made(foreachAdd(directions, handles, weightDecay));
    if (momentum !== 0) {
      const buffers = this.#updateBuffers(group, params, directions);
      directions = group.nesterov ? made(foreachAdd(directions, buffers, momentum)) : buffers;
    }
    foreachAdd_(handles, directions, -lr);
    for (const list of temporary) releaseAll(list);
  }

  /** Moves the momentum buffers on, makes them where there are none yet, and returns one for each parameter. */
  #updateBuffers(group: SGDGroup, params: readonly Tensor[], directions: readonly Handle[]): Handle[] {
    const buffers: Handle[] = [];
    const old: Handle[] = [];
    const oldDirections: Handle[] = [];
    params.forEach((param, i) => {
      const state = this.stateOf(param);
      const direction = directions[i] as Handle;
      let buffer = state.momentum_buffer as Tensor | null | undefined;
      if (buffer === undefined || buffer === null) {
        buffer = unscoped(() => wrapHandle(clone(native().data(direction)) as unknown as Handle));
        state.momentum_buffer = buffer;
      } else {
        old.push(handleOf(buffer));
        oldDirections.push(direction);
      }
      buffers.push(handleOf(buffer));
    });
    if (old.length > 0) {
      foreachMulScalar_(old, group.momentum);
      foreachAdd_(old, oldDirections, 1 - group.dampening);
    }
    return buffers;
  }
}
