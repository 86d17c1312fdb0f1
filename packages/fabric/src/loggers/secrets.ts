// Passwords and keys in hyper-parameters are masked before any logger sees them.
import { setOwn } from "../utilities/apply-to-collection.js";
import { describe } from "../utilities/describe.js";
import { isRecord } from "./record.js";

/** Stands in for what was masked. */
const mask = "***";

/** internal: which hyper-parameters a logger masks: the default rule, a rule of the user's for their names, or none. */
export type SecretRule = RegExp | false | undefined;

/**
 * internal: a copy in which the values of all names that sound secret are `"***"`, however deeply they are nested, and passwords
 * inside of URLs too. By default these are names with `token`, `secret` or `password` in them and names that end in `key`;
 * tokenizers and numbers of tokens (`max_tokens: 512`) are none.
 */
export function maskSecrets<T>(params: T, rule?: SecretRule): T {
  return rule === false ? params : (masked(params, rule, new Map()) as T);
}

// `copies` holds what has been copied already, so that circles in the original become circles in the copy.
function masked(value: unknown, rule: RegExp | undefined, copies: Map<unknown, unknown>): unknown {
  if (typeof value === "string") return withoutPassword(value);
  if (value instanceof URL) return withoutPassword(value.href);
  if (copies.has(value)) return copies.get(value);
  const next = (key: unknown, item: unknown): unknown =>
    isSecret(String(key), item, rule) ? mask : masked(item, rule, copies);
  if (Array.isArray(value)) {
    const copy: unknown[] = [];
    copies.set(value, copy);
    for (const item of value) copy.push(masked(item, rule, copies));
    return copy;
  }
  if (value instanceof Set) {
    const copy = new Set<unknown>();
    copies.set(value, copy);
    for (const item of value) copy.add(masked(item, rule, copies));
    return copy;
  }
  if (value instanceof Map) {
    const copy = new Map<unknown, unknown>();
    copies.set(value, copy);
    for (const [key, item] of value) copy.set(key, next(key, item));
    return copy;
  }
  if (!isRecord(value)) return value;
  const copy = Object.create(Object.getPrototypeOf(value)) as object;
  copies.set(value, copy);
  for (const [key, item] of Object.entries(value)) setOwn(copy, key, next(key, item));
  return copy;
}

function isSecret(key: string, value: unknown, rule: RegExp | undefined): boolean {
  if (value === null || value === undefined || typeof value === "boolean") return false;
  // Not `test`: that of an expression with the flag g remembers where it was.
  if (rule) return key.search(rule) >= 0;
  if (/secret|password|key$/i.test(key)) return true;
  return /token(?!iz)/i.test(key) && typeof value !== "number";
}

function withoutPassword(text: string): string {
  return text.replace(/(\/\/[^/\s:@]*:)[^/\s@]+@/g, `$1${mask}@`);
}

/** internal: refuses rules that are none. */
export function checkSecrets(what: string, secrets: unknown): SecretRule {
  if (secrets === undefined || secrets === false || secrets instanceof RegExp) return secrets;
  throw new TypeError(
    `Expected \`secrets\` of ${what} to be a regular expression or false, but got ${describe(secrets)}.\nFor example \`secrets: /password/i\` for the names to mask; left out, names that sound secret are masked.`,
  );
}
