// Notices ranks that train on the same data, because a loader was not set up: each rank leaves a fingerprint of its first batch in the
// store, and rank 0 compares them when it has time. No rank waits for another.
import { type distributed, Tensor } from "@fabric-ts/torch";
import { applyToCollection } from "../utilities/apply-to-collection.js";
import { rankZeroWarn } from "../utilities/rank-zero.js";

const attempts = 60;

/** Compares the first inputs of the models that are set up, one after the other. */
export class SameInputs {
  readonly #store: distributed.Store;
  readonly #rank: number;
  readonly #worldSize: number;
  #models = 0;

  constructor(store: distributed.Store, rank: number, worldSize: number) {
    this.#store = store;
    this.#rank = rank;
    this.#worldSize = worldSize;
  }

  /** Leaves the fingerprint of a model's first inputs; every rank calls it in the same order. */
  note(args: readonly unknown[]): void {
    const model = this.#models++;
    if (this.#worldSize === 1) return;
    this.#exchange(model, fingerprint(args)).catch(() => {
      // The store is gone, with the rank that kept it. This was only a hint.
    });
  }

  async #exchange(model: number, own: string): Promise<void> {
    const key = (rank: number): string => `inputs/${model}/${rank}`;
    await this.#store.set(key(this.#rank), own);
    if (this.#rank !== 0 || own === "") return;
    const keys = Array.from({ length: this.#worldSize }, (_, rank) => key(rank));
    for (let attempt = 0; !(await this.#store.check(keys)); attempt++) {
      if (attempt === attempts) return;
      await new Promise((resolve) => setTimeout(resolve, 500).unref());
    }
    for (const other of keys) if ((await this.#store.getText(other)) !== own) return;
    rankZeroWarn(
      `All ${this.#worldSize} ranks gave the model the same first batch, so they compute the same gradients and are no faster than one. Pass the loader through \`fabric.setupDataLoaders(loader)\`, without \`useDistributedSampler: false\`, or give each rank its own share of the data.`,
      "PossibleUserWarning",
    );
  }
}

/** What tells one batch from another; empty where there is nothing to tell: no tensors, or none with different elements. */
function fingerprint(args: readonly unknown[]): string {
  const parts: string[] = [];
  let varies = false;
  applyToCollection(
    args,
    (value) => value instanceof Tensor,
    (tensor: Tensor) => {
      if (tensor.isComplex() || tensor.numel() === 0) return tensor;
      const flat = tensor.detach().flatten().double();
      const spread = flat.max().item() - flat.min().item();
      varies ||= spread > 0 && flat.numel() > 3;
      const steps = flat.cumsum(0).sum().item();
      parts.push(`${tensor.dtype} ${tensor.shape} ${flat.sum().item()} ${steps} ${spread}`);
      return tensor;
    },
  );
  return varies ? parts.join("; ") : "";
}
