// A training as a class: what `run` does happens in every process, because calling it launches first.
//
//   npx tsx examples/ways-to-start/subclass.ts --devices 2
import { Fabric } from "@fabric-ts/fabric";
import { data, nn, optim } from "@fabric-ts/torch";
import { readOptions } from "../options.js";
import { SpiralNet, spirals } from "../spirals.js";

class SpiralFabric extends Fabric {
  override async run(epochs: number, lr: number): Promise<number> {
    this.seedEverything(1, { verbose: false });
    const net = new SpiralNet();
    const [model, optimizer] = this.setup(net, new optim.Adam(net.parameters(), { lr }));
    const loader = this.setupDataLoaders(new data.DataLoader(spirals(2048), { batchSize: 32, shuffle: true }));
    let last = 0;
    for (let epoch = 0; epoch < epochs; epoch++) {
      for (const [points, labels] of loader) {
        optimizer.zeroGrad();
        const loss = nn.functional.crossEntropy(model(points), labels);
        this.backward(loss);
        optimizer.step();
        last = loss.item();
      }
    }
    return (await this.allReduce(last)).item();
  }
}

const { devices, epochs } = readOptions({ devices: 2, epochs: 10 });
const fabric = new SpiralFabric({ accelerator: "cpu", devices });
const loss = await fabric.run(epochs, 0.01);
fabric.print(`loss ${loss.toFixed(4)} after ${epochs} epochs on ${fabric.worldSize} process(es)`);
