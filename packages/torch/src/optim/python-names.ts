// internal: option names and values as Python spells them, for state dictionaries and printing.
import { pyBool, pyFloat, pyTuple } from "../nn/python-text.js";

/** internal: `weightDecay` -> `weight_decay`. */
export function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** internal: `weight_decay` -> `weightDecay`. */
export function camelCase(name: string): string {
  return name.replace(/(?<=[a-z0-9])_+([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}

/** internal: options, by Python's names, that are floats there. The others (a history's length) may be ints. */
export const floatOptions: ReadonlySet<string> = new Set(
  `lr initial_lr max_lr min_lr lr_decay momentum base_momentum max_momentum momentum_decay dampening weight_decay betas eps
  alpha lambd rho etas step_sizes t0 tolerance_grad tolerance_change`.split(/\s+/),
);

/** internal: an option's value as Python prints it. */
export function pyValue(value: unknown): string {
  if (value === null || value === undefined) return "None";
  if (typeof value === "boolean") return pyBool(value);
  if (typeof value === "number") return Number.isInteger(value) ? String(value) : pyFloat(value);
  if (Array.isArray(value)) return pyTuple(value.map(pyValue));
  return String(value);
}
