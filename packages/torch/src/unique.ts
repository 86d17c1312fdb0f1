// The different elements of a tensor. Python's `torch.unique` chooses among operators; so does this.
import { checkOptions, typeError } from "./check.js";
import { operator } from "./ops.js";
import { Tensor } from "./tensor.js";

/** Options of `unique`. */
export interface UniqueOptions {
  /** In ascending order (default true). */
  sorted?: boolean | undefined;
  /** Also where each element is among the different ones (default false). */
  returnInverse?: boolean | undefined;
  /** Also how often each occurs (default false). */
  returnCounts?: boolean | undefined;
  /** Different slices along this dimension rather than elements. */
  dim?: number | null | undefined;
}

/** The different elements, alone or with the inverse and the counts that were asked for. */
export type Unique<O extends UniqueOptions> = O["returnInverse"] extends true
  ? O["returnCounts"] extends true
    ? [values: Tensor, inverse: Tensor, counts: Tensor]
    : [values: Tensor, inverse: Tensor]
  : O["returnCounts"] extends true
    ? [values: Tensor, counts: Tensor]
    : Tensor;

/**
 * The different elements of a tensor.
 * @example
 * const [values, counts] = torch.unique(labels, { returnCounts: true });
 */
export function unique<const O extends UniqueOptions = Record<never, never>>(input: Tensor, options?: O): Unique<O> {
  if (!(input instanceof Tensor)) throw typeError("input", "a Tensor", input);
  const given: UniqueOptions = options ?? {};
  checkOptions(given, ["sorted", "returnInverse", "returnCounts", "dim"], "torch.unique(x, { returnCounts: true })");
  const { sorted = true, returnInverse = false, returnCounts = false, dim = null } = given;
  const [values, inverse, counts] = (
    dim === null
      ? operator("aten", "_unique2")(input, sorted, returnInverse, returnCounts)
      : operator("aten", "unique_dim")(input, dim, sorted, returnInverse, returnCounts)
  ) as [Tensor, Tensor, Tensor];
  const all = [values, ...(returnInverse ? [inverse] : []), ...(returnCounts ? [counts] : [])];
  return (all.length === 1 ? values : all) as Unique<O>;
}

declare module "./tensor.js" {
  interface Tensor {
    /** The different elements: see `torch.unique`. */
    unique<const O extends UniqueOptions = Record<never, never>>(options?: O): Unique<O>;
  }
}

Tensor.prototype.unique = function (options) {
  return unique(this, options);
};
