// A live progress line on a terminal; plain lines, one every few seconds, elsewhere. Only one process shows it.

/** What the line tells. */
export interface Progress {
  epoch: number;
  epochs: number;
  step: number;
  steps: number;
  loss: number;
  samplesPerSecond: number;
}

const BAR = 24;
const LIVE_EVERY_MS = 80;
const PLAIN_EVERY_MS = 3000;

/** Draws progress on standard output. */
export class ProgressLine {
  readonly #shown: boolean;
  readonly #live = process.stdout.isTTY === true;
  #last = 0;

  /** @param shown false on all processes but one */
  constructor(shown: boolean) {
    this.#shown = shown;
  }

  /** Draws the line when enough time has passed, and always at the end of an epoch. */
  show(now: Progress): void {
    if (!this.#shown) return;
    const time = performance.now();
    const last = now.step === now.steps;
    if (!last && time - this.#last < (this.#live ? LIVE_EVERY_MS : PLAIN_EVERY_MS)) return;
    this.#last = time;
    const filled = Math.round((BAR * now.step) / now.steps);
    const text = [
      `epoch ${now.epoch}/${now.epochs}`,
      this.#live ? `${"#".repeat(filled)}${".".repeat(BAR - filled)}` : undefined,
      `step ${now.step}/${now.steps}`,
      `loss ${now.loss.toFixed(4)}`,
      `${now.samplesPerSecond.toFixed(0)} samples/s`,
    ]
      .filter((part) => part !== undefined)
      .join("  ");
    if (this.#live) {
      const width = process.stdout.columns || 80;
      process.stdout.write(`\r${text.slice(0, width - 1)}\x1b[K${last ? "\n" : ""}`);
    } else {
      process.stdout.write(`${text}\n`);
    }
  }
}
