// internal: checks of the arguments that layers are made with. Each text ends with what to type instead.
import { describe, typeError } from "../check.js";
import type { Device, Dtype } from "../dtype.js";
import { ConfigurationError } from "../errors.js";

export { checkOptions } from "../check.js";

/** Where a new layer's parameters live and what they are made of; both default to the current defaults. */
export interface FactoryOptions {
  /** Element type of the parameters. */
  dtype?: Dtype | undefined;
  /** Device of the parameters. */
  device?: Device | undefined;
}

/** internal: `{ dtype, device }` as the last argument of a creation operator. */
export function factory(options: FactoryOptions): { dtype?: Dtype | undefined; device?: Device | undefined } {
  return { dtype: options.dtype, device: options.device };
}

/** internal: a whole number of at least `minimum`. */
export function checkSize(name: string, value: unknown, minimum: number, example: string): number {
  if (typeof value !== "number" || !Number.isInteger(value)) {
    throw typeError(name, "a whole number", value, `Type \`${example}\`.`);
  }
  if (value < minimum) {
    throw new ConfigurationError(`\`${name}\` has to be at least ${minimum}, but is ${value}.`, {
      hint: `Type \`${example}\`.`,
    });
  }
  return value;
}

/** internal: a number, with an optional closed range. */
export function checkNumber(name: string, value: unknown, low = -Infinity, high = Infinity): number {
  if (typeof value !== "number") throw typeError(name, "a number", value);
  if (!(value >= low && value <= high)) {
    const range = high === Infinity ? `at least ${low}` : `between ${low} and ${high}`;
    throw new ConfigurationError(`\`${name}\` has to be ${range}, but is ${value}.`);
  }
  return value;
}

/** internal: true or false. */
export function checkBoolean(name: string, value: unknown): boolean {
  if (typeof value !== "boolean") throw typeError(name, "true or false", value);
  return value;
}

/** internal: one of a few words. */
export function checkWord<const T extends string>(name: string, value: unknown, words: readonly T[]): T {
  if (typeof value !== "string") throw typeError(name, `one of ${words.map((w) => `"${w}"`).join(", ")}`, value);
  if (!words.includes(value as T)) {
    throw new ConfigurationError(
      `\`${name}\` is ${describe(value)}, but has to be one of ${words.map((w) => `"${w}"`).join(", ")}.`,
    );
  }
  return value as T;
}

/** internal: one whole number for each of `dims` dimensions, from a number or a list. */
export function checkSizes(name: string, value: unknown, dims: number, minimum: number, example: string): number[] {
  if (Array.isArray(value)) {
    if (value.length !== dims) {
      throw new ConfigurationError(`\`${name}\` has to be a number or a list of ${dims}, but is ${describe(value)}.`, {
        hint: `Type \`${example}\`.`,
      });
    }
    return value.map((item, i) => checkSize(`${name}[${i}]`, item, minimum, example));
  }
  return new Array<number>(dims).fill(checkSize(name, value, minimum, example));
}
