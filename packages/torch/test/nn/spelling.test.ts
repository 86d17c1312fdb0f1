// Spellings that come to mind first: they work, or the error says what to type. None is ignored in silence.
import assert from "node:assert/strict";
import { test } from "node:test";
import * as torch from "@fabric-ts/torch";
import { nn, type Tensor } from "@fabric-ts/torch";

const F = nn.functional;
const x = torch.ones([2, 3]);

test("a dimension by position or by name", () => {
  for (const y of [F.softmax(x, 1), F.softmax(x, { dim: 1 }), new nn.Softmax({ dim: 1 })(x), new nn.Softmax(1)(x)]) {
    assert.ok(y.allclose(torch.full([2, 3], 1 / 3)));
  }
  assert.equal(F.logSoftmax(x, { dim: 1, dtype: "float64" }).dtype, "float64");
  assert.equal(String(new nn.LogSoftmax({ dim: -1 })), "LogSoftmax(dim=-1)");
  assert.deepEqual(F.glu(torch.ones([4, 2]), { dim: 0 }).shape, [2, 2]);
  assert.throws(() => F.softmax(x, { axis: 1 } as never), /Unknown option `axis`/);
  assert.throws(() => new nn.Softmax({} as never), /needs the dimension/);
});

test("dropout's probability by position or by name, and nothing else in its place", () => {
  assert.equal(String(new nn.Dropout({ p: 0.25, inplace: true })), "Dropout(p=0.25, inplace=True)");
  assert.equal(String(new nn.Dropout2d({ p: 0.25 })), "Dropout2d(p=0.25, inplace=False)");
  assert.throws(() => F.dropout(x, 0.5, false as never), /named options, but got false/);
  assert.throws(() => new nn.Dropout({ q: 1 } as never), /Unknown option `q`/);
});

test("unknown options of functions are errors, Python's spellings with the name here", () => {
  const target = torch.tensor([0, 1]);
  const calls: [() => unknown, RegExp][] = [
    [() => F.crossEntropy(x, target, { label_smoothing: 0.1 } as never), /It is called `labelSmoothing` here/],
    [() => F.crossEntropy(x, target, torch.ones([3]) as never), /named options, but got a Tensor/],
    [() => F.interpolate(torch.ones([1, 1, 2, 2]), { scale_factor: 2 } as never), /It is called `scaleFactor` here/],
    [() => F.pad(x, [1, 1], "reflect" as never), /named options, but got "reflect"/],
    [() => F.maxPool2d(torch.ones([1, 1, 4, 4]), 2, { Stride: 1 } as never), /It is called `stride` here/],
    [() => F.conv2d(torch.ones([1, 1, 3, 3]), torch.ones([1, 1, 3, 3]), null, 1 as never), /named options, but got 1/],
    [() => F.layerNorm(x, [3], { epsilon: 1 } as never), /Unknown option `epsilon`/],
    [() => F.embedding(target, x, { padding_idx: 0 } as never), /It is called `paddingIdx` here/],
    [() => F.gelu(x, { approx: "tanh" } as never), /Unknown option `approx`/],
    [() => F.normalize(x, { axis: 1 } as never), /Unknown option `axis`/],
  ];
  for (const [call, text] of calls) assert.throws(call, text);
});

test("losses and attention want tensors", () => {
  assert.throws(() => F.mseLoss(x, 1 as never), /Expected `target` to be a Tensor, but got 1/);
  assert.throws(() => new nn.BCELoss()(x, [1] as never), /Expected `target` to be a Tensor, but got \[1\]/);
  const attention = new nn.MultiheadAttention(4, 2) as unknown as (q: Tensor) => unknown;
  assert.throws(() => attention(torch.ones([3, 1, 4])), /Expected `key` to be a Tensor.*\n.*attention\(x, x, x\)/);
});

test("brackets read and replace modules of lists and sequences, and are none of their members", () => {
  const [first, second, third] = [new nn.Linear(2, 2), new nn.ReLU(), new nn.Tanh()];
  const list = new nn.ModuleList<nn.AnyModule>([first, second]);
  const net = new nn.Sequential(first, second);
  for (const container of [list, net]) {
    assert.equal(container[0], first);
    assert.equal(container[5], undefined);
    container[1] = third;
    assert.deepEqual([...container], [first, third]);
    assert.deepEqual(Object.keys(container.stateDict()), ["0.weight", "0.bias"]);
    assert.throws(() => {
      container[2] = third;
    }, /none at 2/);
  }
  assert.equal(nn.utils.deepCopy(net)[1]?.constructor, nn.Tanh);
});
