// Fine-tuning with low-rank adapters (LoRA): raw weights from elsewhere are loaded and frozen, small adapters learn, and only these are
// saved, through a filter. Then a fresh model gets both files, and can do what the fine-tuned one could.
//
//   npx tsx examples/checkpoints/finetune.ts --devices 2
import { existsSync, mkdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { Fabric } from "@fabric-ts/fabric";
import { data, nn, noGrad, optim, randn, save, type Tensor, zeros } from "@fabric-ts/torch";
import { loadDigits } from "../digits/digits.js";
import { readOptions } from "../options.js";
import { haveSameWeights } from "../same-weights.js";

/** A linear layer whose weight is corrected by the product of two thin matrices (Hu et al. 2021). */
class LoRALinear extends nn.Linear {
  loraA: nn.Parameter;
  loraB: nn.Parameter;

  constructor(inFeatures: number, outFeatures: number, rank = 4) {
    super(inFeatures, outFeatures);
    this.loraA = new nn.Parameter(randn([rank, inFeatures]).div(Math.sqrt(inFeatures)));
    this.loraB = new nn.Parameter(zeros([outFeatures, rank])); // at first there is nothing to correct
  }
  override forward(x: Tensor): Tensor {
    const { linear } = nn.functional;
    return super.forward(x).add(linear(linear(x, this.loraA), this.loraB));
  }
}

const makeNet = (Linear: new (inFeatures: number, outFeatures: number) => nn.Linear) =>
  new nn.Sequential(new nn.Flatten(), new Linear(784, 256), new nn.ReLU(), new Linear(256, 10));

const options = readOptions({ devices: 2, epochs: 4, folder: "runs/finetune" });
const fabric = new Fabric({ accelerator: "cpu", devices: options.devices });
await fabric.launch();
fabric.seedEverything(1, { verbose: false });

const digits = loadDigits();
const [images, labels] = digits.train.tensors;
const rotated = new data.TensorDataset(images.rot90(1, [2, 3]), labels);
const [heldOutImages, heldOutLabels] = digits.heldOut.tensors;
const heldOutRotated = heldOutImages.rot90(1, [2, 3]);
const accuracy = (net: nn.Module<[Tensor], Tensor>, images: Tensor) =>
  `${(noGrad(() => net(images).argmax(1).eq(heldOutLabels).to("float32").mean().item()) * 100).toFixed(1)} %`;

// The weights from elsewhere: a network that knows upright digits, trained without Fabric. The file is its bare state.
const external = join(options.folder, "upright-digits.pt");
const adapter = join(options.folder, "adapter.ckpt");
await fabric.rankZeroFirst(async () => {
  if (existsSync(external)) return;
  const net = makeNet(nn.Linear);
  const optimizer = new optim.Adam(net.parameters(), { lr: 2e-3 });
  for (let epoch = 0; epoch < 2; epoch++) {
    for (const [images, labels] of new data.DataLoader(digits.train, { batchSize: 64, shuffle: true })) {
      optimizer.zeroGrad();
      nn.functional.crossEntropy(net(images), labels).backward();
      optimizer.step();
    }
  }
  mkdirSync(options.folder, { recursive: true });
  await save(net.stateDict(), external);
});

const net = makeNet(LoRALinear);
await fabric.loadRaw(external, net, { strict: false }); // the file knows nothing of adapters
for (const [name, parameter] of net.namedParameters()) parameter.requiresGrad = name.includes("lora");
const trainable = net.parameters().filter((parameter) => parameter.requiresGrad);
const [model, optimizer] = fabric.setup(net, new optim.Adam(trainable, { lr: 5e-3 }));
fabric.print(
  `before: ${accuracy(model, heldOutImages)} of upright digits right, ${accuracy(model, heldOutRotated)} of rotated ones`,
);
const loader = fabric.setupDataLoaders(new data.DataLoader(rotated, { batchSize: 64, shuffle: true }));
for (let epoch = 1; epoch <= options.epochs; epoch++) {
  for (const [images, labels] of loader) {
    optimizer.zeroGrad();
    fabric.backward(nn.functional.crossEntropy(model(images), labels));
    optimizer.step();
  }
  fabric.print(`epoch ${epoch}: ${accuracy(model, heldOutRotated)} of rotated digits right`);
}

// Only the adapters go into the file, and whatever else belongs to it.
const isAdapter = (name: string) => name.includes("lora");
const about = { task: "rotated digits", epochs: options.epochs };
await fabric.save(adapter, { model, ...about }, { filter: { model: isAdapter } });
const size = (path: string) => `${Math.round(statSync(path).size / 1024)} KiB`;
fabric.print(`adapter: ${size(adapter)}, weights: ${size(external)}`);

// Somebody else's program: both files make the model again. What is not asked for comes back as the rest.
const again = fabric.setup(makeNet(LoRALinear));
await fabric.loadRaw(external, again, { strict: false });
const rest = await fabric.load(adapter, { model: again }, { strict: false });
fabric.print(
  `loaded again: ${accuracy(again, heldOutRotated)} of rotated digits right; also in the file: ${JSON.stringify(rest)}`,
);
fabric.print(`the same weights on all processes: ${await haveSameWeights(fabric, [net, again])}`);
