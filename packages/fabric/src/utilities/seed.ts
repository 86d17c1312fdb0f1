// One seed for all sources of randomness, remembered in the environment so that launched ranks use the same one.
import * as torch from "@fabric-ts/torch";
import { ConfigurationError } from "@fabric-ts/torch";
import { describe } from "./describe.js";
import { info, rankFromEnvironment, rankPrefixedMessage, rankZeroWarn } from "./rank-zero.js";

const maxSeed = 2 ** 32 - 1;

/** Options of `seedEverything`. */
export interface SeedOptions {
  /** Also give each data-loading worker a seed of its own (default: true as `Fabric.seedEverything`, false as the function). */
  workers?: boolean | undefined;
  /** Say which seed was set (default true). */
  verbose?: boolean | undefined;
}

/**
 * Seeds the engine's generators on all devices with the same number on every rank and stores it in `PL_GLOBAL_SEED`.
 * Without a seed, `PL_GLOBAL_SEED` is used, and 0 when that is not set. Returns the seed.
 */
export function seedEverything(seed?: number | null, options: SeedOptions = {}): number {
  const { workers = false, verbose = true } = options;
  const chosen = chooseSeed(seed, verbose);
  if (!(chosen >= 0 && chosen <= maxSeed)) {
    throw new ConfigurationError(`The seed ${chosen} is not in bounds, it can be from 0 to ${maxSeed}.`, {
      hint: `Take one within, such as \`seedEverything(${((Math.trunc(chosen) % (maxSeed + 1)) + maxSeed + 1) % (maxSeed + 1)})\`.`,
    });
  }
  if (verbose) info(rankPrefixedMessage(`Seed set to ${chosen}`, rankFromEnvironment()));
  process.env.PL_GLOBAL_SEED = String(chosen);
  process.env.PL_SEED_WORKERS = workers ? "1" : "0";
  torch.manualSeed(chosen);
  return chosen;
}

/** Seeds again, silently, with what `seedEverything` stored; does nothing when it was never called. */
export function resetSeed(): void {
  if (process.env.PL_GLOBAL_SEED === undefined) return;
  seedEverything(undefined, { workers: areWorkersSeeded(), verbose: false });
}

/** internal: whether data-loading workers get seeds of their own, as `seedEverything` was told, here or in the launching process. */
export function areWorkersSeeded(): boolean {
  return Number(process.env.PL_SEED_WORKERS ?? 0) !== 0;
}

function chooseSeed(seed: number | null | undefined, verbose: boolean): number {
  if (seed !== undefined && seed !== null) {
    if (typeof seed !== "number" || !Number.isFinite(seed)) {
      const digits = typeof seed === "string" || typeof seed === "bigint" ? Number(seed) : Number.NaN;
      const example = Number.isFinite(digits) ? Math.trunc(digits) : 42;
      throw new TypeError(
        `Expected \`seed\` to be a number, but got ${describe(seed)}.\nType \`seedEverything(${example})\`.`,
      );
    }
    return Math.trunc(seed);
  }
  const stored = process.env.PL_GLOBAL_SEED;
  if (stored === undefined) {
    if (verbose) rankZeroWarn("No seed found, seed set to 0");
    return 0;
  }
  if (!/^\s*[+-]?\d+\s*$/.test(stored)) {
    throw new ConfigurationError(`Invalid seed specified via PL_GLOBAL_SEED: ${describe(stored)}.`, {
      hint: "Set it to a whole number, or remove it.",
    });
  }
  return Number(stored);
}
