// Sequences of unequal length in recurrent networks, against PyTorch.
import assert from "node:assert/strict";
import { test } from "node:test";
import * as torch from "@fabric-ts/torch";
import { nn, type Tensor } from "@fabric-ts/torch";
import { checkGolden } from "./golden-layers.js";

const {
  packPaddedSequence,
  padPackedSequence,
  packSequence,
  unpackSequence,
  padSequence,
  unpadSequence,
  PackedSequence,
} = nn.utils.rnn;

type Net = nn.RNN | nn.GRU | nn.LSTM;

/** The padded outputs and the last states of a packed batch. */
function packed(
  net: Net,
  inputs: Tensor[],
  lengths: Tensor | number[],
  options: nn.utils.rnn.PackOptions = {},
): unknown {
  const [x, ...states] = inputs as [Tensor, ...Tensor[]];
  const state = states.length === 2 ? states : (states[0] ?? null);
  const call = net as unknown as (
    x: nn.utils.rnn.PackedSequence,
    state: unknown,
  ) => [nn.utils.rnn.PackedSequence, unknown];
  const [output, last] = call(packPaddedSequence(x, lengths, options), state);
  return [padPackedSequence(output, { batchFirst: options.batchFirst, paddingValue: 0.5 })[0], last];
}

test("an RNN reads packed sequences as PyTorch's does", () => {
  checkGolden(
    "RNN packed",
    () => new nn.RNN(3, 2),
    [[4, 3, 3]],
    (net, inputs) => packed(net, inputs, [4, 2, 1]),
  );
});

test("a GRU of two layers and directions sorts the sequences and puts outputs and states back", () => {
  checkGolden(
    "GRU packed",
    () => new nn.GRU(3, 2, { numLayers: 2, bidirectional: true }),
    [
      [3, 4, 3],
      [4, 3, 2],
    ],
    (net, inputs) => packed(net, inputs, torch.tensor([2, 4, 3]), { batchFirst: true, enforceSorted: false }),
  );
});

test("an LSTM does so with both states and a projection, and without states", () => {
  checkGolden(
    "LSTM packed",
    () => new nn.LSTM(3, 3, { projSize: 2 }),
    [
      [4, 3, 3],
      [1, 3, 2],
      [1, 3, 3],
    ],
    (net, inputs) => packed(net, inputs, [1, 4, 2], { enforceSorted: false }),
  );
  checkGolden(
    "LSTM packed, no state",
    () => new nn.LSTM(2, 2, { numLayers: 2 }),
    [[3, 2, 2]],
    (net, inputs) => packed(net, inputs, [3, 1]),
  );
});

test("the types of packed calls are packed", () => {
  const x = packSequence([torch.ones([3, 2]), torch.ones([1, 2])]);
  const [output, last]: [nn.utils.rnn.PackedSequence, Tensor] = new nn.GRU(2, 4)(x);
  const [fromLstm, [h, c]]: [nn.utils.rnn.PackedSequence, [Tensor, Tensor]] = new nn.LSTM(2, 4)(x);
  const plain: [Tensor, Tensor] = new nn.GRU(2, 4)(torch.ones([3, 1, 2]));
  assert.ok(output instanceof PackedSequence && fromLstm instanceof PackedSequence);
  assert.deepEqual(
    [output.data.shape, last.shape, h.shape, c.shape],
    [
      [4, 4],
      [1, 2, 4],
      [1, 2, 4],
      [1, 2, 4],
    ],
  );
  assert.equal(plain.length, 2);
});

test("packing keeps what belongs to sequences, padding brings it back", () => {
  const a = torch.tensor([[1], [2], [3]]);
  const b = torch.tensor([[4]]);
  const c = torch.tensor([[5], [6]]);
  const packedBatch = packSequence([b, a, c], { enforceSorted: false });
  assert.deepEqual(packedBatch.data.flatten().tolist(), [1, 5, 4, 2, 6, 3]);
  assert.deepEqual(packedBatch.batchSizes.tolist(), [3, 2, 1]);
  assert.deepEqual(packedBatch.sortedIndices?.tolist(), [1, 2, 0]);
  assert.deepEqual(packedBatch.unsortedIndices?.tolist(), [2, 0, 1]);
  const [padded, lengths] = padPackedSequence(packedBatch, { batchFirst: true, paddingValue: -1, totalLength: 4 });
  assert.deepEqual(padded.squeeze(-1).tolist(), [
    [4, -1, -1, -1],
    [1, 2, 3, -1],
    [5, 6, -1, -1],
  ]);
  assert.deepEqual(lengths.tolist(), [1, 3, 2]);
  assert.deepEqual(
    unpackSequence(packedBatch).map((x) => x.flatten().tolist()),
    [[4], [1, 2, 3], [5, 6]],
  );
  const rows = padSequence([a, c]);
  assert.deepEqual(rows.shape, [3, 2, 1]);
  assert.deepEqual(
    unpadSequence(rows, [3, 2]).map((x) => x.shape),
    [
      [3, 1],
      [2, 1],
    ],
  );
  assert.equal(packedBatch.to("float64").data.dtype, "float64");
  assert.equal(packedBatch.to("cpu"), packedBatch);
});

test("what cannot be packed is explained", () => {
  const x = torch.ones([4, 2, 3]);
  assert.throws(() => packPaddedSequence(x, [2, 4]), /The lengths \[2, 4\] do not fall.*\n.*enforceSorted: false/);
  assert.throws(() => packPaddedSequence(x, [4, 2, 1]), /shape \[4, 2, 3\] and 3 lengths of at most 4/);
  assert.throws(() => packPaddedSequence(x, [5, 1]), /lengths up to L; see `batchFirst`/);
  assert.throws(() => packPaddedSequence(x, [4, 0]), /`lengths` has to be at least 1, but is 0/);
  assert.throws(() => packPaddedSequence(x, 4 as never), /a list of lengths or a Tensor, but got 4/);
  const batch = packPaddedSequence(x, [4, 2]);
  assert.throws(
    () => padPackedSequence(batch, { totalLength: 3 }),
    /`totalLength` is 3, but the longest sequence has 4/,
  );
  assert.throws(() => padPackedSequence(x as never), /to be a PackedSequence, but got/);
  assert.throws(() => new nn.GRU(5, 2)(batch), /data of shape \[6, 3\].*\n.*5 features/);
  assert.throws(() => new nn.GRU(3, 2)(batch, torch.ones([1, 3, 2])), /got a state of shape \[1, 3, 2\]/);
  assert.throws(() => packSequence(x as never), /to be a list of Tensors/);
});
