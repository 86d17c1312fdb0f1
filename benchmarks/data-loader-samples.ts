// Datasets that loader workers import for data-loader.ts.
import { data } from "@fabric-ts/torch";

/** Samples that cost arithmetic in JavaScript, about a millisecond each, and are small. */
export class Costly extends data.Dataset<Float32Array> {
  get length(): number {
    return 64;
  }
  get(index: number): Float32Array {
    let mixed = index;
    for (let i = 0; i < 1_200_000; i++) mixed = Math.imul(mixed ^ i, 31);
    return Float32Array.of(index, mixed);
  }
}

/** Samples that cost nothing and are as big as a picture of 224 x 224. */
export class Big extends data.Dataset<Float32Array> {
  readonly #picture = new Float32Array(3 * 224 * 224);

  get length(): number {
    return 320;
  }
  get(): Float32Array {
    return this.#picture;
  }
}
