// Indexing in the manner of Python's `x[...]`: `x.at(0, "1:3", "...", null)`, and assignment with `x.setAt([...], value)`.
import { describe, typeError } from "./check.js";
import { tensor } from "./creation.js";
import { operator, type Scalar } from "./ops.js";
import { Tensor } from "./tensor.js";

/**
 * One entry of an index: a position; a slice written as in Python (`":"`, `"1:3"`, `"::2"`, `"-2:"`); `"..."` for the dimensions
 * not named; null for a new dimension; or positions (int64) or a mask (bool) as a tensor or an array.
 */
export type Index = number | string | null | Tensor | readonly number[] | readonly boolean[];

declare module "./tensor.js" {
  interface Tensor {
    /**
     * The elements at `indices`, one entry for each dimension from the first; fewer mean all of the rest. Numbers, slices and
     * null give a view, tensors and arrays a copy.
     *
     *     x.at(0);            // x[0]
     *     x.at(":", "1:3");   // x[:, 1:3]
     *     x.at(mask);         // x[mask]
     */
    at(...indices: Index[]): Tensor;
    /** Writes `value` to the elements that `at(...indices)` gives, and returns this tensor. */
    setAt(indices: Index | readonly Index[], value: Tensor | Scalar): this;
  }
}

const select = operator("aten", "select.int");
const slice = operator("aten", "slice.Tensor");
const unsqueeze = operator("aten", "unsqueeze");
const gather = operator("aten", "index.Tensor");
const put = operator("aten", "index_put_");
const make = operator("aten", "scalar_tensor");

function sliceOf(text: string): [number | null, number | null, number] {
  const parts = text.split(":").map((part) => part.trim());
  const isSlice = parts.length >= 2 && parts.length <= 3 && parts.every((part) => /^(-?\d+)?$/.test(part));
  if (!isSlice) throw typeError("index", `a slice such as "1:3", "::2" or "..."`, text);
  const [start, end, step] = parts.map((part) => (part === "" ? null : Number(part)));
  if (step === 0 || (step ?? 1) < 0)
    throw new RangeError(
      `The step of the slice ${describe(text)} must be positive.\nUse \`flip\` to reverse a dimension.`,
    );
  return [start ?? null, end ?? null, step ?? 1];
}

// How many dimensions an entry takes from the tensor.
function consumed(index: Index): number {
  if (index === null || index === "...") return 0;
  return index instanceof Tensor && index.dtype === "bool" ? index.ndim : 1;
}

function indexTensor(list: readonly number[] | readonly boolean[], like: Tensor): Tensor {
  const made = tensor(list, list.length === 0 ? { dtype: "int64", device: "cpu" } : { device: "cpu" });
  if (made.dtype !== "int64" && made.dtype !== "bool") {
    throw typeError("index", "an array of whole numbers or of booleans", list);
  }
  return made.to(like.device);
}

// The view that numbers, slices and null give, and for each of its dimensions the tensor that indexes it.
function apply(base: Tensor, indices: readonly Index[]): { view: Tensor; tensors: (Tensor | null)[] } {
  const named = indices.reduce((sum: number, index) => sum + consumed(index), 0);
  if (named > base.ndim) {
    throw new RangeError(`Too many indices: ${named} for a tensor with ${base.ndim} dimensions.`);
  }
  let view = base;
  let dim = 0;
  const tensors: (Tensor | null)[] = [];
  let covered = 0; // dimensions that `tensors` speaks of: a mask takes as many as it has
  for (const index of indices) {
    if (typeof index === "number") {
      if (!Number.isSafeInteger(index)) throw typeError("index", "a whole number", index);
      view = select(view, dim, index) as Tensor;
    } else if (index === "...") {
      dim += base.ndim - named;
    } else if (typeof index === "string") {
      view = slice(view, dim++, ...sliceOf(index)) as Tensor;
    } else if (index === null) {
      view = unsqueeze(view, dim++) as Tensor;
    } else if (index instanceof Tensor || Array.isArray(index)) {
      const by = index instanceof Tensor ? index : indexTensor(index as readonly number[], base);
      for (; covered < dim; covered++) tensors.push(null);
      tensors.push(by);
      dim += consumed(by);
      covered = dim;
    } else {
      throw typeError("index", `a number, a slice such as "1:3", "...", null, a Tensor or an array`, index);
    }
  }
  return { view, tensors };
}

const methods = {
  at(this: Tensor, ...indices: Index[]): Tensor {
    const { view, tensors } = apply(this, indices);
    return tensors.length === 0 ? view : (gather(view, tensors) as Tensor);
  },
  setAt(this: Tensor, indices: Index | readonly Index[], value: Tensor | Scalar): Tensor {
    const { view, tensors } = apply(this, (Array.isArray(indices) ? indices : [indices]) as readonly Index[]);
    const source =
      value instanceof Tensor ? value : (make(value, { dtype: this.dtype, device: this.device }) as Tensor);
    if (tensors.length === 0) view.copy_(source);
    else put(view, tensors, source.to(this.dtype));
    return this;
  },
};

for (const [key, value] of Object.entries(methods)) {
  Object.defineProperty(Tensor.prototype, key, { value, writable: true, configurable: true });
}
