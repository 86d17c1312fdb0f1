// internal: the row of a table of vectors that gets no gradient.
import { ConfigurationError } from "../errors.js";

/** internal: a row number counted from the start. */
export function paddingRow(paddingIdx: number, rows: number): number {
  if (!Number.isInteger(paddingIdx) || paddingIdx >= rows || paddingIdx < -rows) {
    throw new ConfigurationError(`\`paddingIdx\` is ${paddingIdx}, but the table has ${rows} rows.`);
  }
  return paddingIdx < 0 ? rows + paddingIdx : paddingIdx;
}
