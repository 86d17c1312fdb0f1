// Stores: small shared dictionaries through which the processes of a job find each other. Values are bytes and are never
// evaluated. A file store needs no port and serves one host; a TCP store serves several.
import { typeError } from "../check.js";
import { ConfigurationError, UsageError } from "../errors.js";
import { awaited } from "./awaited.js";
import { distributedNative, type StoreHandle } from "./native.js";

const defaultTimeoutMs = 300_000;

/** Options of calls that wait for a key; a number is the timeout. */
export interface StoreWaitOptions {
  /** Give up after this many milliseconds, with a `DistributedError` of code `ERR_STORE_TIMEOUT`. Default: the store's. */
  timeoutMs?: number | undefined;
}

/**
 * A dictionary shared by processes. Calls are promises and run on other threads; those with `Sync` in their names block this one instead.
 */
export abstract class Store {
  #handle: StoreHandle | Promise<StoreHandle>;
  /** How long calls wait for a key unless told otherwise, in milliseconds. */
  readonly timeoutMs: number;

  /** internal: use one of the subclasses. */
  constructor(handle: StoreHandle | Promise<StoreHandle>, timeoutMs = defaultTimeoutMs) {
    this.timeoutMs = checkTimeout(timeoutMs);
    this.#handle = handle;
    if (!(handle instanceof Promise)) return;
    // A failure is reported by the calls that use the store.
    handle.then(
      (connected) => (this.#handle = connected),
      () => {},
    );
  }

  /** internal: false while a TCP store is on its way. */
  get isConnected(): boolean {
    return !(this.#handle instanceof Promise);
  }
  /** internal: the native store, once it is connected. */
  async handle(): Promise<StoreHandle> {
    return this.#handle;
  }
  /** internal: the native store, which has to be connected already. */
  handleSync(): StoreHandle {
    if (!(this.#handle instanceof Promise)) return this.#handle;
    throw new UsageError("The store is not connected yet.", {
      hint: "Await `store.connected()` first, or make it with `new TCPStore(..., { sync: true })`.",
    });
  }

  /** Sets a key to bytes, or to a text in UTF-8. */
  async set(key: string, value: string | Uint8Array): Promise<void> {
    await awaited(distributedNative().storeSet(await this.#handle, key, bytesOf(value), false));
  }
  /** The same at once. */
  setSync(key: string, value: string | Uint8Array): void {
    distributedNative().storeSet(this.handleSync(), key, bytesOf(value), true);
  }
  /** The bytes of a key; waits until it is set. */
  async get(key: string, options: StoreWaitOptions | number = {}): Promise<Uint8Array> {
    return await awaited(distributedNative().storeGet(await this.#handle, key, this.#timeout(options), false));
  }
  /** The same as a text. */
  async getText(key: string, options: StoreWaitOptions | number = {}): Promise<string> {
    return new TextDecoder("utf-8", { fatal: true }).decode(await this.get(key, options));
  }
  /** Waits until all keys are set. */
  async wait(keys: readonly string[], options: StoreWaitOptions | number = {}): Promise<void> {
    await awaited(distributedNative().storeWait(await this.#handle, keys, this.#timeout(options), false));
  }
  /** The same with a blocked JavaScript thread. */
  waitSync(keys: readonly string[], options: StoreWaitOptions | number = {}): void {
    distributedNative().storeWait(this.handleSync(), keys, this.#timeout(options), true);
  }
  /** Adds to the counter `key`, which starts at 0, and returns the sum. */
  async add(key: string, amount: number): Promise<number> {
    return await awaited(distributedNative().storeAdd(await this.#handle, key, amount, false));
  }
  /** True when all keys are set; does not wait. */
  async check(keys: readonly string[]): Promise<boolean> {
    return await awaited(distributedNative().storeCheck(await this.#handle, keys, false));
  }
  /** The same at once. */
  checkSync(keys: readonly string[]): boolean {
    return distributedNative().storeCheck(this.handleSync(), keys, true);
  }
  /** Removes a key; false when there was none. Not every store can. */
  async deleteKey(key: string): Promise<boolean> {
    return await awaited(distributedNative().storeDeleteKey(await this.#handle, key, false));
  }
  /** The number of keys, including those the store keeps for itself. */
  async numKeys(): Promise<number> {
    return await awaited(distributedNative().storeNumKeys(await this.#handle, false));
  }

  #timeout(options: StoreWaitOptions | number): number {
    const timeoutMs = typeof options === "number" ? options : options.timeoutMs;
    return timeoutMs === undefined ? this.timeoutMs : checkTimeout(timeoutMs);
  }
}

function bytesOf(value: string | Uint8Array): Uint8Array {
  const bytes = typeof value === "string" ? new TextEncoder().encode(value) : value;
  if (!(bytes instanceof Uint8Array)) throw typeError("value", "a string or a Uint8Array", value);
  return bytes;
}

/** A store in a file that all processes of one host open: no port, no listener. The last of `worldSize` users removes the file. */
export class FileStore extends Store {
  /** Path of the file. */
  readonly path: string;

  constructor(path: string, worldSize: number, options: StoreWaitOptions = {}) {
    if (typeof path !== "string" || path === "") throw typeError("path", "the path of a file", path);
    super(distributedNative().fileStore(path, checkWorldSize(worldSize)), options.timeoutMs);
    this.path = path;
  }
}

/**
 * A store that one process (the master, usually rank 0) serves on a port and the others reach over the network. It connects
 * in the background, and every call waits for that; with `{ sync: true }` the constructor does. Port 0 lets the system choose:
 * `connected()` tells which.
 *
 * The connection is neither authenticated nor encrypted: use it in networks you trust.
 */
export class TCPStore extends Store {
  /** The address of the master. */
  readonly host: string;
  readonly #connected: { port: number } | Promise<{ port: number }>;

  constructor(
    host: string,
    port: number,
    worldSize: number,
    isMaster: boolean,
    options: StoreWaitOptions & { sync?: boolean } = {},
  ) {
    if (typeof host !== "string" || host === "") throw typeError("host", "a host name or an address", host);
    if (!Number.isInteger(port) || port < 0 || port > 65535) {
      throw new ConfigurationError(`\`port\` is ${port}.`, {
        hint: "Ports are whole numbers from 1 to 65535; 0 lets the system choose.",
      });
    }
    const timeoutMs = checkTimeout(options.timeoutMs ?? defaultTimeoutMs);
    checkWorldSize(worldSize);
    const binding = distributedNative();
    if (options.sync) {
      const connected = binding.tcpStore(host, port, worldSize, isMaster, timeoutMs, true);
      super(connected.store, timeoutMs);
      this.#connected = connected;
    } else {
      const connected = binding.tcpStore(host, port, worldSize, isMaster, timeoutMs, false);
      super(
        connected.then(({ store }) => store),
        timeoutMs,
      );
      this.#connected = connected;
      connected.catch(() => {});
    }
    this.host = host;
  }

  /** A store that is connected. */
  static async connect(
    host: string,
    port: number,
    worldSize: number,
    isMaster: boolean,
    options: StoreWaitOptions = {},
  ): Promise<TCPStore> {
    const store = new TCPStore(host, port, worldSize, isMaster, options);
    await store.connected();
    return store;
  }

  /** Waits for the connection; gives the port in use. */
  async connected(): Promise<{ port: number }> {
    const { port } = await awaited(Promise.resolve(this.#connected));
    return { port };
  }
}

/** A store within this process, for tests and for a world of one. */
export class HashStore extends Store {
  constructor(options: StoreWaitOptions = {}) {
    super(distributedNative().hashStore(), options.timeoutMs);
  }
}

/** Another store whose keys all begin with a prefix, so that several users do not meet. */
export class PrefixStore extends Store {
  /** What all keys begin with. */
  readonly prefix: string;

  constructor(prefix: string, store: Store) {
    if (!(store instanceof Store)) throw typeError("store", "a Store", store);
    super(prefixed(prefix, store), store.timeoutMs);
    this.prefix = prefix;
  }
}

function prefixed(prefix: string, store: Store): StoreHandle | Promise<StoreHandle> {
  const wrap = (inner: StoreHandle): StoreHandle => distributedNative().prefixStore(prefix, inner);
  return store.isConnected ? wrap(store.handleSync()) : store.handle().then(wrap);
}

/** internal: a number of milliseconds above zero. */
export function checkTimeout(timeoutMs: number): number {
  if (typeof timeoutMs !== "number") throw typeError("timeoutMs", "a number of milliseconds", timeoutMs);
  if (!(timeoutMs > 0))
    throw new ConfigurationError(`\`timeoutMs\` is ${timeoutMs}.`, { hint: "Give a number of milliseconds above 0." });
  // More than a native duration holds safely stands for "for ever".
  return Math.min(Math.ceil(timeoutMs), 1e12);
}

/** internal: a number of processes. */
export function checkWorldSize(worldSize: number): number {
  if (!Number.isInteger(worldSize) || worldSize < 1) {
    throw new ConfigurationError(`\`worldSize\` is ${worldSize}.`, {
      hint: "Give the number of processes, 1 or more.",
    });
  }
  return worldSize;
}
