// For tests with random inputs: numbers from a seed, and the rule that every reader keeps.
import assert from "node:assert/strict";
import { CheckpointError } from "../../../dist/errors.js";

/** Mulberry32: numbers in [0, 1) that are the same for the same seed. */
export function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** True when `read` succeeds, false for a CheckpointError; anything else, or more than `most` ms, fails the test. */
export function survives(read: () => unknown, what: () => string, most = 100): boolean {
  let fastest = Number.POSITIVE_INFINITY;
  let ok = false;
  for (let run = 0; run < 3 && fastest > most; run++) {
    const start = process.cpuUsage();
    try {
      read();
      ok = true;
    } catch (error) {
      if (!(error instanceof CheckpointError)) throw new Error(`${String(error)} for ${what()}`, { cause: error });
    }
    fastest = Math.min(fastest, process.cpuUsage(start).user / 1000);
  }
  assert.ok(fastest <= most, `${fastest} ms for ${what()}`);
  return ok;
}
