// Calls hooks of callbacks: in order, those that are there, waiting where one returns a promise.
import { nn, UsageError } from "@fabric-ts/torch";
import { isThenable } from "../utilities/context.js";
import { className, describe } from "../utilities/describe.js";
import { rankZeroWarn } from "../utilities/rank-zero.js";

/** internal: calls the hooks of one list of callbacks, which may grow. */
export class HookCaller {
  readonly #callbacks: readonly object[];
  #unfinished: string | undefined;
  #hasWarned = false;
  readonly #misspelt = new Set<string>();

  constructor(callbacks: readonly object[]) {
    this.#callbacks = callbacks;
  }

  /**
   * Calls `hook` of every callback that has it. When one returns a promise, the callbacks after it wait for it, and the result is a promise
   * for the end of them all; otherwise there is nothing to wait for. The first error, thrown or rejected, is the result's.
   */
  call(hook: string, args: unknown[]): void | Promise<void> {
    if (typeof hook !== "string") {
      throw new TypeError(
        `Expected the name of a hook, but got ${describe(hook)}.\nType \`await fabric.call("onTrainEpochEnd", { epoch })\`.`,
      );
    }
    this.#warnOfUnfinished(hook);
    let found = false;
    for (let i = 0; i < this.#callbacks.length; i++) {
      const callback = this.#callbacks[i] as object;
      const method = methodOf(callback, hook);
      if (method === undefined) continue;
      found = true;
      const result = method.apply(callback, args);
      if (isThenable(result)) return this.#wait(result, callback, i + 1, hook, args);
    }
    if (!found) this.#warnOfSpelling(hook);
  }

  /** The same for a caller that cannot wait; `caller` is its name. A hook that returns a promise is an error. */
  callNow(caller: string, hook: string, facts: object): void {
    for (const callback of this.#callbacks) {
      const method = methodOf(callback, hook);
      if (method !== undefined) refusePromise(method.call(callback, facts), caller, callback, hook);
    }
  }

  async #wait(
    result: PromiseLike<unknown>,
    callback: object,
    next: number,
    hook: string,
    args: unknown[],
  ): Promise<void> {
    this.#unfinished = `\`${className(callback)}.${hook}\``;
    try {
      await result;
      for (let i = next; i < this.#callbacks.length; i++) {
        const other = this.#callbacks[i] as object;
        await methodOf(other, hook)?.apply(other, args);
      }
    } finally {
      this.#unfinished = undefined;
    }
  }

  #warnOfUnfinished(hook: string): void {
    if (this.#unfinished === undefined || this.#hasWarned) return;
    this.#hasWarned = true;
    rankZeroWarn(
      `${this.#unfinished} had not finished when \`${hook}\` was called.\nAwait the calls of hooks: \`await fabric.call(...)\`.`,
      "PossibleUserWarning",
    );
  }

  // Python's spelling finds nothing, without a word.
  #warnOfSpelling(hook: string): void {
    if (!hook.includes("_") || this.#misspelt.has(hook)) return;
    const meant = hook.replace(/_+([a-zA-Z0-9])/g, (_, letter: string) => letter.toUpperCase());
    const having = this.#callbacks.find((callback) => methodOf(callback, meant) !== undefined);
    if (having === undefined) return;
    this.#misspelt.add(hook);
    rankZeroWarn(
      `No callback has a method \`${hook}\`, but ${className(having)} has \`${meant}\`.\nType \`await fabric.call("${meant}", ...)\`.`,
      "PossibleUserWarning",
    );
  }
}

/** internal: what has no methods, classes in place of their objects, and promises cannot be callbacks. */
export function checkCallback(callback: unknown): object {
  if (callback instanceof nn.Module) return callback;
  if (typeof callback === "object" && callback !== null && !isThenable(callback)) return callback;
  const isClass = typeof callback === "function" && callback.name !== "";
  const example = isClass
    ? `\`new ${callback.name}(...)\``
    : "`{ onTrainEpochEnd: ({ epoch }) => console.log(epoch) }`";
  throw new TypeError(
    `Expected callbacks to be objects with hooks as methods, but got ${describe(callback)}.\nFor example ${example}.`,
  );
}

/** internal: an error when a hook returned a promise that nobody can wait for. */
export function refusePromise(result: unknown, caller: string, callback: object, hook: string): void {
  if (!isThenable(result)) return;
  result.then(undefined, () => {});
  throw new UsageError(`\`${className(callback)}.${hook}\` returned a promise, but \`${caller}\` cannot wait for it.`, {
    hint: "Make the hook synchronous; wait in one that you call yourself: `await fabric.call(...)`.",
  });
}

function methodOf(callback: object, hook: string): ((...args: unknown[]) => unknown) | undefined {
  const method = (callback as Record<string, unknown>)[hook];
  if (method === undefined || method === null) return undefined;
  if (typeof method === "function") return method as (...args: unknown[]) => unknown;
  rankZeroWarn(`Skipping the callback \`${className(callback)}.${hook}\` because it is not callable.`);
  return undefined;
}
