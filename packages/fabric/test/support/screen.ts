// What a terminal shows after it was sent some output: enough of one for a live line.

const sequence = new RegExp(`${"\x1b"}\\[[0-9;]*[A-Za-z]|[^]`, "gu");

/** The lines on the screen, without those that are empty at its end. Lines wrap at `columns`. */
export function screenAfter(output: string, columns = 80): string[] {
  const lines = [""];
  let row = 0;
  let column = 0;
  const put = (character: string): void => {
    if (column === columns) newLine(0);
    const line = (lines[row] ?? "").padEnd(column);
    lines[row] = line.slice(0, column) + character + line.slice(column + 1);
    column++;
  };
  const newLine = (at: number): void => {
    row++;
    column = at;
    lines[row] ??= "";
  };
  for (const [part] of output.matchAll(sequence)) {
    if (part === "\r") column = 0;
    else if (part === "\n") newLine(column);
    else if (part === "\x1b[K") lines[row] = (lines[row] ?? "").slice(0, column);
    else if (part.startsWith("\x1b[") && !part.endsWith("m"))
      throw new Error(`unknown sequence ${JSON.stringify(part)}`);
    else if (!part.startsWith("\x1b")) put(part);
  }
  while (lines.at(-1)?.trim() === "") lines.pop();
  return lines.map((line) => line.trimEnd());
}
