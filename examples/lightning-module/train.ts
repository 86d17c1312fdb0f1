// A model that brings its training along, as a LightningModule does: steps, optimizer, hooks, and `log`. Fabric finds its place in the model,
// `_fabric`, fills it in at setup, and calls the model's hooks with those of the other callbacks.
//
//   npx tsx examples/lightning-module/train.ts --devices 2
import { CSVLogger, Fabric } from "@fabric-ts/fabric";
import { data, nn, noGrad, optim, type Tensor } from "@fabric-ts/torch";
import { readOptions } from "../options.js";
import { SpiralNet, spirals } from "../spirals.js";

type Batch = [points: Tensor, labels: Tensor];

/** What models of this kind have in common. */
abstract class LightningModule extends nn.Module<[Tensor], Tensor> {
  _fabric: Fabric | null = null;
  _fabricOptimizers: optim.Optimizer[] = [];
  /** Batches so far. */
  globalStep = 0;

  abstract trainingStep(batch: Batch): Tensor;
  abstract validationStep(batch: Batch): void;
  abstract configureOptimizers(): { optimizer: optim.Optimizer; scheduler: optim.lrScheduler.LRScheduler };

  /** Hands a number to the loggers; with `every`, only now and then. */
  log(name: string, value: Tensor | number, every = 1): void {
    this._fabric?.log(name, value, this.globalStep, { every });
  }
  onTrainBatchEnd(): void {
    this.globalStep++;
  }
}

class SpiralModel extends LightningModule {
  net = new SpiralNet();
  #right = 0;
  #seen = 0;

  forward(points: Tensor): Tensor {
    return this.net(points);
  }
  trainingStep([points, labels]: Batch): Tensor {
    const loss = nn.functional.crossEntropy(this(points), labels);
    this.log("train_loss", loss, 10);
    return loss;
  }
  validationStep([points, labels]: Batch): void {
    this.#right += this(points).argmax(1).eq(labels).sum().item();
    this.#seen += labels.size(0);
  }
  onTrainEpochStart(): void {
    this.#right = 0;
    this.#seen = 0;
  }
  async onValidationEnd({ epoch }: { epoch: number }): Promise<void> {
    const fabric = this._fabric as Fabric;
    const { right, seen } = await fabric.allReduce({ right: this.#right, seen: this.#seen }, { reduceOp: "sum" });
    const accuracy = right.item() / seen.item();
    const lr = this._fabricOptimizers[0]?.paramGroups[0]?.lr;
    this.log("val_accuracy", accuracy);
    fabric.print(
      `epoch ${epoch + 1}: ${(accuracy * 100).toFixed(1)} % right, learning rate ${Number(lr).toPrecision(2)}`,
    );
  }
  configureOptimizers() {
    const optimizer = new optim.Adam(this.parameters(), { lr: 0.02 });
    return { optimizer, scheduler: new optim.lrScheduler.StepLR(optimizer, 5, { gamma: 0.5 }) };
  }
}

const { devices, epochs, folder } = readOptions({ devices: 2, epochs: 10, folder: "runs/lightning-module" });
const fabric = new Fabric({ accelerator: "cpu", devices, loggers: new CSVLogger(folder) });
await fabric.launch();
fabric.seedEverything(4, { verbose: false });

const raw = new SpiralModel();
const configured = raw.configureOptimizers();
const [model, optimizer, scheduler] = fabric.setup(raw, configured.optimizer, { scheduler: configured.scheduler });
const [trainLoader, validationLoader] = fabric.setupDataLoaders(
  new data.DataLoader(spirals(2048), { batchSize: 32, shuffle: true }),
  new data.DataLoader(spirals(512, 1), { batchSize: 128 }),
);

// The loop knows nothing about the model. `trainingStep` and `validationStep` go through Fabric without being marked.
for (let epoch = 0; epoch < epochs; epoch++) {
  await fabric.call("onTrainEpochStart", { fabric, epoch });
  let batchIdx = 0;
  for (const batch of trainLoader) {
    optimizer.zeroGrad();
    fabric.backward(model.trainingStep(batch));
    optimizer.step();
    await fabric.call("onTrainBatchEnd", { fabric, epoch, batchIdx: batchIdx++ });
  }
  scheduler.step();
  model.eval();
  for (const batch of validationLoader) noGrad(() => model.validationStep(batch));
  model.train();
  await fabric.call("onValidationEnd", { fabric, epoch });
}
fabric.print(`logged to ${fabric.logger.logDir}`);
