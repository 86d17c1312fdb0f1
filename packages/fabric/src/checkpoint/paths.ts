// The paths of checkpoints: which ones there can be, and files that have to exist.
import { fileURLToPath } from "node:url";
import { CheckpointError } from "@fabric-ts/torch";
import { schemeOf, shownAddress } from "../filesystems/address.js";
import type { FileReader } from "../filesystems/file-system.js";
import { LocalFileSystem } from "../filesystems/local.js";
import { fileSystemOf } from "../filesystems/registry.js";
import { className, describe } from "../utilities/describe.js";
import type { CheckpointIO, CheckpointPath } from "./checkpoint-io.js";

export { makeParentFolder } from "../filesystems/folders.js";

/** internal: a path of the file system for a path or file URL. */
export function filePath(path: CheckpointPath): string {
  if (path instanceof URL && path.protocol === "file:") return fileURLToPath(path);
  if (typeof path === "string" && path.startsWith("file://")) return fileURLToPath(path);
  if (typeof path === "string" && path !== "" && !path.includes("\0")) return path;
  throw new TypeError(
    `Expected a checkpoint's path to be a string or a file URL, but got ${path instanceof URL ? shownAddress(path.href) : describe(path)}.\nFor example \`"checkpoints/last.ckpt"\`.`,
  );
}

/** internal: options that mean nothing to a `CheckpointIO` are an error. */
export function refuseStorageOptions(io: CheckpointIO, options: unknown): void {
  if (options === undefined || options === null) return;
  throw new TypeError(
    `\`${className(io)}.saveCheckpoint\` does not support \`storageOptions\`.\nPlease implement your custom \`CheckpointIO\` to make use of them.`,
  );
}

/** internal: the path of a file on this machine, null for one that is elsewhere. */
export function localFile(path: CheckpointPath): string | null {
  const scheme = schemeOf(String(path)) ?? "file";
  // One of the user's in its place may want to see what is written.
  return fileSystemOf(path).fileSystem.constructor === LocalFileSystem && scheme === "file" ? filePath(path) : null;
}

/** internal: opens a checkpoint for reading. */
export async function openFile(path: CheckpointPath): Promise<FileReader> {
  const { fileSystem, path: address } = fileSystemOf(path);
  const file = localFile(path);
  if (file === null) return await fileSystem.openRead(address);
  try {
    return await fileSystem.openRead(file);
  } catch (error) {
    if ((error as { code?: string }).code !== "ENOENT") throw error;
    throw new CheckpointError(`Checkpoint file not found: ${file}`, {
      code: "ENOENT",
      hint: "Check the path; relative ones start at the working directory.",
      cause: error,
    });
  }
}
