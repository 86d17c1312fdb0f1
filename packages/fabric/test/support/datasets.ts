// Datasets that loader workers import: each draws at random, so that a resumed run shows whether its draws go on where they were.
import * as torch from "@fabric-ts/torch";
import { data, type Tensor } from "@fabric-ts/torch";

/** `count` samples of four numbers and a target, with noise that is drawn when a sample is read. */
export class Noisy extends data.Dataset<{ x: Tensor; y: Tensor }> {
  readonly #count: number;

  constructor(count: number) {
    super();
    this.#count = count;
  }
  get length(): number {
    return this.#count;
  }
  get(index: number): { x: Tensor; y: Tensor } {
    // Only in workers `Math.random` is seeded.
    const chance = data.getWorkerInfo() === null ? 0 : Math.random();
    const x = torch.tensor([index, index / 2, 1, chance], { dtype: "float32" });
    return { x: x.div(this.#count).add(torch.randn([4]).mul(0.1)), y: torch.tensor([Math.sin(index)]) };
  }
}

/** The same as a stream, of which each worker reads its share. */
export class NoisyStream extends data.IterableDataset<{ x: Tensor; y: Tensor }> {
  readonly #samples: Noisy;

  constructor(count: number) {
    super();
    this.#samples = new Noisy(count);
  }
  override *[Symbol.iterator](): Generator<{ x: Tensor; y: Tensor }> {
    const { id, numWorkers } = data.getWorkerInfo() ?? { id: 0, numWorkers: 1 };
    for (let i = id; i < this.#samples.length; i += numWorkers) yield this.#samples.get(i);
  }
}
