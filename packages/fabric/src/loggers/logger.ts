// The interface of loggers: extend it to send metrics anywhere.

/**
 * Receives metrics and hyper-parameters. Fabric calls loggers on every rank; those that write restrict themselves to rank zero.
 *
 *     class PrintLogger extends Logger {
 *       get name() { return "print"; }
 *       get version() { return 0; }
 *       logMetrics(metrics, step) { if (rank === 0) console.log(step, metrics); }
 *       logHyperparams(params) {}
 *     }
 */
export abstract class Logger {
  /** Name of the experiment. */
  abstract get name(): string;
  /** Version of the experiment. */
  abstract get version(): string | number;
  /** Records numbers by name, at a step where there is one. */
  abstract logMetrics(metrics: Record<string, unknown>, step?: number): void;
  /** Records the options of a run. */
  abstract logHyperparams(params: Record<string, unknown>, ...rest: unknown[]): void;

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
  /** Writes what has been recorded so far. Fabric calls it at the end of the process, however that comes about. */
  save(): void {}
  /** Called by you at the end of a run, with `"success"` or `"failed"`. What takes time may return a promise. */
  finalize(_status: string): void {
    this.save();
  }
}
