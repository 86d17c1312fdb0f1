// Callbacks: objects whose methods the loop calls by name. Two of our own, one of them without a class, and three that come with Fabric: a
// progress bar, early stopping, and a keeper of the best checkpoint.
//
//   npx tsx examples/callbacks/train.ts --devices 2
import { type Callback, EarlyStopping, type EpochFacts, Fabric, ModelCheckpoint, ProgressBar } from "@fabric-ts/fabric";
import { data, linspace, meshgrid, nn, noGrad, optim, stack } from "@fabric-ts/torch";
import { readOptions } from "../options.js";
import { SpiralNet, spirals } from "../spirals.js";

const { devices, epochs, patience, folder } = readOptions({
  devices: 2,
  epochs: 40,
  patience: 4,
  folder: "runs/callbacks",
});

/** Remembers the loss of each epoch and draws them at the end. */
class LossCurve implements Callback {
  readonly losses: number[] = [];

  onTrainEpochEnd({ metrics }: EpochFacts) {
    this.losses.push(Number(metrics?.val_loss));
  }
  onTrainEnd({ fabric }: { fabric: Fabric }) {
    const highest = Math.max(...this.losses);
    fabric.print("loss by epoch", this.losses.map((loss) => "▁▂▃▄▅▆▇█"[Math.round((7 * loss) / highest)]).join(""));
  }
}

/** Draws which spiral the model finds where: no class, and a hook of a name that is nobody's convention. */
const map = {
  onDone({ model }: { model: SpiralNet }) {
    const [y, x] = meshgrid([linspace(1, -1, 21), linspace(-1, 1, 42)], { indexing: "ij" });
    const found = noGrad(() =>
      model(stack([x.flatten(), y.flatten()], 1))
        .argmax(1)
        .view(21, 42)
        .tolist(),
    ) as number[][];
    fabric.print(found.map((row) => row.map((spiral) => (spiral ? "#" : ".")).join("")).join("\n"));
  },
};

const stopping = new EarlyStopping({ monitor: "val_loss", patience, minDelta: 1e-3 });
const checkpoint = new ModelCheckpoint({ dirpath: folder, monitor: "val_loss" });
const callbacks = [new ProgressBar(), stopping, checkpoint, new LossCurve(), map];
const fabric = new Fabric({ accelerator: "cpu", devices, callbacks });
await fabric.launch();
fabric.seedEverything(2, { verbose: false });

const net = new SpiralNet();
const [model, optimizer] = fabric.setup(net, new optim.Adam(net.parameters(), { lr: 0.02 }));
const [trainLoader, validationLoader] = fabric.setupDataLoaders(
  new data.DataLoader(spirals(2048), { batchSize: 32, shuffle: true }),
  new data.DataLoader(spirals(512, 1), { batchSize: 128 }),
);

const state = { model, optimizer, epoch: 0, step: 0 };
await fabric.call("onTrainStart", { fabric, epochs });
for (; state.epoch < epochs && !stopping.shouldStop; state.epoch++) {
  const { epoch } = state;
  await fabric.call("onTrainEpochStart", { fabric, epoch, batches: trainLoader.length });
  let batchIdx = 0;
  for (const [points, labels] of trainLoader) {
    optimizer.zeroGrad();
    const loss = nn.functional.crossEntropy(model(points), labels);
    fabric.backward(loss);
    optimizer.step();
    state.step++;
    await fabric.call("onTrainBatchEnd", { fabric, epoch, batchIdx: batchIdx++, step: state.step, loss });
  }

  const losses = noGrad(() =>
    Array.from(validationLoader, ([points, labels]) => nn.functional.crossEntropy(model(points), labels).item()),
  );
  const mean = losses.reduce((sum, loss) => sum + loss, 0) / losses.length;
  const metrics = { val_loss: (await fabric.allReduce(mean)).item() };
  await fabric.call("onValidationEnd", { fabric, epoch, step: state.step, metrics, state });
  await fabric.call("onTrainEpochEnd", { fabric, epoch, metrics });
}
await fabric.call("onTrainEnd", { fabric });

if (checkpoint.bestModelPath) await fabric.load(checkpoint.bestModelPath, { model });
await fabric.call("onDone", { model });
fabric.print(stopping.reason ?? "All epochs are done.");
fabric.print(`best loss ${checkpoint.bestModelScore?.toFixed(4)} in ${checkpoint.bestModelPath}`);
