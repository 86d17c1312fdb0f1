// Gradient accumulation: several small batches make one optimizer step. Gradients travel between the processes with the last of them
// only, and the weights become those of a training with large batches, which runs beside it here.
//
//   npx tsx examples/accumulation/train.ts --devices 2 --accumulate 4
import { DDPStrategy, Fabric } from "@fabric-ts/fabric";
import { data, nn, optim } from "@fabric-ts/torch";
import { readOptions } from "../options.js";
import { SpiralNet, spirals } from "../spirals.js";

const { devices, epochs, accumulate } = readOptions({ devices: 2, epochs: 10, accumulate: 4 });

// Counts how often gradients are exchanged; not needed for the accumulation.
let exchanges = 0;
const ddpCommHook: nn.parallel.CommHook = (state, bucket) => {
  exchanges++;
  return nn.parallel.allReduceHook(state, bucket);
};
const strategy = devices > 1 ? new DDPStrategy({ ddpCommHook }) : "auto";
const fabric = new Fabric({ accelerator: "cpu", devices, strategy });
await fabric.launch();

const small = Math.ceil(64 / fabric.worldSize / accumulate); // samples of one pass in a process
const dataset = spirals(32 * small * accumulate * fabric.worldSize);
const train = async (batchSize: number, accumulate: number) => {
  fabric.seedEverything(7, { verbose: false });
  const net = new SpiralNet();
  const [model, optimizer] = fabric.setup(net, new optim.Adam(net.parameters(), { lr: 0.01 }));
  const loader = fabric.setupDataLoaders(new data.DataLoader(dataset, { batchSize, shuffle: true }));
  exchanges = 0;
  let steps = 0;
  let lossSum = 0;
  for (let epoch = 0; epoch < epochs; epoch++) {
    let batchIdx = 0;
    lossSum = 0;
    for (const [points, labels] of loader) {
      batchIdx++;
      const isAccumulating = batchIdx % accumulate !== 0;
      fabric.noBackwardSync(model, { enabled: isAccumulating }, () => {
        const loss = nn.functional.crossEntropy(model(points), labels);
        fabric.backward(loss.div(accumulate));
        lossSum += loss.item();
      });
      if (isAccumulating) continue;
      optimizer.step();
      optimizer.zeroGrad();
      steps++;
    }
  }
  const loss = (await fabric.allReduce(lossSum / loader.length)).item();
  const passes = steps * accumulate;
  fabric.print(
    `batches of ${batchSize}: ${passes} passes, ${steps} steps, ${exchanges} exchanges, loss ${loss.toFixed(4)}`,
  );
  return nn.utils.parametersToVector(net.parameters());
};

const accumulated = await train(small, accumulate);
const atOnce = await train(small * accumulate, 1);
const difference = accumulated.sub(atOnce).abs().max().item();
fabric.print(`largest difference between the two trainings' weights: ${difference.toExponential(1)}`);
