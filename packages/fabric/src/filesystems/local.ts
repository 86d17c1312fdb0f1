// Files on the disks of this machine.
import { readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { CheckpointError, serialization } from "@fabric-ts/torch";
import { lastPart } from "./address.js";
import { type FileInfo, type FileReader, FileSystem, type FileWriter } from "./file-system.js";
import { makeParentFolder } from "./folders.js";

/** The file system of paths without a scheme and of `file://` URLs. */
export class LocalFileSystem extends FileSystem {
  override async stat(path: string): Promise<FileInfo | null> {
    const file = pathOf(path);
    try {
      const found = await stat(file);
      const isFolder = found.isDirectory();
      const size = isFolder ? 0 : found.size;
      return { path: file, name: lastPart(file), isFolder, size, modified: found.mtime };
    } catch (error) {
      if (isMissing(error)) return null;
      throw failed("looked at", file, error);
    }
  }
  override async openRead(path: string): Promise<FileReader> {
    return new serialization.FileSource(pathOf(path));
  }
  override async openWrite(path: string): Promise<FileWriter> {
    const file = pathOf(path);
    makeParentFolder(file);
    return new LocalWriter(file);
  }
  override async list(path: string): Promise<FileInfo[]> {
    const folder = pathOf(path);
    let names: string[];
    try {
      names = await readdir(folder);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
      throw failed("listed", folder, error);
    }
    const found = await Promise.all(names.sort().map((name) => this.stat(join(folder, name))));
    return found.filter((info) => info !== null);
  }
  override async remove(path: string): Promise<void> {
    const file = pathOf(path);
    try {
      await rm(file, { recursive: true, force: true });
    } catch (error) {
      throw failed("removed", file, error);
    }
  }
}

class LocalWriter implements FileWriter {
  readonly #file: serialization.AtomicFile;

  constructor(path: string) {
    this.#file = new serialization.AtomicFile(path);
  }
  async write(bytes: Uint8Array): Promise<void> {
    await this.#file.writeAsync(bytes);
  }
  async commit(): Promise<void> {
    await this.#file.commit();
  }
  async abort(): Promise<void> {
    this.#file.abort();
  }
}

function pathOf(path: string): string {
  return path.startsWith("file://") ? fileURLToPath(path) : path;
}

function isMissing(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === "ENOENT" || code === "ENOTDIR";
}

function failed(what: string, path: string, cause: unknown): CheckpointError {
  const { code = "ERR_CHECKPOINT", message } = cause as NodeJS.ErrnoException;
  return new CheckpointError(`${path} cannot be ${what}: ${message}`, { code, cause });
}
