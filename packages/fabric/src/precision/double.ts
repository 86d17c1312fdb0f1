// Everything in 64 bits.
import { type Dtype, getDefaultDtype, type nn, withDtype } from "@fabric-ts/torch";
import { convertFloating } from "./convert.js";
import { Precision } from "./precision.js";

/** `64-true`: the model is converted to float64; inputs follow, outputs come back in the default dtype. */
export class DoublePrecision extends Precision {
  override readonly precision = "64-true" as const;

  override get computeDtype(): Dtype {
    return "float64";
  }
  override convertModule<M extends nn.AnyModule>(module: M): M {
    module.to("float64");
    return module;
  }
  override tensorInitContext(): Disposable {
    return withDtype("float64");
  }
  override moduleInitContext(): Disposable {
    return this.tensorInitContext();
  }
  override forwardContext(): Disposable {
    return this.tensorInitContext();
  }
  override convertInput<T>(data: T): T {
    return convertFloating(data, "float64");
  }
  override convertOutput<T>(data: T): T {
    return convertFloating(data, getDefaultDtype());
  }
}
