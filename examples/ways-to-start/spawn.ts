// A function that trains in processes of its own and gives back what rank 0 returns: this program goes on with the trained weights.
//
//   npx tsx examples/ways-to-start/spawn.ts --devices 2
import { Fabric } from "@fabric-ts/fabric";
import { data, nn, noGrad, optim } from "@fabric-ts/torch";
import { readOptions } from "../options.js";
import { SpiralNet, spirals } from "../spirals.js";

function train(fabric: Fabric, epochs: number, lr: number) {
  fabric.seedEverything(1, { verbose: false });
  const net = new SpiralNet();
  const [model, optimizer] = fabric.setup(net, new optim.Adam(net.parameters(), { lr }));
  const loader = fabric.setupDataLoaders(new data.DataLoader(spirals(2048), { batchSize: 32, shuffle: true }));
  for (let epoch = 0; epoch < epochs; epoch++) {
    for (const [points, labels] of loader) {
      optimizer.zeroGrad();
      fabric.backward(nn.functional.crossEntropy(model(points), labels));
      optimizer.step();
    }
  }
  return { weights: net.stateDict(), processes: fabric.worldSize, pid: process.pid };
}

const { devices, epochs } = readOptions({ devices: 2, epochs: 10 });
const fabric = new Fabric({ accelerator: "cpu", devices, strategy: "ddp_spawn" });
const { weights, processes, pid } = await fabric.launch(train, epochs, 0.01);

const net = new SpiralNet();
net.loadStateDict(weights);
const [points, labels] = spirals(1000, 1).tensors;
const accuracy = noGrad(() => net(points).argmax(1).eq(labels).to("float32").mean().item());
console.log(`process ${process.pid} goes on with weights from process ${pid}, one of ${processes}`);
console.log(`${(accuracy * 100).toFixed(1)} % of new points right`);
