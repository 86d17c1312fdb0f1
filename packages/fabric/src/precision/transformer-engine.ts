// A name only: Transformer Engine is a Python library, so that asking for it gives a clear answer.
import { type Dtype, NotSupportedError } from "@fabric-ts/torch";
import { Precision } from "./precision.js";

/** `transformer-engine` and `transformer-engine-float16`. Cannot be made: its constructor says what to use instead. */
export class TransformerEnginePrecision extends Precision {
  /** @throws NotSupportedError in any case */
  constructor(options: { weightsDtype?: Dtype } = {}) {
    super();
    const name = options.weightsDtype === "float16" ? "transformer-engine-float16" : "transformer-engine";
    throw new NotSupportedError(
      `The precision "${name}" is not available: Transformer Engine, which computes in 8 bits on GPUs, is a Python library.`,
      { hint: 'Use `precision: "bf16-mixed"`, or `"bf16-true"` for weights in 16 bits as well.' },
    );
  }
}
