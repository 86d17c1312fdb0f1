// Appending to a file: all of the bytes or none. What a full disk let through of them is cut off again.
import { closeSync, fstatSync, ftruncateSync, openSync, writeSync } from "node:fs";

/** internal: the system calls in use; tests replace them to let one fail. */
export const fileCalls = { open: openSync, write: writeSync };

/**
 * internal: appends to a file, made where there is none, and returns its size. The file is open only meanwhile: nothing leaks when a
 * logger is forgotten, and other machines see the bytes at once. On failure the file is as before.
 */
export function appendWhole(path: string, bytes: Uint8Array): number {
  const fd = fileCalls.open(path, "a");
  try {
    const before = fstatSync(fd).size;
    try {
      writeAll(fd, bytes);
    } catch (error) {
      try {
        ftruncateSync(fd, before);
      } catch {
        // The error before is the one to see.
      }
      throw error;
    }
    return before + bytes.length;
  } finally {
    closeSync(fd);
  }
}

/** internal: writes all bytes; the system may take them in several pieces. */
export function writeAll(fd: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length; ) done += fileCalls.write(fd, bytes, done, bytes.length - done);
}
