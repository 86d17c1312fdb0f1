// Folders of runs: versions by number, `~` and `$NAME` in paths, and making them.
import { mkdirSync, readdirSync, statSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { ConfigurationError } from "@fabric-ts/torch";

/** internal: `~` at the beginning is the home directory, `$NAME` and `${NAME}` are environment variables where they exist. */
export function expandPath(path: string): string {
  const expanded = path.replace(/\$(?:(\w+)|\{([^}]*)\})/g, (whole, name: string, braced: string) => {
    return process.env[name ?? braced] ?? whole;
  });
  return expanded.replace(/^~(?=$|\/)/, () => homedir());
}

/** internal: one more than the highest `version_<number>` among the folders in `parent`; 0 where there is none. */
export function nextVersion(parent: string): number {
  let next = 0;
  for (const name of entriesOf(parent)) {
    const number = Number(/^version_(\d+)$/.exec(name)?.[1] ?? Number.NaN);
    if (number >= next && number < Number.MAX_SAFE_INTEGER && isFolder(join(parent, name))) next = number + 1;
  }
  return next;
}

/** internal: makes a folder and those above it; false where it existed. */
export function makeFolder(path: string): boolean {
  // Not with `recursive`: in Node 20 that never returns where the system refuses new folders with ENOENT, as /proc does.
  try {
    mkdirSync(path);
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EEXIST" && isFolder(path)) return false;
    if (code !== "ENOENT" || dirname(path) === path || isFolder(dirname(path))) throw error;
    makeFolder(dirname(path));
    return makeFolder(path);
  }
}

/** internal: the names in a folder; none where there is no such folder. */
export function entriesOf(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") return [];
    throw new ConfigurationError(`The folder of the logs cannot be read: ${message}`, {
      code,
      hint: "Give the logger another directory.",
      cause,
    });
  }
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}
