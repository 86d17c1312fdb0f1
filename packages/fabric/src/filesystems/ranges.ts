// Reading a remote file range by range: ahead of what is asked for, large ranges in parts at once, and again what broke off.
import { setTimeout as delay } from "node:timers/promises";
import { CheckpointError } from "@fabric-ts/torch";
import type { FileReader } from "./file-system.js";

/** internal: fetches the bytes [start, end); throws `BrokenOff` for what may work when it is tried again. */
export type FetchRange = (start: number, end: number) => Promise<Uint8Array>;

/** internal: a failure that may be over soon. */
export class BrokenOff extends Error {}

const attempts = 4;
const firstDelay = 100;
/** internal: how much is read at least: small records lie one after another, and come in one answer. */
export const aheadBytes = 1 << 20;
// Large ones come in parts, some at once.
const partBytes = 8 << 20;
const partsAtOnce = 4;

/** internal: does something that may break off, up to four times with growing pauses. `what` begins the error's sentence. */
export async function persistently<T>(what: string, action: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await action();
    } catch (error) {
      if (!(error instanceof BrokenOff)) throw error;
      if (attempt === attempts) {
        throw new CheckpointError(`${what} failed ${attempts} times, at last because ${error.message}.`, {
          code: "EIO",
          hint: "Check the connection and the server, and try again.",
        });
      }
      await delay(firstDelay * 2 ** (attempt - 1));
    }
  }
}

interface Window {
  readonly start: number;
  readonly bytes: Uint8Array;
}

/** internal: a file of which ranges can be fetched. */
export class RangeReader implements FileReader {
  readonly name: string;
  readonly size: number;
  readonly #fetch: FetchRange;
  // What was fetched last, and the beginning, to which readers return when they have seen the end.
  readonly #beginning: Window;
  #last: Window;

  constructor(name: string, size: number, beginning: Uint8Array, fetch: FetchRange) {
    this.name = name;
    this.size = size;
    this.#fetch = fetch;
    this.#beginning = { start: 0, bytes: beginning };
    this.#last = this.#beginning;
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    for (const { start, bytes } of [this.#last, this.#beginning]) {
      const at = offset - start;
      if (at >= 0 && at + length <= bytes.length) return bytes.subarray(at, at + length);
    }
    // Readers come to the end first, and go on in front of it.
    const start = Math.min(offset, Math.max(0, this.size - aheadBytes));
    const end = Math.min(this.size, offset + Math.max(length, aheadBytes));
    const fetched = await this.#fetchAll(start, end);
    this.#last = { start, bytes: fetched };
    return fetched.subarray(offset - start, offset - start + length);
  }
  close(): void {
    this.#last = this.#beginning;
  }

  async #fetchAll(start: number, end: number): Promise<Uint8Array> {
    const count = Math.max(1, Math.ceil((end - start) / partBytes));
    // Memory is taken for what has come, not for what a server says that it has.
    const parts: Uint8Array[] = [];
    let next = 0;
    const work = async (): Promise<void> => {
      while (next < count) {
        const part = next++;
        const from = start + part * partBytes;
        const to = Math.min(end, from + partBytes);
        parts[part] = await persistently(`Reading ${this.name}`, () => this.#fetch(from, to));
      }
    };
    try {
      await Promise.all(Array.from({ length: Math.min(count, partsAtOnce) }, work));
    } finally {
      next = count;
    }
    return parts.length === 1 ? (parts[0] as Uint8Array) : Buffer.concat(parts);
  }
}

/**
 * internal: the bytes of a body, of a known length where `length` is not null. Throws `BrokenOff` when it ends early or nothing comes for
 * `patience` milliseconds; `abandon` ends the connection then.
 */
export async function bodyBytes(
  body: AsyncIterable<Uint8Array>,
  { length, patience, abandon }: { length: number | null; patience: number; abandon: () => void },
): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  const iterator = body[Symbol.asyncIterator]();
  try {
    for (;;) {
      const { done, value } = await impatiently(iterator.next(), patience);
      if (done) break;
      chunks.push(value);
      size += value.length;
      if (length !== null && size > length) throw new BrokenOff(`the answer has more than ${length} bytes`);
    }
    if (length !== null && size < length) throw new BrokenOff(`the answer ended after ${size} of ${length} bytes`);
  } catch (error) {
    abandon();
    throw error;
  }
  return chunks.length === 1 ? (chunks[0] as Uint8Array) : Buffer.concat(chunks);
}

/** internal: what a promise gives, or `BrokenOff` when that takes too long or fails. */
export async function impatiently<T>(promise: Promise<T>, patience: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new BrokenOff(`nothing came for ${patience / 1000} s`)), patience);
  });
  try {
    return await Promise.race([promise, late]);
  } catch (error) {
    if (error instanceof BrokenOff || error instanceof CheckpointError) throw error;
    throw new BrokenOff(reasonOf(error));
  } finally {
    clearTimeout(timer);
    promise.catch(() => {});
  }
}

/** The innermost message of a failed connection, such as "connect ECONNREFUSED 127.0.0.1:9". */
function reasonOf(error: unknown): string {
  const { cause, message, code } = error as { cause?: unknown; message?: string; code?: string };
  if (cause instanceof Error) return reasonOf(cause);
  return message || code || String(error);
}
