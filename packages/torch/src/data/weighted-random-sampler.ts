// Samples by weight.
import { describe, typeError } from "../check.js";
import { ConfigurationError } from "../errors.js";
import { native } from "../native.js";
import { operator } from "../ops.js";
import type { Generator as RandomGenerator } from "../random.js";
import { Tensor, wrapHandle } from "../tensor.js";
import { takeNumbers } from "./draw.js";
import { Sampler } from "./sampler.js";

/** Indices drawn with given weights, which need not add up to 1. */
export class WeightedRandomSampler extends Sampler {
  /** The weights as float64. */
  readonly weights: Tensor;
  readonly numSamples: number;
  readonly replacement: boolean;
  readonly generator: RandomGenerator | undefined;

  /**
   * @param weights one weight an index
   * @param numSamples how many to draw
   * @param options `replacement` (default true): an index may be drawn again
   */
  constructor(
    weights: readonly number[] | Tensor,
    numSamples: number,
    {
      replacement = true,
      generator,
    }: { replacement?: boolean | undefined; generator?: RandomGenerator | undefined } = {},
  ) {
    super();
    if (!Number.isInteger(numSamples) || numSamples <= 0) {
      throw new ConfigurationError(`\`numSamples\` has to be a positive whole number, but is ${describe(numSamples)}.`);
    }
    if (typeof replacement !== "boolean") throw typeError("replacement", "a boolean", replacement);
    this.weights =
      weights instanceof Tensor
        ? (operator("aten", "_to_copy")(weights, { dtype: "float64", device: "cpu" }) as Tensor)
        : wrapHandle(native().fromBytes(Float64Array.from(weights), "float64", [weights.length]));
    if (this.weights.ndim !== 1) {
      throw new ConfigurationError(
        `\`weights\` has to have one dimension, but has the shape [${this.weights.shape.join(", ")}].`,
      );
    }
    this.numSamples = numSamples;
    this.replacement = replacement;
    this.generator = generator;
  }

  override get length(): number {
    return this.numSamples;
  }

  override *[Symbol.iterator](): Generator<number, void> {
    const { weights, numSamples, replacement, generator } = this;
    yield* takeNumbers(operator("aten", "multinomial")(weights, numSamples, replacement, { generator }) as Tensor);
  }
}
