// The Transformer's decoder and the whole Transformer against PyTorch, copies of modules, and what they refuse.
import assert from "node:assert/strict";
import { test } from "node:test";
import * as torch from "@fabric-ts/torch";
import { nn, type Tensor } from "@fabric-ts/torch";
import { checkGolden } from "./golden-layers.js";

const causal = torch.ones([3, 3], { dtype: "bool" }).triu(1);
const padding = torch.tensor([
  [false, false, true],
  [false, false, false],
]);
const plain = { dimFeedforward: 6, dropout: 0 };
const decoderLayer = () => new nn.TransformerDecoderLayer(4, 2, plain);

test("a decoder layer has PyTorch's values", () => {
  checkGolden("decoder layer", decoderLayer, [
    [3, 2, 4],
    [5, 2, 4],
  ]);
});

test("a decoder layer with normalization first and all masks has PyTorch's values", () => {
  checkGolden(
    "decoder layer, norm first",
    () => new nn.TransformerDecoderLayer(4, 2, { ...plain, activation: "gelu", normFirst: true, batchFirst: true }),
    [
      [2, 3, 4],
      [2, 3, 4],
    ],
    (layer, [x, memory]) =>
      layer(x as Tensor, memory as Tensor, {
        tgtMask: causal,
        memoryMask: causal,
        tgtKeyPaddingMask: padding,
        memoryKeyPaddingMask: padding,
      }),
  );
});

test("a decoder of several layers has PyTorch's values", () => {
  checkGolden(
    "decoder",
    () => new nn.TransformerDecoder(decoderLayer(), 2, { norm: new nn.LayerNorm(4) }),
    [
      [3, 2, 4],
      [5, 2, 4],
    ],
    (decoder, [x, memory]) => decoder(x as Tensor, memory as Tensor, { tgtMask: causal }),
  );
});

test("a Transformer has PyTorch's first values and results", () => {
  checkGolden(
    "Transformer",
    () =>
      new nn.Transformer({ dModel: 4, nhead: 2, numEncoderLayers: 1, numDecoderLayers: 2, ...plain, batchFirst: true }),
    [
      [2, 5, 4],
      [2, 3, 4],
    ],
    (model, [src, tgt]) => model(src as Tensor, tgt as Tensor, { tgtMask: causal, tgtKeyPaddingMask: padding }),
  );
});

test("the mask of later positions", () => {
  const off = Number.NEGATIVE_INFINITY;
  assert.deepEqual(nn.Transformer.generateSquareSubsequentMask(3).tolist(), [
    [0, off, off],
    [0, 0, off],
    [0, 0, 0],
  ]);
});

test("an encoder and a decoder of one's own", () => {
  class Twice extends nn.Module<[Tensor], Tensor> {
    forward(x: Tensor) {
      return x.mul(2);
    }
  }
  class Sum extends nn.Module<[Tensor, Tensor], Tensor> {
    forward(x: Tensor, memory: Tensor) {
      return x.add(memory);
    }
  }
  const model = new nn.Transformer({ dModel: 1, nhead: 1, customEncoder: new Twice(), customDecoder: new Sum() });
  assert.deepEqual(model(torch.ones([1, 1, 1]), torch.ones([1, 1, 1])).tolist(), [[[3]]]);
});

test("wrong shapes and arguments are explained", () => {
  const model = new nn.Transformer({ dModel: 4, nhead: 2, numEncoderLayers: 1, numDecoderLayers: 1, ...plain });
  const x = torch.ones([3, 2, 4]);
  assert.throws(() => model(x, torch.ones([3, 1, 4])), /a target of shape \[3, 1, 4\]/);
  assert.throws(() => model(x, torch.ones([3, 2, 5])), /Both need 4 features/);
  assert.throws(() => model(x, x, { tgtmask: causal } as never), /It is called `tgtMask` here/);
  assert.throws(() => new nn.TransformerDecoder(new nn.Linear(2, 2) as never, 1), /to be a TransformerDecoderLayer/);
  assert.throws(() => new nn.Transformer({ d_model: 4 } as never), /It is called `dModel` here/);
});

test("deepCopy: values, modes, sharing and hooks as in the original, tensors of its own", () => {
  class Net extends nn.Module<[Tensor], Tensor> {
    shared = new nn.Linear(2, 2);
    again = this.shared;
    norm = new nn.BatchNorm1d(2);
    rnn = new nn.GRU(2, 2);
    list = [{ scale: torch.ones([1]) }];
    calls = new Map([["forward", 0]]);
    forward(x: Tensor) {
      this.calls.set("forward", (this.calls.get("forward") ?? 0) + 1);
      return this.rnn(this.norm(this.again(this.shared(x))))[0];
    }
  }
  const net = new Net().eval();
  net.shared.requiresGrad_(false);
  let seen = 0;
  net.norm.registerForwardHook(() => {
    seen++;
  });
  const state = torch.getRngState();
  const copy = nn.utils.deepCopy(net);
  assert.ok(torch.getRngState().equal(state), "something was drawn");
  const x = torch.randn([3, 2]);
  assert.deepEqual(copy(x).tolist(), net(x).tolist());
  assert.ok(copy instanceof Net);
  assert.equal(copy.again, copy.shared);
  assert.notEqual(copy.shared, net.shared);
  assert.deepEqual([copy.training, copy.shared.weight.requiresGrad, copy.rnn.training], [false, false, false]);
  assert.equal(seen, 2);
  assert.deepEqual([copy.calls.get("forward"), net.calls.get("forward")], [1, 1]);
  assert.deepEqual(Object.keys(copy.stateDict()), Object.keys(net.stateDict()));
  torch.noGrad(() => copy.shared.weight.fill_(0));
  copy.norm.runningMean?.fill_(5);
  copy.list[0]?.scale.fill_(7);
  assert.notEqual(net.shared.weight.abs().sum().item(), 0);
  assert.deepEqual(net.norm.runningMean?.tolist(), [0, 0]);
  assert.deepEqual(net.list[0]?.scale.tolist(), [1]);
  copy.train().double();
  assert.deepEqual([net.training, net.shared.weight.dtype], [false, "float32"]);
});

test("deepCopy refuses classes with private members, and says what to do", () => {
  class Secret extends nn.Module<[Tensor], Tensor> {
    #factor = 2;
    forward(x: Tensor) {
      return x.mul(this.#factor);
    }
  }
  class Named extends nn.Module<[Tensor], Tensor> {
    colour = "#fff"; // #not a member
    forward(x: Tensor) {
      return x;
    }
  }
  assert.throws(
    () => nn.utils.deepCopy(new nn.Sequential(new Secret())),
    /Secret has private members .*\n.*copy.loadStateDict\(model.stateDict\(\)\)/,
  );
  assert.equal(nn.utils.deepCopy(new Named()).colour, "#fff");
});
