// What Python writes as a `with` block: a disposable for `using`, or the same around a callback.
import { UsageError } from "@fabric-ts/torch";
import { describe } from "./describe.js";

/** internal: a context that does nothing. */
export const nullContext: Disposable = { [Symbol.dispose]() {} };

/** internal: a context that calls `leave` once when it ends. */
export function onLeave(leave: () => void): Disposable {
  let open = true;
  return {
    [Symbol.dispose]() {
      if (!open) return;
      open = false;
      leave();
    },
  };
}

/** internal: several contexts as one, left in reverse order. When entering one fails, those before it are left again. */
export function nested(...enter: (() => Disposable)[]): Disposable {
  const open: Disposable[] = [];
  const leave = (): void => {
    let failed: { error: unknown } | undefined;
    for (let context = open.pop(); context; context = open.pop()) {
      try {
        context[Symbol.dispose]();
      } catch (error) {
        failed ??= { error };
      }
    }
    if (failed) throw failed.error;
  };
  try {
    for (const next of enter) open.push(next());
  } catch (error) {
    leave();
    throw error;
  }
  return { [Symbol.dispose]: leave };
}

/** internal: what a context was given: its options and its body, whichever comes first. */
export function optionsAndBody<O extends object, T>(
  method: string,
  args: readonly unknown[],
): { options: O; body: (() => T) | undefined } {
  const given = args.filter((arg) => arg !== undefined && arg !== null);
  const body = given.find((arg) => typeof arg === "function") as (() => T) | undefined;
  const [options = {}, ...more] = given.filter((arg) => arg !== body);
  if (more.length > 0) {
    throw new TypeError(
      `Expected options and a function in the call of \`${method}\`, but got ${describe(given)}.\nThe function does what is to be done inside: \`() => ...\`.`,
    );
  }
  return { options: options as O, body };
}

/** internal: the context itself without a callback; otherwise runs the callback inside it and returns its value. */
export function within<T>(context: Disposable, name: string, body?: () => T): T | Disposable {
  if (body === undefined) return context;
  using _ = context;
  if (typeof body !== "function") {
    throw new TypeError(
      `Expected the body of \`${name}\` to be a function, but got ${describe(body)}.\nType \`${name}(() => ...)\`.`,
    );
  }
  const result = body();
  if (isThenable(result)) {
    result.then(undefined, () => {});
    throw new UsageError(
      `The function given to \`${name}\` returned a promise, but the context ends when the function returns.`,
      {
        hint: `Await outside of it, or hold the context open yourself: \`using context = ${name}(...)\`.`,
      },
    );
  }
  return result;
}

/** internal: true for promises and everything else that `await` would wait for. */
export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return (
    ((typeof value === "object" && value !== null) || typeof value === "function") &&
    typeof (value as { then?: unknown }).then === "function"
  );
}

/** internal: what a generator function returns, or an async one. */
export interface AnyGenerator {
  next(...args: unknown[]): unknown;
  return(...args: unknown[]): unknown;
  throw(...args: unknown[]): unknown;
  [Symbol.toStringTag]: string;
}

/** internal: true for what a generator function returned: its body runs when somebody asks for values. */
export function isGenerator(value: unknown): value is AnyGenerator {
  if (typeof value !== "object" || value === null) return false;
  const tag: unknown = (value as { [Symbol.toStringTag]?: unknown })[Symbol.toStringTag];
  return tag === "Generator" || tag === "AsyncGenerator";
}
