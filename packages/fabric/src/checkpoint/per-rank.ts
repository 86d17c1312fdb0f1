// State that differs from rank to rank, such as random number generators: every rank's is in the one file.
import { CheckpointError, data } from "@fabric-ts/torch";
import { isPlainObject, setOwn } from "../utilities/apply-to-collection.js";
import { describe } from "../utilities/describe.js";
import { rankZeroWarn } from "../utilities/rank-zero.js";
import { isStateful, type Stateful } from "./state.js";

/** A stateful object whose state is saved for every rank, and of which each rank gets its own back. */
export interface PerRankStateful extends Stateful {
  readonly perRank: true;
}

const key = "per_rank";

/** internal: true for data loaders and for objects that say so with `perRank: true`. */
export function isPerRank(value: unknown): boolean {
  return value instanceof data.DataLoader || (value as { perRank?: unknown } | null)?.perRank === true;
}

/** internal: this rank's part of a converted state: the entries that differ from rank to rank. */
export function sharesOf(state: object, converted: Record<string, unknown>): Record<string, unknown> {
  const shares: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(state)) {
    if (isStateful(value) && isPerRank(value) && Object.hasOwn(converted, name)) setOwn(shares, name, converted[name]);
  }
  return shares;
}

/** internal: what is stored for the states of all ranks, in order. */
export function joinShares(shares: unknown[]): Record<string, unknown> {
  return { [key]: shares };
}

/** internal: a rank's part of what was stored, or undefined when there was no such rank. */
export function ownShare(stored: unknown, rank: number): unknown {
  if (!isPlainObject(stored) || !Array.isArray(stored[key])) {
    throw new CheckpointError(
      `Expected a state with one part for each rank, but the checkpoint has ${describe(stored)}.`,
      {
        hint: "It was saved with another kind of object under this key.",
      },
    );
  }
  const shares = stored[key] as unknown[];
  if (rank < shares.length) return shares[rank];
  rankZeroWarn(
    `The checkpoint was saved by ${shares.length} processes: rank ${rank} keeps the state of its own that is saved for each rank.`,
  );
  return undefined;
}
