// Where an archive is read from: a file or memory. Reads are by position and never short.
import { close, closeSync, fstatSync, openSync, read, readSync } from "node:fs";
import { damaged, fileError, foreign } from "./damaged.js";

/** internal: bytes that can be read by position. */
export interface ByteSource {
  /** What error texts call it: a path, or "The data". */
  readonly name: string;
  /** All bytes there are. */
  readonly size: number;
  /** The bytes [offset, offset + length), which the caller has checked to exist. */
  readSync(offset: number, length: number): Uint8Array;
  /** The same without blocking the thread. */
  read(offset: number, length: number): Promise<Uint8Array>;
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

/** internal: an open regular file. */
export class FileSource implements ByteSource {
  readonly name: string;
  readonly size: number;
  readonly #fd: number;
  // Kept between reads: fresh memory for each record costs more than reading it.
  #scratch: Buffer = Buffer.alloc(0);

  constructor(path: string) {
    this.name = path;
    try {
      this.#fd = openSync(path, "r");
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

  /** The result is overwritten by the next read. */
  readSync(offset: number, length: number): Uint8Array {
    const bytes = this.#room(length);
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

  /** The result is overwritten by the next read. */
  async read(offset: number, length: number): Promise<Uint8Array> {
    const bytes = this.#room(length);
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

  closeSync(): void {
    closeSync(this.#fd);
  }
  close(): Promise<void> {
    return new Promise((resolve) => close(this.#fd, () => resolve()));
  }

  #room(length: number): Buffer {
    if (this.#scratch.length < length) this.#scratch = Buffer.allocUnsafeSlow(length);
    return this.#scratch.subarray(0, length);
  }
}
