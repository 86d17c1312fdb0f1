// Tensors of wrong shapes and dtypes, disposed ones, and those that stand where a number belongs.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as torch from "@fabric-ts/torch";
import { nn, optim } from "@fabric-ts/torch";
import { any, fabric, model, raw, refuses, theCall, x } from "./support.js";

const disposed = torch.ones([3]);
disposed.dispose();

refuses("a wrong shape", [
  [
    "of a layer's input",
    () => raw(torch.ones([4, 5])),
    "TorchError",
    /mat1 and mat2 shapes cannot be multiplied \(4x5 and 3x2\)/,
    /in linear\(Tensor float32 \[4, 5\], Tensor float32 \[2, 3\], Tensor float32 \[2\]\)/,
  ],
  ["of a wrapped model's input", () => model(torch.ones([4, 5])), "TorchError", /4x5 and 3x2/, theCall],
  ["of operands", () => x.add(torch.ones([4, 2])), "TorchError", /size of tensor a \(3\) must match/, theCall],
  [
    "of a target",
    () => nn.functional.crossEntropy(x, torch.ones([3], { dtype: "int64" })),
    "TorchError",
    /Expected input batch_size \(4\) to match target batch_size \(3\)/,
    theCall,
  ],
  [
    "of images",
    () => new nn.Conv2d(3, 4, 3)(torch.ones([1, 1, 8, 8])),
    "TorchError",
    /to have 3 channels, but got 1/,
    theCall,
  ],
  [
    "of what is normalized",
    () => new nn.BatchNorm2d(3)(torch.ones([2, 3])),
    "ConfigurationError",
    /BatchNorm2d got an input of shape \[2, 3\]/,
    /It takes the shape \[N, C, H, W\]/,
  ],
  [
    "of nested arrays",
    () => torch.tensor([[1, 2], [3]]),
    "TypeError",
    /`data\[1\]` has length 1, but the first array at its level has length 2/,
    /must have equal lengths/,
  ],
  [
    "of a loss that goes backward",
    () => fabric.backward(model(x)),
    "UsageError",
    /needs a tensor with one element, but this one has 8/,
    /loss\.mean\(\)/,
  ],
  [
    "of what becomes a number",
    () => x.item(),
    "UsageError",
    /exactly one element, but this one has 12/,
    /use `tolist\(\)`/,
  ],
]);

refuses("a wrong dtype", [
  [
    "of a target",
    () => nn.functional.crossEntropy(x, torch.ones([4], { dtype: "int32" })),
    "TorchError",
    /expected scalar type Long but found Int/,
    theCall,
  ],
  ["of indices", () => new nn.Embedding(4, 2)(torch.ones([2])), "TorchError", /'indices'.*Long, Int/, theCall],
  ["of an operand", () => x.matmul(torch.ones([3, 3], { dtype: "float64" })), "TorchError", /Float|dtype/i, theCall],
  [
    "that cannot have gradients",
    () => torch.tensor([1], { requiresGrad: true }),
    "UsageError",
    /Only floating-point and complex tensors.*int64/,
    /\.to\("float32"\)/,
  ],
  ["that does not exist", () => x.to(any("float31")), "TypeError", /"float31"/, /"float32"/],
]);

refuses("a disposed tensor", [
  [
    "in an operator",
    () => x.add(disposed),
    "UsageError",
    /given as `other` has been disposed/,
    /Use it before `dispose\(\)`/,
  ],
  ["in a model", () => model(disposed), "UsageError", /has been disposed/, /Use it before `dispose\(\)`/],
  ["as the loss", () => fabric.backward(disposed), "UsageError", /has been disposed/, /Use it before `dispose\(\)`/],
  ["in allReduce", () => fabric.allReduce(disposed), "UsageError", /has been disposed/, /return it from the scope/],
  [
    "in a checkpoint",
    () => fabric.save("never.ckpt", { disposed }),
    "UsageError",
    /value\.disposed .* has been disposed/,
    /Save before `dispose\(\)`/,
  ],
]);

refuses("a tensor where a number belongs", [
  [
    "a size of a layer",
    () => new nn.Linear(any(torch.tensor(3)), 2),
    "TypeError",
    /whole number, but got a Tensor/,
    /new nn\.Linear\(10, 2/,
  ],
  [
    "a learning rate",
    () => new optim.SGD(raw.parameters(), { lr: any(torch.tensor(0.1)) }),
    "TypeError",
    /but got a Tensor/,
    /to be a number/,
  ],
  ["a seed", () => torch.manualSeed(any(torch.tensor(1))), "TypeError", /but got a Tensor/, /a whole number/],
  [
    "a dimension",
    () => x.sum(any(torch.tensor(1))),
    "TypeError",
    /sum\(Tensor float32 \[4, 3\], Tensor int64 \[\]\)/,
    /int\[1\]\? dim/,
  ],
  [
    "a size",
    () => torch.zeros(any([torch.tensor(2), 3])),
    "TypeError",
    /zeros\(\[Tensor int64 \[\], 3\]\)/,
    /It takes:\n {2}aten::zeros/,
  ],
  ["an array for a tensor", () => raw(any([[1, 2, 3]])), "TypeError", /linear\(\[\[1, 2, 3\]\]/, /Tensor input/],
]);

describe("errors in a loop that catches them", () => {
  it("leave no tensors behind", () => {
    const attempt = (): void => {
      assert.throws(() => model(torch.ones([4, 5])));
    };
    torch.scope(attempt);
    const { liveTensors } = torch.memory.stats();
    for (let i = 0; i < 100; i++) torch.scope(attempt);
    assert.ok(torch.memory.stats().liveTensors <= liveTensors);
  });
});
