// Activation checkpointing: the same bits, less memory.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import * as torch from "@fabric-ts/torch";
import { autograd, nn, type Tensor, utils } from "@fabric-ts/torch";
import { onBothThreads } from "../support/engine.js";

const { checkpoint, checkpointSequential } = utils;
type Block = nn.Sequential;

function makeBlocks(): Block[] {
  torch.manualSeed(0);
  return [1, 2, 3].map(
    () =>
      new nn.Sequential(
        new nn.Linear(6, 12),
        new nn.GELU(),
        new nn.Dropout(0.4),
        new nn.Linear(12, 6),
        new nn.LayerNorm([6]),
      ),
  );
}

/** Loss, gradients, and the next random number of three blocks, each run by `how`. */
function train(how: (block: Block, x: Tensor) => Tensor): unknown[] {
  const blocks = makeBlocks();
  torch.manualSeed(1);
  const x = torch.randn([5, 6]);
  x.requiresGrad = true;
  const loss = blocks
    .reduce((h, block) => how(block, h), x)
    .square()
    .mean();
  loss.backward();
  const parameters = blocks.flatMap((block) => block.parameters());
  return [loss.item(), x.grad?.tolist(), parameters.map((p) => p.grad?.tolist()), torch.rand([2]).tolist()];
}

const plain = train((block, x) => block(x));

onBothThreads("losses, gradients and random numbers have the same bits as without", () => {
  assert.deepEqual(
    train((block, x) => checkpoint(block, x)),
    plain,
  );
  assert.deepEqual(
    train((block, x) => checkpoint(block, x, { earlyStop: false, useReentrant: false })),
    plain,
  );
});

onBothThreads("checkpoints inside of checkpoints", () => {
  const layers = (block: Block, x: Tensor): Tensor => [...block].reduce((h, layer) => checkpoint(layer as Block, h), x);
  assert.deepEqual(
    train((block, x) => checkpoint((h: Tensor) => layers(block, h), x)),
    plain,
  );
});

test("without preserveRngState dropout differs in the second run", () => {
  assert.notDeepEqual(
    train((block, x) => checkpoint(block, x, { preserveRngState: false })),
    plain,
  );
});

onBothThreads("the function runs a second time in each backward pass, as far as it has to", () => {
  const calls: string[] = [];
  const x = torch.tensor([0.5], { dtype: "float64", requiresGrad: true });
  const y = checkpoint((h: Tensor) => {
    calls.push("begin");
    const z = h.exp().sin();
    calls.push("end");
    return z.add(1);
  }, x);
  assert.deepEqual(calls, ["begin", "end"]);
  y.backward(null, { retainGraph: true });
  assert.deepEqual(calls, ["begin", "end", "begin"]);
  y.backward();
  assert.deepEqual(calls, ["begin", "end", "begin", "begin"]);
  const expected = 2 * Math.cos(Math.exp(0.5)) * Math.exp(0.5);
  assert.ok(Math.abs((x.grad?.item() ?? 0) - expected) < 1e-12);
});

onBothThreads("arguments of all kinds, several outputs, gradients of gradients, custom functions", () => {
  class Square extends autograd.Function {
    static forward(ctx: autograd.FunctionContext, x: Tensor) {
      ctx.saveForBackward(x);
      return x.mul(x);
    }
    static backward(ctx: autograd.FunctionContext<object, [Tensor]>, grad: Tensor) {
      const [x] = ctx.savedTensors;
      return grad.mul(x).mul(2);
    }
  }
  const x = torch.tensor([2], { dtype: "float64", requiresGrad: true });
  const fn = (factor: number, h: Tensor, { add }: { add: number }) => ({
    a: Square.apply(h).mul(factor).mul(h),
    b: h.add(add),
  });
  const { a, b } = checkpoint(fn, 3, x, { add: 1 });
  const [first] = autograd.grad(a.add(b), x, { createGraph: true });
  assert.deepEqual(first?.tolist(), [37]);
  const [second] = autograd.grad(first as Tensor, x);
  assert.deepEqual(second?.tolist(), [36]);
});

test("autocast is in the second run what it was in the first", () => {
  const layer = new nn.Linear(3, 3);
  const seen: string[] = [];
  const run = (h: Tensor): Tensor => {
    const y = layer(h).sin();
    seen.push(y.dtype);
    return y.square();
  };
  const y = torch.autocast("cpu", {}, () => checkpoint(run, torch.ones([2, 3]), { earlyStop: false }));
  y.sum().backward();
  assert.deepEqual(seen, ["bfloat16", "bfloat16"]);
});

test("without gradients the function just runs", () => {
  assert.equal(torch.noGrad(() => checkpoint((x: Tensor) => x.mul(2), torch.ones([1]))).requiresGrad, false);
});

test("an error of the function comes out as the same object, in both runs", () => {
  const own = new RangeError("own");
  let calls = 0;
  const fn =
    (at: number) =>
    (x: Tensor): Tensor => {
      if (++calls === at) throw own;
      return x.exp().sin();
    };
  const x = torch.ones([1], { requiresGrad: true });
  assert.throws(
    () => checkpoint(fn(1), x),
    (error) => error === own,
  );
  calls = 0;
  const y = checkpoint(fn(2), x);
  assert.throws(
    () => y.backward(),
    (error) => error === own,
  );
});

test("a function that does something else the second time is an error, not a wrong gradient", () => {
  const x = torch.ones([2, 3], { requiresGrad: true });
  const alternating = (first: (x: Tensor) => Tensor, second: (x: Tensor) => Tensor) => {
    let calls = 0;
    return (h: Tensor) => (calls++ === 0 ? first(h) : second(h));
  };
  const shapes = checkpoint(
    alternating(
      (h) => h.exp(),
      (h) => h.t().exp(),
    ),
    x,
  );
  assert.throws(
    () => shapes.sum().backward(),
    /tensor 0 was float32 \[2, 3\] on cpu in the first run and is float32 \[3, 2\]/,
  );
  const fewer = checkpoint(
    alternating(
      (h) => h.exp().sin(),
      (h) => h.exp(),
    ),
    x,
  );
  assert.throws(() => fewer.sum().backward(), /the first run kept 2 tensors, the second 1/);
  const more = checkpoint(
    alternating(
      (h) => h.exp(),
      (h) => h.exp().sin(),
    ),
    x,
    { earlyStop: false },
  );
  assert.throws(() => more.sum().backward(), /the second run keeps more than the 1 tensors of the first/);
  const unchecked = checkpoint(
    alternating(
      (h) => h.exp(),
      (h) => h.reshape([3, 2]).exp(),
    ),
    x,
    { determinismCheck: "none" },
  );
  assert.throws(() => unchecked.sum().backward(), torch.FabricError);
});

test("wrong arguments are explained", () => {
  const x = torch.ones([1], { requiresGrad: true });
  const fn = (h: Tensor): Tensor => h.exp();
  assert.throws(() => checkpoint(3 as never), /Expected `fn` to be a module or a function, but got 3/);
  assert.throws(() => checkpoint(fn, x, { useReentrant: true as never }), /There is no reentrant checkpointing here/);
  assert.throws(
    () => checkpoint(fn, x, { earlyStop: true, preserveRng: true } as never),
    /Unknown option `preserveRng`/,
  );
  assert.throws(() => checkpoint(fn, x, { determinismCheck: "all" as never }), /"default" or "none"/);
  assert.throws(() => checkpoint(async (h: Tensor) => h.exp(), x), /takes a synchronous function/);
});

test("checkpointSequential checkpoints all segments but the last", () => {
  const steps = makeBlocks();
  const direct = torch.noGrad(() => new nn.Sequential(...steps).eval()(torch.ones([2, 6])));
  const counted: number[] = [0, 0, 0];
  const counting = steps.map((step, i) => (x: Tensor) => {
    counted[i] = (counted[i] ?? 0) + 1;
    return step.eval()(x);
  });
  const x = torch.ones([2, 6], { requiresGrad: true });
  const y = checkpointSequential(counting, 3, x);
  assert.deepEqual(y.tolist(), direct.tolist());
  y.sum().backward();
  assert.deepEqual(counted, [2, 2, 1]);
  assert.throws(() => checkpointSequential(steps, 4, x), /Expected `segments` to be a whole number from 1 to 3/);
  assert.throws(
    () => checkpointSequential(3 as never, 1, x),
    /Expected `functions` to be an nn.Sequential or an array/,
  );
});

test("a deep network needs a fraction of the memory", (t) => {
  const path = fileURLToPath(new URL("./programs/checkpoint-memory.js", import.meta.url));
  const env = { ...process.env, OMP_NUM_THREADS: "1" };
  const peak = (how: string) => Number(execFileSync(process.execPath, [path, how], { env, encoding: "utf8" }));
  const [direct, saved] = [peak("direct"), peak("checkpoint")];
  t.diagnostic(`${direct.toFixed(0)} MB without, ${saved.toFixed(0)} MB with`);
  assert.ok(saved < 0.5 * direct, `${saved} MB with checkpoints, ${direct} MB without`);
});
