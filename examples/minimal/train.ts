// The smallest whole program: a network learns to tell two spirals apart. The file stays as it is on one process, on several,
// in mixed precision and on a GPU.
//
//   npx tsx examples/minimal/train.ts                                       one process
//   npx tsx examples/minimal/train.ts --devices 2
//   npx tsx examples/minimal/train.ts --devices 2 --precision bf16-mixed
//   npx tsx examples/minimal/train.ts --accelerator cuda --precision 16-mixed
import { Fabric, type PrecisionInput } from "@fabric-ts/fabric";
import { data, nn, noGrad, optim } from "@fabric-ts/torch";
import { readOptions } from "../options.js";
import { spirals } from "../spirals.js";

const { epochs, ...where } = readOptions({
  accelerator: "cpu",
  devices: 1,
  precision: "32-true" as PrecisionInput,
  epochs: 20,
});
const fabric = new Fabric(where);
await fabric.launch();
fabric.seedEverything(42, { verbose: false });

const net = new nn.Sequential(
  new nn.Linear(2, 64),
  new nn.Tanh(),
  new nn.Linear(64, 64),
  new nn.Tanh(),
  new nn.Linear(64, 2),
);
const [model, optimizer] = fabric.setup(net, new optim.Adam(net.parameters(), { lr: 0.01 }));
const loader = fabric.setupDataLoaders(new data.DataLoader(spirals(2048), { batchSize: 32, shuffle: true }));

for (let epoch = 1; epoch <= epochs; epoch++) {
  let last = 0;
  for (const [points, labels] of loader) {
    optimizer.zeroGrad();
    const loss = nn.functional.crossEntropy(model(points), labels);
    fabric.backward(loss);
    optimizer.step();
    last = loss.item();
  }
  if (epoch % 5 === 0) fabric.print(`epoch ${epoch}  loss ${last.toFixed(4)}`);
}

const [points, labels] = fabric.toDevice(spirals(1000, 1).tensors);
const accuracy = noGrad(() => model(points).argmax(1).eq(labels).to("float32").mean().item());
fabric.print(`${fabric.worldSize} process(es): ${(accuracy * 100).toFixed(1)} % of new points right`);
