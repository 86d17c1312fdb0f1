// The rank of this process as far as messages are concerned, and functions that run on rank zero only.
import { emitWarning, type WarningKind } from "./warnings.js";

const rankVariables = ["RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK"];

// Undefined until it is first read: the environment decides then, strategies and cluster environments later.
let rank: number | undefined;

/** The global rank of this process as known so far: set by the strategy, before that read from the environment, else 0. */
export function currentRank(): number {
  rank ??= rankFromEnvironment() ?? 0;
  return rank;
}

/** internal: called by strategies and cluster environments once they know better. */
export function setCurrentRank(value: number): void {
  rank = value;
}

/** internal: the first rank variable that is set, or undefined when there is none. */
export function rankFromEnvironment(env: NodeJS.ProcessEnv = process.env): number | undefined {
  for (const name of rankVariables) {
    const value = env[name];
    if (value !== undefined && /^\d+$/.test(value.trim())) return Number(value);
  }
  return undefined;
}

/** A function that runs `fn` on rank zero and returns `otherwise` (default undefined) on all other ranks. */
export function rankZeroOnly<A extends unknown[], R, D = undefined>(
  fn: (...args: A) => R,
  otherwise?: D,
): (...args: A) => R | D {
  return (...args) => (currentRank() === 0 ? fn(...args) : (otherwise as D));
}

/** Writes a line to standard error on rank zero. */
export function rankZeroInfo(message: string): void {
  if (currentRank() === 0) process.stderr.write(`${message}\n`);
}

/** Warns on rank zero. */
export function rankZeroWarn(message: string, kind: WarningKind = "UserWarning"): void {
  if (currentRank() === 0) emitWarning(message, kind);
}

/** Warns on rank zero that something will go away. */
export function rankZeroDeprecation(message: string): void {
  rankZeroWarn(message, "DeprecationWarning");
}
