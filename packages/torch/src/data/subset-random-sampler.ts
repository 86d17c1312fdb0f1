// Chosen samples in random order.
import type { Generator as RandomGenerator } from "../random.js";
import { drawPermutation } from "./draw.js";
import { Sampler } from "./sampler.js";

/** The given indices in random order, each once. */
export class SubsetRandomSampler extends Sampler {
  /** What is sampled. */
  readonly indices: readonly number[];
  readonly generator: RandomGenerator | undefined;

  constructor(indices: readonly number[], { generator }: { generator?: RandomGenerator | undefined } = {}) {
    super();
    this.indices = indices;
    this.generator = generator;
  }

  override get length(): number {
    return this.indices.length;
  }

  override *[Symbol.iterator](): Generator<number, void> {
    for (const i of drawPermutation(this.indices.length, this.generator)) yield this.indices[i] as number;
  }
}
