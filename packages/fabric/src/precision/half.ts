// Everything in 16 bits: weights, computation and gradients.
import { ConfigurationError, type Dtype, getDefaultDtype, type nn, withDtype } from "@fabric-ts/torch";
import { describe } from "../utilities/describe.js";
import { convertFloating } from "./convert.js";
import { Precision } from "./precision.js";

/** `16-true` and `bf16-true`: the model is converted to float16 or bfloat16; inputs follow, outputs come back in the default dtype. */
export class HalfPrecision extends Precision {
  override readonly precision: "16-true" | "bf16-true";
  readonly #dtype: Dtype;

  constructor(precision: "16-true" | "bf16-true" = "16-true") {
    super();
    if (precision !== "16-true" && precision !== "bf16-true") {
      throw new ConfigurationError(`Precision must be '16-true' or 'bf16-true', got ${describe(precision)}.`);
    }
    this.precision = precision;
    this.#dtype = precision === "16-true" ? "float16" : "bfloat16";
  }

  override get computeDtype(): Dtype {
    return this.#dtype;
  }
  override convertModule<M extends nn.AnyModule>(module: M): M {
    module.to(this.#dtype);
    return module;
  }
  override tensorInitContext(): Disposable {
    return withDtype(this.#dtype);
  }
  override moduleInitContext(): Disposable {
    return this.tensorInitContext();
  }
  override forwardContext(): Disposable {
    return this.tensorInitContext();
  }
  override convertInput<T>(data: T): T {
    return convertFloating(data, this.#dtype);
  }
  override convertOutput<T>(data: T): T {
    return convertFloating(data, getDefaultDtype());
  }
}
