// A CSV file that grows in rows and in columns. The file itself says which columns it has: others may write to it, too.
import { closeSync, fsyncSync, openSync, renameSync, statSync, truncateSync, unlinkSync } from "node:fs";
import { ConfigurationError } from "@fabric-ts/torch";
import { appendWhole, fileCalls, writeAll } from "./append-file.js";
import { csvLine, readRecords } from "./csv-format.js";

/** A line that was torn when its process died is short; much more than that is no CSV. */
const mostTorn = 1 << 20;

/** internal: the cells of a row by column. */
export type Row = ReadonlyMap<string, string>;

/** internal: a file of rows under a line with the names of the columns, in alphabetical order. */
export class CSVFile {
  readonly path: string;
  #columns: string[] = [];
  #size = -1;
  #rows = 0;

  constructor(path: string) {
    this.path = path;
  }

  /** Number of complete rows. A last line without its end was torn when a process died: it is cut off. */
  readRows(): number {
    this.#look();
    return this.#rows;
  }

  /** Appends rows. For columns that the file does not have it is written anew, beside itself, and replaced at once. */
  append(rows: readonly Row[]): void {
    this.#look();
    const columns = new Set([...this.#columns, ...rows.flatMap((row) => [...row.keys()])]);
    if (this.#size > 0 && columns.size > this.#columns.length) {
      this.#rewrite([...columns].sort(), rows);
    } else {
      const header = this.#size > 0 ? "" : csvLine([...columns].sort());
      if (this.#size === 0) this.#columns = [...columns].sort();
      this.#size = appendWhole(this.path, Buffer.from(header + linesOf(rows, this.#columns)));
    }
    this.#rows += rows.length;
  }

  #look(): void {
    const size = statSync(this.path, { throwIfNoEntry: false })?.size ?? 0;
    if (size === this.#size) return;
    this.#columns = [];
    this.#rows = 0;
    this.#size = 0;
    if (size === 0) return;
    const fd = openSync(this.path, "r");
    try {
      for (const { cells, end } of readRecords(fd)) {
        if (this.#size === 0) this.#columns = cells;
        else this.#rows++;
        this.#size = end;
      }
    } finally {
      closeSync(fd);
    }
    if (size - this.#size > mostTorn) {
      this.#size = -1;
      throw new ConfigurationError(`${this.path} is no CSV file that can be continued: it ends in an open quotation.`, {
        hint: "Repair it, or let the logger write to another version.",
      });
    }
    if (size > this.#size) truncateSync(this.path, this.#size);
  }

  #rewrite(columns: string[], rows: readonly Row[]): void {
    const temporary = `${this.path}.${process.pid}.tmp`;
    const from = openSync(this.path, "r");
    try {
      const to = fileCalls.open(temporary, "w");
      let size = 0;
      try {
        const write = (text: string): void => {
          const bytes = Buffer.from(text);
          writeAll(to, bytes);
          size += bytes.length;
        };
        let text = csvLine(columns);
        let isHeader = true;
        for (const { cells } of readRecords(from)) {
          if (!isHeader) text += csvLine(reordered(cells, this.#columns, columns));
          isHeader = false;
          if (text.length < 1 << 16) continue;
          write(text);
          text = "";
        }
        write(text + linesOf(rows, columns));
        fsyncSync(to);
      } finally {
        closeSync(to);
      }
      renameSync(temporary, this.path);
      this.#columns = columns;
      this.#size = size;
    } catch (error) {
      tryToUnlink(temporary);
      throw error;
    } finally {
      closeSync(from);
    }
  }
}

function linesOf(rows: readonly Row[], columns: readonly string[]): string {
  return rows.map((row) => csvLine(columns.map((name) => row.get(name) ?? ""))).join("");
}

function reordered(cells: readonly string[], from: readonly string[], to: readonly string[]): string[] {
  const row = new Map(from.map((name, i) => [name, cells[i] ?? ""]));
  return to.map((name) => row.get(name) ?? "");
}

function tryToUnlink(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // It was not made, or the disk refuses this, too: the error before is the one to see.
  }
}
