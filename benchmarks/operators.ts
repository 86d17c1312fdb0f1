// The twelve operators whose cost per call is compared, on tensors so small that the engine's own work hardly counts.
import { arange, cat, nn, randint, randn, type Tensor, zeros } from "@fabric-ts/torch";

/** Names and bodies, in the order of operators.py. */
export function operators(): Record<string, () => unknown> {
  const a = randn([4, 4]);
  const b = randn([4, 4]);
  const images = randn([1, 1, 6, 6]);
  const kernel = randn([1, 1, 3, 3]);
  const scores = randn([4, 10]);
  const targets = randint(0, 10, [4]);
  const index = arange(2);
  const list: Tensor[] = [a, b];
  return {
    add: () => a.add(b),
    "mul scalar": () => a.mul(2.5),
    "add_ in place": () => b.add_(a, { alpha: 1e-9 }),
    matmul: () => a.matmul(b),
    relu: () => a.relu(),
    "sum dim keepdim": () => a.sum(1, { keepdim: true }),
    view: () => a.view([2, 8]),
    cat: () => cat(list, 0),
    "index select": () => a.indexSelect(0, index),
    zeros: () => zeros([4, 4]),
    "cross entropy": () => nn.functional.crossEntropy(scores, targets),
    conv2d: () => nn.functional.conv2d(images, kernel),
  };
}

/** Nanoseconds a call of each operator takes, over `calls` calls. */
export function timeOperators(calls: number): Record<string, number> {
  const result: Record<string, number> = {};
  for (const [name, body] of Object.entries(operators())) {
    for (let i = 0; i < calls / 10; i++) body();
    const started = process.hrtime.bigint();
    for (let i = 0; i < calls; i++) body();
    result[name] = Number(process.hrtime.bigint() - started) / calls;
  }
  return result;
}
