// internal: random draws of samplers and loaders, on the CPU whatever the default device, in PyTorch's order.
import { native } from "../native.js";
import { operator } from "../ops.js";
import { Generator } from "../random.js";
import { handleOf, type Tensor } from "../tensor.js";

type MaybeGenerator = Generator | undefined;

const empty = operator("aten", "empty.memory_format");
const random_ = operator("aten", "random_");
const randperm = operator("aten", "randperm");
const randint = operator("aten", "randint");
const toCopy = operator("aten", "_to_copy");

/** internal: whole numbers of an integer tensor, which is freed. */
export function takeNumbers(tensor: Tensor): number[] {
  // float64 holds every index exactly and is read faster than bigints.
  const wide = toCopy(tensor, { dtype: "float64" }) as Tensor;
  tensor.dispose();
  const numbers = Array.from(new Float64Array(native().readBytes(handleOf(wide))));
  wide.dispose();
  return numbers;
}

/** internal: 63 random bits, as every pass over a loader draws. */
export function drawSeed(generator?: MaybeGenerator): bigint {
  const tensor = empty([], { dtype: "int64", device: "cpu" }) as Tensor;
  random_(tensor, { generator });
  const seed = native().item(handleOf(tensor)) as number | bigint;
  tensor.dispose();
  return BigInt(seed);
}

/** internal: the generator given, or a new one seeded from the default generator. */
export function generatorOr(generator: MaybeGenerator): Generator {
  return generator ?? new Generator().manualSeed(drawSeed());
}

/** internal: 0 ... n - 1 in random order. */
export function drawPermutation(n: number, generator?: MaybeGenerator): number[] {
  return takeNumbers(randperm(n, { generator, device: "cpu" }) as Tensor);
}

/** internal: `count` whole numbers below `high`. */
export function drawIntegers(high: number, count: number, generator?: MaybeGenerator): number[] {
  return takeNumbers(randint(high, [count], { generator, device: "cpu" }) as Tensor);
}
