// The checkpoint to resume from: computed from the files of a folder, so that it cannot point to what is not there.
import { CheckpointError, NotSupportedError } from "@fabric-ts/torch";
import { AsyncCheckpointIO } from "../checkpoint/async-checkpoint-io.js";
import type { CheckpointIO, CheckpointPath } from "../checkpoint/checkpoint-io.js";
import { TorchCheckpointIO } from "../checkpoint/torch-checkpoint-io.js";
import { schemeOf, shownAddress } from "../filesystems/address.js";
import type { FileInfo, FileSystem } from "../filesystems/file-system.js";
import { fileSystemOf, hasFileSystem } from "../filesystems/registry.js";
import { rankZeroWarn } from "../utilities/rank-zero.js";
import { checkpointExtension } from "./checkpoint-name.js";

/** internal: the newest checkpoint of a folder that can be read whole, or null when the folder has none or does not exist. */
export async function latestCheckpoint(dirpath: CheckpointPath, io: CheckpointIO): Promise<string | null> {
  const shown = shownAddress(String(dirpath));
  const fileSystem = fileSystemFor(dirpath, io);
  if (fileSystem === null) {
    throw new NotSupportedError(
      `The checkpoints of ${shown} cannot be listed: no file system is registered for them.`,
      {
        hint: "Remember the name of the last checkpoint yourself, and load that; or see `registerFileSystem`.",
      },
    );
  }
  const found = await newestFirst(fileSystem, dirpath);
  let fault: unknown;
  for (const path of found) {
    try {
      await io.loadCheckpoint(path);
      return path;
    } catch (error) {
      fault ??= error;
      rankZeroWarn(
        `Leaving out the checkpoint ${shownAddress(path)}, which cannot be read: ${(error as Error).message}`,
      );
    }
  }
  if (found.length === 0) return null;
  throw new CheckpointError(`None of the ${found.length} checkpoints in ${shown} can be read.`, {
    hint: "Move them away to start anew.",
    cause: fault,
  });
}

/** internal: the file system that checkpoints of a path are in, null where only the `CheckpointIO` knows what there is. */
export function fileSystemFor(path: CheckpointPath, io: CheckpointIO): FileSystem | null {
  const scheme = schemeOf(String(path)) ?? "file";
  return scheme === "file" || (hasFileSystem(scheme) && usesFileSystems(io)) ? fileSystemOf(path).fileSystem : null;
}

function usesFileSystems(io: CheckpointIO): boolean {
  return io instanceof TorchCheckpointIO || (io instanceof AsyncCheckpointIO && usesFileSystems(io.checkpointIO));
}

async function newestFirst(fileSystem: FileSystem, folder: CheckpointPath): Promise<string[]> {
  const found = await fileSystem.list(String(folder));
  // Files that are being written, or were when their process died, begin with a dot.
  return found
    .filter(({ name, isFolder }) => !isFolder && name.endsWith(checkpointExtension) && !name.startsWith("."))
    .sort((a, b) => timeOf(b) - timeOf(a) || b.path.localeCompare(a.path, "en", { numeric: true }))
    .map(({ path }) => path);
}

function timeOf({ modified }: FileInfo): number {
  return modified?.getTime() ?? 0;
}
