// What is only in memory yet: saved after some seconds, and when the process ends. Nothing here keeps a process alive.
import { emitWarning } from "../utilities/warnings.js";

/** internal: after this many seconds, what was logged is in its file, even if the process is then killed. */
export const saveSeconds = 1;

/** internal: loggers and files with something to save. */
export interface Saveable {
  save(): void;
}

const open = new Set<Saveable>();
let isWatching = false;
let isExiting = false;

/** internal: the end of the process saves it: after the last line, after an uncaught error, and in `process.exit`. */
export function saveAtExit(target: Saveable): void {
  open.add(target);
  watchExit();
}

/** internal: what has to happen before anything that wants to warn while the process ends. */
export function watchExit(): void {
  if (isWatching) return;
  isWatching = true;
  // A logger of the user's may need the event loop once more to send what it has.
  process.once("beforeExit", saveAll);
  process.on("exit", () => {
    isExiting = true;
    saveAll();
  });
}

/** internal: takes back `saveAtExit`. */
export function forget(target: Saveable): void {
  open.delete(target);
}

/** internal: warns on this rank, also while the process ends, when Node would not print warnings any more. */
export function warnNow(message: string): void {
  if (isExiting) process.stderr.write(`(node:${process.pid}) UserWarning: ${message}\n`);
  else emitWarning(message);
}

function saveAll(): void {
  for (const target of [...open]) {
    try {
      target.save();
    } catch (error) {
      warnNow(`A logger could not save what it has: ${(error as Error)?.message ?? String(error)}`);
    }
  }
}

/** internal: the age of what a logger holds in memory. */
export class Unsaved {
  readonly #target: Saveable;
  readonly #milliseconds: number;
  #since: number | null = null;
  #timer: NodeJS.Timeout | undefined;

  constructor(target: Saveable, seconds: number = saveSeconds) {
    this.#target = target;
    this.#milliseconds = seconds * 1000;
  }

  /** To be called when something has been added in memory: saves when the oldest of it is old enough, now or by a timer. */
  added(): void {
    const now = performance.now();
    if (this.#since === null) {
      this.#since = now;
      saveAtExit(this.#target);
      // For programs that stop logging. In a loop that never lets timers run, the next call saves.
      this.#timer = setTimeout(() => this.#target.save(), Math.min(this.#milliseconds, 2 ** 31 - 1)).unref();
    } else if (now - this.#since >= this.#milliseconds) {
      this.#target.save();
    }
  }

  /** To be called when everything has been saved. */
  clear(): void {
    if (this.#since === null) return;
    this.#since = null;
    clearTimeout(this.#timer);
    forget(this.#target);
  }
}
