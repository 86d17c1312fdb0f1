// What a progress bar says: how far, how fast, how long still, and the metrics, in as many columns as there are.
import { Tensor } from "@fabric-ts/torch";
import type { Metrics } from "./hooks.js";

/** internal: how far something is. */
export interface Progress {
  label: string;
  done: number;
  /** Null where it is not known. */
  total: number | null;
  /** How many of `done` were counted in `seconds`: fewer in a run that was resumed. */
  counted: number;
  seconds: number;
  isOver: boolean;
  metrics: readonly (readonly [string, string])[];
}

// Few widths, so that the bar does not jump when a number gets another digit.
const barWidths = [30, 20, 10];

/** internal: a line of text without a bar. */
export function plainText(progress: Progress): string {
  return [progress.label, ...factsOf(progress)].join("  ");
}

/** internal: a line of at most `columns` columns, with a bar where there is room. */
export function liveText(progress: Progress, columns: number, isColoured: boolean): string {
  const { label, done, total } = progress;
  const text = plainText(progress);
  const width = barWidths.find((candidate) => candidate <= columns - widthOf(text) - 2);
  if (total === null || width === undefined) return cut(text, columns);
  const filled = total === 0 ? width : Math.min(width, Math.floor((width * done) / total));
  const full = "#".repeat(filled);
  const bar = `${isColoured ? `\x1b[32m${full}\x1b[39m` : full}${".".repeat(width - filled)}`;
  return [label, bar, ...factsOf(progress)].join("  ");
}

/** internal: metrics as they are shown. What is no number, text or tensor with one element is left out. */
export function shownMetrics(metrics: Metrics): [string, string][] {
  const shown: [string, string][] = [];
  for (const [name, given] of Object.entries(metrics)) {
    const value: unknown = given instanceof Tensor && given.numel() === 1 ? given.item() : given;
    if (typeof value === "number") shown.push([printable(name), shortNumber(value)]);
    else if (typeof value === "string" || typeof value === "bigint")
      shown.push([printable(name), printable(String(value))]);
  }
  return shown;
}

function factsOf({ done, total, counted, seconds, isOver, metrics }: Progress): string[] {
  const facts = [total === null ? String(done) : `${done}/${total}`];
  const rate = counted / seconds;
  if (counted > 0 && seconds > 0) {
    facts.push(rate >= 1 ? `${rate.toPrecision(rate >= 1000 ? 4 : 3)} it/s` : `${(1 / rate).toPrecision(3)} s/it`);
    if (isOver) facts.push(`in ${duration(seconds)}`);
    else if (total !== null) facts.push(`eta ${duration(Math.max(0, total - done) / rate)}`);
  }
  return [...facts, ...metrics.map(([name, value]) => `${name} ${value}`)];
}

function shortNumber(value: number): string {
  if (Number.isInteger(value) || !Number.isFinite(value)) return String(value);
  const size = Math.abs(value);
  return size >= 1e-3 && size < 1e5 ? value.toFixed(4) : value.toExponential(2);
}

/** `0:07`, `1:02:03`. */
function duration(seconds: number): string {
  const whole = Math.round(seconds);
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const tail = String(s).padStart(2, "0");
  return h > 0 ? `${h}:${String(m).padStart(2, "0")}:${tail}` : `${m}:${tail}`;
}

/** Names come from anywhere; control characters would move the cursor. */
function printable(text: string): string {
  return text.replace(/\p{C}/gu, "?");
}

function widthOf(text: string): number {
  let width = 0;
  for (const character of text) width += columnsOf(character);
  return width;
}

/** East Asian characters and emoji take two columns. */
function columnsOf(character: string): number {
  return (character.codePointAt(0) as number) < 0x1100 ? 1 : 2;
}

function cut(text: string, columns: number): string {
  let width = 0;
  let end = 0;
  for (const character of text) {
    width += columnsOf(character);
    if (width > columns) break;
    end += character.length;
  }
  return text.slice(0, end);
}
