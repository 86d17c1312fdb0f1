// A collective on its way.
import { awaited } from "./awaited.js";
import { distributedNative, type WorkHandle } from "./native.js";

/** internal: waits for a collective and makes its result. Collectives start when they are called, not when they are awaited. */
export class Work<T> {
  readonly #handle: WorkHandle;
  readonly #result: () => T;

  constructor(handle: WorkHandle, result: () => T) {
    this.#handle = handle;
    this.#result = result;
  }

  /** The native half. */
  get handle(): WorkHandle {
    return this.#handle;
  }
  /** What has come; only when the collective has ended. */
  result(): T {
    return this.#result();
  }
  /** Waits on other threads than JavaScript's. */
  async wait(): Promise<T> {
    await awaited(distributedNative().workWait(this.#handle));
    return this.#result();
  }
  /** Blocks the JavaScript thread. */
  waitSync(): T {
    distributedNative().workWaitSync(this.#handle);
    return this.#result();
  }
  /** The rank of the group that sent what was received. */
  get source(): number {
    return distributedNative().workSource(this.#handle);
  }
}
