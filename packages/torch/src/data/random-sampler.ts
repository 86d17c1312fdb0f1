// Samples in random order.
import { typeError } from "../check.js";
import { ConfigurationError } from "../errors.js";
import type { Generator as RandomGenerator } from "../random.js";
import { drawIntegers, drawPermutation, generatorOr } from "./draw.js";
import { Sampler } from "./sampler.js";

/** Options of `RandomSampler`. */
export interface RandomSamplerOptions {
  /** Draw with replacement (default false). */
  replacement?: boolean | undefined;
  /** How many to draw (default: as many as there are samples). */
  numSamples?: number | undefined;
  /** Where to draw from; by default each pass seeds one of its own from the default generator. */
  generator?: RandomGenerator | undefined;
}

/** The indices of a dataset in random order, drawn exactly as `torch.utils.data.RandomSampler` draws them. */
export class RandomSampler extends Sampler {
  /** What is sampled. */
  readonly dataSource: { readonly length: number };
  readonly replacement: boolean;
  readonly generator: RandomGenerator | undefined;
  readonly #numSamples: number | undefined;

  constructor(
    dataSource: { readonly length: number },
    { replacement = false, numSamples, generator }: RandomSamplerOptions = {},
  ) {
    super();
    if (typeof replacement !== "boolean") throw typeError("replacement", "a boolean", replacement);
    this.dataSource = dataSource;
    this.replacement = replacement;
    this.generator = generator;
    this.#numSamples = numSamples;
    if (!Number.isInteger(this.numSamples) || this.numSamples <= 0) {
      throw new ConfigurationError(`\`numSamples\` has to be a positive whole number, but is ${this.numSamples}.`, {
        hint:
          numSamples === undefined
            ? "Is the dataset empty? Then it cannot be shuffled."
            : "Leave it out to draw each sample once.",
      });
    }
  }

  /** How many indices a pass gives. */
  get numSamples(): number {
    return this.#numSamples ?? this.dataSource.length;
  }

  override get length(): number {
    return this.numSamples;
  }

  override *[Symbol.iterator](): Generator<number, void> {
    const n = this.dataSource.length;
    const count = this.numSamples;
    const generator = generatorOr(this.generator);
    if (this.replacement) {
      for (let i = 0; i < Math.floor(count / 32); i++) yield* drawIntegers(n, 32, generator);
      yield* drawIntegers(n, count % 32, generator);
      return;
    }
    for (let i = 0; i < Math.floor(count / n); i++) yield* drawPermutation(n, generator);
    // Drawn even when nothing of it is used: a generator of the user's then goes on as in PyTorch.
    yield* drawPermutation(n, generator).slice(0, count % n);
  }
}
