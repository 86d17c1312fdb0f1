// internal: the decay rates of two running averages, which Adam and its relatives have.
import { describe } from "../check.js";
import { ConfigurationError } from "../errors.js";

/** internal: refuses anything but two numbers from 0 up to 1. */
export function checkBetas(betas: unknown): void {
  if (Array.isArray(betas) && betas.length === 2 && betas.every((beta) => beta >= 0 && beta < 1)) return;
  throw new ConfigurationError(
    `\`betas\` has to be two numbers from 0 up to, not including, 1, but is ${describe(betas)}.`,
    { hint: "Type `{ betas: [0.9, 0.999] }`." },
  );
}
