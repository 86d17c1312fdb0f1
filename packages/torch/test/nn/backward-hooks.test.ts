// Module hooks on gradients, against what PyTorch's full backward hooks are given for the same values.
import assert from "node:assert/strict";
import { test } from "node:test";
import * as torch from "@fabric-ts/torch";
import { nn, type Tensor } from "@fabric-ts/torch";

function layer(): nn.Linear {
  const made = new nn.Linear(2, 2);
  made.weight.data = torch.tensor([
    [1.5, 2],
    [3, 4],
  ]);
  made.bias = null;
  return made;
}

class Two extends nn.Module<[Tensor, Tensor, number], Tensor[]> {
  forward(a: Tensor, b: Tensor, factor: number): Tensor[] {
    return [a.mul(b).mul(factor), a.add(b)];
  }
}

const lists = (gradients: nn.Gradients): unknown[] => gradients.map((gradient) => gradient?.tolist() ?? null);
const input = (): Tensor => torch.ones([2], { requiresGrad: true });

test("a full backward hook sees the gradients of inputs and outputs, and may replace those of the inputs", () => {
  const model = layer();
  const seen: unknown[] = [];
  const handle = model.registerFullBackwardHook((module, gradInput, gradOutput) => {
    assert.ok(module === model);
    seen.push([lists(gradInput), lists(gradOutput)]);
    return [(gradInput[0] as Tensor).mul(10)];
  });
  const x = input();
  model(x).sum().backward();
  assert.deepEqual(seen, [[[[4.5, 6]], [[1, 1]]]]);
  assert.deepEqual(x.grad?.tolist(), [45, 60]);
  assert.deepEqual(model.weight.grad?.tolist(), [
    [1, 1],
    [1, 1],
  ]);
  handle.remove();
  model(x).sum().backward();
  assert.equal(seen.length, 1);
});

test("a full backward pre-hook replaces the gradient of the output before the module's own backward pass", () => {
  const model = layer();
  model.registerFullBackwardPreHook((_, [gradient]) => gradient?.mul(2));
  const seen: unknown[] = [];
  model.registerFullBackwardHook((_, gradInput, gradOutput) => {
    seen.push(lists(gradInput), lists(gradOutput));
  });
  const x = input();
  model(x).sum().backward();
  assert.deepEqual(seen, [[[9, 12]], [[2, 2]]]);
  assert.deepEqual(model.weight.grad?.tolist(), [
    [2, 2],
    [2, 2],
  ]);
});

test("hooks run in the order of registration, each with what the one before returned, `prepend` first", () => {
  const model = layer();
  const order: string[] = [];
  model.registerFullBackwardHook((_, [gradient]) => {
    order.push(`a ${gradient?.tolist()}`);
    return gradient?.mul(2);
  });
  model.registerFullBackwardHook((_, [gradient]) => {
    order.push(`b ${gradient?.tolist()}`);
  });
  model.registerFullBackwardHook(() => void order.push("first"), { prepend: true });
  model(input()).sum().backward();
  assert.deepEqual(order, ["first", "a 4.5,6", "b 9,12"]);
});

test("without an input that requires a gradient the hook runs with nulls, and may not return anything", () => {
  const model = layer();
  const seen: unknown[] = [];
  let answer: Tensor[] | null = null;
  model.registerFullBackwardHook((_, gradInput, gradOutput) => {
    seen.push([gradInput, lists(gradOutput)]);
    return answer;
  });
  model(torch.ones([2]))
    .sum()
    .backward();
  assert.deepEqual(seen, [[[null], [[1, 1]]]]);
  answer = [torch.ones([2])];
  assert.throws(
    () =>
      model(torch.ones([2]))
        .sum()
        .backward(),
    {
      name: "UsageError",
      message: /hook of Linear returned \[a Tensor\], but no input.*\nReturn nothing/,
    },
  );
});

test("several inputs and outputs arrive together, null for what is no tensor, zeros for an unused output", () => {
  const model = new Two();
  const seen: unknown[] = [];
  model.registerFullBackwardHook((_, gradInput, gradOutput) => {
    seen.push(lists(gradInput), lists(gradOutput));
    const [first, second] = gradInput as [Tensor, Tensor];
    return [first.neg(), second, null];
  });
  const a = input();
  const b = torch.full([1, 2], 3, { dtype: "float32", requiresGrad: true });
  const [product, sum] = model(a, b, 2) as [Tensor, Tensor];
  assert.deepEqual([product.tolist(), sum.tolist()], [[[6, 6]], [[4, 4]]]);
  product.sum().backward();
  assert.deepEqual(seen, [
    [[6, 6], [[2, 2]], null],
    [[[1, 1]], [[0, 0]]],
  ]);
  assert.deepEqual([a.grad?.tolist(), b.grad?.tolist()], [[-6, -6], [[2, 2]]]);
});

test("each call of a module has its own gradients, and hooks work on modules inside others", () => {
  const inner = layer();
  const seen: unknown[] = [];
  inner.registerFullBackwardHook((_, __, gradOutput) => void seen.push(lists(gradOutput)));
  const model = new nn.Sequential(inner, inner);
  model(input()).sum().backward();
  // The second call comes first: its gradient went through no weight yet.
  assert.deepEqual(seen, [[[1, 1]], [[4.5, 6]]]);
});

test("nothing runs without gradients, and an error in a hook comes out of backward", () => {
  const model = layer();
  const failure = new Error("stop");
  model.registerFullBackwardHook(() => {
    throw failure;
  });
  const output = torch.noGrad(() => model(input()));
  assert.equal(output.requiresGrad, false);
  assert.throws(
    () => model(input()).sum().backward(),
    (error) => error === failure,
  );
});

test("what a hook returns is checked", () => {
  const model = layer();
  let answer: unknown;
  model.registerFullBackwardHook(() => answer as Tensor);
  const run = (): void => model(input()).sum().backward();
  answer = 3;
  assert.throws(run, /Expected `result of the backward hook` to be a Tensor, null, or an array of them, but got 3/);
  answer = [null, null];
  assert.throws(run, /returned 2 gradients as `gradInput`, but there are 1/);
  answer = torch.ones([3]);
  assert.throws(run, /of shape \[3\] in the place of one of shape \[2\]/);
  assert.throws(() => model.registerFullBackwardHook(3 as never), /Expected `hook` to be a function, but got 3/);
});

test("a watched output cannot be changed in place, which would go around the hooks", () => {
  const model = layer();
  model.registerFullBackwardHook(() => {});
  assert.throws(() => model(input()).mul_(2), /is a view and is being modified inplace/);
});
