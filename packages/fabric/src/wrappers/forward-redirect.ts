// Lets a marked method take the way of `forward`: through precision and strategy, with the method in forward's place at the end.
import { NotSupportedError, type nn } from "@fabric-ts/torch";
import { isThenable } from "../utilities/context.js";
import { className } from "../utilities/describe.js";

/**
 * internal: calls `forward` (the wrapper's) with `original.forward` replaced, for one call, by the method `name`. The real forward is back
 * before the method runs, so that it may call the model, and in any case when this function is left.
 */
export function callAsForward(
  original: nn.AnyModule,
  name: string,
  forward: (...args: unknown[]) => unknown,
  args: unknown[],
): unknown {
  const own = Object.getOwnPropertyDescriptor(original, "forward");
  let isReplaced = true;
  const restore = (): void => {
    if (!isReplaced) return;
    isReplaced = false;
    if (own) Object.defineProperty(original, "forward", own);
    else Reflect.deleteProperty(original, "forward");
  };
  Object.defineProperty(original, "forward", {
    configurable: true,
    enumerable: false,
    writable: true,
    value: (...converted: unknown[]): unknown => {
      restore();
      const method = (original as unknown as Record<string, (...args: unknown[]) => unknown>)[name] as (
        ...args: unknown[]
      ) => unknown;
      const result = method.apply(original, converted);
      if (isThenable(result)) throw asyncMethod(original, name, result);
      return result;
    },
  });
  try {
    return forward(...args);
  } finally {
    restore();
  }
}

function asyncMethod(original: nn.AnyModule, name: string, pending: PromiseLike<unknown>): NotSupportedError {
  pending.then(undefined, () => {});
  return new NotSupportedError(
    `\`${className(original)}.${name}()\` is async, but a marked method goes the way of forward, which is over before the promise settles.`,
    { hint: "Compute in a synchronous method and mark that one; do the waiting in a function around it." },
  );
}
