// A script for `fabric run`, which starts the processes and says how many and where: no device, strategy or launch() in here.
// Started without it, it trains on one process.
//
//   npx fabric run --accelerator cpu --devices 2 --strategy ddp examples/ways-to-start/without-launch.ts --epochs 10
//   npx tsx examples/ways-to-start/without-launch.ts --epochs 10
import { Fabric } from "@fabric-ts/fabric";
import { data, nn, optim } from "@fabric-ts/torch";
import { readOptions } from "../options.js";
import { SpiralNet, spirals } from "../spirals.js";

const { epochs, lr } = readOptions({ epochs: 10, lr: 0.01 });
const fabric = new Fabric();
fabric.seedEverything(1, { verbose: false });

const net = new SpiralNet();
const [model, optimizer] = fabric.setup(net, new optim.Adam(net.parameters(), { lr }));
const loader = fabric.setupDataLoaders(new data.DataLoader(spirals(2048), { batchSize: 32, shuffle: true }));
let last = 0;
for (let epoch = 0; epoch < epochs; epoch++) {
  for (const [points, labels] of loader) {
    optimizer.zeroGrad();
    const loss = nn.functional.crossEntropy(model(points), labels);
    fabric.backward(loss);
    optimizer.step();
    last = loss.item();
  }
}
const loss = (await fabric.allReduce(last)).item();
fabric.print(`loss ${loss.toFixed(4)} after ${epochs} epochs on ${fabric.worldSize} process(es)`);
