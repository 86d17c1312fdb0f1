// The interface of loggers.

/** Receives metrics and hyper-parameters. Loggers write on rank zero only; Fabric calls them on every rank. */
export abstract class Logger {
  /** Name of the experiment. */
  abstract get name(): string;
  /** Version of the experiment. */
  abstract get version(): string | number;
  /** Records numbers by name, at a step where there is one. */
  abstract logMetrics(metrics: Record<string, unknown>, step?: number): void;
  /** Records the options of a run. */
  abstract logHyperparams(params: Record<string, unknown>): void;

  /** Directory under which all experiments are, where the logger writes files. */
  get rootDir(): string | null {
    return null;
  }
  /** Directory of this version. */
  get logDir(): string | null {
    return null;
  }
  /** Stands between the parts of a metric's name. */
  get groupSeparator(): string {
    return "/";
  }
  /** Records the structure of a model. */
  logGraph(_model: unknown, _input?: unknown): void {}
  /** Writes what has been recorded so far. */
  save(): void {}
  /** Called at the end of a run. */
  finalize(_status: string): void {
    this.save();
  }
}
