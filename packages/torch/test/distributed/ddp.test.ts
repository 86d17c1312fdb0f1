// DistributedDataParallel over two and three processes.
import assert from "node:assert/strict";
import test from "node:test";
import * as torch from "@fabric-ts/torch";
import { nn, optim, type Tensor } from "@fabric-ts/torch";
import { groupValues } from "../support/group.js";

const run = <T>(name: string, args: unknown = {}, ranks = 2) =>
  groupValues<T>(import.meta.url, "./ranks/ddp.js", name, { args, ranks });

type Weights = number[][];
interface Trained {
  start: Weights;
  end: Weights;
  names: string[];
}

function assertClose(actual: Weights, expected: Weights, tolerance = 1e-6): void {
  assert.equal(actual.length, expected.length);
  for (const [i, list] of expected.entries()) {
    for (const [j, value] of list.entries()) {
      const found = actual[i]?.[j] ?? Number.NaN;
      assert.ok(
        Math.abs(found - value) <= tolerance * (1 + Math.abs(value)),
        `parameter ${i}, element ${j}: ${found}, not ${value}`,
      );
    }
  }
}

class Net extends nn.Module<[Tensor], Tensor> {
  first = new nn.Linear(8, 16);
  second = new nn.Linear(16, 4);
  forward(x: Tensor) {
    return this.second(torch.relu(this.first(x)));
  }
}

function batch(seed: number, rows = 6): Tensor {
  torch.manualSeed(seed);
  return torch.randn([rows, 8]);
}

const variants: Record<string, nn.parallel.DistributedDataParallelOptions> = {
  "plain options": {},
  "tiny buckets": { bucketCapMb: 0.0005 },
  gradientAsBucketView: { gradientAsBucketView: true },
  staticGraph: { staticGraph: true },
  findUnusedParameters: { findUnusedParameters: true },
};

for (const [title, options] of Object.entries(variants)) {
  test(`with ${title}, ranks that differ in weights and data end with the weights of one process on all data`, async () => {
    const [a, b] = await run<Trained>("train", { options, dtype: "float64" });
    assert.ok(a && b);
    assert.deepEqual(a.start, b.start, "rank 0's weights are not everywhere");
    assert.deepEqual(a.end, b.end, "the ranks' weights differ");
    assert.deepEqual(a.names, [
      "module.first.weight",
      "module.first.bias",
      "module.second.weight",
      "module.second.bias",
    ]);
    torch.manualSeed(1);
    const net = new Net().double();
    assert.deepEqual(
      net.parameters().map((p) => p.detach().flatten().tolist()),
      a.start,
    );
    const optimizer = new optim.SGD(net.parameters(), { lr: 0.05 });
    for (let step = 0; step < 6; step++) {
      optimizer.zeroGrad();
      const joined = torch.cat([batch(10 * step), batch(10 * step + 1)]).double();
      net(joined).pow(2).mean().backward();
      optimizer.step();
    }
    assertClose(a.end, net.parameters().map((p) => p.detach().flatten().tolist()) as Weights, 1e-12);
  });
}

test("three ranks end with the same bits", async () => {
  const [a, b, c] = await run<Trained>("train", {}, 3);
  assert.deepEqual(a?.end, b?.end);
  assert.deepEqual(a?.end, c?.end);
  assert.notDeepEqual(a?.end, a?.start);
});

test("bfloat16 models are averaged, also where the transport knows no bfloat16", async () => {
  const [a, b] = await run<Trained>("train", { dtype: "bfloat16" });
  assert.deepEqual(a?.end, b?.end);
  assert.notDeepEqual(a?.end, a?.start);
});

test("noSync accumulates locally, and the next pass averages what has been accumulated", async () => {
  const [a, b] = await run<[Weights, Weights][]>("accumulate");
  assert.ok(a && b);
  torch.manualSeed(0);
  const net = new Net();
  const gradientsOf = (seeds: number[]) => {
    net.zeroGrad();
    for (const seed of seeds) net(batch(seed)).pow(2).mean().backward();
    return net.parameters().map((p) => p.grad?.flatten().tolist()) as Weights;
  };
  for (const [round, [local, averaged]] of a.entries()) {
    assert.notDeepEqual(local, b[round]?.[0]);
    assert.deepEqual(averaged, b[round]?.[1]);
    assertClose(local, gradientsOf([2 * round]));
    const own = gradientsOf([2 * round, 2 * round + 1]);
    const other = gradientsOf([2 * round + 100, 2 * round + 101]);
    const mean = own.map((list, i) => list.map((value, j) => (value + (other[i]?.[j] ?? 0)) / 2));
    assertClose(averaged, mean);
  }
});

test("buffers, booleans included, are rank 0's at the start of each training pass", async () => {
  const [a, b] = await run<{ atStart: boolean[]; means: number[][]; synced: number[] }>("buffers");
  assert.ok(a && b);
  assert.deepEqual(b.atStart, [true, true]);
  assert.notDeepEqual(a.means, b.means);
  // The second pass of rank 1 began with rank 0's mean: 0.9 * mean of rank 0 + about 0.1 * 10.
  for (const mean of b.means[1] ?? []) assert.ok(Math.abs(mean - 1) < 0.5, String(mean));
  assert.deepEqual(a.synced, b.synced);
});

test("unused parameters are a named error, and found when asked for", async () => {
  interface Result {
    error: { name: string; code: string; message: string };
    results: unknown[];
    same: unknown;
  }
  const [a, b] = await run<Result>("unused");
  for (const one of [a, b]) {
    assert.equal(one?.error.name, "UsageError");
    assert.equal(one?.error.code, "ERR_UNUSED_PARAMETERS");
    assert.match(one?.error.message ?? "", /`second\.weight`, `second\.bias` had no part in the loss\./);
    assert.match(one?.error.message ?? "", /findUnusedParameters: true/);
    assert.deepEqual(one?.results, [4, true, 4, false, 4, false]);
  }
  assert.deepEqual(a?.same, b?.same);
});

test("what cannot work is said on every rank", async () => {
  for (const result of await run<Record<string, { name: string; message: string }>>("mistakes")) {
    assert.match(result.none?.message ?? "", /^Net has no parameter that requires a gradient/);
    assert.match(result.notModule?.message ?? "", /^Expected `module` to be a Module/);
    assert.match(result.devices?.message ?? "", /^`deviceIds` is \[0\], but the parameters are on cpu\./);
    assert.match(
      result.shapes?.message ?? "",
      /^The ranks have different models: parameter 0 is `weight: float32 \[4, 8\]` on rank 0 and `weight: float32 \[5, 8\]` on rank 1/,
    );
    assert.match(result.counts?.message ?? "", /^The ranks have different models: .*\(4 and 2 parameters in all\)\./);
    assert.match(
      result.destroyed?.message ?? "",
      /^The process group of this DistributedDataParallel module has been destroyed\./,
    );
  }
});

test("a module whose forward is replaced for one call runs the replacement", async () => {
  for (const result of await run<Record<string, unknown>>("nested")) {
    assert.equal(result.first, null);
    assert.equal(result.restored, true);
    assert.equal(result.isModule, true);
    assert.deepEqual(result.keys, [
      "module.first.weight",
      "module.first.bias",
      "module.second.weight",
      "module.second.bias",
    ]);
  }
});

test("without a process group the error says what to call", () => {
  assert.throws(() => new nn.parallel.DistributedDataParallel(new Net()), {
    name: "UsageError",
    message: /needs a process group[\s\S]*initProcessGroup/,
  });
});
