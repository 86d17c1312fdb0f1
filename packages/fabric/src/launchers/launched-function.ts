// What `fabric.launch(fn)` accepts as a function.
import { describe } from "../utilities/describe.js";

/** internal: throws a `TypeError` for what is no function, and for a function that has no parameter for the `Fabric` object. */
export function checkLaunched(fn: unknown): void {
  if (typeof fn !== "function") {
    throw new TypeError(
      `\`Fabric.launch(...)\` needs to be a callable, but got ${describe(fn)}.\nHINT: do \`.launch(yourFn)\` instead of \`.launch(yourFn())\`.`,
    );
  }
  if (fn.length > 0 || !hasNoParameters(fn)) return;
  throw new TypeError(
    `\`Fabric.launch(function=...)\` needs to take at least one argument, but ${describe(fn)} takes none.\nThe launcher will pass in the \`Fabric\` object: \`await fabric.launch((fabric) => ...)\`.`,
  );
}

// `length` counts neither rest parameters nor those with a default. Native and bound functions do not show theirs.
function hasNoParameters(fn: object): boolean {
  const source = Function.prototype.toString.call(fn).replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, "");
  return !source.includes("[native code]") && /^[^(]*\(\s*\)/.test(source) && !/\barguments\b/.test(source);
}
