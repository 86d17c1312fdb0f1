// Metrics as a CSV file, `metrics.csv` in the folder of the run.
import { unlinkSync } from "node:fs";
import { join } from "node:path";
import { ConfigurationError, NotSupportedError } from "@fabric-ts/torch";
import { describe } from "../utilities/describe.js";
import { currentRank, rankZeroWarn } from "../utilities/rank-zero.js";
import { CSVFile, type Row } from "./csv-file.js";
import { FileLogger, type FileLoggerOptions } from "./file-logger.js";
import { flattenDict, textOf } from "./parameters.js";
import { dummyExperiment, rankZeroExperiment } from "./rank-zero-experiment.js";
import { Unsaved } from "./unsaved.js";

const fileName = "metrics.csv";

/** Options of `CSVLogger`. */
export interface CSVLoggerOptions extends FileLoggerOptions {
  /** Write to the file after every this many steps. Default 100; what is older than a second is written, too. */
  flushLogsEveryNSteps?: number | undefined;
  /** Continue the file of an earlier run with the same version. Default: that file is deleted, with a warning. */
  append?: boolean | undefined;
}

/**
 * Writes metrics to `rootDir/name/version_<n>/metrics.csv`: one row for each call, a column for each metric and one for the step,
 * in alphabetical order. New metrics may come at any time. What is in memory is written when the process ends.
 *
 *     const fabric = new Fabric({ loggers: new CSVLogger("logs", { name: "my_experiment" }) });
 *     fabric.log("loss", loss, step);
 */
export class CSVLogger extends FileLogger {
  readonly #flushEvery: number;
  readonly #append: boolean;
  #experiment: CSVExperiment | null = null;

  constructor(rootDir: string | URL, options: CSVLoggerOptions = {}) {
    super(rootDir, options, ["flushLogsEveryNSteps", "append"]);
    const { flushLogsEveryNSteps = 100, append = false } = options;
    if (!(Number.isSafeInteger(flushLogsEveryNSteps) && flushLogsEveryNSteps >= 1)) {
      throw new ConfigurationError(
        `Expected \`flushLogsEveryNSteps\` to be a number of steps, but got ${describe(flushLogsEveryNSteps)}.`,
        { hint: "1 writes each row at once." },
      );
    }
    this.#flushEvery = flushLogsEveryNSteps;
    this.#append = append;
  }

  /** The file as it is being written; made, with its folder, when it is first needed. Does nothing on other ranks. */
  get experiment(): CSVExperiment {
    return rankZeroExperiment<unknown, CSVExperiment>(() => this.#open() ?? dummyExperiment)();
  }

  override logMetrics(metrics: Record<string, unknown>, step?: number): void {
    // Opening comes first: a file that is continued has rows already.
    const experiment = currentRank() === 0 ? this.#open() : null;
    const entry = this.intake.take(metrics, step);
    if (entry === null || experiment === null) return;
    experiment.logMetrics(entry.metrics, entry.step);
    const isFull = experiment.metrics.length >= this.#flushEvery;
    if (isFull || (entry.step + 1) % this.#flushEvery === 0) this.save();
  }

  /** There is no place for hyper-parameters in a CSV file. */
  override logHyperparams(): void {
    if (currentRank() !== 0) return;
    throw new NotSupportedError("The `CSVLogger` does not support logging hyper-parameters.", {
      hint: "`TensorBoardLogger` and `JSONLinesLogger` do.",
    });
  }

  override save(): void {
    this.#experiment?.save();
  }

  protected override readonly claim = fileName;
  protected override isOwnFile(name: string): boolean {
    return name === fileName;
  }

  // Null where the folder cannot be made because the disk is full.
  #open(): CSVExperiment | null {
    if (this.#experiment !== null) return this.#experiment;
    const made = this.makeLogDir();
    if (made === null) return null;
    const path = join(made.folder, fileName);
    const experiment = new CSVExperiment(path, (write) => this.attempt(write));
    if (this.#append) {
      this.intake.count = experiment.rowsBefore();
    } else if (made.entries.length > 0) {
      rankZeroWarn(
        `Experiment logs directory ${made.folder} exists and is not empty. An earlier ${fileName} in it is deleted. Give another \`version\`, or \`append: true\` to continue that file.`,
      );
      if (made.entries.includes(fileName)) unlinkSync(path);
    }
    this.#experiment = experiment;
    return experiment;
  }
}

/** Rows on their way into a CSV file. */
export class CSVExperiment {
  /** The file. */
  readonly metricsFilePath: string;
  /** Rows that are not written yet. */
  metrics: Row[] = [];
  readonly #file: CSVFile;
  readonly #attempt: (write: () => void) => boolean;
  readonly #unsaved = new Unsaved(this);

  /** internal */
  constructor(path: string, attempt: (write: () => void) => boolean) {
    this.metricsFilePath = path;
    this.#file = new CSVFile(path);
    this.#attempt = attempt;
  }

  /** Adds a row. What is nested gets a column for each value: `val/loss`. */
  logMetrics(metrics: Record<string, unknown>, step: number): void {
    const row = new Map<string, string>();
    for (const [name, value] of Object.entries(flattenDict(metrics))) {
      row.set(name, value === null || value === undefined ? "" : textOf(value));
    }
    row.set("step", String(step));
    this.metrics.push(row);
    this.#unsaved.added();
  }

  /** Writes all rows to the file. */
  save(): void {
    const rows = this.metrics;
    this.metrics = [];
    this.#unsaved.clear();
    if (rows.length > 0) this.#attempt(() => this.#file.append(rows));
  }

  /** internal: how many rows the file has that is continued. */
  rowsBefore(): number {
    return this.#file.readRows();
  }
}
