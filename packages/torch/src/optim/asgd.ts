// Averaged stochastic gradient descent. The formulas and their order of operations are PyTorch's, so results have the same bits.
import { type Handle, native } from "../native.js";
import { checkBoolean, checkNumber, checkOptions } from "../nn/arguments.js";
import { zerosLike } from "../ops.generated.js";
import { Tensor, wrapHandle } from "../tensor.js";
import { foreachAdd_, foreachMulScalar_ } from "./foreach.js";
import { MomentOptimizer, type Work } from "./moment-optimizer.js";
import { type ImplementationOptions, implementationNames, withDefaults } from "./optimizer.js";
import type { ParamGroup, ParamsInput } from "./param-group.js";

/** Options of `ASGD`. */
export interface ASGDOptions extends ImplementationOptions {
  /** Learning rate (default 0.01). */
  lr: number;
  /** Decay of the parameters (default 1e-4). */
  lambd: number;
  /** The power with which the learning rate falls (default 0.75). */
  alpha: number;
  /** The step at which averaging begins (default 1e6). */
  t0: number;
  /** Factor of the L2 penalty (default 0). */
  weightDecay: number;
  /** Ascend instead of descend (default false). */
  maximize: boolean;
}

const optionNames = ["lr", "lambd", "alpha", "t0", "weightDecay", "maximize"];
const numbers = new Set(["eta", "mu"]);

/** Averaged SGD (Polyak and Juditsky), as `torch.optim.ASGD`: the average of each parameter is `ax` in the state. */
export class ASGD extends MomentOptimizer {
  declare paramGroups: (ParamGroup & ASGDOptions)[];

  /** @param options see `ASGDOptions`; all have defaults */
  constructor(params: ParamsInput<ASGDOptions>, options: Partial<ASGDOptions> = {}) {
    checkOptions(options, [...optionNames, ...implementationNames], "new ASGD(model.parameters(), { lr: 0.01 })");
    super(
      params,
      withDefaults(options, {
        lr: 1e-2,
        lambd: 1e-4,
        alpha: 0.75,
        t0: 1e6,
        weightDecay: 0,
        foreach: null,
        maximize: false,
      }),
    );
  }

  protected override checkGroup(group: ParamGroup): void {
    for (const name of ["lr", "weightDecay"]) checkNumber(name, group[name], 0);
    for (const name of ["lambd", "alpha", "t0"]) checkNumber(name, group[name]);
    checkBoolean("maximize", group.maximize);
  }

  protected override tensorNames(): readonly string[] {
    return ["ax"];
  }

  // Numbers here, tensors with one float32 in PyTorch, whose rounding they have.
  protected override initialize(record: Record<string, unknown>, param: Tensor, group: ParamGroup): void {
    Object.assign(record, { step: 0, eta: Math.fround(group.lr), mu: 1, ax: zerosLike(param) });
  }

  protected override unpackState(record: Record<string, unknown>): Record<string, unknown> {
    const plain = Object.entries(super.unpackState(record)).map(([name, value]) => [
      name,
      numbers.has(name) && value instanceof Tensor ? value.item() : value,
    ]);
    return Object.fromEntries(plain) as Record<string, unknown>;
  }

  protected override updateWork(group: ParamGroup & ASGDOptions, { params, grads, step, records, state }: Work): void {
    const { lr, lambd, alpha, t0 } = group;
    const averages = state("ax");
    params.forEach((param, i) => {
      const record = records[i] as { eta: number; mu: number };
      foreachMulScalar_([param], 1 - lambd * record.eta);
      foreachAdd_([param], [grads[i] as Handle], -record.eta);
      const [value, average] = [alias(param), alias(averages[i] as Handle)];
      if (record.mu === 1) average.copy_(value);
      else average.add_(value.sub(average).mul(record.mu));
      record.eta = Math.fround(lr / native().pow(1 + lambd * lr * step, alpha));
      record.mu = Math.fround(1 / Math.max(1, step - t0));
    });
  }
}

const alias = (handle: Handle): Tensor => wrapHandle(native().alias(handle));
