// Data that has to be made once: rank 0 writes the file while the others wait, then all read it. Each process writes what is its own under a
// name of its own. Run it twice: the second time the file is there.
//
//   npx tsx examples/data-preparation/train.ts --devices 2
//   npx tsx examples/data-preparation/train.ts --devices 2 --local      once on each machine, for disks that machines do not share
import { existsSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Fabric } from "@fabric-ts/fabric";
import { data, load, nn, noGrad, optim, save, type Tensor } from "@fabric-ts/torch";
import { readOptions } from "../options.js";
import { SpiralNet, spirals } from "../spirals.js";

const { devices, epochs, local, folder } = readOptions({
  devices: 2,
  epochs: 10,
  local: false,
  folder: "runs/data-preparation",
});
const fabric = new Fabric({ accelerator: "cpu", devices });
await fabric.launch();
fabric.seedEverything(1, { verbose: false });
const rank = fabric.globalRank;

/** Makes the file unless it is there; appears complete or not at all, so that a run that was interrupted here leaves no half of it. */
async function prepare(path: string): Promise<void> {
  if (existsSync(path)) return console.log(`rank ${rank}: ${path} is there`);
  await mkdir(folder, { recursive: true });
  const [points, labels] = spirals(2048).tensors;
  await save({ points, labels }, path);
  console.log(`rank ${rank}: wrote ${path}`);
}

const path = join(folder, "spirals.pt");
const { points, labels } = await fabric.rankZeroFirst(
  async () => {
    await prepare(path);
    return (await load(path)) as { points: Tensor; labels: Tensor };
  },
  { local },
);

const net = new SpiralNet();
const [model, optimizer] = fabric.setup(net, new optim.Adam(net.parameters(), { lr: 0.01 }));
const loader = fabric.setupDataLoaders(
  new data.DataLoader(new data.TensorDataset(points, labels), { batchSize: 32, shuffle: true }),
);
for (let epoch = 0; epoch < epochs; epoch++) {
  for (const [points, labels] of loader) {
    optimizer.zeroGrad();
    fabric.backward(nn.functional.crossEntropy(model(points), labels));
    optimizer.step();
  }
}

// Every process predicts points of its own, and writes them to a file of its own.
const predictionsOf = (rank: number) => join(folder, `predictions-rank-${rank}.json`);
const [newPoints, newLabels] = spirals(500, 100 + rank).tensors;
const predictions = noGrad(() => model(newPoints).argmax(1));
const right = predictions.eq(newLabels).sum().item();
await writeFile(predictionsOf(rank), JSON.stringify({ right, predictions: predictions.tolist() }));
await fabric.barrier(); // now all files are there

if (fabric.isGlobalZero) {
  for (let other = 0; other < fabric.worldSize; other++) {
    const { right, predictions } = JSON.parse(await readFile(predictionsOf(other), "utf8"));
    console.log(`${predictionsOf(other)}: ${right} of ${predictions.length} new points right`);
  }
}
