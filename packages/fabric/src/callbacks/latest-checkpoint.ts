// The checkpoint to resume from: computed from the files of a folder, so that it cannot point to what is not there.
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { CheckpointError, NotSupportedError } from "@fabric-ts/torch";
import type { CheckpointIO, CheckpointPath } from "../checkpoint/checkpoint-io.js";
import { filePath } from "../checkpoint/paths.js";
import { rankZeroWarn } from "../utilities/rank-zero.js";
import { checkpointExtension } from "./checkpoint-name.js";

/** internal: the newest checkpoint of a folder that can be read whole, or null when the folder has none or does not exist. */
export async function latestCheckpoint(dirpath: CheckpointPath, io: CheckpointIO): Promise<string | null> {
  if (!isLocal(dirpath)) {
    throw new NotSupportedError(`The checkpoints of ${String(dirpath)} cannot be listed: it is no local folder.`, {
      hint: "Remember the name of the last checkpoint yourself, and load that.",
    });
  }
  const found = await newestFirst(filePath(dirpath));
  let fault: unknown;
  for (const path of found) {
    try {
      await io.loadCheckpoint(path);
      return path;
    } catch (error) {
      fault ??= error;
      rankZeroWarn(`Leaving out the checkpoint ${path}, which cannot be read: ${(error as Error).message}`);
    }
  }
  if (found.length === 0) return null;
  throw new CheckpointError(`None of the ${found.length} checkpoints in ${String(dirpath)} can be read.`, {
    hint: "Move them away to start anew.",
    cause: fault,
  });
}

/** internal: false for addresses of another kind than `file:`. */
export function isLocal(path: CheckpointPath): boolean {
  return !/^[a-z][a-z0-9+.-]+:\/\//i.test(String(path)) || String(path).startsWith("file://");
}

async function newestFirst(folder: string): Promise<string[]> {
  let names: string[];
  try {
    names = await readdir(folder);
  } catch (cause) {
    const { code = "ERR_CHECKPOINT", message } = cause as NodeJS.ErrnoException;
    if (code === "ENOENT") return [];
    throw new CheckpointError(`The folder of checkpoints cannot be listed: ${message}`, { code, cause });
  }
  // Files that are being written, or were when their process died, begin with a dot.
  const paths = names
    .filter((name) => name.endsWith(checkpointExtension) && !name.startsWith("."))
    .map((name) => join(folder, name));
  const dated = await Promise.all(
    paths.map(async (path) => ({ path, time: (await stat(path).catch(() => null))?.mtimeMs })),
  );
  return dated
    .filter(({ time }) => time !== undefined)
    .sort((a, b) => (b.time as number) - (a.time as number) || b.path.localeCompare(a.path, "en", { numeric: true }))
    .map(({ path }) => path);
}
