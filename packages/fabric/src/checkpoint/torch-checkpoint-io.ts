// One file in the format of Python's torch.save.
import { mkdir, rm, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import * as torch from "@fabric-ts/torch";
import { CheckpointError } from "@fabric-ts/torch";
import { describe } from "../utilities/describe.js";
import { CheckpointIO, type CheckpointPath } from "./checkpoint-io.js";

/** Stores a checkpoint as one file that Python's `torch.load` reads. Parent directories are made; the file appears complete or not at all. */
export class TorchCheckpointIO extends CheckpointIO {
  override async saveCheckpoint(
    checkpoint: Record<string, unknown>,
    path: CheckpointPath,
    storageOptions?: unknown,
  ): Promise<void> {
    if (storageOptions !== undefined && storageOptions !== null) {
      throw new TypeError(
        "`TorchCheckpointIO.saveCheckpoint` does not support `storageOptions`.\nPlease implement your custom `CheckpointIO` to make use of them.",
      );
    }
    const file = filePath(path);
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
    await torch.save(checkpoint, file);
  }

  override async loadCheckpoint(path: CheckpointPath): Promise<unknown> {
    const file = filePath(path);
    try {
      await stat(file);
    } catch (cause) {
      const { code } = cause as { code?: string };
      if (code !== "ENOENT")
        throw new CheckpointError(`Checkpoint file cannot be read: ${file}`, { code: code ?? "ERR_CHECKPOINT", cause });
      throw new CheckpointError(`Checkpoint file not found: ${file}`, {
        code,
        hint: "Check the path; relative ones start at the working directory.",
        cause,
      });
    }
    return torch.load(file);
  }

  override async removeCheckpoint(path: CheckpointPath): Promise<void> {
    await rm(filePath(path), { recursive: true, force: true });
  }
}

// Not `mkdir` with `recursive`: in Node 20 that never returns where the system refuses new folders with ENOENT, as /proc does.
async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EEXIST" && (await stat(path)).isDirectory()) return;
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

/** internal: a path of the file system for a path or file URL. */
export function filePath(path: CheckpointPath): string {
  if (typeof path === "string" && path !== "") return path;
  if (path instanceof URL && path.protocol === "file:") return fileURLToPath(path);
  throw new TypeError(
    `Expected a checkpoint's path to be a string or a file URL, but got ${path instanceof URL ? path.href : describe(path)}.\nFor example \`"checkpoints/last.ckpt"\`.`,
  );
}
