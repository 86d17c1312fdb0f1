// Counts the floating-point operations of whatever runs while a counter is open.
import { native } from "./native.js";

/**
 * Counts floating-point operations from its construction to its disposal, backward passes included: those of matrix products, convolutions and
 * fused attention, from the shapes alone. A multiplication with its addition counts as two. Everything that the process computes counts.
 * While it is open, models run on the `"meta"` device, which has shapes and no memory: operators whose shapes the engine does not know there
 * work on zeros on the CPU, one at a time.
 *
 *     const counter = new FlopCounter();
 *     model(x).sum().backward();
 *     counter[Symbol.dispose]();
 *     console.log(counter.total, counter.byOperator);
 */
export class FlopCounter implements Disposable {
  readonly #before: Record<string, number>;
  #after: Record<string, number> | undefined;

  constructor() {
    native().countFlops(1);
    this.#before = native().flopCounts();
  }

  /** Operations of each operator, such as `{ "aten::addmm": 256 }`; of those that ran. */
  get byOperator(): Record<string, number> {
    const now = this.#after ?? native().flopCounts();
    const entries = Object.entries(now).map(([name, flops]) => [name, flops - (this.#before[name] ?? 0)] as const);
    return Object.fromEntries(entries.filter(([, flops]) => flops > 0));
  }
  /** All operations so far, or until the counter was closed. */
  get total(): number {
    return Object.values(this.byOperator).reduce((sum, flops) => sum + flops, 0);
  }

  /** Ends counting; the numbers stay. */
  [Symbol.dispose](): void {
    if (this.#after !== undefined) return;
    this.#after = native().flopCounts();
    native().countFlops(-1);
  }
}
