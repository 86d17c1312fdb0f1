// Seeds, the default generators and generators of one's own.
import { typeError } from "./check.js";
import { type GeneratorHandle, native } from "./native.js";
import { generatorHandle } from "./ops.js";
import { checkDevice } from "./target.js";
import { handleOf, Tensor, wrapHandle } from "./tensor.js";

function seedOf(seed: number | bigint): bigint {
  if (typeof seed === "number" && Number.isSafeInteger(seed)) return BigInt(seed);
  if (typeof seed === "bigint" && seed >= -(2n ** 63n) && seed < 2n ** 64n) return seed;
  throw typeError("seed", "a whole number of at most 64 bits", seed);
}

/** A source of random numbers with its own state. Pass it as `{ generator }` to operators that draw. */
export class Generator {
  readonly #handle: GeneratorHandle;

  /** @param device where the numbers are drawn. Default: `"cpu"` */
  constructor(device = "cpu") {
    checkDevice(device);
    this.#handle = native().createGenerator(device);
  }

  /** internal: the native generator, as operators receive it. */
  get [generatorHandle](): GeneratorHandle {
    return this.#handle;
  }
  /** The device that it draws on. */
  get device(): string {
    return native().generatorDevice(this.#handle);
  }
  /** Starts the sequence of `seed`; returns this generator. */
  manualSeed(seed: number | bigint): this {
    native().generatorManualSeed(this.#handle, seedOf(seed));
    return this;
  }
  /** The seed that the sequence began with. */
  initialSeed(): bigint {
    return native().generatorInitialSeed(this.#handle);
  }
  /** Starts a sequence with a random seed, and returns the seed. */
  seed(): bigint {
    return native().generatorRandomSeed(this.#handle);
  }
  /** The state as a uint8 tensor. */
  getState(): Tensor {
    return wrapHandle(native().generatorState(this.#handle));
  }
  /** Goes on from a state that `getState` gave. */
  setState(state: Tensor): void {
    if (!(state instanceof Tensor)) throw typeError("state", "a Tensor from `getState()`", state);
    native().setGeneratorState(this.#handle, handleOf(state));
  }
}

const defaults = new Map<string, GeneratorHandle>();

function defaultHandle(device: string): GeneratorHandle {
  let found = defaults.get(device);
  if (!found) {
    checkDevice(device);
    found = native().defaultGenerator(device);
    defaults.set(device, found);
  }
  return found;
}

/** Seeds the default generators of all devices. */
export function manualSeed(seed: number | bigint): void {
  native().manualSeed(seedOf(seed));
}
/** The seed that the CPU's default generator began with. */
export function initialSeed(): bigint {
  return native().initialSeed();
}
/** Seeds the default generators randomly, and returns the seed. */
export function seed(): bigint {
  return native().randomSeed();
}
/** The state of the device's default generator, as a uint8 tensor. */
export function getRngState(device = "cpu"): Tensor {
  return wrapHandle(native().generatorState(defaultHandle(device)));
}
/** Sets the state of the device's default generator. */
export function setRngState(state: Tensor, device = "cpu"): void {
  if (!(state instanceof Tensor)) throw typeError("state", "a Tensor from `getRngState()`", state);
  native().setGeneratorState(defaultHandle(device), handleOf(state));
}
