// Metrics as a table in the terminal.
import { checkOptions, describe } from "../utilities/describe.js";
import { currentRank } from "../utilities/rank-zero.js";
import { type QuietStream, writeQuietly } from "../utilities/write-quietly.js";
import { ConsoleTable, cellText, printable, type TableTarget } from "./console-table.js";
import { Logger } from "./logger.js";
import { MetricIntake, type MetricOptions } from "./metrics.js";
import { flattenDict, plainParams } from "./parameters.js";
import { checkSecrets, type SecretRule } from "./secrets.js";

const longestParam = 80;

/** What a console logger writes to: `process.stdout`, or anything with a `write`. */
export interface ConsoleStream extends QuietStream {
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
}

/** Options of `ConsoleLogger`. */
export interface ConsoleLoggerOptions extends MetricOptions {
  /** Name of the experiment. Default `"lightning_logs"`. */
  name?: string | undefined;
  /** Where to. Default `process.stdout`. */
  stream?: ConsoleStream | undefined;
  /** Which hyper-parameters are masked: an expression for their names, or `false`. Default: those that sound secret. */
  secrets?: RegExp | false | undefined;
}

/**
 * Prints a table: a row for each call, a column for each metric. Names are printed again when new ones come. A terminal that is too narrow
 * for the table gets one metric a line. There are no colours where it is no terminal, or with `NO_COLOR`.
 *
 *     const fabric = new Fabric({ loggers: [new CSVLogger("logs"), new ConsoleLogger({ every: 100 })] });
 */
export class ConsoleLogger extends Logger {
  readonly #name: string;
  readonly #stream: ConsoleStream;
  readonly #secrets: SecretRule;
  readonly #intake: MetricIntake;
  readonly #table = new ConsoleTable();

  constructor(options: ConsoleLoggerOptions = {}) {
    super();
    checkOptions("ConsoleLogger", options, ["name", "stream", "secrets", "prefix", "every"]);
    const { name = "lightning_logs", stream = process.stdout, secrets } = options;
    if (typeof (stream as { write?: unknown } | null)?.write !== "function") {
      throw new TypeError(
        `Expected \`stream\` of ConsoleLogger to have a method \`write\`, but got ${describe(stream)}.\nFor example \`stream: process.stderr\`.`,
      );
    }
    this.#name = name;
    this.#stream = stream;
    this.#secrets = checkSecrets("ConsoleLogger", secrets);
    this.#intake = new MetricIntake("ConsoleLogger", options);
  }

  override get name(): string {
    return this.#name;
  }
  /** Always 0: a terminal keeps no versions. */
  override get version(): number {
    return 0;
  }

  override logMetrics(metrics: Record<string, unknown>, step?: number): void {
    const entry = this.#intake.take(metrics, step);
    if (entry === null) return;
    const cells = new Map([["step", String(entry.step)]]);
    for (const [name, value] of Object.entries(flattenDict(entry.metrics))) cells.set(name, cellText(value));
    this.#write(this.#table.row(cells, this.#target()));
  }

  override logHyperparams(params: unknown): void {
    if (currentRank() !== 0) return;
    const entries = Object.entries(plainParams(params, this.#secrets)).map(([name, value]) => [
      printable(name, longestParam),
      printable(String(value), longestParam),
    ]);
    const width = Math.max(0, ...entries.map(([name]) => (name as string).length));
    this.#write(entries.map(([name, value]) => `${(name as string).padEnd(width)}  ${value}\n`).join(""));
  }

  #target(): TableTarget {
    const { isTTY = false, columns = 0 } = this.#stream;
    return { width: isTTY && columns > 0 ? columns : Number.POSITIVE_INFINITY, hasColours: hasColours(isTTY) };
  }

  #write(text: string): void {
    if (text !== "") writeQuietly(this.#stream, text);
  }
}

/** `NO_COLOR` forbids, `FORCE_COLOR` demands; otherwise terminals have colours unless they say that they are dumb. */
function hasColours(isTTY: boolean): boolean {
  const { NO_COLOR, FORCE_COLOR, TERM } = process.env;
  if (NO_COLOR) return false;
  if (FORCE_COLOR !== undefined) return FORCE_COLOR !== "0" && FORCE_COLOR !== "false";
  return isTTY && TERM !== "dumb";
}
