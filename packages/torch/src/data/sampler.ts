// The order in which samples are read.

/** A sampler's length, where it is known: define `get length()`. */
// biome-ignore lint/correctness/noUnusedVariables: merged declarations have the same type parameters
export interface Sampler<T = number> {
  /** How many values a pass gives. A loader without it cannot tell its own length. */
  readonly length?: number | undefined;
}
/**
 * Base class of samplers: an iterable of indices that starts anew each time. Define `*[Symbol.iterator]()` and, where it is
 * known, `get length()`; `setEpoch(epoch)` is called before each pass where it exists.
 */
// biome-ignore lint/suspicious/noUnsafeDeclarationMerging: the optional member is declared above, without a value
export abstract class Sampler<T = number> implements Iterable<T> {
  abstract [Symbol.iterator](): Iterator<T>;
}

/** What a loader takes as a sampler: any iterable, with a length where it is known. */
export type SamplerLike<T = number> = Iterable<T> & { readonly length?: number | undefined };
