// A model whose parameters are an average of another's over time.
import { noGrad } from "../../autograd/grad-mode.js";
import { typeError } from "../../check.js";
import type { Device } from "../../dtype.js";
import { ConfigurationError } from "../../errors.js";
import { checkBoolean, checkNumber, checkOptions } from "../../nn/arguments.js";
import { deepCopy } from "../../nn/deep-copy.js";
import { type AnyModule, Module } from "../../nn/module.js";
import { isModule } from "../../nn/module-state.js";
import { zeros } from "../../ops.generated.js";
import type { Tensor } from "../../tensor.js";

/** The new average of a parameter, from the average, the model's parameter, and how many were averaged before. */
export type AverageFunction = (averaged: Tensor, parameter: Tensor, numAveraged: number) => Tensor;

/** Options of `AveragedModel`. */
export interface AveragedModelOptions {
  /** Where the average is kept (default: where the model is). */
  device?: Device | undefined;
  /** How it is computed (default: the mean of all). See `getEmaAvgFn`. */
  avgFn?: AverageFunction | null | undefined;
  /** Average buffers, too, rather than copy them (default false). */
  useBuffers?: boolean | undefined;
}

/** The mean of all: `averaged + (parameter - averaged) / (numAveraged + 1)`. */
export function getSwaAvgFn(): AverageFunction {
  return (averaged, parameter, numAveraged) => averaged.add(parameter.sub(averaged).div(numAveraged + 1));
}

/** The exponential moving average: `decay * averaged + (1 - decay) * parameter`. */
export function getEmaAvgFn(decay = 0.999): AverageFunction {
  checkNumber("decay", decay, 0, 1);
  return (averaged, parameter) => averaged.mul(decay).add(parameter.mul(1 - decay));
}

/**
 * A copy of a model for the average of its weights, as `torch.optim.swa_utils.AveragedModel`: stochastic weight averaging, or
 * an exponential moving average. Call `updateParameters(model)` after the optimizer's step, and evaluate the average.
 * @example
 * const ema = new optim.swaUtils.AveragedModel(net, { avgFn: optim.swaUtils.getEmaAvgFn(0.999) });
 * for (const [x, y] of loader) {
 *   trainStep(net, x, y);
 *   ema.updateParameters(net);
 * }
 */
export class AveragedModel<M extends AnyModule> extends Module<Parameters<M["forward"]>, ReturnType<M["forward"]>> {
  /** The averages. */
  readonly module: M;
  readonly useBuffers: boolean;
  readonly avgFn: AverageFunction;

  constructor(model: M, options: AveragedModelOptions = {}) {
    super();
    checkOptions(options, ["device", "avgFn", "useBuffers"], "new AveragedModel(net, { avgFn: getEmaAvgFn(0.999) })");
    if (!isModule(model)) throw typeError("model", "a module", model);
    const { device, avgFn = null } = options;
    if (avgFn !== null && typeof avgFn !== "function") throw typeError("avgFn", "a function", avgFn);
    this.module = deepCopy(model);
    if (device !== undefined) this.module.to({ device });
    this.registerBuffer("n_averaged", zeros([], { dtype: "int64", device: device ?? null }));
    this.useBuffers = checkBoolean("useBuffers", options.useBuffers ?? false);
    this.avgFn = avgFn ?? getSwaAvgFn();
  }

  /** How many models were averaged. */
  get numAveraged(): number {
    return this.#count.item();
  }
  get #count(): Tensor {
    return (this as unknown as { n_averaged: Tensor }).n_averaged;
  }

  override forward(...args: Parameters<M["forward"]>): ReturnType<M["forward"]> {
    return this.module(...args) as ReturnType<M["forward"]>;
  }

  /** Takes a model's parameters into the average; the first time they are copied. */
  updateParameters(model: AnyModule): void {
    const own = this.module.parameters();
    const given = model.parameters();
    const ownBuffers = this.module.buffers();
    const givenBuffers = model.buffers();
    if (own.length !== given.length || ownBuffers.length !== givenBuffers.length) {
      throw new ConfigurationError(
        `The model has ${given.length} parameters and ${givenBuffers.length} buffers, the average ${own.length} and ${ownBuffers.length}.`,
        { hint: "Pass the model that the average was made of." },
      );
    }
    const count = this.numAveraged;
    noGrad(() => {
      own.forEach((average, i) => {
        this.#update(average, given[i] as Tensor, count, true);
      });
      ownBuffers.forEach((average, i) => {
        this.#update(average, givenBuffers[i] as Tensor, count, this.useBuffers);
      });
      this.#count.add_(1);
    });
  }

  #update(average: Tensor, value: Tensor, count: number, averaging: boolean): void {
    const here = value.detach().to(average.device);
    if (count === 0 || !averaging || !average.isFloatingPoint()) average.detach().copy_(here);
    else average.detach().copy_(this.avgFn(average.detach(), here, count));
  }
}
