// Readers are generators that ask for ranges of bytes, so that one reader serves blocking and waiting callers.
import { UsageError } from "../errors.js";
import type { ByteSource } from "./byte-source.js";

/** internal: steps of a reader; each yields a range and receives its bytes, which are valid until the next one. */
export type Reading<T> = Generator<readonly [offset: number, length: number], T, Uint8Array>;

/** internal: the bytes [offset, offset + length). */
export function* bytesAt(offset: number, length: number): Reading<Uint8Array> {
  return yield [offset, length];
}

/** internal: runs a reader while the thread waits. */
export function readBlocking<T>(source: ByteSource, reading: Reading<T>): T {
  if (!source.readSync) {
    throw new UsageError(`${source.name} cannot be read while the program waits for it.`, {
      hint: "Read it with a method that returns a promise: `await torch.load(...)`, `await materializeTensors(...)`.",
    });
  }
  for (let step = reading.next(); ; ) {
    if (step.done) return step.value;
    step = reading.next(source.readSync(...step.value));
  }
}

/** internal: runs a reader without blocking the thread. */
export async function readWaiting<T>(source: ByteSource, reading: Reading<T>): Promise<T> {
  for (let step = reading.next(); ; ) {
    if (step.done) return step.value;
    step = reading.next(await source.read(...step.value));
  }
}

/** internal: runs a reader while the thread waits, and closes the source. */
export function readAndCloseBlocking<T>(source: ByteSource, reading: Reading<T>): T {
  try {
    return readBlocking(source, reading);
  } finally {
    void source.close?.();
  }
}

/** internal: runs a reader without blocking the thread, and closes the source. */
export async function readAndClose<T>(source: ByteSource, reading: Reading<T>): Promise<T> {
  try {
    return await readWaiting(source, reading);
  } finally {
    await source.close?.();
  }
}
