// The paths of checkpoints on this machine: which ones there can be, the folders they need, files that have to exist.
import { mkdir, rm, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { CheckpointError } from "@fabric-ts/torch";
import { className, describe } from "../utilities/describe.js";
import type { CheckpointIO, CheckpointPath } from "./checkpoint-io.js";

/** internal: a path of the file system for a path or file URL. */
export function filePath(path: CheckpointPath): string {
  if (path instanceof URL && path.protocol === "file:") return fileURLToPath(path);
  if (typeof path === "string" && path.startsWith("file://")) return fileURLToPath(path);
  if (typeof path === "string" && path !== "" && !path.includes("\0")) return path;
  throw new TypeError(
    `Expected a checkpoint's path to be a string or a file URL, but got ${path instanceof URL ? path.href : describe(path)}.\nFor example \`"checkpoints/last.ckpt"\`.`,
  );
}

/** internal: options that mean nothing to a `CheckpointIO` are an error. */
export function refuseStorageOptions(io: CheckpointIO, options: unknown): void {
  if (options === undefined || options === null) return;
  throw new TypeError(
    `\`${className(io)}.saveCheckpoint\` does not support \`storageOptions\`.\nPlease implement your custom \`CheckpointIO\` to make use of them.`,
  );
}

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

/** internal: an error that says so when there is no such file. */
export async function requireFile(file: string): Promise<void> {
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
}

/** internal: removes a file or a folder with all that is in it; one that does not exist is no error. */
export async function removeFile(file: string): Promise<void> {
  try {
    await rm(file, { recursive: true, force: true });
  } catch (cause) {
    const { code = "ERR_CHECKPOINT", message } = cause as NodeJS.ErrnoException;
    throw new CheckpointError(`The checkpoint cannot be removed: ${message}`, { code, cause });
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
