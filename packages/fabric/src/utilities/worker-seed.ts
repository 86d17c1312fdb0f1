// The seeds of data-loading workers, so that no two workers of a job draw the same numbers.
import { type Generator, initialSeed, manualSeed } from "@fabric-ts/torch";
import { currentRank } from "./rank-zero.js";

const uint64 = (value: bigint): bigint => BigInt.asUintN(64, value);

/**
 * Four seeds of 64 bits for the worker `workerId` of the process `rank`: the first is for the engine, the second and third are for random
 * numbers of the host language, as Lightning uses them. Mixed with MurmurHash3's finalizer and drawn from Knuth's linear congruential generator.
 *
 * @param base the seed that all workers of the loader have in common
 */
export function workerSeeds(
  base: bigint | number,
  workerId: number,
  rank: number,
): [engine: bigint, second: bigint, third: bigint, fourth: bigint] {
  let state = (BigInt(base) << 32n) | (BigInt(workerId) << 16n) | BigInt(rank);
  state ^= state >> 33n;
  state = uint64(state * 0xff51afd7ed558ccdn);
  state ^= state >> 33n;
  state = uint64(state * 0xc4ceb9fe1a85ec53n);
  state ^= state >> 33n;
  const next = (): bigint => {
    state = uint64(state * 6364136223846793005n + 1n);
    return state;
  };
  return [next(), next(), next(), next()];
}

/**
 * Seeds a worker whose generator was started with the loader's base seed plus the worker's number: the generator draws numbers of its own
 * from then on. `generator` is the worker's (default: the engine's, which all threads of a process share); `rank` this process' global rank.
 */
export function workerInitFunction(workerId: number, rank: number = currentRank(), generator?: Generator): void {
  const base = (generator?.initialSeed() ?? initialSeed()) - BigInt(workerId);
  const [seed] = workerSeeds(base, workerId, rank);
  if (generator) generator.manualSeed(seed);
  else manualSeed(seed);
}
