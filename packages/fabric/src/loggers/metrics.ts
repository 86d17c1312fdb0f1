// Metrics on their way into a logger: checked, on rank zero only, tensors as numbers, numbered and throttled.
import { ConfigurationError } from "@fabric-ts/torch";
import { setOwn } from "../utilities/apply-to-collection.js";
import { convertTensorsToScalars } from "../utilities/convert.js";
import { describe } from "../utilities/describe.js";
import { currentRank } from "../utilities/rank-zero.js";
import { isRecord } from "./record.js";
import { Throttle } from "./throttle.js";

/** internal: options that all loggers of this package take. */
export interface MetricOptions {
  /** Put before each metric's name, with a dash. Default `""`. */
  prefix?: string | undefined;
  /** Record the first entry of each block of this many steps only. Default 1: everything. */
  every?: number | undefined;
}

/** internal: one call of `logMetrics`, ready to be recorded. */
export interface Entry {
  step: number;
  metrics: Record<string, unknown>;
}

/** internal: what the `logMetrics` of a logger of this package begins with. */
export class MetricIntake {
  /** How many entries came through this logger, also those before it in a file that it continues. */
  count = 0;
  readonly #prefix: string;
  readonly #every: number;
  readonly #throttle = new Throttle();

  constructor(what: string, { prefix = "", every = 1 }: MetricOptions) {
    if (typeof prefix !== "string")
      throw new TypeError(`Expected \`prefix\` of ${what} to be a string, but got ${describe(prefix)}.`);
    this.#prefix = prefix;
    this.#every = checkEvery(what, every);
  }

  /** The entry to record, or null: on other ranks, and between the steps that are recorded. Without a step, entries are numbered. */
  take(metrics: unknown, step?: number): Entry | null {
    if (currentRank() !== 0) return null;
    const checked = metricsOf(metrics);
    checkStep(step);
    const at = step ?? this.count;
    this.count++;
    if (!this.#throttle.isDue(checked, at, this.#every)) return null;
    const numbers = convertTensorsToScalars(checked) as Record<string, unknown>;
    return { step: at, metrics: addPrefix(numbers, this.#prefix, "-") };
  }
}

/** Puts a prefix before each name; the same object where the prefix is empty. */
export function addPrefix<T extends Record<string, unknown>>(metrics: T, prefix: string, separator: string): T {
  if (prefix === "") return metrics;
  const result = {};
  for (const [name, value] of Object.entries(metrics)) setOwn(result, `${prefix}${separator}${name}`, value);
  return result as T;
}

/** internal: metrics as an object by name; Maps are taken, too. */
export function metricsOf(metrics: unknown): Record<string, unknown> {
  if (metrics instanceof Map) {
    const result = {};
    for (const [name, value] of metrics) setOwn(result, String(name), value);
    return result;
  }
  if (isRecord(metrics)) return metrics;
  throw new TypeError(
    `Expected metrics to be an object, but got ${describe(metrics)}.\nThey go by name, such as \`fabric.logDict({ loss: 0.5 }, step)\` or \`fabric.log("loss", 0.5, step)\`.`,
  );
}

/** internal: a step is a finite number, or missing. */
export function checkStep(step: unknown): void {
  if (step === undefined || step === null || (typeof step === "number" && Number.isFinite(step))) return;
  throw new TypeError(
    `Expected \`step\` to be a number, but got ${describe(step)}.\nPass the number of the step, or leave it out.`,
  );
}

/** internal: an interval of steps. */
export function checkEvery(what: string, every: unknown): number {
  if (typeof every === "number" && every >= 1 && Number.isFinite(every)) return every;
  throw new ConfigurationError(`Expected \`every\` of ${what} to be a number of steps, but got ${describe(every)}.`, {
    hint: "For example `every: 50`; 1 records every step.",
  });
}
