// Files that appear complete or not at all: bytes go to a temporary file beside the target, which is flushed to the disk and
// renamed over it. A crash leaves the old file and at most a temporary one, which the next save to the same target removes.
import fs from "node:fs";
import { hostname } from "node:os";
import { basename, dirname, join } from "node:path";
import { CheckpointError } from "../errors.js";
import { crc32 } from "./crc32.js";
import { fileError } from "./damaged.js";

/** internal: the system calls in use; tests replace them to let one fail. */
export interface FileSystem {
  open(path: string, flags: string, mode: number): number;
  write(fd: number, bytes: Uint8Array, offset: number, length: number): number;
  writeAsync(fd: number, bytes: Uint8Array, offset: number, length: number): Promise<number>;
  fsync(fd: number): void;
  fsyncAsync(fd: number): Promise<void>;
  close(fd: number): void;
  rename(from: string, to: string): void;
  unlink(path: string): void;
  list(folder: string): string[];
}

/** internal: the real system calls. */
export const realFileSystem: FileSystem = {
  open: (path, flags, mode) => fs.openSync(path, flags, mode),
  write: (fd, bytes, offset, length) => fs.writeSync(fd, bytes, offset, length),
  writeAsync: (fd, bytes, offset, length) =>
    new Promise((resolve, reject) =>
      fs.write(fd, bytes, offset, length, null, (error, count) => (error ? reject(error) : resolve(count))),
    ),
  fsync: (fd) => fs.fsyncSync(fd),
  fsyncAsync: (fd) => new Promise((resolve, reject) => fs.fsync(fd, (error) => (error ? reject(error) : resolve()))),
  close: (fd) => fs.closeSync(fd),
  rename: (from, to) => fs.renameSync(from, to),
  unlink: (path) => fs.unlinkSync(path),
  list: (folder) => fs.readdirSync(folder),
};

// Small pieces are joined before they are written.
const bufferBytes = 1 << 16;
// One system call writes at most 2 GiB less a page.
const mostPerCall = 1 << 30;
let counter = 0;

/**
 * A file being written; it replaces `path` on `commit`, durably, and leaves it alone on `abort`.
 *
 *     const file = new serialization.AtomicFile("table.csv");
 *     file.write(Buffer.from("a,b\n"));
 *     await file.commit();
 */
export class AtomicFile {
  /** The file that will be replaced: `path`, or what it links to. */
  readonly target: string;
  /** The file that the bytes go to. */
  readonly temporary: string;
  readonly #path: string;
  readonly #fs: FileSystem;
  readonly #buffer = Buffer.allocUnsafe(bufferBytes);
  #buffered = 0;
  #fd: number;
  #temporaryExists = true;

  /** Opens the temporary file, after removing those that processes left behind that no longer run. */
  constructor(path: string, fileSystem: FileSystem = realFileSystem) {
    this.#path = path;
    this.#fs = fileSystem;
    const { target, mode } = resolveTarget(path);
    this.target = target;
    sweep(target, fileSystem);
    for (;;) {
      const temporary = join(dirname(target), `${prefixOf(target)}${process.pid}-${counter++}`);
      try {
        this.#fd = fileSystem.open(temporary, "wx", 0o666);
      } catch (error) {
        // Left by an earlier process with our number.
        if ((error as NodeJS.ErrnoException).code === "EEXIST") continue;
        throw fileError("write", path, error);
      }
      this.temporary = temporary;
      break;
    }
    if (mode !== null) this.#try(() => fs.fchmodSync(this.#fd, mode));
  }

  /** Appends bytes; they may be reused when it returns. On failure the temporary file is removed. */
  write(bytes: Uint8Array): void {
    if (bytes.length <= bufferBytes - this.#buffered) {
      this.#buffer.set(bytes, this.#buffered);
      this.#buffered += bytes.length;
      return;
    }
    this.#try(() => {
      this.#flush();
      if (bytes.length >= bufferBytes) this.#writeAll(bytes, bytes.length);
      else {
        this.#buffer.set(bytes);
        this.#buffered = bytes.length;
      }
    });
  }

  /** Appends bytes, which must not change meanwhile, without blocking the thread. On failure the temporary file is removed. */
  async writeAsync(bytes: Uint8Array): Promise<void> {
    try {
      this.#flush();
      for (let done = 0; done < bytes.length; ) {
        const count = await this.#fs.writeAsync(this.#fd, bytes, done, Math.min(bytes.length - done, mostPerCall));
        if (count === 0) throw nothingWritten();
        done += count;
      }
    } catch (error) {
      this.abort();
      throw fileError("write", this.#path, error);
    }
  }

  /** Puts the file in place, durably. */
  commitSync(): void {
    this.#try(() => {
      this.#flush();
      this.#fs.fsync(this.#fd);
      this.#putInPlace();
    });
    this.#try(() => this.#withFolder((fd) => this.#fs.fsync(fd)));
  }

  /** The same; waiting for the disk does not block the thread. */
  async commit(): Promise<void> {
    this.#try(() => this.#flush());
    try {
      await this.#fs.fsyncAsync(this.#fd);
    } catch (error) {
      this.abort();
      throw fileError("write", this.#path, error);
    }
    this.#try(() => this.#putInPlace());
    this.#try(() => this.#withFolder((fd) => this.#fs.fsync(fd)));
  }

  /** Gives up: removes the temporary file. Harmless after `commit` and when called twice. */
  abort(): void {
    this.#close(true);
    if (!this.#temporaryExists) return;
    this.#temporaryExists = false;
    try {
      this.#fs.unlink(this.temporary);
    } catch {
      // The next save to this target sweeps it.
    }
  }

  #try(action: () => void): void {
    try {
      action();
    } catch (error) {
      this.abort();
      throw fileError("write", this.#path, error);
    }
  }

  #flush(): void {
    const count = this.#buffered;
    this.#buffered = 0;
    this.#writeAll(this.#buffer, count);
  }
  #writeAll(bytes: Uint8Array, length: number): void {
    for (let done = 0; done < length; ) {
      const count = this.#fs.write(this.#fd, bytes, done, Math.min(length - done, mostPerCall));
      if (count === 0) throw nothingWritten();
      done += count;
    }
  }

  #putInPlace(): void {
    this.#close(false);
    this.#fs.rename(this.temporary, this.target);
    this.#temporaryExists = false;
  }
  #close(quiet: boolean): void {
    const fd = this.#fd;
    if (fd < 0) return;
    this.#fd = -1;
    try {
      this.#fs.close(fd);
    } catch (error) {
      if (!quiet) throw error;
    }
  }

  // The new name is on the disk only when the folder is.
  #withFolder(flush: (fd: number) => void): void {
    const fd = this.#fs.open(dirname(this.target), "r", 0);
    try {
      flush(fd);
    } catch (error) {
      // Some network and user-space file systems cannot do it, which is no fault of this file.
      const code = (error as NodeJS.ErrnoException).code;
      if (code !== "EINVAL" && code !== "ENOTSUP" && code !== "ENOSYS") throw error;
    } finally {
      try {
        this.#fs.close(fd);
      } catch {
        // Nothing was written through it.
      }
    }
  }
}

function nothingWritten(): Error {
  return Object.assign(new Error("the system wrote nothing"), { code: "EIO" });
}

/** Follows links, so that a link stays one; refuses what a rename would destroy. */
function resolveTarget(path: string): { target: string; mode: number | null } {
  if (path.endsWith("/")) throw isFolder(path);
  let stat: fs.Stats;
  let target: string;
  try {
    target = fs.realpathSync(path);
    stat = fs.statSync(target);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return { target: path, mode: null };
    throw fileError("write", path, error);
  }
  if (stat.isDirectory()) throw isFolder(path);
  if (!stat.isFile()) {
    throw new CheckpointError(`Could not write ${path}: it exists and is not a regular file.`, {
      code: "EINVAL",
      hint: "Choose another name.",
    });
  }
  return { target, mode: stat.mode & 0o7777 };
}

function isFolder(path: string): CheckpointError {
  return fileError("write", path, Object.assign(new Error("it is a folder"), { code: "EISDIR" }));
}

let machine: string | undefined;

// Process numbers mean something on one machine and in one container only.
function machineId(): string {
  if (machine === undefined) {
    let namespace = "";
    try {
      namespace = fs.readlinkSync("/proc/self/ns/pid");
    } catch {
      // No such thing on this system.
    }
    machine = hash(`${hostname()} ${namespace}`);
  }
  return machine;
}

/** internal: how the names of a target's temporary files begin; the process number and a counter follow. */
export function prefixOf(target: string): string {
  const name = basename(target);
  // Names have at most 255 bytes, of which the rest of a temporary one takes up to 40.
  const stem = Buffer.byteLength(name) <= 210 ? name : `${[...name].slice(0, 50).join("")}-${hash(name)}`;
  return `.${stem}.tmp-${machineId()}-`;
}

function hash(text: string): string {
  return crc32(Buffer.from(text)).toString(16).padStart(8, "0");
}

// Failing to tidy up is no reason not to save.
function sweep(target: string, fileSystem: FileSystem): void {
  const folder = dirname(target);
  const prefix = prefixOf(target);
  try {
    for (const name of fileSystem.list(folder)) {
      if (!name.startsWith(prefix)) continue;
      const match = /^(\d+)-\d+$/.exec(name.slice(prefix.length));
      if (!match || isAlive(Number(match[1]))) continue;
      try {
        fileSystem.unlink(join(folder, name));
      } catch {
        // Another process may have removed it.
      }
    }
  } catch {
    // Opening the temporary file will tell what is wrong with the folder.
  }
}

function isAlive(pid: number): boolean {
  if (pid === process.pid) return true;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ESRCH";
  }
}
