// How a value is called in an error text, and which known name an unknown one is close to.

/** internal: `"abc"`, `3`, `null`, `[1, 2]`, `a Linear`. */
export function describe(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value.length > 80 ? `${value.slice(0, 77)}...` : value);
  if (typeof value === "bigint") return `${value}n`;
  if (Array.isArray(value))
    return value.length <= 8 ? `[${value.map(describe).join(", ")}]` : `an array of ${value.length}`;
  if (typeof value !== "object" && typeof value !== "function") return String(value);
  if (value === null) return "null";
  const name = className(value);
  if (name === "Object" || name === "") return "an object";
  if (name === "Function" || name === "AsyncFunction")
    return `the function \`${(value as { name?: string }).name || "(anonymous)"}\``;
  return `${/^([AEIOU]|[FHLMNRSX][A-Z])/.test(name) ? "an" : "a"} ${name}`;
}

/** internal: the name of the class that made a value. */
export function className(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  const prototype = Object.getPrototypeOf(value) as { constructor?: { name?: string } } | null;
  return prototype?.constructor?.name ?? "";
}

/** internal: the known name that `name` was probably meant to be, or undefined. Knows Python's snake_case spellings. */
export function closest(name: string, known: readonly string[]): string | undefined {
  const plain = (text: string): string => text.replace(/[_-]/g, "").toLowerCase();
  const wanted = plain(name);
  let best: string | undefined;
  let bestDistance = Math.max(2, Math.floor(wanted.length / 3)) + 1;
  for (const candidate of known) {
    const distance = editDistance(wanted, plain(candidate));
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/** internal: refuses options that do not exist, naming the closest one that does. */
export function checkOptions(what: string, options: unknown, known: readonly string[]): void {
  if (typeof options !== "object" || options === null || Array.isArray(options)) {
    const example = `{ ${known[0]}: ... }`;
    throw new TypeError(
      `Expected the options of ${what} to be an object, but got ${describe(options)}.\nThey go by name, such as \`${example}\`; it takes ${listed(known)}.`,
    );
  }
  for (const name of Object.keys(options)) {
    if (known.includes(name)) continue;
    const meant = closest(name, known);
    const hint = meant ? `Did you mean \`${meant}\`?` : `It takes ${listed(known)}.`;
    throw new TypeError(`${what} has no option \`${name}\`.\n${hint}`);
  }
}

function listed(names: readonly string[]): string {
  return names.map((name) => `\`${name}\``).join(", ");
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(change, (row[j] as number) + 1, (next[j - 1] as number) + 1));
    }
    row = next;
  }
  return row[b.length] as number;
}
