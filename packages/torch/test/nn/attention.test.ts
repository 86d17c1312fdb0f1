// MultiheadAttention and the Transformer's encoder against PyTorch, and what they refuse.
import assert from "node:assert/strict";
import { test } from "node:test";
import * as torch from "@fabric-ts/torch";
import { nn, type Tensor } from "@fabric-ts/torch";
import { assertClose, numbers } from "./close.js";
import { checkGolden } from "./golden-layers.js";

const causal = torch.ones([3, 3], { dtype: "bool" }).triu(1);
const padding = torch.tensor([
  [false, false, true],
  [false, false, false],
]);
const mask3 = torch.arange(36).reshape([4, 3, 3]).remainder(5).float().div(3);
type Inputs = [Tensor, Tensor, Tensor];

test("attention of a sequence to itself", () => {
  checkGolden(
    "attention",
    () => new nn.MultiheadAttention(4, 2),
    [[3, 2, 4]],
    (m, [x]) => m(...([x, x, x] as Inputs)),
  );
});

test("attention with a mask, batches first, without biases", () => {
  checkGolden(
    "attention, batch first",
    () => new nn.MultiheadAttention(4, 2, { batchFirst: true, bias: false }),
    [[2, 3, 4]],
    (m, [x]) => m(...([x, x, x] as Inputs), { attnMask: causal }),
  );
});

test("attention to keys and values of other sizes, with the weights of each head", () => {
  checkGolden(
    "attention across",
    () => new nn.MultiheadAttention(4, 2, { kdim: 3, vdim: 5 }),
    [
      [3, 2, 4],
      [6, 2, 3],
      [6, 2, 5],
    ],
    (m, inputs) => m(...(inputs as Inputs), { averageAttnWeights: false }),
  );
  checkGolden(
    "attention of keys",
    () => new nn.MultiheadAttention(4, 2),
    [
      [3, 2, 4],
      [5, 2, 4],
    ],
    (m, [q, k]) => m(...([q, k, k] as Inputs)),
  );
});

test("attention with padding, a mask for each head, and learned keys", () => {
  checkGolden(
    "attention with padding",
    () => new nn.MultiheadAttention(4, 2, { batchFirst: true }),
    [[2, 3, 4]],
    (m, [x]) => m(...([x, x, x] as Inputs), { keyPaddingMask: padding, attnMask: mask3 }),
  );
  checkGolden(
    "attention with all",
    () => new nn.MultiheadAttention(4, 2, { addBiasKv: true, addZeroAttn: true }),
    [[3, 2, 4]],
    (m, [x]) => m(...([x, x, x] as Inputs), { attnMask: causal, keyPaddingMask: padding, needWeights: false }),
  );
});

test("attention without batches", () => {
  checkGolden(
    "attention without batches",
    () => new nn.MultiheadAttention(4, 2),
    [[3, 4]],
    (m, [x]) => m(...([x, x, x] as Inputs)),
  );
});

test("the output is the same with and without attention weights", () => {
  const attention = new nn.MultiheadAttention(4, 2);
  const x = torch.randn([3, 2, 4]);
  const [output, weights] = attention(x, x, x, { attnMask: causal });
  const [other, none] = attention(x, x, x, { attnMask: causal, needWeights: false });
  assertClose(other, numbers(output));
  assert.deepEqual([weights?.shape, none], [[2, 3, 3], null]);
  assertClose(weights?.sum(-1) as Tensor, [1, 1, 1, 1, 1, 1]);
});

test("encoder layers, normalized after or before", () => {
  checkGolden("encoder layer", () => new nn.TransformerEncoderLayer(4, 2, { dimFeedforward: 6, dropout: 0 }), [
    [3, 2, 4],
  ]);
  checkGolden(
    "encoder layer, norm first",
    () =>
      new nn.TransformerEncoderLayer(4, 2, {
        dimFeedforward: 6,
        dropout: 0,
        activation: "gelu",
        normFirst: true,
        batchFirst: true,
        layerNormEps: 1e-3,
      }),
    [[2, 3, 4]],
    (m, [x]) => m(x as Tensor, { srcMask: causal, srcKeyPaddingMask: padding }),
  );
});

test("an encoder's layers are copies that start alike and learn apart", () => {
  checkGolden(
    "encoder",
    () => {
      const layer = new nn.TransformerEncoderLayer(4, 2, { dimFeedforward: 6, dropout: 0 });
      return new nn.TransformerEncoder(layer, 2, { norm: new nn.LayerNorm(4) });
    },
    [[3, 2, 4]],
    (m, [x]) => m(x as Tensor, { srcMask: causal }),
  );
  const layer = new nn.TransformerEncoderLayer(4, 2, { dimFeedforward: 6, activation: new nn.SiLU() }).double().eval();
  const encoder = new nn.TransformerEncoder(layer, 2);
  const [first, second] = [...encoder.layers] as [nn.TransformerEncoderLayer, nn.TransformerEncoderLayer];
  assert.notEqual(first.linear1.weight, second.linear1.weight);
  assert.deepEqual(first.linear1.weight.tolist(), layer.linear1.weight.tolist());
  assert.deepEqual([first.linear1.weight.dtype, second.training], ["float64", false]);
  assert.ok(first.namedChildren().some(([name]) => name === "activation"));
});

test("what attention cannot work with is refused with what to type", () => {
  const x = torch.ones([3, 2, 4]);
  const attention = new nn.MultiheadAttention(4, 2);
  assert.throws(() => new nn.MultiheadAttention(5, 2), /`embedDim` \(5\) has to be a multiple of `numHeads` \(2\)/);
  assert.throws(
    () => new nn.MultiheadAttention(4, 2, { batch_first: true } as never),
    /It is called `batchFirst` here/,
  );
  assert.throws(() => attention(torch.ones([3, 2, 5]), x, x), /\[3, 2, 5\].*\nIt takes \[L, N, E\], .* E = 4/);
  assert.throws(
    () => attention(x, x, x, { attnMask: torch.ones([2, 2]) }),
    /\[2, 2\]\.\nIt takes \[3, 3\] \(queries, keys\)/,
  );
  assert.throws(
    () => attention(x, x, x, { attnMask: torch.ones([3, 3], { dtype: "int64" }) }),
    /dtype int64.*\nA mask is bool/,
  );
  assert.throws(() => attention(x, x, x, { keyPaddingMask: causal }), /\[3, 3\]\.\nIt takes \[2, 3\]/);
  assert.throws(
    () => new nn.TransformerEncoder(attention as never, 2),
    /to be a TransformerEncoderLayer, but got a Multihead/,
  );
  assert.throws(
    () => new nn.TransformerEncoderLayer(4, 2, { activation: "swish" as never }),
    /"relu", "gelu" or a function/,
  );
});
