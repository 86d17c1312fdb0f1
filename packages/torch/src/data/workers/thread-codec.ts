// Values on their way between threads. Tensors go through the addon's exchange without a copy, typed arrays are copied once and
// handed over; structure is kept, with shared and circular references. Class instances are refused: they would arrive without their class.
import { describe } from "../../check.js";
import { native } from "../../native.js";
import { handleOf, Tensor, wrapHandle } from "../../tensor.js";

/** internal: a value as it is posted. Opaque: objects are lists that begin with a kind, everything else is itself. */
export type Encoded = unknown;

/** internal: what goes into `postMessage(message, transfer)`. */
export interface Parcel {
  readonly value: Encoded;
  readonly transfer: ArrayBuffer[];
}

const kinds = {
  array: 0,
  plainArray: 1, // an array of primitives, as it is
  object: 2,
  bareObject: 3, // without a prototype
  map: 4,
  set: 5,
  tensor: 6,
  asIs: 7, // what structured cloning keeps
  buffer: 8, // Node's Buffer
  reference: 9, // an object that came before
} as const;

/** internal: encodes a value for another thread. Throws a TypeError that names the place of what cannot be sent. */
export function encode(value: unknown, exchange: number): Parcel {
  const encoder = new Encoder(exchange);
  return { value: encoder.encode(value, ""), transfer: encoder.transfer };
}

/** internal: refuses a value that `encode` would refuse; sends nothing. */
export function checkSendable(value: unknown, what: string): void {
  new Encoder(null).encode(value, what);
}

/** internal: the value that was encoded; with `keep` other threads may decode it too. */
export function decode(value: Encoded, exchange: number, keep = false): unknown {
  return new Decoder(exchange, keep).decode(value);
}

class Encoder {
  readonly transfer: ArrayBuffer[] = [];
  readonly #exchange: number | null;
  readonly #seen = new Map<object, number>();

  constructor(exchange: number | null) {
    this.#exchange = exchange;
  }

  encode(value: unknown, path: string): Encoded {
    if (typeof value === "function" || typeof value === "symbol") throw cannotSend(value, path);
    if (typeof value !== "object" || value === null) return value;
    const known = this.#seen.get(value);
    if (known !== undefined) return [kinds.reference, known];
    this.#seen.set(value, this.#seen.size);
    if (value instanceof Tensor) return [kinds.tensor, this.#give(value)];
    if (Array.isArray(value)) return this.#array(value, path);
    if (ArrayBuffer.isView(value)) return this.#view(value, path);
    if (value instanceof Map) {
      const entries = [...value].map(([key, item]) => [
        this.encode(key, `${path}[key]`),
        this.encode(item, `${path}[${String(key)}]`),
      ]);
      return [kinds.map, entries];
    }
    if (value instanceof Set) return [kinds.set, [...value].map((item, i) => this.encode(item, `${path}[${i}]`))];
    if (isCloned(value)) return [kinds.asIs, value];
    const prototype = Object.getPrototypeOf(value);
    if (prototype !== Object.prototype && prototype !== null) throw cannotSend(value, path);
    const keys = Object.keys(value);
    const items = keys.map((key) =>
      this.encode((value as Record<string, unknown>)[key], path === "" ? key : `${path}.${key}`),
    );
    return [prototype === null ? kinds.bareObject : kinds.object, keys, items];
  }

  #array(values: readonly unknown[], path: string): Encoded {
    const isPlain = values.every((item) => typeof item === "number" || typeof item === "string");
    if (isPlain) return [kinds.plainArray, values];
    return [kinds.array, Array.from(values, (item, i) => this.encode(item, `${path}[${i}]`))];
  }

  #give(tensor: Tensor): number {
    return this.#exchange === null ? -1 : native().giveTensor(this.#exchange, handleOf(tensor));
  }

  // A copy of what the view shows, and not of the memory around it; shared memory stays shared.
  #view(view: ArrayBufferView, path: string): Encoded {
    if (view.buffer instanceof SharedArrayBuffer) return [kinds.asIs, view];
    if (Buffer.isBuffer(view)) return [kinds.buffer, this.#moved(new Uint8Array(view))];
    const Class = (globalThis as Record<string, unknown>)[(view as Uint8Array)[Symbol.toStringTag]];
    if (view instanceof DataView || typeof Class !== "function") throw cannotSend(view, path);
    return [kinds.asIs, this.#moved(new (Class as Uint8ArrayConstructor)(view as Uint8Array))];
  }

  #moved(copy: Uint8Array<ArrayBuffer>): Uint8Array {
    if (this.#exchange !== null) this.transfer.push(copy.buffer);
    return copy;
  }
}

class Decoder {
  readonly #exchange: number;
  readonly #keep: boolean;
  readonly #seen: unknown[] = [];

  constructor(exchange: number, keep: boolean) {
    this.#exchange = exchange;
    this.#keep = keep;
  }

  decode(encoded: Encoded): unknown {
    if (!Array.isArray(encoded)) return encoded;
    const [kind, a, b] = encoded as [number, unknown, unknown];
    if (kind === kinds.reference) return this.#seen[a as number];
    const at = this.#seen.length;
    this.#seen.push(undefined);
    switch (kind) {
      case kinds.tensor:
        return this.#remember(at, wrapHandle(native().takeTensor(this.#exchange, a as number, this.#keep)));
      case kinds.array: {
        const made: unknown[] = [];
        this.#seen[at] = made;
        for (const item of a as unknown[]) made.push(this.decode(item));
        return made;
      }
      case kinds.object:
      case kinds.bareObject: {
        const made: Record<string, unknown> = kind === kinds.object ? {} : Object.create(null);
        this.#seen[at] = made;
        (a as string[]).forEach((key, i) => {
          // Not an assignment: a key `__proto__` is data.
          Object.defineProperty(made, key, {
            value: this.decode((b as unknown[])[i]),
            writable: true,
            enumerable: true,
            configurable: true,
          });
        });
        return made;
      }
      case kinds.map: {
        const made = new Map<unknown, unknown>();
        this.#seen[at] = made;
        for (const [key, item] of a as [unknown, unknown][]) made.set(this.decode(key), this.decode(item));
        return made;
      }
      case kinds.set: {
        const made = new Set<unknown>();
        this.#seen[at] = made;
        for (const item of a as unknown[]) made.add(this.decode(item));
        return made;
      }
      case kinds.buffer:
        return this.#remember(at, Buffer.from((a as Uint8Array<ArrayBuffer>).buffer));
      default:
        return this.#remember(at, a);
    }
  }

  #remember(at: number, value: unknown): unknown {
    this.#seen[at] = value;
    return value;
  }
}

function isCloned(value: object): boolean {
  return (
    value instanceof Date ||
    value instanceof RegExp ||
    value instanceof ArrayBuffer ||
    value instanceof SharedArrayBuffer ||
    value instanceof Boolean ||
    value instanceof Number ||
    value instanceof String
  );
}

function cannotSend(value: unknown, path: string): TypeError {
  const where = path === "" ? "" : ` at \`${path}\``;
  return new TypeError(
    `${describe(value)}${where} cannot go from one thread to another.\nUse tensors, typed arrays, numbers, strings, arrays, Maps and plain objects: an instance of a class would arrive without its methods.`,
  );
}
