// How processes come to be. One subclass for each way.

/** Creates the processes of a run (or finds that they exist) and runs a function in each. */
export abstract class Launcher {
  /** Whether it works in a REPL or a notebook, where there is no script to run again. */
  abstract readonly isInteractiveCompatible: boolean;

  /** Runs `fn` in every rank and resolves with this process' own result. */
  abstract launch<T>(fn: () => T | Promise<T>): Promise<T>;
}
