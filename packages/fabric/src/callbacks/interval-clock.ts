// "Every n minutes" on several ranks: rank 0 looks at its clock, the others follow.
import type { Fabric } from "../fabric.js";

/** Between two questions no more batches than this pass, in case they become slow. */
const mostBatches = 100;

/** internal: an interval, by rank 0's monotonic clock. */
export class IntervalClock {
  readonly #intervalMs: number;
  #last: number | undefined;
  #askedAt = 0;
  /** Batches until the next question, and how many that were in all. */
  #left = 0;
  #wait = 1;

  constructor(intervalMs: number) {
    this.#intervalMs = intervalMs;
  }

  /** Begins a new interval. */
  start(): void {
    this.#last = performance.now();
    this.#askedAt = this.#last;
    this.#left = 0;
    this.#wait = 1;
  }

  /** True when the interval is over; all ranks call it after each batch and get the same answer. A question far from the end is not asked. */
  async isOver(fabric: Fabric): Promise<boolean> {
    if (this.#last === undefined) this.start();
    if (--this.#left > 0) return false;
    const wait = await fabric.broadcast(fabric.isGlobalZero ? this.#batchesToWait() : 0);
    this.#left = this.#wait = Math.max(wait, 1);
    return wait === 0;
  }

  /** 0 when the interval is over, otherwise half of the batches that it will last at the present speed, or 1. */
  #batchesToWait(): number {
    const now = performance.now();
    const rest = this.#intervalMs - (now - (this.#last as number));
    const perBatch = (now - this.#askedAt) / this.#wait;
    this.#askedAt = now;
    if (rest <= 0) return 0;
    return Math.max(1, Math.min(mostBatches, Math.floor(rest / perBatch / 2)));
  }
}
