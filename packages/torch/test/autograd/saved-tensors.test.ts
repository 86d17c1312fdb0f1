// Hooks on what operators keep for backward.
import assert from "node:assert/strict";
import { test } from "node:test";
import * as torch from "@fabric-ts/torch";
import { autograd, nn, type Tensor } from "@fabric-ts/torch";
import { collectAll, liveCallbacks, onBothThreads } from "../support/engine.js";

const { savedTensorsHooks, saveOnCpu } = autograd.graph;
const leaf = (...values: number[]): Tensor => torch.tensor(values, { dtype: "float64", requiresGrad: true });

onBothThreads("pack sees each kept tensor, and backward computes with what unpack makes of it", () => {
  const packed: unknown[] = [];
  const x = leaf(2, 3);
  const y = savedTensorsHooks(
    (tensor) => {
      packed.push(tensor.tolist());
      return tensor.mul(10).tolist() as number[];
    },
    (list) => torch.tensor(list, { dtype: "float64" }),
    () => x.mul(x).sum(),
  );
  y.backward();
  assert.deepEqual(packed, [
    [2, 3],
    [2, 3],
  ]);
  assert.deepEqual(x.grad?.tolist(), [40, 60]);
});

test("the innermost pair counts, and outside of them nothing is packed", () => {
  const calls: string[] = [];
  const named = (name: string) =>
    [
      (tensor: Tensor) => {
        calls.push(name);
        return tensor;
      },
      (tensor: Tensor) => tensor,
    ] as const;
  const x = leaf(1);
  {
    using _outer = savedTensorsHooks(...named("outer"));
    x.exp();
    savedTensorsHooks(...named("inner"), () => x.exp());
    x.exp();
  }
  x.exp();
  assert.deepEqual(calls, ["outer", "inner", "outer"]);
});

onBothThreads("errors of the hooks come out as the same objects", () => {
  const own = new RangeError("own");
  const fail = (): never => {
    throw own;
  };
  const x = leaf(1);
  const same = (error: unknown) => error === own;
  assert.throws(
    () =>
      savedTensorsHooks(
        fail,
        (t: Tensor) => t,
        () => x.exp(),
      ),
    same,
  );
  const y = savedTensorsHooks(
    (t) => t,
    fail,
    () => x.exp(),
  );
  assert.throws(() => y.backward(), same);
  const z = savedTensorsHooks(
    (t) => t,
    () => 3 as never,
    () => x.exp(),
  );
  assert.throws(() => z.backward(), /Expected `result of unpack` to be a Tensor, but got 3/);
  assert.throws(
    () =>
      savedTensorsHooks(
        (t) => t.add_(1),
        (t) => t,
        () => x.exp(),
      ),
    /pack hook is modifying its input in place/,
  );
});

test("what is packed outlives a scope", () => {
  const x = leaf(1);
  const y = savedTensorsHooks(
    (t) => t,
    (t: Tensor) => t,
    () => torch.scope(() => x.mul(2).exp()),
  );
  y.backward();
  assert.ok(Math.abs((x.grad?.item() ?? 0) - 2 * Math.exp(2)) < 1e-12);
});

test("saveOnCpu changes no bit", () => {
  torch.manualSeed(0);
  const net = new nn.Sequential(new nn.Linear(4, 8), new nn.Tanh(), new nn.Linear(8, 1));
  const x = torch.randn([5, 4]);
  const gradients = (): unknown => {
    const found = net.parameters().map((p) => p.grad?.tolist());
    net.zeroGrad();
    return found;
  };
  net(x).sum().backward();
  const plain = gradients();
  saveOnCpu(() => net(x).sum()).backward();
  assert.deepEqual(gradients(), plain);
});

test("a saved output does not keep its graph alive", () => {
  const before = liveCallbacks();
  const x = leaf(1);
  for (let i = 0; i < 2000; i++)
    savedTensorsHooks(
      (t) => t,
      (t: Tensor) => t,
      () => x.exp(),
    );
  collectAll();
  assert.ok(liveCallbacks() - before < 10, `${liveCallbacks() - before} hooks are alive`);
});

test("hooks have to be functions", () => {
  assert.throws(() => savedTensorsHooks(3 as never, (t: Tensor) => t), /Expected `pack` to be a function, but got 3/);
  assert.throws(() => savedTensorsHooks((t) => t, null as never), /Expected `unpack` to be a function, but got null/);
});
