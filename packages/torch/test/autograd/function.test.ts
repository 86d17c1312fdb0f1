// Operations with a derivative of one's own.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import * as torch from "@fabric-ts/torch";
import { autograd, type Tensor } from "@fabric-ts/torch";
import { onAnotherThread, onBothThreads } from "../support/engine.js";

type Ctx = autograd.FunctionContext;

const leaf = (...values: number[]): Tensor => torch.tensor(values, { dtype: "float64", requiresGrad: true });

class Exp extends autograd.Function {
  static forward(ctx: Ctx, x: Tensor) {
    const y = x.exp();
    ctx.saveForBackward(y);
    return y;
  }
  static backward(ctx: autograd.FunctionContext<object, [Tensor]>, grad: Tensor) {
    const [y] = ctx.savedTensors;
    return grad.mul(y);
  }
}

class Scaled extends autograd.Function {
  static forward(ctx: Ctx, x: Tensor, factor: number, name = "none") {
    ctx.factor = factor;
    ctx.name = name;
    return x.mul(factor);
  }
  static backward(ctx: autograd.FunctionContext<{ factor: number }>, grad: Tensor) {
    return [grad.mul(ctx.factor), null, null];
  }
}

/** Product and sum of two tensors, and how many elements they have. */
class Pair extends autograd.Function {
  static forward(ctx: Ctx, a: Tensor, b: Tensor): [Tensor, Tensor, number] {
    ctx.saveForBackward(a, b);
    return [a.mul(b), a.add(b), a.numel()];
  }
  static backward(ctx: autograd.FunctionContext<object, [Tensor, Tensor]>, product: Tensor, sum: Tensor, count: null) {
    assert.equal(count, null);
    const [a, b] = ctx.savedTensors;
    return [product.mul(b).add(sum), product.mul(a).add(sum)];
  }
}

function fails(body: () => unknown, kind: abstract new (...args: never[]) => Error, ...texts: string[]): void {
  assert.throws(body, (error) => {
    assert.ok(error instanceof kind, `${error}`);
    for (const text of texts) assert.ok(error.message.includes(text), `"${text}" is not in: ${error.message}`);
    return true;
  });
}

onBothThreads("a function's backward gives the gradient", () => {
  const x = leaf(1, 2);
  const y = Exp.apply(x);
  assert.equal(y.gradFn, "ExpBackward");
  y.sum().backward();
  assert.deepEqual(x.grad?.tolist(), x.exp().tolist());
});

onBothThreads("what backward computes can be differentiated again", () => {
  const x = leaf(0.5, -1);
  const [first] = autograd.grad(Exp.apply(x).sum(), x, { createGraph: true });
  const [second] = autograd.grad((first as Tensor).sum(), x, { createGraph: true });
  const [third] = autograd.grad((second as Tensor).sum(), x);
  assert.deepEqual(third?.tolist(), x.exp().tolist());
  assert.ok(autograd.gradcheck((z) => Exp.apply(z), x));
  assert.ok(autograd.gradgradcheck((z) => Exp.apply(z), x));
});

onBothThreads("without createGraph backward runs without recording, with it with", () => {
  const seen: boolean[] = [];
  class Seen extends autograd.Function {
    static forward(_: Ctx, x: Tensor) {
      seen.push(torch.isGradEnabled());
      return x.clone();
    }
    static backward(_: Ctx, grad: Tensor) {
      seen.push(torch.isGradEnabled());
      return grad;
    }
  }
  const x = leaf(1);
  Seen.apply(x).backward();
  autograd.grad(Seen.apply(x), x, { createGraph: true });
  assert.deepEqual(seen, [false, false, false, true]);
  assert.equal(torch.isGradEnabled(), true);
});

onBothThreads("arguments that are no tensors pass through, and have null for a gradient", () => {
  const x = leaf(1, 2);
  const y = Scaled.apply(x, 3, "three");
  y.sum().backward();
  assert.deepEqual(
    [y.tolist(), x.grad?.tolist()],
    [
      [3, 6],
      [3, 3],
    ],
  );
});

onBothThreads("several inputs and outputs, some of them no tensors", () => {
  const [a, b] = [leaf(2, 3), leaf(5, 7)];
  const [product, sum, count] = Pair.apply(a, b);
  assert.equal(count, 2);
  product.sum().add(sum.mul(10).sum()).backward();
  assert.deepEqual(
    [a.grad?.tolist(), b.grad?.tolist()],
    [
      [15, 17],
      [12, 13],
    ],
  );
  assert.ok(autograd.gradcheck((x, y) => Pair.apply(x as Tensor, y as Tensor).slice(0, 2) as Tensor[], [a, b]));
});

onBothThreads("an output that nothing used has zeros for its gradient, or null when asked", () => {
  const seen: unknown[] = [];
  class Two extends autograd.Function {
    static forward(ctx: Ctx, x: Tensor, materialize: boolean): [Tensor, Tensor] {
      ctx.setMaterializeGrads(materialize);
      return [x.mul(2), x.mul(3).reshape([1, 2])];
    }
    static backward(_: Ctx, first: Tensor, second: Tensor | null) {
      seen.push(second?.tolist() ?? null);
      return [first.mul(2), null];
    }
  }
  const x = leaf(1, 2);
  Two.apply(x, true)[0].sum().backward();
  Two.apply(x, false)[0].sum().backward();
  assert.deepEqual(seen, [[[0, 0]], null]);
  assert.deepEqual(x.grad?.tolist(), [4, 4]);
});

onBothThreads("needsInputGrad tells which gradients are wanted", () => {
  const seen: unknown[] = [];
  class Mul extends autograd.Function {
    static forward(ctx: Ctx, a: Tensor, b: Tensor, c: number) {
      seen.push([...ctx.needsInputGrad]);
      ctx.saveForBackward(a, b);
      ctx.c = c;
      return a.mul(b).mul(c);
    }
    static backward(ctx: autograd.FunctionContext<{ c: number }, [Tensor, Tensor]>, grad: Tensor) {
      const [a, b] = ctx.savedTensors;
      seen.push([...ctx.needsInputGrad]);
      return [
        ctx.needsInputGrad[0] ? grad.mul(b).mul(ctx.c) : null,
        ctx.needsInputGrad[1] ? grad.mul(a).mul(ctx.c) : null,
        null,
      ];
    }
  }
  const a = leaf(2);
  Mul.apply(a, torch.tensor([5], { dtype: "float64" }), 3).backward();
  assert.deepEqual(seen, [
    [true, false, false],
    [true, false, false],
  ]);
  assert.deepEqual(a.grad?.tolist(), [15]);
});

onBothThreads("markDirty: an input changed in place is the output, and its history goes through the function", () => {
  class Double extends autograd.Function {
    static forward(ctx: Ctx, x: Tensor) {
      x.mul_(2);
      ctx.markDirty(x);
      return x;
    }
    static backward(_: Ctx, grad: Tensor) {
      return grad.mul(2);
    }
  }
  const x = leaf(1, 2);
  const y = x.mul(1);
  const z = Double.apply(y);
  assert.equal(z, y, "not the same object");
  assert.equal(z.gradFn, "DoubleBackward");
  z.sum().backward();
  assert.deepEqual(
    [z.tolist(), x.grad?.tolist()],
    [
      [2, 4],
      [2, 2],
    ],
  );
  fails(() => Double.apply(leaf(1)), torch.FabricError, "a leaf Variable that requires grad");
  // Others that kept the old value are told.
  const kept = leaf(3).mul(1);
  const loss = kept.mul(kept).sum();
  Double.apply(kept);
  fails(() => loss.backward(), torch.FabricError, "modified by an inplace operation", "detectAnomaly");
});

onBothThreads("markNonDifferentiable: such an output has no history", () => {
  class Sort extends autograd.Function {
    static forward(ctx: Ctx, x: Tensor): [Tensor, Tensor] {
      const [values, indices] = x.sort() as [Tensor, Tensor];
      ctx.markNonDifferentiable(indices);
      ctx.saveForBackward(indices);
      ctx.indices = indices;
      return [values, indices];
    }
    static backward(ctx: autograd.FunctionContext<object, [Tensor]>, grad: Tensor, none: Tensor) {
      assert.deepEqual(none.tolist(), [0, 0, 0]);
      const [indices] = ctx.savedTensors;
      return torch.zerosLike(grad).scatter(0, indices, grad);
    }
  }
  const x = leaf(3, 1, 2);
  const [values, indices] = Sort.apply(x);
  assert.deepEqual([values.requiresGrad, indices.requiresGrad], [true, false]);
  values
    .mul(torch.tensor([1, 10, 100], { dtype: "float64" }))
    .sum()
    .backward();
  assert.deepEqual(x.grad?.tolist(), [100, 1, 10]);
});

onBothThreads("an input that is returned as it is becomes a view with the function's history", () => {
  class Identity extends autograd.Function {
    static forward(_: Ctx, x: Tensor) {
      return x;
    }
    static backward(_: Ctx, grad: Tensor) {
      return grad.mul(-1);
    }
  }
  const x = leaf(1, 2);
  const y = Identity.apply(x);
  assert.notEqual(y, x);
  y.sum().backward();
  assert.deepEqual([x.isLeaf, x.grad?.tolist()], [true, [-1, -1]]);
});

onBothThreads(
  "an error thrown in backward comes out as the same object, whatever it is, and the next pass works",
  () => {
    let failure: unknown = new RangeError("own");
    class Throws extends autograd.Function {
      static forward(_: Ctx, x: Tensor) {
        return x.clone();
      }
      static backward(_: Ctx, grad: Tensor) {
        if (failure !== null) throw failure;
        return grad;
      }
    }
    const x = leaf(1);
    for (const each of [failure, "a text", { code: 7 }, undefined]) {
      failure = each;
      assert.throws(
        () => Throws.apply(x).backward(),
        (error) => error === each,
      );
    }
    failure = null;
    Throws.apply(x).backward();
    assert.deepEqual(x.grad?.tolist(), [1]);
  },
);

onBothThreads("backward may itself run backward passes, through other functions", () => {
  class Inner extends autograd.Function {
    static forward(_: Ctx, x: Tensor) {
      return x.mul(2);
    }
    static backward(_: Ctx, grad: Tensor) {
      const own = leaf(3);
      torch.enableGrad(() => Exp.apply(own).sum()).backward();
      return grad.mul(own.grad as Tensor);
    }
  }
  const x = leaf(1);
  Inner.apply(Inner.apply(x)).backward();
  assert.ok(Math.abs((x.grad?.item() ?? 0) - Math.exp(6)) < 1e-9);
});

onBothThreads(
  "a saved tensor that was changed in place is an error, and so is a second pass without retainGraph",
  () => {
    class Square extends autograd.Function {
      static forward(ctx: Ctx, x: Tensor) {
        ctx.saveForBackward(x);
        return x.mul(x);
      }
      static backward(ctx: autograd.FunctionContext<object, [Tensor]>, grad: Tensor) {
        const [x] = ctx.savedTensors;
        return grad.mul(x).mul(2);
      }
    }
    const x = leaf(1, 2);
    const y = x.mul(1);
    const z = Square.apply(y).sum();
    y.add_(1);
    fails(() => z.backward(), torch.TorchError, "modified by an inplace operation");
    const again = Square.apply(x).sum();
    again.backward(null, { retainGraph: true });
    again.backward();
    fails(() => again.backward(), torch.TorchError, "a second time", "retainGraph: true");
  },
);

onBothThreads("onceDifferentiable: a second derivative is an error", () => {
  class Once extends autograd.Function {
    static forward(ctx: Ctx, x: Tensor) {
      ctx.saveForBackward(x);
      return x.pow(3);
    }
    static backward = autograd.onceDifferentiable(
      (ctx: autograd.FunctionContext<object, [Tensor]>, grad: Tensor): Tensor => {
        assert.equal(torch.isGradEnabled(), false);
        return grad.mul(ctx.savedTensors[0].pow(2).mul(3));
      },
    );
  }
  const x = leaf(2);
  const [plain] = autograd.grad(Once.apply(x), x);
  assert.deepEqual(plain?.tolist(), [12]);
  const [first] = autograd.grad(Once.apply(x).pow(2), x, { createGraph: true });
  fails(() => (first as Tensor).backward(), torch.FabricError, "onceDifferentiable");
});

onBothThreads("setupContext beside a forward without ctx", () => {
  class Cube extends autograd.Function {
    static forward(x: Tensor, times: number) {
      return x.pow(3).mul(times);
    }
    static setupContext(ctx: Ctx, [x, times]: [Tensor, number], output: Tensor) {
      assert.deepEqual(output.tolist(), [16]);
      ctx.saveForBackward(x);
      ctx.times = times;
    }
    static backward(ctx: autograd.FunctionContext<{ times: number }, [Tensor]>, grad: Tensor) {
      const [x] = ctx.savedTensors;
      return [grad.mul(x.pow(2)).mul(3 * ctx.times), null];
    }
  }
  const x = leaf(2);
  Cube.apply(x, 2).backward();
  assert.deepEqual(x.grad?.tolist(), [24]);
});

test("nothing is recorded within noGrad or for inputs that need no gradient", () => {
  const x = leaf(1);
  assert.equal(torch.noGrad(() => Exp.apply(x)).requiresGrad, false);
  assert.equal(torch.inferenceMode(() => Exp.apply(x)).requiresGrad, false);
  assert.equal(Exp.apply(torch.ones([1])).requiresGrad, false);
});

test("apply can be taken off its class", () => {
  const exp = Exp.apply as unknown as (x: Tensor) => Tensor;
  assert.deepEqual(exp(torch.zeros([1])).tolist(), [1]);
});

test("what a backward returns has to fit the arguments of forward", () => {
  let result: unknown;
  class Any extends autograd.Function {
    static forward(_: Ctx, x: Tensor, __: number) {
      return x.clone();
    }
    static backward(_: Ctx, __: Tensor) {
      return result as Tensor;
    }
  }
  const run = () => Any.apply(leaf(1, 2), 3).sum().backward();
  const cases: [unknown, abstract new (...args: never[]) => Error, ...string[]][] = [
    [torch.ones([2]), torch.UsageError, "`Any.backward` returned 1 gradient, but `forward` has 2 arguments"],
    [[null, null, torch.ones([2])], torch.UsageError, "returned 3 gradients, but `forward` has 2 arguments"],
    [[null, torch.ones([2])], torch.UsageError, "a gradient in place 2, where `forward` was given no tensor"],
    [undefined, TypeError, "`Any.backward` returned nothing", "null for none"],
    [[3, null], TypeError, "Expected `result of Any.backward` to be a Tensor, null", "but got 3"],
    [Promise.resolve(null), TypeError, "`Any.backward` returned a promise"],
    [[torch.ones([3]), null], torch.TorchError, "AnyBackward returned an invalid gradient", "[3]"],
  ];
  for (const [given, kind, ...texts] of cases) {
    result = given;
    fails(run, kind, ...texts);
  }
  result = [null, null, null];
  run();
});

test("a class that cannot work is explained", () => {
  class Empty extends autograd.Function {}
  class Methods extends autograd.Function {
    forward(_: Ctx, x: Tensor) {
      return x;
    }
  }
  class Late extends autograd.Function {
    static async forward(_: Ctx, x: Tensor) {
      return x;
    }
  }
  class NoBackward extends autograd.Function {
    static forward(_: Ctx, x: Tensor) {
      return x.clone();
    }
  }
  const x = leaf(1);
  // @ts-expect-error: no forward
  fails(() => Empty.apply(x), TypeError, "`Empty` has no `static forward(ctx, ...)`");
  // @ts-expect-error: forward is not static
  fails(() => Methods.apply(x), TypeError, "`Methods.forward` is not static", "static forward(ctx, ...)");
  fails(() => Late.apply(x), TypeError, "`Late.forward` returned a promise");
  fails(() => NoBackward.apply(x).backward(), torch.UsageError, "`NoBackward` has no `static backward(ctx, ...)`");
  // @ts-expect-error: an argument of another type
  fails(() => Scaled.apply(x, "3"), TypeError, 'mul(Tensor float64 [1], "3")');
  const ctx = contextOfACall();
  fails(() => ctx.saveForBackward(3 as never), TypeError, "argument of saveForBackward", "fields of `ctx`");
  fails(() => ctx.markDirty("x" as never), TypeError, "Expected `argument of markDirty` to be a Tensor");
  fails(() => ctx.setMaterializeGrads(0 as never), TypeError, "Expected `value` to be a boolean");
});

function contextOfACall(): Ctx {
  let found: Ctx | undefined;
  class Take extends autograd.Function {
    static forward(ctx: Ctx, x: Tensor) {
      found = ctx;
      return x.clone();
    }
    static backward(_: Ctx, grad: Tensor) {
      return grad;
    }
  }
  Take.apply(leaf(1));
  return found as Ctx;
}

test("saved tensors are for backward", () => {
  fails(() => contextOfACall().savedTensors, torch.UsageError, "`ctx.savedTensors` can be read in `backward` only");
});

test("an output kept in a field of ctx is refused: it would never be freed", () => {
  class Keeps extends autograd.Function {
    static forward(ctx: Ctx, x: Tensor) {
      ctx.y = x.exp();
      return ctx.y as Tensor;
    }
    static backward(ctx: Ctx, grad: Tensor) {
      return grad.mul(ctx.y);
    }
  }
  fails(() => Keeps.apply(leaf(1)), torch.UsageError, "`ctx.y` of `Keeps` holds an output", "saveForBackward");
  assert.equal(torch.noGrad(() => Keeps.apply(leaf(0))).item(), 1);
});

test("in forward mode a function's jvp is asked", () => {
  class Sin extends autograd.Function {
    static forward(ctx: Ctx, x: Tensor) {
      ctx.slope = x.detach().cos();
      return x.sin();
    }
    static backward(ctx: Ctx, grad: Tensor) {
      return grad.mul(ctx.slope);
    }
    static jvp(ctx: Ctx, tangent: Tensor) {
      return tangent.mul(ctx.slope);
    }
  }
  const { makeDual, unpackDual, dualLevel } = autograd.forwardAd;
  dualLevel(() => {
    const x = makeDual(torch.tensor([0, 1], { dtype: "float64" }), torch.tensor([2, 3], { dtype: "float64" }));
    assert.deepEqual(unpackDual(Sin.apply(x)).tangent?.tolist(), [2, 3 * Math.cos(1)]);
    fails(() => Exp.apply(x), torch.NotSupportedError, "has no `jvp`");
  });
});

for (const where of ["this", "another"]) {
  test(`10,000 calls leave nothing behind, with backward on ${where} thread or without it`, () => {
    const path = fileURLToPath(new URL("./programs/function-memory.js", import.meta.url));
    const { before, after, backward } = JSON.parse(
      execFileSync(process.execPath, [path, where], {
        encoding: "utf8",
        env: { ...process.env, OMP_NUM_THREADS: "1" },
      }),
    ) as Record<"before" | "after", { liveTensors: number; callbacks: number; heap: number }> & { backward: number };
    assert.equal(backward, 10_000);
    assert.ok(after.callbacks - before.callbacks < 10, `${after.callbacks - before.callbacks} functions are alive`);
    assert.ok(
      after.liveTensors - before.liveTensors < 100,
      `${after.liveTensors - before.liveTensors} tensors are alive`,
    );
    assert.ok(after.heap - before.heap < 2e6, `the heap grew by ${after.heap - before.heap} bytes`);
  });
}

for (const where of ["this", "another"]) {
  test(`worker threads may end with functions and hooks in live graphs (backward on ${where} thread)`, () => {
    const path = fileURLToPath(new URL("./programs/ending-workers.js", import.meta.url));
    const output = execFileSync(process.execPath, [path, where], { encoding: "utf8", timeout: 120_000 });
    assert.deepEqual(JSON.parse(output), {
      codes: { return: 0, exit: 0, terminate: 1 },
      alive: 0,
      gradient: [10, 10],
    });
  });
}

test("hooks, too, may run backward passes while the engine is on another thread", () => {
  onAnotherThread(() => {
    const x = leaf(1);
    x.registerHook((grad) => {
      const own = leaf(2);
      own.registerHook((inner) => inner.mul(10));
      torch.enableGrad(() => own.mul(3)).backward();
      return grad.add(own.grad as Tensor);
    });
    x.mul(2).backward();
    assert.deepEqual(x.grad?.tolist(), [32]);
  });
});
