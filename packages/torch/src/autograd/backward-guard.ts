// A native hook that refuses gradients unless a backward pass was announced. It never enters JavaScript, so it works on
// the engine's own threads too.
import { type GuardHandle, native } from "../native.js";
import { handleOf, type Tensor } from "../tensor.js";

/** Makes `backward` fail with a `UsageError` when gradients reach a guarded tensor outside of `BackwardGuard.allow`. */
export class BackwardGuard {
  readonly #handle: GuardHandle;

  /** `message` and `hint` are the text of the error. */
  constructor(message: string, hint = "") {
    this.#handle = native().createGuard(message, hint);
  }

  /** Guards a tensor that requires gradients. */
  attach(tensor: Tensor): void {
    native().attachGuard(this.#handle, handleOf(tensor));
  }

  /** Runs `body` with all guards of the process open, and closes them again also when it throws. */
  static allow<T>(body: () => T): T {
    native().allowGuarded(1);
    depth++;
    try {
      return body();
    } finally {
      depth--;
      native().allowGuarded(-1);
    }
  }

  /** True while `allow` runs. */
  static get isAllowed(): boolean {
    return depth > 0;
  }

  /** True when the tensor carries a hook, of this class or another. */
  static hasHooks(tensor: Tensor): boolean {
    return native().hasHooks(handleOf(tensor));
  }
}

let depth = 0;
