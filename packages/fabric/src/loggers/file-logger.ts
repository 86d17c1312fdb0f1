// What loggers that write files share: the folder of a run, and what happens when it cannot be written.
import { closeSync, openSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { ConfigurationError } from "@fabric-ts/torch";
import { checkOptions, className, describe } from "../utilities/describe.js";
import { entriesOf, expandPath, makeFolder, nextVersion } from "./folders.js";
import { Logger } from "./logger.js";
import { MetricIntake, type MetricOptions } from "./metrics.js";
import { warnNow } from "./unsaved.js";

/** Options of all loggers that write files. */
export interface FileLoggerOptions extends MetricOptions {
  /** Name of the experiment, a folder in the root directory. Default `"lightning_logs"`; empty: no such folder. */
  name?: string | null | undefined;
  /** Version of the experiment: a number n is the folder `version_<n>`, a text itself. Default: the next free number. */
  version?: number | string | null | undefined;
}

// Folders that loggers of this process made: what is in them is not from an earlier run.
const madeHere = new Set<string>();

/** internal: base of `CSVLogger`, `TensorBoardLogger` and `JSONLinesLogger`. */
export abstract class FileLogger extends Logger {
  readonly #rootDir: string;
  readonly #name: string;
  readonly #isAutomatic: boolean;
  #version: number | string | null;
  #hasWarned = false;
  /** internal: what `logMetrics` begins with. */
  protected readonly intake: MetricIntake;

  constructor(rootDir: string | URL, options: FileLoggerOptions, ownOptions: readonly string[]) {
    super();
    const what = new.target.name;
    this.#rootDir = checkRootDir(what, rootDir);
    checkOptions(what, options, ["name", "version", "prefix", "every", ...ownOptions]);
    const { name = "lightning_logs", version = null } = options;
    if (name !== null && (typeof name !== "string" || name.includes("\0")))
      throw new TypeError(`Expected \`name\` of ${what} to be a string, but got ${describe(name)}.`);
    this.#name = name ?? "";
    this.#version = checkVersion(what, version);
    this.#isAutomatic = this.#version === null;
    this.intake = new MetricIntake(what, options);
  }

  /** The directory of all experiments, as it was given. */
  override get rootDir(): string {
    return this.#rootDir;
  }
  /** Name of the experiment; empty where there is none. */
  override get name(): string {
    return this.#name;
  }
  /** Version of the experiment. The next free number is looked up once, when it is first needed. */
  override get version(): number | string {
    this.#version ??= this.#nextVersion();
    return this.#version;
  }
  /** The directory of this version, with `~` and environment variables replaced. */
  override get logDir(): string {
    const folder = typeof this.version === "number" ? `version_${this.version}` : this.version;
    return expandPath(join(this.#rootDir, this.#name, folder, this.subFolder));
  }
  /** internal: a folder in that of the version. */
  protected get subFolder(): string {
    return "";
  }
  /** internal: whether a file in a run's folder is of the kind that this logger writes. */
  protected abstract isOwnFile(name: string): boolean;
  /** internal: the file by which this logger makes a new version its own; null where its files have names of their own. */
  protected readonly claim: string | null = null;

  /** internal: takes over rank zero's number on another rank. */
  adoptVersion(version: number | string): void {
    if (this.#isAutomatic) this.#version = version;
  }

  /**
   * internal: makes the folder of the run, and says what was in it from before. Null where the disk is full. Where another run has taken
   * the number in the meantime, it is the next one.
   */
  protected makeLogDir(): { folder: string; entries: string[] } | null {
    const wasTold = this.#version !== null;
    for (;;) {
      const folder = resolve(this.logDir);
      let isNew: boolean;
      try {
        isNew = makeFolder(folder);
      } catch (error) {
        return this.#cannotMake(error as NodeJS.ErrnoException);
      }
      if (isNew) madeHere.add(folder);
      const all = isNew ? [] : entriesOf(folder);
      const own = all.filter((name) => this.isOwnFile(name));
      const isTaken = this.#isAutomatic && ((!isNew && !wasTold) || own.length > 0 || !this.#claim(folder));
      if (!isTaken) return { folder, entries: madeHere.has(folder) ? own : all };
      this.#version = Math.max(Number(this.#version) + 1, this.#nextVersion());
      if (wasTold) {
        warnNow(`Another logger has begun to write to ${folder} in the meantime: this one writes to ${this.logDir}.`);
      }
    }
  }

  /** internal: writes; where that fails, what was to be written is lost: one warning, and training goes on. */
  protected attempt(write: () => void): boolean {
    try {
      write();
      return true;
    } catch (error) {
      if (!this.#hasWarned) {
        this.#hasWarned = true;
        warnNow(
          `${className(this)} cannot write to ${this.logDir}: ${(error as Error).message}. What it could not write is lost. Training goes on; what comes later is tried again.`,
        );
      }
      return false;
    }
  }

  /** False where another run was faster. */
  #claim(folder: string): boolean {
    if (this.claim === null) return true;
    try {
      closeSync(openSync(join(folder, this.claim), "wx"));
    } catch (error) {
      // Any other trouble with the file comes up when it is written.
      return (error as NodeJS.ErrnoException).code !== "EEXIST";
    }
    return true;
  }

  #cannotMake(cause: NodeJS.ErrnoException): null {
    const { code, message } = cause;
    if (code === "ENOSPC" || code === "EDQUOT") {
      this.attempt(() => {
        throw cause;
      });
      return null;
    }
    throw new ConfigurationError(`${className(this)} cannot make its folder: ${message}`, {
      code,
      hint: "Give it a directory that can be written.",
      cause,
    });
  }

  #nextVersion(): number {
    return nextVersion(expandPath(join(this.#rootDir, this.#name)));
  }
}

function checkRootDir(what: string, rootDir: unknown): string {
  if (rootDir instanceof URL && rootDir.protocol === "file:") return fileURLToPath(rootDir);
  if (typeof rootDir === "string" && rootDir !== "" && !rootDir.includes("\0")) return rootDir;
  const example = `new ${what}("logs", { name: "my_experiment" })`;
  throw new TypeError(
    `Expected the directory of ${what} to be a path, but got ${rootDir instanceof URL ? rootDir.href : describe(rootDir)}.\nIt comes first, options by name after it: \`${example}\`.`,
  );
}

function checkVersion(what: string, version: unknown): number | string | null {
  if (version === null || (typeof version === "string" && version !== "" && !version.includes("\0"))) return version;
  if (typeof version === "number" && Number.isSafeInteger(version) && version >= 0) return version;
  throw new TypeError(
    `Expected \`version\` of ${what} to be a number or a text, but got ${describe(version)}.\nFor example \`version: 3\` or \`version: "baseline"\`; left out it is the next free number.`,
  );
}
