// A convnet learns handwritten digits, data-parallel on two processes. The five lines that make it so are marked.
//
//   npm start                                  two processes
//   npm start -- --devices 1                   one process
//   npm start -- --precision bf16-mixed --epochs 5
import { Fabric, type PrecisionInput } from "@fabric-ts/fabric";
import { data, nn, noGrad, optim, type Tensor } from "@fabric-ts/torch";
import { readOptions } from "../options.js";
import { loadDigits } from "./digits.js";
import { ProgressLine } from "./progress.js";
import { writeReport } from "./report.js";

class DigitNet extends nn.Module<[Tensor], Tensor> {
  layers = new nn.Sequential(
    new nn.Conv2d(1, 16, 3, { padding: 1 }),
    new nn.ReLU(),
    new nn.MaxPool2d(2),
    new nn.Conv2d(16, 32, 3, { padding: 1 }),
    new nn.ReLU(),
    new nn.MaxPool2d(2),
    new nn.Flatten(),
    new nn.Dropout(0.25),
    new nn.Linear(32 * 7 * 7, 10),
  );

  forward(images: Tensor): Tensor {
    return this.layers(images);
  }
}

const options = readOptions({ devices: 2, precision: "32-true" as PrecisionInput, epochs: 3 }, "npm start --");
const fabric = new Fabric({ accelerator: "cpu", devices: options.devices, precision: options.precision }); // 1
await fabric.launch(); // 2
fabric.seedEverything(1234, { verbose: false });

const digits = loadDigits();
const net = new DigitNet();
const [model, optimizer] = fabric.setup(net, new optim.Adam(net.parameters(), { lr: 3e-3 })); // 3
const [trainLoader, heldOutLoader] = fabric.setupDataLoaders(
  new data.DataLoader(digits.train, { batchSize: 32, shuffle: true }),
  new data.DataLoader(digits.heldOut, { batchSize: 250 }),
); // 4

const progress = new ProgressLine(fabric.isGlobalZero);
const losses: number[] = [];
const epochs: { accuracy: number; loss: number; samplesPerSecond: number }[] = [];

for (let epoch = 1; epoch <= options.epochs; epoch++) {
  model.train();
  const started = performance.now();
  let step = 0;
  let seen = 0;
  for await (const [images, labels] of trainLoader) {
    optimizer.zeroGrad();
    const loss = nn.functional.crossEntropy(model(images), labels);
    fabric.backward(loss); // 5
    optimizer.step();
    losses.push(loss.item());
    step++;
    seen += images.size(0) * fabric.worldSize;
    const samplesPerSecond = (seen * 1000) / (performance.now() - started);
    progress.show({
      epoch,
      epochs: options.epochs,
      step,
      steps: trainLoader.length,
      loss: loss.item(),
      samplesPerSecond,
    });
  }
  const seconds = (performance.now() - started) / 1000;
  const samplesPerSecond = digits.train.length / seconds;

  // Each process counts on its share of the held-out digits; the sum is over all of them.
  model.eval();
  let right = 0;
  let lossSum = 0;
  noGrad(() => {
    for (const [images, labels] of heldOutLoader) {
      const scores = model(images);
      right += scores.argmax(1).eq(labels).sum().item();
      lossSum += nn.functional.crossEntropy(scores, labels, { reduction: "sum" }).item();
    }
  });
  const total = await fabric.allReduce({ right, lossSum }, { reduceOp: "sum" });
  epochs.push({
    accuracy: total.right.item() / digits.heldOut.length,
    loss: total.lossSum.item() / digits.heldOut.length,
    samplesPerSecond,
  });
}

const checkpoint = "runs/digits/model.pt";
await fabric.save(checkpoint, { model, optimizer, epoch: options.epochs });

if (fabric.isGlobalZero) {
  const predictions = noGrad(() => net(digits.samples.images).argmax(1).tolist() as number[]);
  const page = writeReport("runs/digits/report.html", {
    losses,
    epochs,
    samples: digits.samples,
    predictions,
    options,
  });
  console.log("\nepoch  held-out accuracy  held-out loss  training samples/s");
  epochs.forEach((row, i) => {
    const cells = [`${(row.accuracy * 100).toFixed(2)} %`, row.loss.toFixed(4), row.samplesPerSecond.toFixed(0)];
    console.log(
      `${String(i + 1).padStart(5)}  ${cells[0]?.padStart(17)}  ${cells[1]?.padStart(13)}  ${cells[2]?.padStart(18)}`,
    );
  });
  console.log(`\n${fabric.worldSize} process(es), precision ${options.precision}`);
  console.log(`checkpoint  ${checkpoint}   (Python: torch.load("${checkpoint}"))`);
  console.log(`report      ${page}`);
}
