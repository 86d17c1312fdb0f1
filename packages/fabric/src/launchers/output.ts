// Forwards the output of several processes to one file descriptor in whole lines, without ever blocking the supervisor.
import { write } from "node:fs";
import type { Readable } from "node:stream";
import { lineStart } from "./terminal.js";

const newline = 0x0a;
/** A line longer than this is forwarded in pieces. */
const maxLine = 1024 * 1024;
/** Above this many bytes in the queue the sources are paused, below a quarter of it they go on. */
const highWater = 4 * 1024 * 1024;

/** internal: takes lines, newlines included. `source` is paused while whoever reads them is slow. */
export type LineSink = (lines: Buffer, source?: Readable) => void;

/**
 * internal: writes whole chunks to a file descriptor, in order, one at a time and off the JavaScript thread. When that fails (the
 * reader has gone away, the disk is full), `onError` is told once and what follows is dropped: losing a terminal does not end a training run.
 */
export class OutputWriter {
  readonly #fd: number;
  readonly #onError: (error: Error) => void;
  readonly #queue: Buffer[] = [];
  readonly #idle: (() => void)[] = [];
  readonly #paused = new Set<Readable>();
  #queued = 0;
  #writing = false;
  #closed = false;

  constructor(fd: number, onError: (error: Error) => void = () => {}) {
    this.#fd = fd;
    this.#onError = onError;
  }

  /** Takes one chunk. `source` is paused while the reader is slow. */
  write(chunk: Buffer | string, source?: Readable): void {
    if (this.#closed) return;
    const start = lineStart(this.#fd);
    const text = typeof chunk === "string" ? Buffer.from(chunk) : chunk;
    const bytes = start === "" ? text : Buffer.concat([Buffer.from(start), text]);
    this.#queue.push(bytes);
    this.#queued += bytes.length;
    if (source && this.#queued > highWater) {
      source.pause();
      this.#paused.add(source);
    }
    this.#next();
  }

  /** Resolves when everything has been written, or after `timeoutMs`. */
  drain(timeoutMs: number): Promise<void> {
    if (!this.#writing) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, timeoutMs);
      this.#idle.push(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  #next(): void {
    if (this.#writing) return;
    const bytes = this.#queue.shift();
    if (bytes === undefined) {
      for (const resolve of this.#idle.splice(0)) resolve();
      return;
    }
    this.#writing = true;
    this.#write(bytes, 0);
  }

  #write(bytes: Buffer, offset: number): void {
    write(this.#fd, bytes, offset, bytes.length - offset, null, (error, written) => {
      if (error && (error.code === "EAGAIN" || error.code === "EINTR")) {
        setTimeout(() => this.#write(bytes, offset), 5);
        return;
      }
      if (error) {
        this.#close();
        this.#onError(error);
      } else if (offset + written < bytes.length) {
        this.#write(bytes, offset + written);
        return;
      }
      this.#writing = false;
      this.#queued -= bytes.length;
      if (this.#queued < highWater / 4) this.#resume();
      this.#next();
    });
  }

  #resume(): void {
    for (const source of this.#paused) source.resume();
    this.#paused.clear();
  }

  #close(): void {
    this.#closed = true;
    this.#queue.length = 0;
    this.#queued = 0;
    this.#resume();
  }
}

/** internal: cuts a stream into lines, newline included; the rest comes when the stream ends. */
export function forwardLines(source: Readable, onLines: (lines: Buffer) => void): void {
  let rest: Buffer[] = [];
  let restLength = 0;
  const flush = (): void => {
    if (restLength === 0) return;
    const bytes = Buffer.concat(rest);
    rest = [];
    restLength = 0;
    onLines(bytes);
  };
  source.on("data", (chunk: Buffer) => {
    const end = chunk.lastIndexOf(newline) + 1;
    if (end > 0) {
      rest.push(chunk.subarray(0, end));
      restLength += end;
      flush();
    }
    if (end < chunk.length) {
      rest.push(chunk.subarray(end));
      restLength += chunk.length - end;
      if (restLength > maxLine) flush();
    }
  });
  source.on("end", () => {
    if (restLength === 0) return;
    rest.push(Buffer.from("\n"));
    restLength++;
    flush();
  });
  // A vanished process may reset its pipe; its end is reported by the process itself.
  source.on("error", () => {});
}

/** internal: writes the same lines with `prefix` before each of them. */
export function prefixed(prefix: string, sink: LineSink): LineSink {
  const mark = Buffer.from(prefix);
  // Very long lines come in pieces.
  let isLineStart = true;
  return (lines, source) => {
    const parts: Buffer[] = [];
    for (let start = 0; start < lines.length; ) {
      const end = lines.indexOf(newline, start) + 1 || lines.length;
      if (isLineStart) parts.push(mark);
      parts.push(lines.subarray(start, end));
      isLineStart = lines[end - 1] === newline;
      start = end;
    }
    sink(Buffer.concat(parts), source);
  };
}
