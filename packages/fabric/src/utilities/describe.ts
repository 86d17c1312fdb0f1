// How values and options are called in error texts.
import { messages } from "@fabric-ts/torch/base";

const { closestName } = messages;

/** internal: `"abc"`, `3`, `null`, `[1, 2]`, `a Linear`. */
export const { describe } = messages;

/** internal: the name of the class that made a value. */
export function className(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  const prototype = Object.getPrototypeOf(value) as { constructor?: { name?: string } } | null;
  return prototype?.constructor?.name ?? "";
}

/** internal: refuses options that do not exist, naming the closest one that does. */
export function checkOptions(what: string, options: unknown, known: readonly string[]): void {
  if (typeof options !== "object" || options === null || isNoOptions(options)) {
    const example = `{ ${known[0]}: ... }`;
    throw new TypeError(
      `Expected the options of ${what} to be an object, but got ${describe(options)}.\nThey go by name, such as \`${example}\`; it takes ${listed(known)}.`,
    );
  }
  for (const name of Object.keys(options)) {
    if (known.includes(name)) continue;
    const meant = closestName(name, known);
    const hint = meant ? `Did you mean \`${meant}\`?` : `It takes ${listed(known)}.`;
    throw new TypeError(`${what} has no option \`${name}\`.\n${hint}`);
  }
}

/** Collections, and objects of a class that hold nothing by name: tensors, promises. */
function isNoOptions(value: object): boolean {
  if (Array.isArray(value) || value instanceof Map || value instanceof Set) return true;
  const prototype = Object.getPrototypeOf(value) as object | null;
  return prototype !== null && prototype !== Object.prototype && Object.keys(value).length === 0;
}

function listed(names: readonly string[]): string {
  return names.map((name) => `\`${name}\``).join(", ");
}
