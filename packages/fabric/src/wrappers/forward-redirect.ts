// Lets a marked method take the way of `forward`: through precision and strategy, with the method in forward's place at the end.
import { NotSupportedError, type nn } from "@fabric-ts/torch";
import { isGenerator, isThenable } from "../utilities/context.js";
import { modelName } from "./compiled.js";

/**
 * internal: calls `forward` (the wrapper's) with `original.forward` replaced by the method `name`. While the method runs the real forward is
 * back, so that it may call the model; and in any case when this function is left.
 */
export function callAsForward(
  original: nn.AnyModule,
  name: string,
  forward: (...args: unknown[]) => unknown,
  args: unknown[],
): unknown {
  const own = Object.getOwnPropertyDescriptor(original, "forward");
  const restore = (): void => {
    if (own) Object.defineProperty(original, "forward", own);
    else Reflect.deleteProperty(original, "forward");
  };
  const replace = (): void => {
    Object.defineProperty(original, "forward", { configurable: true, enumerable: false, writable: true, value });
  };
  // A strategy may call the model several times in one forward, for several devices.
  const value = (...converted: unknown[]): unknown => {
    restore();
    try {
      return callMethod(original, name, converted);
    } finally {
      replace();
    }
  };
  replace();
  try {
    return forward(...args);
  } finally {
    restore();
  }
}

function callMethod(original: nn.AnyModule, name: string, args: unknown[]): unknown {
  const method = (original as unknown as Record<string, (...args: unknown[]) => unknown>)[name];
  const result = method?.apply(original, args);
  if (isThenable(result)) {
    result.then(undefined, () => {});
    throw lateMethod(original, name, "is async", "its promise settles");
  }
  if (isGenerator(result)) throw lateMethod(original, name, "is a generator", "somebody asks for its values");
  return result;
}

function lateMethod(original: nn.AnyModule, name: string, what: string, when: string): NotSupportedError {
  return new NotSupportedError(
    `\`${modelName(original)}.${name}()\` ${what}, but a marked method goes the way of forward, which is over before ${when}.`,
    { hint: "Compute in a plain method and mark that one; do the waiting, or the loop, in a function around it." },
  );
}
