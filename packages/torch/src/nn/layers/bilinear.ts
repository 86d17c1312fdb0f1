// A layer that is linear in each of two inputs.
import type { Tensor } from "../../tensor.js";
import { checkBoolean, checkOptions, checkSize, factory } from "../arguments.js";
import { aten } from "../aten.js";
import { bilinear } from "../functional/linear.js";
import { uniform_ } from "../init.js";
import { guardMembers } from "../members.js";
import { type AnyModule, Module } from "../module.js";
import { Parameter } from "../parameter.js";
import { pyBool } from "../python-text.js";
import type { LinearOptions } from "./linear.js";

const empty = aten("empty");
const example = "new nn.Bilinear(20, 30, 40, { bias: false })";

/** `x1 @ weight @ x2 + bias`: shapes `[..., in1Features]`, `[..., in2Features]` -> `[..., outFeatures]`. */
export class Bilinear extends Module<[Tensor, Tensor], Tensor> {
  readonly in1Features: number;
  readonly in2Features: number;
  readonly outFeatures: number;
  weight: Parameter;
  bias: Parameter | null;

  constructor(in1Features: number, in2Features: number, outFeatures: number, options: LinearOptions = {}) {
    super();
    checkOptions(options, ["bias", "dtype", "device"], example);
    this.in1Features = checkSize("in1Features", in1Features, 1, example);
    this.in2Features = checkSize("in2Features", in2Features, 1, example);
    this.outFeatures = checkSize("outFeatures", outFeatures, 0, example);
    const made = factory(options);
    this.weight = new Parameter(empty([outFeatures, in1Features, in2Features], made));
    this.bias = checkBoolean("bias", options.bias ?? true) ? new Parameter(empty([outFeatures], made)) : null;
    this.resetParameters();
    guardMembers(this as AnyModule);
  }

  /** Draws new values, uniform within `1 / sqrt(in1Features)`. */
  resetParameters(): void {
    const bound = 1 / Math.sqrt(this.weight.size(1));
    uniform_(this.weight, -bound, bound);
    if (this.bias !== null) uniform_(this.bias, -bound, bound);
  }

  forward(input1: Tensor, input2: Tensor): Tensor {
    return bilinear(input1, input2, this.weight, this.bias);
  }

  override extraRepr(): string {
    const { in1Features, in2Features, outFeatures, bias } = this;
    return `in1_features=${in1Features}, in2_features=${in2Features}, out_features=${outFeatures}, bias=${pyBool(bias !== null)}`;
  }
}
