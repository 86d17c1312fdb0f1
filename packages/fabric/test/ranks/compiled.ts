// Two processes train a model from `torch.compile`, with custom functions and activation checkpoints in it.
import { Fabric } from "@fabric-ts/fabric";
import * as torch from "@fabric-ts/torch";
import { autograd, nn, optim, type Tensor, utils } from "@fabric-ts/torch";
import { messageOf, report } from "../support/run-ranks.js";

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

class Net extends nn.Module<[Tensor], Tensor> {
  layer = new nn.Linear(3, 2);
  special: boolean;
  constructor(special: boolean) {
    super();
    this.special = special;
  }
  forward(x: Tensor) {
    const square = (h: Tensor): Tensor => this.layer(h).pow(2);
    return this.special ? utils.checkpoint((h: Tensor) => Square.apply(this.layer(h)), x) : square(x);
  }
  generate() {
    return this(torch.ones([1, 3]));
  }
}

const fabric = new Fabric({ accelerator: "cpu", devices: 2 });
await fabric.launch();

function train(compiled: boolean): { weights: number[]; model: Net } {
  torch.manualSeed(0);
  const net = new Net(compiled).double();
  const made = compiled ? torch.compile(net, { fullgraph: true }) : net;
  const [model, optimizer] = fabric.setup(made, new optim.SGD(net.parameters(), { lr: 0.1 }));
  torch.manualSeed(1 + fabric.globalRank);
  for (let step = 0; step < 5; step++) {
    optimizer.zeroGrad();
    const x = torch.randn([4, 3], { dtype: "float64" });
    fabric.noBackwardSync(model, () => fabric.backward(model(x).mean()), { enabled: step === 0 });
    if (step > 0) optimizer.step();
  }
  return { weights: net.layer.weight.flatten().tolist() as number[], model };
}

const plain = train(false);
const compiled = train(true);
report(fabric.globalRank, {
  plain: plain.weights,
  compiled: compiled.weights,
  guarded: await messageOf(() => compiled.model.generate()),
  keys: Object.keys(compiled.model.stateDict()),
});
