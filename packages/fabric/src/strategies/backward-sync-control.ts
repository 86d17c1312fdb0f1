// How a strategy lets gradients accumulate without talking to the other ranks.
import type { nn } from "@fabric-ts/torch";

/** Skips the synchronization of gradients for a while. */
export interface BackwardSyncControl {
  /** A context in which backward passes of `module` leave gradients local; one that does nothing when `enabled` is false. */
  noBackwardSync(module: nn.AnyModule, enabled: boolean): Disposable;
}
