// The rank of this process as far as messages are concerned, and functions that run on rank zero only.
import { debuglog } from "node:util";
import { UsageError } from "@fabric-ts/torch";
import { describe } from "./describe.js";
import { emitWarning, type WarningKind } from "./warnings.js";

const rankVariables = [
  "RANK",
  "LOCAL_RANK",
  "OMPI_COMM_WORLD_RANK",
  "SLURM_PROCID",
  "JSM_NAMESPACE_RANK",
  "MV2_COMM_WORLD_RANK",
  "PMI_RANK",
];

// Undefined until it is first read: the environment decides then, strategies and cluster environments later. Null: taken away.
let rank: number | null | undefined;

/** The global rank of this process as known so far: set by the strategy, before that read from the environment, else 0. */
export function currentRank(): number {
  if (rank === undefined) rank = rankFromEnvironment() ?? 0;
  if (rank !== null) return rank;
  throw new UsageError("The `rankZeroOnly.rank` needs to be set before use.", {
    hint: "Set it to the rank of this process: `rankZeroOnly.rank = 0`.",
  });
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

/** What `rankZeroOnly` is: a function, a decorator for methods that return nothing, and the rank that it goes by. */
export interface RankZeroOnly {
  <T, A extends unknown[], R>(
    fn: (this: T, ...args: A) => R,
    context: ClassMethodDecoratorContext,
  ): (this: T, ...args: A) => R | undefined;
  <T, A extends unknown[], R, D = undefined>(
    fn: (this: T, ...args: A) => R,
    otherwise?: D,
  ): (this: T, ...args: A) => R | D;
  /** The rank of this process: set by Fabric, before that read from the environment, else 0. */
  rank: number | null | undefined;
}

/**
 * A function that runs `fn` on rank zero and returns `otherwise` (default undefined) on all other ranks. Also a decorator:
 * `@rankZeroOnly saveImage(): void { ... }`.
 */
export const rankZeroOnly: RankZeroOnly = Object.defineProperty(onRankZero as RankZeroOnly, "rank", {
  get: () => (rank === null ? undefined : currentRank()),
  set: (value: number | null | undefined) => {
    rank = value ?? null;
  },
});

function onRankZero(fn: (...args: unknown[]) => unknown, otherwise?: unknown): (...args: unknown[]) => unknown {
  if (typeof fn !== "function") {
    throw new TypeError(
      `Expected \`rankZeroOnly\` to be given a function, but got ${describe(fn)}.\nType \`rankZeroOnly(() => ...)()\`.`,
    );
  }
  const fallback = isDecoratorContext(otherwise) ? undefined : otherwise;
  return function (this: unknown, ...args: unknown[]) {
    return currentRank() === 0 ? fn.apply(this, args) : fallback;
  };
}

function isDecoratorContext(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  const { kind, addInitializer } = value as Partial<ClassMethodDecoratorContext>;
  return kind === "method" && typeof addInitializer === "function";
}

/** `[rank: N] message`, or the message alone where there is no rank. */
export function rankPrefixedMessage(message: string, rank: number | null | undefined): string {
  return rank === null || rank === undefined ? message : `[rank: ${rank}] ${message}`;
}

/** internal: writes a line to standard error, on every rank. */
export function info(message: string): void {
  process.stderr.write(`${message}\n`);
}

const writeDebug = debuglog("fabric");

/** Writes a line to standard error on rank zero when `NODE_DEBUG=fabric` is set. */
export function rankZeroDebug(message: string): void {
  if (currentRank() === 0) writeDebug("%s", message);
}

/** Writes a line to standard error on rank zero. */
export function rankZeroInfo(message: string): void {
  if (currentRank() === 0) info(message);
}

/** Warns on rank zero. */
export function rankZeroWarn(message: string, kind: WarningKind = "UserWarning"): void {
  if (currentRank() === 0) emitWarning(message, kind);
}

/** Warns on rank zero that something will go away. */
export function rankZeroDeprecation(message: string): void {
  rankZeroWarn(message, "DeprecationWarning");
}

/** The messages that were given, so that each is given once: on rank zero, as with the functions of these names. */
export class WarningCache extends Set<string> {
  /** Warns, the first time. */
  warn(message: string, kind: WarningKind = "UserWarning"): void {
    if (this.#isNew(message)) rankZeroWarn(message, kind);
  }
  /** Warns that something will go away, the first time. */
  deprecation(message: string): void {
    if (this.#isNew(message)) rankZeroDeprecation(message);
  }
  /** Writes a line to standard error, the first time. */
  info(message: string): void {
    if (this.#isNew(message)) rankZeroInfo(message);
  }

  #isNew(message: string): boolean {
    if (this.has(message)) return false;
    this.add(message);
    return true;
  }
}
