// One way to say that an argument has the wrong type, and that an option does not exist.
import { closestName } from "./close-names.js";

/** Describes a value for an error text: `"abc"`, `3`, `null`, `[1, 2]`, `a Linear`. */
export function describe(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  switch (typeof value) {
    case "string":
      return JSON.stringify(value.length > 80 ? `${value.slice(0, 77)}...` : value);
    case "number":
    case "boolean":
      return String(value);
    case "bigint":
      return `${value}n`;
    case "symbol":
      return value.toString();
    default: {
      if (Array.isArray(value)) {
        const text = value.length <= 8 ? `[${value.map(describe).join(", ")}]` : "";
        return text !== "" && text.length <= 160 ? text : `an array of ${value.length}`;
      }
      const name = (Object.getPrototypeOf(value) as { constructor?: { name?: string } } | null)?.constructor?.name;
      if (name === "Function" || name === "AsyncFunction")
        return `the function \`${(value as { name?: string }).name || "(anonymous)"}\``;
      if (!name || name === "Object") return "an object";
      return `${/^([AEIOU]|[FHLMNRSX][A-Z])/.test(name) ? "an" : "a"} ${name}`;
    }
  }
}

/** internal: "Expected `name` to be X, but got Y." */
export function typeError(name: string, expected: string, received: unknown, hint?: string): TypeError {
  const text = `Expected \`${name}\` to be ${expected}, but got ${describe(received)}.`;
  return new TypeError(hint ? `${text}\n${hint}` : text);
}

/**
 * internal: refuses anything but an object of known options, so that `new Linear(10, 2, false)` says what to type.
 * `example` is a complete expression such as `new nn.Linear(10, 2, { bias: false })`.
 */
export function checkOptions(options: unknown, allowed: readonly string[], example: string): void {
  if (typeof options !== "object" || options === null || Array.isArray(options)) {
    throw typeError("options", "an object of named options", options, `Options go by name: \`${example}\`.`);
  }
  for (const key of Object.keys(options)) {
    if (allowed.includes(key)) continue;
    const meant = closestName(key, allowed);
    const isSpelling = meant !== undefined && meant.toLowerCase() === key.replace(/[_-]/g, "").toLowerCase();
    const listed = `${meant ? `Did you mean \`${meant}\`? ` : ""}Known options: ${allowed.join(", ")}. Type \`${example}\`.`;
    throw new TypeError(`Unknown option \`${key}\`.\n${isSpelling ? `It is called \`${meant}\` here.` : listed}`);
  }
}
