// A tensor that a module owns and an optimizer changes.
import { inspect } from "node:util";
import { typeError } from "../check.js";
import { native } from "../native.js";
import { handleOf, recordTensors, Tensor } from "../tensor.js";

/**
 * A tensor to be learned. As a property of a `Module` it is found by `parameters()` and `stateDict()`.
 * It shares the elements of `data`, has no gradient history, and is never freed by a `scope()`.
 *
 *     class Scale extends nn.Module {
 *       factor = new nn.Parameter(torch.ones([1]));
 *       forward(x: Tensor) { return x.mul(this.factor); }
 *     }
 */
export class Parameter extends Tensor {
  /**
   * @param data the values, shared rather than copied
   * @param requiresGrad whether gradients are computed for it (default true), or `{ requiresGrad }`
   */
  constructor(data: Tensor, requiresGrad: boolean | { requiresGrad?: boolean } = true) {
    if (!(data instanceof Tensor)) {
      throw typeError("data", "a Tensor", data, "Type `new nn.Parameter(torch.tensor(...))`.");
    }
    const wanted = typeof requiresGrad === "object" ? (requiresGrad?.requiresGrad ?? true) : requiresGrad;
    if (typeof wanted !== "boolean") throw typeError("requiresGrad", "a boolean", requiresGrad);
    const open = recordTensors(null);
    try {
      super(native().data(handleOf(data)));
    } finally {
      recordTensors(open);
    }
    if (wanted) this.requiresGrad = true;
  }

  /** The values as PyTorch prints a parameter. */
  override toString(): string {
    return `Parameter containing:\n${Tensor.prototype.toString.call(this)}`;
  }

  [inspect.custom](): string {
    return this.toString();
  }
}
