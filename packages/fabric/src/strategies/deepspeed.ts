// A name only: DeepSpeed is a Python library, so that asking for it gives a clear answer.
import { NotSupportedError } from "@fabric-ts/torch";
import { DDPStrategy } from "./ddp.js";

/** internal: what to use in the place of DeepSpeed. */
export const insteadOfDeepSpeed = 'Use `strategy: "ddp"`: DeepSpeed is a Python library.';

/** Training with DeepSpeed. Cannot be made: its constructor says what to use instead. */
export class DeepSpeedStrategy extends DDPStrategy {
  /** @throws NotSupportedError in any case */
  constructor(_options: object = {}) {
    super();
    throw new NotSupportedError("`DeepSpeedStrategy` is not available.", { hint: insteadOfDeepSpeed });
  }
}
