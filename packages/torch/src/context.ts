// What Python's `with` blocks are here: a function that returns a disposable, or runs a callback inside the context.
import { typeError } from "./check.js";

/** internal: enters a context and returns what leaves it. */
export type Enter = () => () => void;

/** A context that is left by `using`, or by calling `[Symbol.dispose]()`. Leaving twice is harmless. */
export interface Context extends Disposable {}

/** internal: enters; without a callback returns a disposable, with one runs it and leaves, also when it throws. */
export function runContext<T>(name: string, enter: Enter, body?: () => T): T | Context {
  if (body !== undefined && typeof body !== "function")
    throw typeError("callback", "a function", body, `Type \`${name}(() => ...)\`.`);
  const leave = enter();
  if (body === undefined) {
    let left = false;
    return {
      [Symbol.dispose]() {
        if (left) return;
        left = true;
        leave();
      },
    };
  }
  try {
    const result = body();
    if (typeof (result as { then?: unknown } | null | undefined)?.then === "function") {
      throw new TypeError(
        `\`${name}()\` takes a synchronous function, but its callback returned a promise.\nThe context would end before the awaited code runs: write \`using _ = ${name}();\` inside an async function around the synchronous part.`,
      );
    }
    return result;
  } finally {
    leave();
  }
}

/** internal: the options and the callback of a context, which may stand in either order. */
export function optionsAndCallback<O extends object, T>(
  first: O | (() => T) | undefined,
  second: O | (() => T) | undefined,
): [options: O, body: (() => T) | undefined] {
  const [options = {}, body] = typeof first === "function" ? [second, first] : [first, second];
  return [options as O, body as (() => T) | undefined];
}
