// A table that grows by rows in a terminal, and by columns when new names come.

/** Columns are no narrower, so that numbers of usual size stay below each other. */
const narrowest = 8;
const gap = "  ";
const longestCell = 24;

/** internal: where a table is printed. */
export interface TableTarget {
  /** Characters in a line; Infinity where nobody knows. */
  width: number;
  hasColours: boolean;
}

/** internal: makes the text of each row, with a line of names before it where they are new. */
export class ConsoleTable {
  #widths = new Map<string, number>();
  #isWide = true;

  /** The lines of a row of cells by column. Where a row does not fit into the width, its cells come one below the other. */
  row(cells: ReadonlyMap<string, string>, { width, hasColours }: TableTarget): string {
    let isChanged = false;
    for (const [name, text] of cells) {
      const needed = Math.max(narrowest, printable(name).length, printable(text).length);
      const known = this.#widths.get(name);
      if (known !== undefined && needed <= known) continue;
      isChanged = true;
      this.#widths.set(name, needed);
    }
    const columns = [...this.#widths];
    const total = columns.reduce((sum, [, columnWidth]) => sum + columnWidth + gap.length, -gap.length);
    const isWide = total <= width;
    if (isWide && !this.#isWide) isChanged = true;
    this.#isWide = isWide;
    if (!isWide) return narrowRow(cells, width);
    const line = columns.map(([name, columnWidth]) => printable(cells.get(name) ?? "").padStart(columnWidth)).join(gap);
    const row = `${line.trimEnd()}\n`;
    if (!isChanged) return row;
    const head = columns.map(([name, columnWidth]) => printable(name).padStart(columnWidth)).join(gap);
    return `${hasColours ? `\u001b[1m${head}\u001b[22m` : head}\n${row}`;
  }
}

function narrowRow(cells: ReadonlyMap<string, string>, width: number): string {
  return [...cells]
    .filter(([, text]) => text !== "")
    .map(([name, text], i) => `${i === 0 ? "" : gap}${printable(name)} ${printable(text)}`.slice(0, width))
    .join("\n")
    .concat("\n");
}

/** internal: a value as a cell: numbers with four digits behind the point, or in powers of ten where that says little. */
export function cellText(value: unknown): string {
  if (value === null || value === undefined) return "";
  if (typeof value !== "number" || Number.isInteger(value) || !Number.isFinite(value)) return String(value);
  const size = Math.abs(value);
  return size >= 1e-3 && size < 1e6 ? value.toFixed(4) : value.toExponential(3);
}

/** internal: on one line, without what moves the cursor, and not too long. */
export function printable(text: string, longest = longestCell): string {
  const line = text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, "?");
  return line.length > longest ? `${line.slice(0, longest - 3)}...` : line;
}
