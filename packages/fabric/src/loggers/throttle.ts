// Which of many entries are recorded.

/**
 * internal: lets the first entry of each block of `every` steps through: steps 0, 50, 100 of a loop that counts by one, steps 8,
 * 56, 104 of one that counts by eight. It depends on steps alone, so that all ranks decide alike and a resumed run falls into the
 * steps of the undisturbed one. Entries with different names are counted apart; without a step, each call is one.
 */
export class Throttle {
  readonly #seen = new Map<string, { calls: number; block: number }>();

  isDue(metrics: object, step: number | undefined, every: number): boolean {
    if (every === 1) return true;
    const key = JSON.stringify([every, ...Object.keys(metrics)]);
    const seen = this.#seen.get(key) ?? { calls: 0, block: Number.NaN };
    const block = Math.floor((step ?? seen.calls) / every);
    const isDue = block !== seen.block;
    this.#seen.set(key, { calls: seen.calls + 1, block });
    return isDue;
  }
}
