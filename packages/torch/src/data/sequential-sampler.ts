// Samples in their own order.
import { Sampler } from "./sampler.js";

/** All indices of a dataset from first to last. */
export class SequentialSampler extends Sampler {
  /** What is sampled. */
  readonly dataSource: { readonly length: number };

  constructor(dataSource: { readonly length: number }) {
    super();
    this.dataSource = dataSource;
  }

  override get length(): number {
    return this.dataSource.length;
  }

  override *[Symbol.iterator](): Generator<number, void> {
    const n = this.dataSource.length;
    for (let i = 0; i < n; i++) yield i;
  }
}
