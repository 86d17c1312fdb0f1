// Adam with decoupled weight decay. Everything but the default and the place of the decay is in adam.ts.
import { Adam, type AdamOptions } from "./adam.js";
import type { ParamsInput } from "./param-group.js";

/**
 * Adam with decoupled weight decay (Loshchilov and Hutter, https://arxiv.org/abs/1711.05101), as `torch.optim.AdamW`.
 *
 *     const optimizer = new optim.AdamW(model.parameters(), { lr: 3e-4, weightDecay: 0.1 });
 */
export class AdamW extends Adam {
  /**
   * @param params `model.parameters()`, or groups such as `[{ params: biases, weightDecay: 0 }]`
   * @param options see `AdamOptions`; `weightDecay` is 0.01 unless given
   */
  constructor(params: ParamsInput<AdamOptions>, options: Partial<AdamOptions> = {}) {
    const isObject = typeof options === "object" && options !== null && !Array.isArray(options);
    super(params, isObject ? { ...options, weightDecay: options.weightDecay ?? 0.01 } : options);
  }

  protected override get decoupledWeightDecay(): boolean {
    return true;
  }
}
