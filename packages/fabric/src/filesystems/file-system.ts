// Where files are kept: this machine's disks, web servers, object stores. Five calls, so that others are quickly added.
import { NotSupportedError, type serialization } from "@fabric-ts/torch";
import { className } from "../utilities/describe.js";
import { shownAddress } from "./address.js";

/** What is known of a file or folder. */
export interface FileInfo {
  /** The address, with scheme where the file system has one. */
  readonly path: string;
  /** The last part of the path. */
  readonly name: string;
  readonly isFolder: boolean;
  /** Bytes; 0 for folders. */
  readonly size: number;
  /** Null where it is not known, as for the folders of object stores. */
  readonly modified: Date | null;
}

/** An open file: `read(offset, length)` gives any part of it. */
export interface FileReader extends serialization.ByteSource {
  close(): void | Promise<void>;
}

/** A file that is being written. Nobody sees it before `commit` has resolved; after `abort` nothing of it is left. */
export interface FileWriter {
  /** Appends bytes, which may be reused when the promise resolves. A failure aborts. */
  write(bytes: Uint8Array): Promise<void>;
  /** Puts the file in place, durably, replacing what was there. A failure aborts. */
  commit(): Promise<void>;
  /** Gives up. Harmless after `commit`, and twice. */
  abort(): Promise<void>;
}

/**
 * A place for files, for all paths with a scheme: `registerFileSystem("gs", () => new MyFileSystem())`. Methods get the whole address.
 * Failures are `CheckpointError`s with a `code` as the system has them: `ENOENT` for what is not there, `EACCES` for what is not
 * permitted. Their texts must not show credentials.
 */
export abstract class FileSystem {
  /** A file or folder; null when there is none. */
  abstract stat(path: string): Promise<FileInfo | null>;
  /** Opens a file for reading. */
  abstract openRead(path: string): Promise<FileReader>;
  /** Starts a new file; folders are made where they are needed. */
  openWrite(path: string): Promise<FileWriter> {
    return Promise.reject(cannot(this, "written", path));
  }
  /** What is directly in a folder, by name; nothing when there is none. */
  list(path: string): Promise<FileInfo[]> {
    return Promise.reject(cannot(this, "listed", path));
  }
  /** Removes a file, or a folder with all that is in it. What does not exist is no error. */
  remove(path: string): Promise<void> {
    return Promise.reject(cannot(this, "removed", path));
  }
}

function cannot(fileSystem: FileSystem, what: string, path: string): NotSupportedError {
  return new NotSupportedError(`${shownAddress(path)} cannot be ${what}: ${className(fileSystem)} only reads files.`, {
    hint: "Use a path on this machine or in an object store, such as s3://bucket/last.ckpt.",
  });
}
