// Trains a network on handwritten digits with the trainer beside this file: progress bar, accumulation, validation, checkpoints, early
// stopping. Started again with more epochs, it goes on from the latest checkpoint.
//
//   npx tsx examples/trainer/train.ts --devices 2 --epochs 3
//   npx tsx examples/trainer/train.ts --devices 2 --epochs 5          two more
//   npx tsx examples/trainer/train.ts --devices 1 --batches 20        a short try
import { EarlyStopping, Fabric, ProgressBar } from "@fabric-ts/fabric";
import { data, nn, optim, type Tensor } from "@fabric-ts/torch";
import { loadDigits } from "../digits/digits.js";
import { readOptions } from "../options.js";
import { type Trainable, Trainer } from "./trainer.js";

type Batch = [images: Tensor, labels: Tensor];

class DigitModel extends nn.Module<[Tensor], Tensor> implements Trainable<Batch> {
  layers = new nn.Sequential(new nn.Flatten(), new nn.Linear(784, 128), new nn.ReLU(), new nn.Linear(128, 10));

  forward(images: Tensor): Tensor {
    return this.layers(images);
  }
  trainingStep([images, labels]: Batch): Tensor {
    return nn.functional.crossEntropy(this(images), labels);
  }
  validationStep([images, labels]: Batch): Record<string, Tensor> {
    const scores = this(images);
    return {
      val_loss: nn.functional.crossEntropy(scores, labels),
      val_accuracy: scores.argmax(1).eq(labels).to("float32").mean(),
    };
  }
  configureOptimizers(): optim.Optimizer {
    return new optim.Adam(this.parameters(), { lr: 2e-3 });
  }
}

const { devices, epochs, batches, accumulate, folder } = readOptions({
  devices: 2,
  epochs: 3,
  batches: 0,
  accumulate: 2,
  folder: "runs/trainer",
});
const callbacks = [new ProgressBar(), new EarlyStopping({ monitor: "val_loss", patience: 2 })];
const fabric = new Fabric({ accelerator: "cpu", devices, callbacks });
await fabric.launch();
fabric.seedEverything(1, { verbose: false });

const trainer = new Trainer(fabric, {
  checkpointDir: folder,
  maxEpochs: epochs,
  accumulateBatches: accumulate,
  ...(batches > 0 && { limitTrainBatches: batches, limitValidationBatches: batches }),
});
const digits = loadDigits();
await trainer.fit(
  new DigitModel(),
  new data.DataLoader(digits.train, { batchSize: 32, shuffle: true }),
  new data.DataLoader(digits.heldOut, { batchSize: 250 }),
);
const { val_accuracy = 0 } = trainer.metrics;
fabric.print(
  `${trainer.step} steps in ${trainer.epoch} epochs: ${(val_accuracy * 100).toFixed(1)} % of held-out digits right`,
);
