// K-fold cross-validation: one Fabric, k models. Each is trained on all folds but one and tested on that one; together, as an ensemble, they
// vote on digits that none of them has seen.
//
//   npx tsx examples/k-fold/train.ts --devices 2 --folds 5
import { Fabric } from "@fabric-ts/fabric";
import { data, nn, noGrad, optim, stack, type Tensor } from "@fabric-ts/torch";
import { loadDigits } from "../digits/digits.js";
import { readOptions } from "../options.js";

const { devices, folds, epochs } = readOptions({ devices: 2, folds: 5, epochs: 2 });
const fabric = new Fabric({ accelerator: "cpu", devices });
await fabric.launch();

const { train: digits, heldOut } = loadDigits();
const everyone = Array.from({ length: digits.length }, (_, i) => i);
const [newImages, newLabels] = heldOut.tensors;
const percent = (share: number) => `${(share * 100).toFixed(1)} %`;
const shareOf = (scores: Tensor, labels: Tensor) => scores.argmax(1).eq(labels).to("float32").mean().item();

const models: nn.Module<[Tensor], Tensor>[] = [];
const accuracies: number[] = [];
fabric.print("fold  accuracy on the fold");
for (let fold = 0; fold < folds; fold++) {
  fabric.seedEverything(fold, { verbose: false });
  const net = new nn.Sequential(new nn.Flatten(), new nn.Linear(784, 64), new nn.ReLU(), new nn.Linear(64, 10));
  const [model, optimizer] = fabric.setup(net, new optim.Adam(net.parameters(), { lr: 3e-3 }));
  // The digits lie in order, class by class, so that every k-th makes a fold of all classes.
  const [trainLoader, testLoader] = fabric.setupDataLoaders(
    new data.DataLoader(
      new data.Subset(
        digits,
        everyone.filter((i) => i % folds !== fold),
      ),
      { batchSize: 32, shuffle: true },
    ),
    new data.DataLoader(
      new data.Subset(
        digits,
        everyone.filter((i) => i % folds === fold),
      ),
      { batchSize: 250 },
    ),
  );

  for (let epoch = 0; epoch < epochs; epoch++) {
    for (const [images, labels] of trainLoader) {
      optimizer.zeroGrad();
      fabric.backward(nn.functional.crossEntropy(model(images), labels));
      optimizer.step();
    }
  }

  let right = 0;
  let seen = 0;
  for (const [images, labels] of testLoader) {
    right += noGrad(() => model(images).argmax(1).eq(labels).sum().item());
    seen += labels.size(0);
  }
  const total = await fabric.allReduce({ right, seen }, { reduceOp: "sum" });
  const accuracy = total.right.item() / total.seen.item();
  fabric.print(`${String(fold + 1).padStart(4)}  ${percent(accuracy)}`);
  models.push(model);
  accuracies.push(accuracy);
}

const mean = accuracies.reduce((sum, accuracy) => sum + accuracy, 0) / folds;
const deviation = Math.sqrt(accuracies.reduce((sum, accuracy) => sum + (accuracy - mean) ** 2, 0) / folds);
const votes = noGrad(() => stack(models.map((model) => model(newImages).softmax(1))).mean(0));
fabric.print(`mean  ${percent(mean)}, give or take ${percent(deviation)}`);
fabric.print(`all ${folds} together on new digits: ${percent(shareOf(votes, newLabels))}`);
