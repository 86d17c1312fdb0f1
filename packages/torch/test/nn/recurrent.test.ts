// RNN, LSTM, GRU and their cells against PyTorch, and what they refuse.
import assert from "node:assert/strict";
import { test } from "node:test";
import * as torch from "@fabric-ts/torch";
import { nn, type Tensor } from "@fabric-ts/torch";
import { assertClose, numbers } from "./close.js";
import { checkGolden } from "./golden-layers.js";

test("RNN with tanh and with relu", () => {
  checkGolden("RNN", () => new nn.RNN(3, 4), [[5, 2, 3]]);
  checkGolden(
    "RNN relu",
    () => new nn.RNN(3, 2, { numLayers: 2, nonlinearity: "relu", bias: false, batchFirst: true }),
    [
      [2, 5, 3],
      [2, 2, 2],
    ],
  );
});

test("LSTM plain, with everything, and without batches", () => {
  checkGolden("LSTM", () => new nn.LSTM(3, 2), [[5, 2, 3]]);
  checkGolden(
    "LSTM with all",
    () => new nn.LSTM(3, 3, { numLayers: 2, batchFirst: true, bidirectional: true, projSize: 2 }),
    [
      [2, 4, 3],
      [4, 2, 2],
      [4, 2, 3],
    ],
    (m, [x, h, c]) => m(x as Tensor, [h as Tensor, c as Tensor]),
  );
  checkGolden("LSTM without batches", () => new nn.LSTM(3, 2), [[4, 3]]);
});

test("GRU in both directions, and with a state", () => {
  checkGolden("GRU", () => new nn.GRU(3, 2, { bidirectional: true }), [[4, 2, 3]]);
  checkGolden("GRU with a state", () => new nn.GRU(3, 2, { numLayers: 2 }), [
    [4, 3],
    [2, 2],
  ]);
});

test("cells", () => {
  checkGolden("RNNCell", () => new nn.RNNCell(3, 2, { nonlinearity: "relu" }), [
    [2, 3],
    [2, 2],
  ]);
  checkGolden(
    "LSTMCell",
    () => new nn.LSTMCell(3, 2),
    [
      [2, 3],
      [2, 2],
      [2, 2],
    ],
    (m, [x, h, c]) => m(x as Tensor, [h as Tensor, c as Tensor]),
  );
  checkGolden("LSTMCell without batches", () => new nn.LSTMCell(3, 2, { bias: false }), [[3]]);
  checkGolden("GRUCell", () => new nn.GRUCell(3, 2), [[2, 3]]);
});

test("a cell applied step by step computes what the network does", () => {
  const network = new nn.GRU(3, 2);
  const cell = new nn.GRUCell(3, 2);
  cell.loadStateDict(
    Object.fromEntries(Object.entries(network.stateDict()).map(([key, value]) => [key.replace("_l0", ""), value])),
  );
  const x = torch.randn([4, 2, 3]);
  const [outputs] = network(x);
  let state: Tensor | null = null;
  const steps: Tensor[] = [];
  for (const step of x) {
    state = cell(step, state);
    steps.push(state);
  }
  assertClose(torch.stack(steps), numbers(outputs));
});

test("dropout between layers acts in training only, and alone it is a warning", async () => {
  const network = new nn.LSTM(3, 4, { numLayers: 2, dropout: 0.9 });
  const x = torch.randn([5, 2, 3]);
  assert.notDeepEqual(network(x)[0].tolist(), network(x)[0].tolist());
  network.eval();
  assert.deepEqual(network(x)[0].tolist(), network(x)[0].tolist());
  const warning = new Promise<Error>((resolve) => process.once("warning", resolve));
  new nn.GRU(3, 4, { dropout: 0.5 });
  assert.match((await warning).message, /`dropout` of GRU acts between layers, but there is only one/);
});

test("what recurrent layers cannot work with is refused with what to type", () => {
  const lstm = new nn.LSTM(3, 2);
  const x = torch.ones([5, 2, 3]);
  assert.throws(
    () => lstm(torch.ones([5, 2, 4])),
    /LSTM got an input of shape \[5, 2, 4\]\.\nIt takes \[L, N, H\].* H = 3/,
  );
  assert.throws(
    () => lstm(x, torch.ones([1, 2, 2]) as never),
    /a pair of hidden and cell state.*\nType `lstm\(x, \[h, c\]\)`/,
  );
  assert.throws(
    () => lstm(x, [torch.ones([1, 3, 2]), torch.ones([1, 2, 2])]),
    /state of shape \[1, 3, 2\]\.\nIt takes \[1, 2, 2\]/,
  );
  assert.throws(() => new nn.LSTM(3, 2, { projSize: 2 }), /`projSize` \(2\) has to be smaller than `hiddenSize` \(2\)/);
  assert.throws(() => new nn.GRU(3, 2, { num_layers: 2 } as never), /It is called `numLayers` here/);
  assert.throws(() => new nn.RNN(3, 2, { nonlinearity: "sigmoid" as never }), /has to be one of "tanh", "relu"/);
  assert.throws(() => new nn.GRUCell(3, 2)(x), /GRUCell got an input of shape \[5, 2, 3\]\.\nIt takes \[N, 3\]/);
});
