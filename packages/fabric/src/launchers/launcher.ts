// How processes come to be. One subclass for each way.

/** Creates the processes of a run (or finds that they exist) and runs a function in each. */
export abstract class Launcher {
  /** Whether it works in a REPL or a notebook, where there is no script to run again. */
  abstract readonly isInteractiveCompatible: boolean;

  /** Whether `fabric.launch()` has to be given a function: the processes exist for that function only. */
  get requiresFunction(): boolean {
    return false;
  }

  /** Runs `fn(...args)` in every rank and resolves with this process' own result, or with rank 0's where this process is no rank. */
  abstract launch<A extends unknown[], T>(fn: (...args: A) => T | Promise<T>, ...args: A): Promise<T>;
}
