// Validation between the epochs, on data that is divided among the processes, too: predictions are gathered, sums are added up, and rank 0
// prints a table of what is taken for what.
//
//   npx tsx examples/validation/train.ts --devices 2
import { Fabric } from "@fabric-ts/fabric";
import { cat, data, nn, noGrad, optim, type Tensor } from "@fabric-ts/torch";
import { loadDigits } from "../digits/digits.js";
import { readOptions } from "../options.js";

const { devices, epochs } = readOptions({ devices: 2, epochs: 3 });
const fabric = new Fabric({ accelerator: "cpu", devices });
await fabric.launch();
fabric.seedEverything(1, { verbose: false });

const digits = loadDigits();
const net = new nn.Sequential(
  new nn.Flatten(),
  new nn.Linear(784, 128),
  new nn.ReLU(),
  new nn.Dropout(0.2),
  new nn.Linear(128, 10),
);
const [model, optimizer] = fabric.setup(net, new optim.Adam(net.parameters(), { lr: 2e-3 }));
const [trainLoader, validationLoader] = fabric.setupDataLoaders(
  new data.DataLoader(digits.train, { batchSize: 32, shuffle: true }),
  new data.DataLoader(digits.heldOut, { batchSize: 250 }),
);

/** Mean loss, and all predictions with their labels, of all processes. */
async function validate() {
  model.eval(); // no dropout
  const found = noGrad(() =>
    Array.from(validationLoader, ([images, labels]) => {
      const scores = model(images);
      return { loss: nn.functional.crossEntropy(scores, labels), predictions: scores.argmax(1), labels };
    }),
  );
  model.train();
  const { loss } = await fabric.allReduce({ loss: cat(found.map(({ loss }) => loss.view(1))).mean() });
  // Stacked by process, [processes, samples]; on one process just [samples].
  const { predictions, labels } = await fabric.allGather({
    predictions: cat(found.map(({ predictions }) => predictions)),
    labels: cat(found.map(({ labels }) => labels)),
  });
  return { loss: loss.item(), predictions: predictions.flatten(), labels: labels.flatten() };
}

let last: { predictions: Tensor; labels: Tensor } | undefined;
for (let epoch = 1; epoch <= epochs; epoch++) {
  let lossSum = 0;
  for (const [images, labels] of trainLoader) {
    optimizer.zeroGrad();
    const loss = nn.functional.crossEntropy(model(images), labels);
    fabric.backward(loss);
    optimizer.step();
    lossSum += loss.item();
  }
  const trainLoss = (await fabric.allReduce(lossSum / trainLoader.length)).item();
  const { loss, ...rest } = await validate();
  last = rest;
  const accuracy = rest.predictions.eq(rest.labels).to("float32").mean().item();
  fabric.print(
    `epoch ${epoch}: training loss ${trainLoss.toFixed(4)}, validation loss ${loss.toFixed(4)}, accuracy ${(accuracy * 100).toFixed(1)} % of ${rest.labels.size(0)}`,
  );
}

if (fabric.isGlobalZero && last) {
  const counts = last.labels
    .mul(10)
    .add(last.predictions)
    .bincount({ minlength: 100 })
    .view(10, 10)
    .tolist() as number[][];
  console.log("\ndigit   taken for 0 ... 9");
  for (const [digit, row] of counts.entries())
    console.log(`${digit}     ${row.map((n) => String(n || ".").padStart(5)).join("")}`);
}
