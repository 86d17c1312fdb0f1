// Random numbers that can be seeded, in the place of `Math.random` of a worker. The generator is xoshiro128** of Blackman and Vigna.

const low = 0xffffffffn;

/** internal: the four words of the generator. */
export type HostRandomState = readonly [number, number, number, number];

/** internal: a seeded source for `Math.random`. */
export class HostRandom {
  #a = 1;
  #b = 2;
  #c = 3;
  #d = 4;

  /** Starts the sequence of a seed of 64 bits. */
  seed(seed: bigint): void {
    // splitmix64 spreads seeds that are close to each other.
    let state = BigInt.asUintN(64, seed);
    const next = (): bigint => {
      state = BigInt.asUintN(64, state + 0x9e3779b97f4a7c15n);
      let z = state;
      z = BigInt.asUintN(64, (z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n);
      z = BigInt.asUintN(64, (z ^ (z >> 27n)) * 0x94d049bb133111ebn);
      return z ^ (z >> 31n);
    };
    const [first, second] = [next(), next()];
    this.state = [Number(first & low), Number(first >> 32n), Number(second & low), Number(second >> 32n)];
  }

  get state(): HostRandomState {
    return [this.#a >>> 0, this.#b >>> 0, this.#c >>> 0, this.#d >>> 0];
  }
  set state([a, b, c, d]: HostRandomState) {
    [this.#a, this.#b, this.#c, this.#d] = [a | 0, b | 0, c | 0, d | 0];
  }

  /** A number from 0 up to, but not, 1, with 53 random bits. */
  next(): number {
    return ((this.#word() >>> 5) * 0x4000000 + (this.#word() >>> 6)) / 0x20000000000000;
  }

  #word(): number {
    const result = Math.imul(rotate(Math.imul(this.#b, 5), 7), 9);
    const shifted = this.#b << 9;
    this.#c ^= this.#a;
    this.#d ^= this.#b;
    this.#b ^= this.#c;
    this.#a ^= this.#d;
    this.#c ^= shifted;
    this.#d = rotate(this.#d, 11);
    return result;
  }
}

function rotate(word: number, by: number): number {
  return (word << by) | (word >>> (32 - by));
}
