// What cannot be saved, with errors that name its place in the value.
import { PyFloat, Tuple } from "./python-types.js";

/** internal: the way to a part of a value: names, indices, and keys of maps. */
export type Path = (string | number | Key)[];

/** internal: a key of a map, on the way to a part of a value. */
export class Key {
  constructor(readonly key: unknown) {}
}

/** internal: values are saved as deep as this. */
export const mostNesting = 1000;

/** internal: the error for a value of a kind that is not saved. */
export function cannotSave(value: unknown, where: string): TypeError {
  if ((typeof value === "object" || typeof value === "function") && value !== null && "stateDict" in value) {
    return new TypeError(
      `${where} is ${kindOf(value)}, which cannot be saved itself.\nSave its values: ${where}.stateDict().`,
    );
  }
  if (value === undefined)
    return new TypeError(`${where} is undefined, which cannot be saved.\nUse null, or leave it out.`);
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) {
    return new TypeError(
      `${where} is ${kindOf(value)}, which cannot be saved.\nMake it a tensor with torch.fromTypedArray(array).`,
    );
  }
  return new TypeError(
    `${where} is ${kindOf(value)}, which cannot be saved.\n` +
      "Save tensors, numbers, strings, booleans, null, arrays, tuples, maps, sets and plain objects.",
  );
}

/** internal: the error for a cycle. */
export function containsItself(where: string): TypeError {
  return new TypeError(`${where} contains itself, which cannot be saved.\nSave data without cycles.`);
}

/** internal: the error for what is nested too deep. */
export function tooDeep(where: string): TypeError {
  return new TypeError(
    `${where} is nested more than ${mostNesting} deep, which cannot be saved.\nSave a flatter structure.`,
  );
}

/** internal: an object without a class of its own, whose keys are strings. */
export function checkPlain(value: object, where: () => string): Record<string, unknown> {
  const prototype = Object.getPrototypeOf(value) as object | null;
  if (prototype !== null && prototype !== Object.prototype) throw cannotSave(value, where());
  if (typeof (value as { stateDict?: unknown }).stateDict === "function") throw cannotSave(value, where());
  if (Object.getOwnPropertySymbols(value).length > 0)
    throw new TypeError(`${where()} has a symbol as a key, which cannot be saved.\nUse strings as keys.`);
  return value as Record<string, unknown>;
}

const keyTypes = new Set(["string", "number", "bigint", "boolean"]);

/** internal: Python needs keys of dicts and items of sets that never change. */
export function checkKey(key: unknown, where: () => string): void {
  if (key === null || keyTypes.has(typeof key) || key instanceof PyFloat) return;
  if (!(key instanceof Tuple)) {
    throw new TypeError(
      `${where()} has a key or item that is ${kindOf(key)}; Python has no such keys.\n` +
        "Use strings, numbers, booleans, null or tuples of them.",
    );
  }
  for (const item of key) checkKey(item, where);
}

/** internal: how a part of the value is reached: `value.options[3]`. */
export function pathText(path: Readonly<Path>): string {
  let text = "value";
  for (const step of path) {
    if (typeof step === "number") text += `[${step}]`;
    else if (step instanceof Key)
      text += `.get(${typeof step.key === "string" ? JSON.stringify(step.key) : String(step.key)})`;
    else text += /^[A-Za-z_$][\w$]*$/.test(step) ? `.${step}` : `[${JSON.stringify(step)}]`;
  }
  return text;
}

function kindOf(value: unknown): string {
  if (typeof value === "symbol") return "a symbol";
  if (typeof value === "function" && !("stateDict" in value)) return "a function";
  const name = (Object.getPrototypeOf(value) as { constructor?: { name?: string } } | null)?.constructor?.name;
  if (typeof value !== "object" && typeof value !== "function") return `a ${typeof value}`;
  // "an Adam", "an SGD".
  return name ? `${/^([AEIO]|[FLMNRSX][A-Z])/.test(name) ? "an" : "a"} ${name}` : "an object";
}
