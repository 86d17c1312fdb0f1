// Metrics and hyper-parameters as lines of JSON, `metrics.jsonl` in the folder of the run.
import { closeSync, openSync, readSync, statSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { setOwn } from "../utilities/apply-to-collection.js";
import { currentRank } from "../utilities/rank-zero.js";
import { appendWhole } from "./append-file.js";
import { FileLogger, type FileLoggerOptions } from "./file-logger.js";
import { convertParams, jsonSerializable } from "./parameters.js";
import { checkSecrets, maskSecrets, type SecretRule } from "./secrets.js";
import { Unsaved } from "./unsaved.js";

const fileName = "metrics.jsonl";
/** Whatever their age, more lines than this do not wait. */
const mostLines = 100;

/** Options of `JSONLinesLogger`. */
export interface JSONLinesLoggerOptions extends FileLoggerOptions {
  /** Which hyper-parameters are masked: an expression for their names, or `false`. Default: those that sound secret. */
  secrets?: RegExp | false | undefined;
}

/**
 * Writes to `rootDir/name/version_<n>/metrics.jsonl`: a line `{"step":3,"time":1750000000.5,"loss":0.5}` for each call, and
 * `{"time":...,"hyperparameters":{...}}`. JSON has no NaN: such numbers are the texts "NaN", "Infinity" and "-Infinity". A file that exists
 * is continued. What is in memory is written after a second at most, and when the process ends.
 */
export class JSONLinesLogger extends FileLogger {
  readonly #secrets: SecretRule;
  readonly #unsaved = new Unsaved(this);
  #path: string | null = null;
  #lines: string[] = [];

  constructor(rootDir: string | URL, options: JSONLinesLoggerOptions = {}) {
    super(rootDir, options, ["secrets"]);
    this.#secrets = checkSecrets("JSONLinesLogger", options.secrets);
  }

  override logMetrics(metrics: Record<string, unknown>, step?: number): void {
    const entry = this.intake.take(metrics, step);
    if (entry === null) return;
    const line = { step: entry.step, time: Date.now() / 1000 };
    for (const [name, value] of Object.entries(entry.metrics)) {
      if (!Object.hasOwn(line, name)) setOwn(line, name, value);
    }
    this.#add(line);
  }

  override logHyperparams(params: unknown): void {
    if (currentRank() !== 0) return;
    this.#add({ time: Date.now() / 1000, hyperparameters: convertParams(maskSecrets(params, this.#secrets)) });
  }

  override save(): void {
    const lines = this.#lines;
    this.#lines = [];
    this.#unsaved.clear();
    const path = this.#path;
    if (lines.length > 0 && path !== null) this.attempt(() => appendWhole(path, Buffer.from(lines.join(""))));
  }

  protected override readonly claim = fileName;
  protected override isOwnFile(name: string): boolean {
    return name === fileName;
  }

  #add(line: object): void {
    if (this.#path === null && !this.#open()) return;
    this.#lines.push(`${JSON.stringify(jsonSerializable(line))}\n`);
    if (this.#lines.length >= mostLines) this.save();
    else this.#unsaved.added();
  }

  #open(): boolean {
    const made = this.makeLogDir();
    if (made === null) return false;
    const path = join(made.folder, fileName);
    if (made.entries.includes(fileName)) cutTornLine(path);
    this.#path = path;
    return true;
  }
}

/** Cuts off what is behind the last line break: a line that was torn when its process died. */
function cutTornLine(path: string): void {
  const block = Buffer.alloc(1 << 16);
  let end = statSync(path).size;
  const fd = openSync(path, "r");
  try {
    for (; end > 0; end -= Math.min(end, block.length)) {
      const start = Math.max(0, end - block.length);
      const count = readSync(fd, block, 0, end - start, start);
      const lineEnd = block.lastIndexOf(0x0a, count - 1);
      if (lineEnd < 0) continue;
      end = start + lineEnd + 1;
      break;
    }
  } finally {
    closeSync(fd);
  }
  if (end < statSync(path).size) truncateSync(path, end);
}
