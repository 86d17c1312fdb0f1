// What this process is doing right now, in words of memory that its launcher reads, also when the process has been killed or hangs. It costs
// a few memory writes. Where no launcher of ours looks, the words are this process' own and nobody reads them.

/** internal: the words of the memory: 32-bit numbers, behind which text follows. Heart and peak are written by the process addon. */
export const words = {
  /** Index in `activities`. */
  activity: 0,
  /** Counts seconds. */
  heart: 1,
  /** The most memory so far, in KiB. */
  peak: 2,
  /** How many waits for other ranks there are right now. */
  waiting: 3,
  /** How many there have been. */
  waits: 4,
  /** Counts what begins and ends. */
  changes: 5,
  /** Optimizer steps that have been taken. */
  steps: 6,
  /** Length of the text in bytes. */
  textLength: 7,
} as const;
/** internal: where the text begins, in bytes, and where the memory ends. */
export const textStart = 32;
/** internal: the same. */
export const pageBytes = 256;

/** internal: how an activity is told; the last one is told by its own text. */
export const activities = [
  "",
  "in `fabric.setup`",
  "while it waited for data",
  "in the forward pass",
  "in the backward pass",
  "in `optimizer.step`",
  "in TEXT",
] as const;
const numbers = { setup: 1, data: 2, forward: 3, backward: 4, step: 5, call: 6 } as const;

/** internal: the key under which the preload leaves the memory on `globalThis`. */
export const pageKey: unique symbol = Symbol.for("@fabric-ts/fabric:rank-page") as never;
/** internal: the key under which the places are found where errors came from. */
export const placesKey: unique symbol = Symbol.for("@fabric-ts/fabric:error-places") as never;

interface Globals {
  [pageKey]?: ArrayBuffer;
  [placesKey]?: WeakMap<object, string>;
}

const globals = globalThis as Globals;
globals[placesKey] ??= new WeakMap();
const places = globals[placesKey];
/** internal: the memory; null in a process whose launcher does not read it. */
export const sharedPage: Int32Array | null = globals[pageKey] === undefined ? null : new Int32Array(globals[pageKey]);
const page = sharedPage ?? new Int32Array(pageBytes / 4);
const text = new Uint8Array(page.buffer, textStart);
const encoder = new TextEncoder();

interface Entry {
  activity: number;
  text: string;
}
// The last is the innermost. Async ones may end in another order.
const entries: Entry[] = [];

/** internal: runs `body`, which is done at once, as an activity of this process. */
export function during<T>(activity: Exclude<keyof typeof numbers, "call">, body: () => T): T {
  const entry = enter(numbers[activity], "");
  try {
    return body();
  } catch (error) {
    notePlace(error);
    throw error;
  } finally {
    leave(entry);
  }
}

/** internal: runs `body`, which takes its time, as an activity that is told by what the user called: `fabric.barrier("epoch")`. */
export async function duringCall<T>(call: string, body: () => T | Promise<T>): Promise<T> {
  return await duringAsync(enter(numbers.call, call), body);
}

/** internal: the same values; waiting for the next one is an activity. */
export function duringPass<T>(source: Iterable<T>): Iterable<T> {
  return {
    [Symbol.iterator]: () => {
      const pass = source[Symbol.iterator]();
      return {
        next: () => during("data", () => pass.next()),
        return: (value: T) => pass.return?.(value) ?? { done: true, value },
      };
    },
  };
}

/** internal: the same for values that have to be awaited. */
export function duringAsyncPass<T>(source: AsyncIterable<T>): AsyncIterable<T> {
  return {
    [Symbol.asyncIterator]: () => {
      const pass = source[Symbol.asyncIterator]();
      return {
        next: () => duringAsync(enter(numbers.data, ""), () => pass.next()),
        return: async (value: T) => (await pass.return?.(value)) ?? { done: true, value },
      };
    },
  };
}

/** internal: an optimizer has taken a step. */
export function countStep(): void {
  page[words.steps] = (page[words.steps] as number) + 1;
}

/** internal: an activity in words, and how far the training has come. Empty when neither is known. */
export function tellPlace(activity: number, call: string, steps: number): string {
  const what = (activities[activity] ?? "").replace("TEXT", () => `\`${call}\``);
  if (steps === 0) return what;
  const progress = `after ${steps} optimizer ${steps === 1 ? "step" : "steps"}`;
  return what === "" ? progress : `${what}, ${progress}`;
}

async function duringAsync<T>(entry: Entry, body: () => T | Promise<T>): Promise<T> {
  try {
    return await body();
  } catch (error) {
    notePlace(error);
    throw error;
  } finally {
    leave(entry);
  }
}

function enter(activity: number, call: string): Entry {
  const entry = { activity, text: call };
  entries.push(entry);
  show(entry);
  return entry;
}

function leave(entry: Entry): void {
  if (entries[entries.length - 1] === entry) entries.pop();
  else entries.splice(entries.indexOf(entry), 1);
  show(entries[entries.length - 1]);
}

function show(entry: Entry | undefined): void {
  page[words.changes] = ((page[words.changes] as number) + 1) | 0;
  if (entry !== undefined && entry.text !== "") page[words.textLength] = encoder.encodeInto(entry.text, text).written;
  page[words.activity] = entry === undefined ? 0 : entry.activity;
}

/** The innermost activity that an error came out of; it is over when somebody hears of the error. */
function notePlace(error: unknown): void {
  if (typeof error !== "object" || error === null || places.has(error)) return;
  const entry = entries[entries.length - 1];
  if (entry) places.set(error, tellPlace(entry.activity, entry.text, page[words.steps] as number));
}
