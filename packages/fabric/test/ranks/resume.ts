// Trains with several kinds of loaders. In the first process each training is run through, then run again and saved at STEP; in the second
// it goes on from there. Reports the bits of the final weights.
import { createHash } from "node:crypto";
import { Fabric, RngState } from "@fabric-ts/fabric";
import { data, nn, optim, type Tensor } from "@fabric-ts/torch";
import { Noisy, NoisyStream } from "../support/datasets.js";
import { report } from "../support/run-ranks.js";

const { DEVICES = "1", STEP = "", FOLDER = "", RESUME = "" } = process.env;
const epochs = 3;
const batchSize = 4;
const module = new URL("../support/datasets.js", import.meta.url);

type Sample = { x: Tensor; y: Tensor };
const loaders: Record<string, () => data.DataLoader<Sample>> = {
  shuffled: () => new data.DataLoader<Sample>(new Noisy(30), { batchSize, shuffle: true }),
  weighted: () => {
    const weights = Array.from({ length: 30 }, (_, i) => i + 1);
    return new data.DataLoader<Sample>(new Noisy(30), {
      batchSize,
      sampler: new data.WeightedRandomSampler(weights, 30),
    });
  },
  workers: () =>
    new data.DataLoader(data.workerDataset(module, Noisy, 30), { batchSize, shuffle: true, numWorkers: 2 }),
  kept: () =>
    new data.DataLoader(data.workerDataset(module, Noisy, 30), {
      batchSize,
      shuffle: true,
      numWorkers: 2,
      prefetchFactor: 1,
      persistentWorkers: true,
    }),
  stream: () => new data.DataLoader(data.workerDataset(module, NoisyStream, 30), { batchSize, numWorkers: 2 }),
};

const fabric = new Fabric({ accelerator: "cpu", devices: Number(DEVICES) });
await fabric.launch();

async function train(name: string, mode: "through" | "save" | "resume"): Promise<string> {
  fabric.seedEverything(7, { verbose: false });
  const raw = new nn.Sequential(new nn.Linear(4, 8), new nn.Dropout(0.2), new nn.Linear(8, 1));
  const [model, optimizer] = fabric.setup(raw, new optim.Adam(raw.parameters(), { lr: 0.01 }));
  const loader = fabric.setupDataLoaders((loaders[name] as () => data.DataLoader<Sample>)());
  const state = { model, optimizer, loader, rng: new RngState(), step: 0, epoch: 0 };
  const path = `${FOLDER}/${name}.ckpt`;
  if (mode === "resume") await fabric.load(path, state);
  for (; state.epoch < epochs; state.epoch++) {
    for await (const { x, y } of loader) {
      optimizer.zeroGrad();
      fabric.backward(nn.functional.mseLoss(model(x), y));
      optimizer.step();
      state.step++;
      if (mode === "save" && state.step === Number(STEP)) await fabric.save(path, state);
    }
  }
  loader.close();
  const hash = createHash("sha256");
  for (const parameter of raw.parameters()) hash.update(parameter.detach().toTypedArray());
  return `${state.step} steps, ${hash.digest("hex")}`;
}

const weights: Record<string, string[]> = {};
for (const name of Object.keys(loaders)) {
  weights[name] =
    RESUME === "1" ? [await train(name, "resume")] : [await train(name, "through"), await train(name, "save")];
}
report(fabric.globalRank, weights);
