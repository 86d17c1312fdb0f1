// Where the output of a job's ranks goes: to the console, to one file for each rank, or to both.
import { closeSync, mkdirSync, openSync } from "node:fs";
import { join } from "node:path";
import { ConfigurationError } from "@fabric-ts/torch/base";
import { type LineSink, OutputWriter, prefixed } from "./output.js";

/** internal: what the user chose. */
export interface OutputOptions {
  /** A folder for files `rank-0.log`, `rank-1.log`, ... to which the output goes instead of the console; they are added to. */
  logDir?: string | undefined;
  /** It goes to the console as well. */
  tee?: boolean | undefined;
  /** On the console each line begins with its rank. */
  prefix?: boolean | undefined;
}

/** internal: the two streams of one rank. */
export interface RankOutput {
  stdout: LineSink;
  stderr: LineSink;
}

/** internal: writes to this process' own output, and to files. Lives as long as the job, whatever the number of its attempts. */
export class JobOutput {
  readonly #options: OutputOptions;
  readonly #stdout = new OutputWriter(1);
  readonly #stderr = new OutputWriter(2);
  readonly #files = new Map<number, { fd: number; writer: OutputWriter }>();

  constructor(options: OutputOptions = {}) {
    this.#options = options;
  }

  /** True when lines go to the console as they come: a rank may then have the terminal itself. */
  get isPlain(): boolean {
    return this.#options.logDir === undefined && !this.#options.prefix;
  }

  /** Makes or opens the files. Throws a `ConfigurationError` when that is not possible. */
  open(ranks: readonly number[]): void {
    const { logDir } = this.#options;
    if (logDir === undefined) return;
    try {
      mkdirSync(logDir, { recursive: true });
      for (const rank of ranks) {
        const path = join(logDir, `rank-${rank}.log`);
        const fd = openSync(path, "a");
        const writer = new OutputWriter(fd, (error) =>
          this.say(`Nothing more is written to ${path}: ${error.message}. The job goes on.\n`),
        );
        this.#files.set(rank, { fd, writer });
      }
    } catch (cause) {
      this.close();
      throw new ConfigurationError(`The log files cannot be made in ${logDir}: ${(cause as Error).message}`, {
        hint: "Give a folder that can be written to.",
        cause,
      });
    }
  }

  /** Where the output of `rank` goes. */
  of(rank: number): RankOutput {
    const { tee, prefix } = this.#options;
    const file = this.#files.get(rank)?.writer;
    const stream = (console: OutputWriter): LineSink => {
      const plain: LineSink = (lines, source) => console.write(lines, source);
      const shown = prefix ? prefixed(`[rank ${rank}] `, plain) : plain;
      if (file === undefined) return shown;
      return (lines, source) => {
        file.write(lines, source);
        if (tee) shown(lines, source);
      };
    };
    return { stdout: stream(this.#stdout), stderr: stream(this.#stderr) };
  }

  /** A line of the launcher's own in the file of a rank; nothing where there is none. */
  note(rank: number, text: string): void {
    this.#files.get(rank)?.writer.write(text);
  }

  /** The launcher's own words, on standard error. */
  say(text: string): void {
    this.#stderr.write(text);
  }

  /** Resolves when everything has been written, or after a while. */
  async drain(): Promise<void> {
    const writers = [this.#stdout, this.#stderr, ...[...this.#files.values()].map(({ writer }) => writer)];
    await Promise.all(writers.map((writer) => writer.drain(1000)));
  }

  /** Gives the files back. */
  close(): void {
    for (const { fd } of this.#files.values()) closeSync(fd);
    this.#files.clear();
  }
}
