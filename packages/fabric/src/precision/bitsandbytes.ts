// A name only: bitsandbytes is a Python library, so that asking for it gives a clear answer.
import { noBitsandbytes } from "./names.js";
import { Precision } from "./precision.js";

/** Weights in 4 or 8 bits. Cannot be made: its constructor says what to use instead. */
export class BitsandbytesPrecision extends Precision {
  /** @throws NotSupportedError in any case */
  constructor(mode: string, _options: object = {}) {
    super();
    throw noBitsandbytes(mode);
  }
}
