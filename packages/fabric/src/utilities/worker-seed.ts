// A distinct seed for every data-loading worker of every rank.

const mask = (1n << 64n) - 1n;

/**
 * internal: four 64-bit numbers for one worker: the base seed, worker and rank packed into one number, mixed by MurmurHash3's
 * finaliser, then drawn from a linear congruential generator. The same numbers as Lightning Fabric derives.
 */
export function workerSeedSequence(baseSeed: number | bigint, workerId: number, rank: number, count = 4): bigint[] {
  let c = (BigInt(baseSeed) << 32n) | (BigInt(workerId) << 16n) | BigInt(rank);
  c ^= c >> 33n;
  c = (c * 0xff51afd7ed558ccdn) & mask;
  c ^= c >> 33n;
  c = (c * 0xc4ceb9fe1a85ec53n) & mask;
  c ^= c >> 33n;
  const numbers: bigint[] = [];
  for (let i = 0; i < count; i++) {
    c = (c * 6364136223846793005n + 1n) & mask;
    numbers.push(c);
  }
  return numbers;
}
