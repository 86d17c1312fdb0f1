// A source that several readers share, each at its own time: one waiting read after another, as bytes are valid until the next read.
import type { ByteSource } from "./byte-source.js";
import { type Reading, readBlocking, readWaiting } from "./reading.js";

// Files that nobody has closed are closed once nobody can read them any more.
const forgotten = new FinalizationRegistry<ByteSource>((source) => void source.close?.());

/** internal: runs readers over one source. */
export class SharedSource {
  readonly #source: ByteSource;
  #last: Promise<unknown> = Promise.resolve();

  constructor(source: ByteSource) {
    this.#source = source;
    forgotten.register(this, source, this);
  }

  get name(): string {
    return this.#source.name;
  }
  readBlocking<T>(reading: Reading<T>): T {
    return readBlocking(this.#source, reading);
  }
  async readWaiting<T>(reading: Reading<T>): Promise<T> {
    const result = this.#last.then(() => readWaiting(this.#source, reading));
    this.#last = result.catch(() => {});
    return await result;
  }
  close(): void {
    forgotten.unregister(this);
    void this.#source.close?.();
  }
}
