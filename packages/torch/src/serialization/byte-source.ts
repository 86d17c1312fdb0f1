// Where files are read from: the disk, memory, or an object of the user's. Reads are by position and never short.
import { closeSync, constants, fstatSync, openSync, read, readSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { typeError } from "../check.js";
import { damaged, fileError, foreign } from "./damaged.js";

/** Bytes that can be read by position. `load` takes one in the place of a path. */
export interface ByteSource {
  /** What error texts call it: a path, or "The data". */
  readonly name: string;
  /** All bytes there are. */
  readonly size: number;
  /** The bytes [offset, offset + length), which do exist; valid until the next read. */
  read(offset: number, length: number): Promise<Uint8Array>;
  /** The same while the thread waits; absent where that is not possible. */
  readSync?(offset: number, length: number): Uint8Array;
  /** Called when nothing will be read any more. */
  close?(): void | Promise<void>;
}

/** internal: checks what stands in the place of a path. `hint` shows how the call looks. */
export function checkPath(path: unknown, hint: string): string {
  if (path instanceof URL && path.protocol === "file:") return fileURLToPath(path);
  if (typeof path === "string" && path !== "" && !path.includes("\0")) return path;
  throw typeError("path", "the path of a file", path, hint);
}

/** internal: opens a path or checks a source. */
export function openSource(from: unknown, hint: string): ByteSource {
  return isByteSource(from) ? from : new FileSource(checkPath(from, hint));
}

function isByteSource(value: unknown): value is ByteSource {
  if (typeof value !== "object" || value === null) return false;
  const { name, size, read } = value as Partial<ByteSource>;
  return typeof name === "string" && Number.isSafeInteger(size) && typeof read === "function";
}

/** internal: bytes in memory; reads are views. */
export class MemorySource implements ByteSource {
  readonly name: string;
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array, name = "The data") {
    this.#bytes = bytes;
    this.name = name;
  }

  get size(): number {
    return this.#bytes.length;
  }
  readSync(offset: number, length: number): Uint8Array {
    return this.#bytes.subarray(offset, offset + length);
  }
  async read(offset: number, length: number): Promise<Uint8Array> {
    return this.readSync(offset, length);
  }
}

// One system call reads at most 2 GiB less a page.
const mostPerCall = 1 << 30;

/** An open regular file. Throws a `CheckpointError` when there is none. */
export class FileSource implements ByteSource {
  readonly name: string;
  readonly size: number;
  #fd: number;
  // Kept between reads: fresh memory for each record costs more than reading it. One for each kind of read, as they may overlap.
  #blocking: Buffer = Buffer.alloc(0);
  #waiting: Buffer = Buffer.alloc(0);

  constructor(path: string) {
    this.name = path;
    try {
      // A named pipe is opened at once, to be refused, and not when somebody writes to it.
      this.#fd = openSync(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
    } catch (error) {
      throw fileError("open", path, error);
    }
    try {
      const stat = fstatSync(this.#fd);
      if (stat.isDirectory()) throw Object.assign(new Error("it is a folder"), { code: "EISDIR" });
      if (!stat.isFile()) throw foreign(path, "it is not a regular file.", "Name a file that was written by `save`.");
      this.size = stat.size;
    } catch (error) {
      closeSync(this.#fd);
      throw fileError("read", path, error);
    }
  }

  /** The result is overwritten by the next `readSync`. */
  readSync(offset: number, length: number): Uint8Array {
    if (this.#blocking.length < length) this.#blocking = Buffer.allocUnsafeSlow(length);
    const bytes = this.#blocking.subarray(0, length);
    for (let done = 0; done < length; ) {
      let count: number;
      try {
        count = readSync(this.#fd, bytes, done, Math.min(length - done, mostPerCall), offset + done);
      } catch (error) {
        throw fileError("read", this.name, error);
      }
      if (count === 0) throw damaged(this.name, "it became shorter while it was read.");
      done += count;
    }
    return bytes;
  }

  /** The result is overwritten by the next `read`, which has to wait for this one. */
  async read(offset: number, length: number): Promise<Uint8Array> {
    if (this.#waiting.length < length) this.#waiting = Buffer.allocUnsafeSlow(length);
    const bytes = this.#waiting.subarray(0, length);
    for (let done = 0; done < length; ) {
      const count = await new Promise<number>((resolve, reject) => {
        read(this.#fd, bytes, done, Math.min(length - done, mostPerCall), offset + done, (error, n) => {
          if (error) reject(fileError("read", this.name, error));
          else resolve(n);
        });
      });
      if (count === 0) throw damaged(this.name, "it became shorter while it was read.");
      done += count;
    }
    return bytes;
  }

  /** Closing twice is harmless. */
  close(): void {
    const fd = this.#fd;
    this.#fd = -1;
    if (fd >= 0) closeSync(fd);
  }
}
