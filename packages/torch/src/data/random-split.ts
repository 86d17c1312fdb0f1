// Dividing a dataset at random.
import { ConfigurationError } from "../errors.js";
import type { Generator } from "../random.js";
import { checkDataset, type IndexedDataset } from "./dataset.js";
import { drawPermutation } from "./draw.js";
import { Subset } from "./subset.js";

/**
 * Divides a dataset into subsets at random, in PyTorch's order: `lengths` are counts that add up to its length, or shares
 * that add up to 1 (what rounding leaves over goes to the first subsets in turn).
 *
 *     const [train, test] = data.randomSplit(dataset, [0.8, 0.2], { generator: new torch.Generator().manualSeed(42) });
 */
export function randomSplit<T>(
  dataset: IndexedDataset<T> | readonly T[],
  lengths: readonly number[],
  { generator }: { generator?: Generator | undefined } = {},
): Subset<T>[] {
  checkDataset(dataset);
  const counts = countsOf(dataset.length, lengths);
  const total = sum(counts);
  if (total !== dataset.length || counts.some((count) => !Number.isInteger(count) || count < 0)) {
    throw new ConfigurationError(
      `The lengths [${lengths.join(", ")}] do not add up to the ${dataset.length} samples of the dataset.`,
      {
        hint: "Give counts that do, or shares that add up to 1.",
      },
    );
  }
  const order = drawPermutation(total, generator);
  let start = 0;
  return counts.map((count) => {
    const subset = new Subset(dataset, order.slice(start, start + count));
    start += count;
    return subset;
  });
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function countsOf(length: number, lengths: readonly number[]): number[] {
  const total = sum(lengths);
  const areShares = total <= 1 && Math.abs(total - 1) <= 1e-9;
  if (!areShares) return [...lengths];
  lengths.forEach((share, i) => {
    if (!(share >= 0 && share <= 1))
      throw new ConfigurationError(`The share at index ${i} has to be between 0 and 1, but is ${share}.`);
  });
  const counts = lengths.map((share) => Math.floor(length * share));
  const rest = length - sum(counts);
  for (let i = 0; i < rest; i++) counts[i % counts.length] = (counts[i % counts.length] as number) + 1;
  counts.forEach((count, i) => {
    if (count === 0)
      process.emitWarning(`Subset ${i} of the split is empty.`, { type: "UserWarning", code: "FABRIC_DATA" });
  });
  return counts;
}
