// Samples that are the rows of tensors.
import { describe } from "../check.js";
import { ConfigurationError } from "../errors.js";
import { native } from "../native.js";
import { operator } from "../ops.js";
import { Tensor, wrapHandle } from "../tensor.js";
import { checkIndex, Dataset } from "./dataset.js";

const select = operator("aten", "select.int");
const indexSelect = operator("aten", "index_select");

/**
 * A dataset over tensors of equal first size: sample `i` is the list of their `i`-th rows.
 *
 *     const dataset = new data.TensorDataset(images, labels);
 */
export class TensorDataset<T extends readonly Tensor[]> extends Dataset<{ -readonly [K in keyof T]: Tensor }> {
  /** The tensors. */
  readonly tensors: T;
  readonly #length: number;

  /** @throws ConfigurationError when the first sizes differ */
  constructor(...tensors: T) {
    super();
    if (tensors.length === 0) {
      throw new ConfigurationError("A TensorDataset needs at least one tensor.", {
        hint: "Type `new data.TensorDataset(x, y)`.",
      });
    }
    tensors.forEach((tensor: unknown, i) => {
      if (tensor instanceof Tensor) return;
      throw new TypeError(
        `Expected argument ${i} of TensorDataset to be a Tensor, but got ${describe(tensor)}.\nType \`new data.TensorDataset(x, y)\`.`,
      );
    });
    const sizes = tensors.map((tensor) => tensor.shape[0] ?? -1);
    if (sizes.includes(-1) || new Set(sizes).size > 1) {
      throw new ConfigurationError(
        `The tensors of a TensorDataset have to agree in their first size, but have the shapes ${tensors.map((t) => `[${t.shape.join(", ")}]`).join(" and ")}.`,
      );
    }
    this.tensors = tensors;
    this.#length = sizes[0] as number;
  }

  get length(): number {
    return this.#length;
  }

  get(index: number): { -readonly [K in keyof T]: Tensor } {
    checkIndex(index, this.#length);
    return this.tensors.map((tensor) => select(tensor, 0, index)) as { -readonly [K in keyof T]: Tensor };
  }

  /** internal: the rows of a batch, copied at once; the elements are those of stacking the single rows. */
  getBatch(indices: readonly number[]): Tensor[] {
    for (const index of indices) checkIndex(index, this.#length);
    const rows = wrapHandle(native().fromBytes(Int32Array.from(indices), "int32", [indices.length]));
    try {
      return this.tensors.map((tensor) => {
        const device = tensor.device;
        if (device === "cpu") return indexSelect(tensor, 0, rows) as Tensor;
        return indexSelect(tensor, 0, operator("aten", "_to_copy")(rows, { device })) as Tensor;
      });
    } finally {
      rows.dispose();
    }
  }
}
