// Folders for new files.
import { existsSync, mkdirSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { CheckpointError } from "@fabric-ts/torch";

/** internal: makes the folder of a file, and those above it, at once: what is to be written must not change in the meantime. */
export function makeParentFolder(file: string): void {
  try {
    makeFolder(dirname(file));
  } catch (cause) {
    const { code = "ERR_CHECKPOINT", message } = cause as NodeJS.ErrnoException;
    throw new CheckpointError(`The folder for the checkpoint cannot be made: ${message}`, {
      code,
      hint: "Save to another path.",
      cause,
    });
  }
}

// Not with `recursive`: in Node 20 that never returns where the system refuses new folders with ENOENT, as /proc does.
function makeFolder(path: string): void {
  try {
    mkdirSync(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EEXIST") {
      if (statSync(path).isDirectory()) return;
      throw Object.assign(new Error(`ENOTDIR: ${path} is a file`), { code: "ENOTDIR" });
    }
    if (code !== "ENOENT" || dirname(path) === path || existsSync(dirname(path))) throw error;
    makeFolder(dirname(path));
    makeFolder(path);
  }
}
