// A linear layer.
import type { Tensor } from "../../tensor.js";
import { checkBoolean, checkOptions, checkSize, type FactoryOptions, factory } from "../arguments.js";
import { aten } from "../aten.js";
import { linear } from "../functional/linear.js";
import { calculateFanInAndFanOut, kaimingUniform_, uniform_ } from "../init.js";
import { guardMembers } from "../members.js";
import { type AnyModule, Module } from "../module.js";
import { Parameter } from "../parameter.js";
import { pyBool } from "../python-text.js";

/** Options of `Linear`. */
export interface LinearOptions extends FactoryOptions {
  /** Whether a bias is added (default true). */
  bias?: boolean;
}

const empty = aten("empty");
const example = "new nn.Linear(10, 2, { bias: false })";

/** `x @ weight.T + bias`: shape `[..., inFeatures]` -> `[..., outFeatures]`. */
export class Linear extends Module<[Tensor], Tensor> {
  readonly inFeatures: number;
  readonly outFeatures: number;
  weight: Parameter;
  bias: Parameter | null;

  constructor(inFeatures: number, outFeatures: number, options: LinearOptions = {}) {
    super();
    checkOptions(options, ["bias", "dtype", "device"], example);
    this.inFeatures = checkSize("inFeatures", inFeatures, 0, example);
    this.outFeatures = checkSize("outFeatures", outFeatures, 0, example);
    const made = factory(options);
    this.weight = new Parameter(empty([outFeatures, inFeatures], made));
    this.bias = checkBoolean("bias", options.bias ?? true) ? new Parameter(empty([outFeatures], made)) : null;
    this.resetParameters();
    guardMembers(this as AnyModule);
  }

  /** Draws new values: Kaiming-uniform weights with `a = sqrt(5)`, biases within `1 / sqrt(inFeatures)`. */
  resetParameters(): void {
    kaimingUniform_(this.weight, { a: Math.sqrt(5) });
    if (this.bias === null) return;
    const { fanIn } = calculateFanInAndFanOut(this.weight);
    const bound = fanIn > 0 ? 1 / Math.sqrt(fanIn) : 0;
    uniform_(this.bias, -bound, bound);
  }

  forward(input: Tensor): Tensor {
    return linear(input, this.weight, this.bias);
  }

  override extraRepr(): string {
    return `in_features=${this.inFeatures}, out_features=${this.outFeatures}, bias=${pyBool(this.bias !== null)}`;
  }
}
