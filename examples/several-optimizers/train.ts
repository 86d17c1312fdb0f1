// One model, two optimizers in one setup: the layers of a network step with Adam, its last layer with plain SGD at a rate of its own.
//
//   npx tsx examples/several-optimizers/train.ts --devices 2
import { Fabric } from "@fabric-ts/fabric";
import { data, nn, noGrad, optim, type Tensor } from "@fabric-ts/torch";
import { readOptions } from "../options.js";
import { spirals } from "../spirals.js";

class Net extends nn.Module<[Tensor], Tensor> {
  body = new nn.Sequential(new nn.Linear(2, 64), new nn.Tanh(), new nn.Linear(64, 64), new nn.Tanh());
  head = new nn.Linear(64, 2);

  forward(points: Tensor): Tensor {
    return this.head(this.body(points));
  }
}

const { devices, epochs } = readOptions({ devices: 2, epochs: 15 });
const fabric = new Fabric({ accelerator: "cpu", devices });
await fabric.launch();
fabric.seedEverything(3, { verbose: false });

const net = new Net();
const [model, bodyOptimizer, headOptimizer] = fabric.setup(
  net,
  new optim.Adam(net.body.parameters(), { lr: 0.01 }),
  new optim.SGD(net.head.parameters(), { lr: 0.1, momentum: 0.9 }),
);
const loader = fabric.setupDataLoaders(new data.DataLoader(spirals(2048), { batchSize: 32, shuffle: true }));

for (let epoch = 1; epoch <= epochs; epoch++) {
  let last = 0;
  for (const [points, labels] of loader) {
    bodyOptimizer.zeroGrad();
    headOptimizer.zeroGrad();
    const loss = nn.functional.crossEntropy(model(points), labels);
    fabric.backward(loss);
    bodyOptimizer.step();
    headOptimizer.step();
    last = loss.item();
  }
  if (epoch % 5 === 0) fabric.print(`epoch ${epoch}  loss ${last.toFixed(4)}`);
}

const [points, labels] = spirals(1000, 1).tensors;
const accuracy = noGrad(() => model(points).argmax(1).eq(labels).to("float32").mean().item());
fabric.print(`${(accuracy * 100).toFixed(1)} % of new points right`);
