// One way to say that an argument has the wrong type.

/** internal: describes a value for an error text: `"abc"`, `3`, `null`, `an array`, `a Linear`. */
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
      if (Array.isArray(value)) return value.length <= 8 ? `[${value.map(describe).join(", ")}]` : `an array of ${value.length}`;
      const name = (Object.getPrototypeOf(value) as { constructor?: { name?: string } } | null)?.constructor?.name;
      if (name === "Function" || name === "AsyncFunction") return `a function`;
      if (!name || name === "Object") return "an object";
      return `${/^[AEIOU]/.test(name) ? "an" : "a"} ${name}`;
    }
  }
}

/** internal: "Expected `name` to be X, but got Y." */
export function typeError(name: string, expected: string, received: unknown, hint?: string): TypeError {
  const text = `Expected \`${name}\` to be ${expected}, but got ${describe(received)}.`;
  return new TypeError(hint ? `${text}\n${hint}` : text);
}
