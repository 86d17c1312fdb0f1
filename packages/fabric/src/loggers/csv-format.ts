// CSV as RFC 4180 has it: lines end with CRLF, cells with commas, quotes or line breaks are quoted.
import { readSync } from "node:fs";

/** internal: one line. */
export function csvLine(cells: readonly string[]): string {
  return `${cells.map(csvCell).join(",")}\r\n`;
}

function csvCell(text: string): string {
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** internal: the cells of a line, and where in the file it ends. */
export interface CSVRecord {
  cells: string[];
  end: number;
}

const chunkBytes = 1 << 20;

/** internal: the complete records of a file; one without its line end, torn when a process died, is left out. */
export function* readRecords(fd: number): Generator<CSVRecord> {
  let rest = Buffer.alloc(0);
  let offset = 0;
  for (let position = 0; ; ) {
    const chunk = Buffer.allocUnsafe(chunkBytes);
    const count = readSync(fd, chunk, 0, chunkBytes, position);
    if (count === 0) return;
    position += count;
    const bytes = Buffer.concat([rest, chunk.subarray(0, count)]);
    let start = 0;
    for (let end = endOfRecord(bytes, start); end > 0; end = endOfRecord(bytes, start)) {
      yield { cells: cellsOf(bytes.toString("utf8", start, end).replace(/\r?\n$/, "")), end: offset + end };
      start = end;
    }
    rest = bytes.subarray(start);
    offset += start;
  }
}

// Where in a cell a character stands.
const atStart = 0;
const inPlain = 1;
const inQuotes = 2;
const afterQuote = 3;

/** The state behind a character, given as its code; commas and line breaks outside of quotes begin the next cell. */
function nextState(state: number, code: number): number {
  if (state === inQuotes) return code === 0x22 ? afterQuote : inQuotes;
  if (code === 0x2c || code === 0x0a) return atStart;
  // A doubled quote inside of quotes is one; a quote within a plain cell is a character like others.
  return code === 0x22 && state !== inPlain ? inQuotes : inPlain;
}

/** Behind the first line break outside of quotes; 0 where there is none. UTF-8 has these bytes for these characters only. */
function endOfRecord(bytes: Uint8Array, start: number): number {
  let state = atStart;
  for (let i = start; i < bytes.length; i++) {
    const byte = bytes[i] as number;
    if (byte === 0x0a && state !== inQuotes) return i + 1;
    state = nextState(state, byte);
  }
  return 0;
}

function cellsOf(line: string): string[] {
  const cells: string[] = [];
  let cell = "";
  let state = atStart;
  for (let i = 0; i < line.length; i++) {
    const next = nextState(state, line.charCodeAt(i));
    if (next === atStart) {
      cells.push(cell);
      cell = "";
    } else if (next === inPlain || (next === inQuotes && state !== atStart)) {
      cell += line[i];
    }
    state = next;
  }
  return [...cells, cell];
}
