// A folder of its own for each test file, removed afterwards, and the rank of this process as a test wants it.
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { setCurrentRank } from "../../../dist/utilities/rank-zero.js";

const root = mkdtempSync(join(tmpdir(), "fabric-loggers-"));
let count = 0;
after(() => rmSync(root, { recursive: true, force: true }));

/** An empty folder. */
export function temporaryFolder(): string {
  return mkdtempSync(join(root, `${count++}-`));
}

/** All files below a folder, by path in it. */
export function filesIn(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true, encoding: "utf8" })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name).slice(folder.length + 1))
    .sort();
}

/** Runs `fn` as if this process had another rank. */
export async function onRank(rank: number, fn: () => unknown): Promise<void> {
  setCurrentRank(rank);
  try {
    await fn();
  } finally {
    setCurrentRank(0);
  }
}
