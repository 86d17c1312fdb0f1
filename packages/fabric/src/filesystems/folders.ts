// Folders for new files.
import { mkdir, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { CheckpointError } from "@fabric-ts/torch";

/** internal: makes the folder of a file, and those above it. */
export async function makeParentFolder(file: string): Promise<void> {
  try {
    await makeFolder(dirname(file));
  } catch (cause) {
    const { code = "ERR_CHECKPOINT", message } = cause as NodeJS.ErrnoException;
    throw new CheckpointError(`The folder for the checkpoint cannot be made: ${message}`, {
      code,
      hint: "Save to another path.",
      cause,
    });
  }
}

// Not `mkdir` with `recursive`: in Node 20 that never returns where the system refuses new folders with ENOENT, as /proc does.
async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EEXIST") {
      if ((await stat(path)).isDirectory()) return;
      throw Object.assign(new Error(`ENOTDIR: ${path} is a file`), { code: "ENOTDIR" });
    }
    if (code !== "ENOENT" || dirname(path) === path || (await exists(dirname(path)))) throw error;
    await makeFolder(dirname(path));
    await makeFolder(path);
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
