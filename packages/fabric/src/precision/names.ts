// The names of precisions and their historical aliases.
import { ConfigurationError, NotSupportedError } from "@fabric-ts/torch/base";
import { describe } from "../utilities/describe.js";

/** `true`: weights and computation in that type. `mixed`: float32 weights, autocast computation. */
export type PrecisionName =
  | "transformer-engine"
  | "transformer-engine-float16"
  | "16-true"
  | "16-mixed"
  | "bf16-true"
  | "bf16-mixed"
  | "32-true"
  | "64-true";

/** What `precision` accepts: the names, and the historical aliases of four of them. */
export type PrecisionInput = PrecisionName | 64 | 32 | 16 | "64" | "32" | "16" | "bf16";

const names: readonly PrecisionName[] = [
  "transformer-engine",
  "transformer-engine-float16",
  "16-true",
  "16-mixed",
  "bf16-true",
  "bf16-mixed",
  "32-true",
  "64-true",
];
const aliases = new Map<string, PrecisionName>([
  ["64", "64-true"],
  ["32", "32-true"],
  ["16", "16-mixed"],
  ["bf16", "bf16-mixed"],
]);

/** internal: all texts that `precision` accepts. */
export const precisionChoices: readonly string[] = [...names, ...aliases.keys()];

/** Modes of bitsandbytes, which people try as names of a precision. */
const quantized = ["nf4", "nf4-dq", "fp4", "fp4-dq", "int8", "int8-training", "bitsandbytes"];

/** internal: the canonical name for what the user gave, with a warning about some aliases; nothing given means `32-true`. */
export function precisionName(given: unknown, warn: (text: string) => void): PrecisionName {
  if (given === undefined || given === null) return "32-true";
  if (names.includes(given as PrecisionName)) return given as PrecisionName;
  if (typeof given === "string" && quantized.includes(given.toLowerCase())) {
    throw noBitsandbytes(given);
  }
  const known = typeof given === "string" || typeof given === "number";
  const canonical = known ? aliases.get(String(given)) : undefined;
  if (canonical === undefined) {
    throw new ConfigurationError(
      `Precision ${describe(given)} is invalid. Allowed precision values: ${[...names, ...aliases.keys()].join(", ")}.`,
    );
  }
  if (canonical.endsWith("-mixed")) {
    warn(
      `\`precision: ${describe(given)}\` is supported for historical reasons but its usage is discouraged. Please set your precision to "${canonical}" instead.`,
    );
  }
  return canonical;
}

/** internal: what is said to those who want weights in 4 or 8 bits. */
export function noBitsandbytes(mode: unknown): NotSupportedError {
  return new NotSupportedError(
    `The precision ${describe(mode)} is not available: bitsandbytes is a Python library for CUDA.`,
    { hint: 'Use `precision: "bf16-true"` for half the memory, or convert the layers in a `Precision` of your own.' },
  );
}
