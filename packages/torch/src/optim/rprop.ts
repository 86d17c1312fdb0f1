// Rprop. The formulas and their order of operations are PyTorch's, so results have the same bits.
import { describe } from "../check.js";
import { ConfigurationError } from "../errors.js";
import { type Handle, native } from "../native.js";
import { checkBoolean, checkNumber, checkOptions } from "../nn/arguments.js";
import { operator } from "../ops.js";
import { type Tensor, wrapHandle } from "../tensor.js";
import { MomentOptimizer, type Work } from "./moment-optimizer.js";
import { type ImplementationOptions, implementationNames, withDefaults } from "./optimizer.js";
import type { ParamGroup, ParamsInput } from "./param-group.js";

/** Options of `Rprop`. */
export interface RpropOptions extends ImplementationOptions {
  /** The first step of every element (default 0.01). */
  lr: number;
  /** Factors of an element's step when its gradient changed sign, and when it kept it (default `[0.5, 1.2]`). */
  etas: [number, number];
  /** The smallest and the greatest step (default `[1e-6, 50]`). */
  stepSizes: [number, number];
  /** Ascend instead of descend (default false). */
  maximize: boolean;
}

const optionNames = ["lr", "etas", "stepSizes", "maximize"];
const example = "new Rprop(model.parameters(), { lr: 0.01, etas: [0.5, 1.2] })";

/** Resilient backpropagation (Riedmiller and Braun): signs of gradients, and a step for each element. As `torch.optim.Rprop`. */
export class Rprop extends MomentOptimizer {
  declare paramGroups: (ParamGroup & RpropOptions)[];

  /** @param options see `RpropOptions`; all have defaults */
  constructor(params: ParamsInput<RpropOptions>, options: Partial<RpropOptions> = {}) {
    checkOptions(options, [...optionNames, ...implementationNames], example);
    super(
      params,
      withDefaults(options, { lr: 1e-2, etas: [0.5, 1.2], stepSizes: [1e-6, 50], foreach: null, maximize: false }),
    );
  }

  protected override checkGroup(group: ParamGroup): void {
    checkNumber("lr", group.lr, 0);
    const [minus, plus] = pairOf("etas", group.etas);
    if (!(minus > 0 && minus < 1 && plus > 1)) {
      throw new ConfigurationError(`\`etas\` is ${describe(group.etas)}.`, {
        hint: "The first factor is between 0 and 1, the second greater than 1.",
      });
    }
    pairOf("stepSizes", group.stepSizes);
    checkBoolean("maximize", group.maximize);
  }

  protected override tensorNames(): readonly string[] {
    return ["prev", "step_size"];
  }

  protected override initialize(record: Record<string, unknown>, param: Tensor, group: ParamGroup): void {
    super.initialize(record, param, group);
    const size = (record.step_size as Tensor).detach();
    (size.isComplex() ? (operator("aten", "view_as_real")(size) as Tensor) : size).fill_(group.lr);
  }

  // An int in PyTorch 1.13, and taken as one by all versions.
  protected override packState(record: Record<string, unknown>): Record<string, unknown> {
    return record;
  }

  protected override updateWork(group: ParamGroup & RpropOptions, { params, grads, state }: Work): void {
    const [before, sizes] = [state("prev"), state("step_size")];
    params.forEach((_, i) => {
      const [param, gradient, last, size] = [params, grads, before, sizes].map((list) => alias(list[i] as Handle)) as [
        Tensor,
        Tensor,
        Tensor,
        Tensor,
      ];
      update(group, param, gradient, last, size);
    });
  }
}

const alias = (handle: Handle): Tensor => wrapHandle(native().alias(handle));

function update({ etas, stepSizes }: RpropOptions, param: Tensor, gradient: Tensor, last: Tensor, size: Tensor): void {
  const [minus, plus] = etas;
  const factor = gradient.mul(last).sign();
  factor.maskedFill_(factor.gt(0), plus);
  factor.maskedFill_(factor.lt(0), minus);
  factor.maskedFill_(factor.eq(0), 1);
  size.mul_(factor).clamp_(...stepSizes);
  // Where the sign changed the element rests for one step.
  const kept = gradient.clone().maskedFill_(factor.eq(minus), 0);
  param.addcmul_(kept.sign(), size, { value: -1 });
  last.copy_(kept);
}

function pairOf(name: string, value: unknown): [number, number] {
  if (!Array.isArray(value) || value.length !== 2) {
    throw new ConfigurationError(`\`${name}\` is ${describe(value)}, but has to be a pair of numbers.`, {
      hint: `Type \`${example}\`.`,
    });
  }
  return [checkNumber(`${name}[0]`, value[0]), checkNumber(`${name}[1]`, value[1])];
}
