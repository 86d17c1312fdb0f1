// Loggers: several at once, numbers that are logged now and then, hyper-parameters, pictures, and the speed of the training.
//
//   npx tsx examples/logging/train.ts --devices 2
//   tensorboard --logdir runs/logging                     the same in a browser
import { join } from "node:path";
import {
  ConsoleLogger,
  CSVLogger,
  Fabric,
  measureFlops,
  TensorBoardLogger,
  ThroughputMonitor,
} from "@fabric-ts/fabric";
import { data, nn, noGrad, optim, randn, withDevice } from "@fabric-ts/torch";
import { loadDigits } from "../digits/digits.js";
import { readOptions } from "../options.js";

const { devices, epochs, folder } = readOptions({ devices: 2, epochs: 2, folder: "runs/logging" });
const tensorboard = new TensorBoardLogger(folder);
const fabric = new Fabric({
  accelerator: "cpu",
  devices,
  loggers: [tensorboard, new CSVLogger(folder), new ConsoleLogger({ every: 50 })],
});
await fabric.launch();
fabric.seedEverything(1, { verbose: false });

const hyper = { lr: 2e-3, batchSize: 32, hidden: 128 };
const make = () =>
  new nn.Sequential(new nn.Flatten(), new nn.Linear(784, hyper.hidden), new nn.ReLU(), new nn.Linear(hyper.hidden, 10));
const net = make();
const [model, optimizer] = fabric.setup(net, new optim.Adam(net.parameters(), { lr: hyper.lr }));
const digits = loadDigits();
const loader = fabric.setupDataLoaders(
  new data.DataLoader(digits.train, { batchSize: hyper.batchSize, shuffle: true, dropLast: true }),
);
tensorboard.logHyperparams(hyper);
tensorboard.experiment.addImages("digits", digits.samples.images, 0);

// What a forward and backward pass of a batch takes, found without computing it.
const [plan, batch] = withDevice("meta", () => [make(), randn([hyper.batchSize, 784])] as const);
const flopsOfBatch = measureFlops(
  plan,
  () => plan(batch),
  (scores) => scores.sum(),
);
const monitor = new ThroughputMonitor(fabric, { windowSize: 20 });

const [heldOutImages, heldOutLabels] = fabric.toDevice(digits.heldOut.tensors);
let step = 0;
for (let epoch = 1; epoch <= epochs; epoch++) {
  for (const [images, labels] of loader) {
    optimizer.zeroGrad();
    const loss = nn.functional.crossEntropy(model(images), labels);
    fabric.backward(loss);
    optimizer.step();
    step++;
    fabric.log("loss", loss, step, { every: 10 }); // between these the loss is not even read
    monitor.update({
      time: performance.now() / 1000,
      batches: step,
      samples: step * hyper.batchSize,
      flops: flopsOfBatch,
    });
    if (step % 50 === 0) monitor.computeAndLog(step);
  }
  const accuracy = noGrad(() => model(heldOutImages).argmax(1).eq(heldOutLabels).to("float32").mean());
  fabric.logDict({ "val/accuracy": accuracy, epoch }, step);
  tensorboard.experiment.addHistogram("weights", net.parameters()[0] as nn.Parameter, epoch);
}
fabric.print(`numbers of ${step} steps in ${join(tensorboard.logDir, "metrics.csv")}, and event files beside it`);
