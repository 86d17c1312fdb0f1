// A DCGAN draws digits: two models, each with its own optimizer. The generator's gradients pass through the discriminator, which keeps
// none of them. How far the drawings are from real digits is measured in every epoch, and at the end some are shown.
//
//   npx tsx examples/gan/train.ts --devices 2
//   npx tsx examples/gan/train.ts --devices 2 --epochs 20
import { Fabric } from "@fabric-ts/fabric";
import { cdist, data, nn, noGrad, onesLike, optim, randn, type Tensor, zerosLike } from "@fabric-ts/torch";
import { loadDigits } from "../digits/digits.js";
import { readOptions } from "../options.js";
import { haveSameWeights } from "../same-weights.js";

const LATENT = 32;

class Generator extends nn.Module<[Tensor], Tensor> {
  layers = new nn.Sequential(
    new nn.Linear(LATENT, 32 * 7 * 7, { bias: false }),
    new nn.Unflatten(1, [32, 7, 7]),
    new nn.BatchNorm2d(32),
    new nn.ReLU(),
    new nn.ConvTranspose2d(32, 16, 4, { stride: 2, padding: 1, bias: false }),
    new nn.BatchNorm2d(16),
    new nn.ReLU(),
    new nn.ConvTranspose2d(16, 1, 4, { stride: 2, padding: 1 }),
    new nn.Sigmoid(),
  );
  forward(noise: Tensor): Tensor {
    return this.layers(noise);
  }
}

class Discriminator extends nn.Module<[Tensor], Tensor> {
  layers = new nn.Sequential(
    new nn.Conv2d(1, 16, 4, { stride: 2, padding: 1 }),
    new nn.LeakyReLU(0.2),
    new nn.Conv2d(16, 32, 4, { stride: 2, padding: 1 }),
    new nn.LeakyReLU(0.2),
    new nn.Flatten(),
    new nn.Linear(32 * 7 * 7, 1),
  );
  /** One score for each image; above 0 it takes it for real. */
  forward(images: Tensor): Tensor {
    return this.layers(images).squeeze(1);
  }
}

const { devices, epochs, batches } = readOptions({ devices: 2, epochs: 4, batches: 1000 });
const fabric = new Fabric({ accelerator: "cpu", devices });
await fabric.launch();
fabric.seedEverything(1, { verbose: false });

const rawG = new Generator();
const rawD = new Discriminator();
const [generator, optimizerG] = fabric.setup(
  rawG,
  new optim.Adam(rawG.parameters(), { lr: 1e-3, betas: [0.5, 0.999] }),
);
const [discriminator, optimizerD] = fabric.setup(
  rawD,
  new optim.Adam(rawD.parameters(), { lr: 3e-4, betas: [0.5, 0.999] }),
);
const digits = loadDigits();
const loader = fabric.setupDataLoaders(
  new data.DataLoader(digits.train, { batchSize: Math.ceil(64 / fabric.worldSize), shuffle: true, dropLast: true }),
);
fabric.seedEverything(1 + fabric.globalRank, { verbose: false }); // from here on each process draws noise of its own

/** How far the discriminator is from taking all images for real, or for drawings. */
const lossAgainst = (scores: Tensor, isReal: boolean) =>
  nn.functional.binaryCrossEntropyWithLogits(scores, isReal ? onesLike(scores) : zerosLike(scores));

const reference = fabric.toDevice(digits.heldOut.tensors[0].at(":500").flatten(1));
const fixedNoise = fabric.toDevice(randn([500, LATENT]));
/** The energy distance of drawings and real digits: 0 when nothing tells them apart. */
async function distance(): Promise<number> {
  generator.eval();
  const drawn = noGrad(() => generator(fixedNoise).flatten(1));
  generator.train();
  const apart = (a: Tensor, b: Tensor) => cdist(a, b).mean();
  const energy = apart(drawn, reference).mul(2).sub(apart(drawn, drawn)).sub(apart(reference, reference));
  return (await fabric.allReduce(energy)).item();
}

fabric.print(`before training       distance to real digits ${(await distance()).toFixed(3)}`);
for (let epoch = 1; epoch <= epochs; epoch++) {
  const losses = { discriminator: 0, generator: 0 };
  let batchIdx = 0;
  for (const [real] of loader) {
    if (batchIdx++ === batches) break;
    const fake = generator(randn([real.size(0), LATENT], { device: fabric.device }));

    optimizerD.zeroGrad();
    const lossD = lossAgainst(discriminator(real), true).add(lossAgainst(discriminator(fake.detach()), false));
    fabric.backward(lossD);
    optimizerD.step();

    optimizerG.zeroGrad();
    fabric.noBackwardSync(discriminator, () => {
      // The discriminator's own gradients are not wanted here, so the processes need not exchange them.
      const lossG = lossAgainst(discriminator(fake), true);
      fabric.backward(lossG);
      losses.generator += lossG.item();
    });
    optimizerG.step();
    losses.discriminator += lossD.item();
  }
  const mean = (sum: number) => (sum / batchIdx).toFixed(3);
  fabric.print(
    `epoch ${epoch}: losses ${mean(losses.discriminator)} ${mean(losses.generator)}  distance to real digits ${(await distance()).toFixed(3)}`,
  );
}

fabric.print(`the same weights on all processes: ${await haveSameWeights(fabric, [rawG, rawD])}`);
if (fabric.isGlobalZero) {
  generator.eval();
  const images = noGrad(() =>
    nn.functional
      .avgPool2d(generator(fixedNoise.at(":5")), [2, 1])
      .squeeze(1)
      .tolist(),
  );
  for (let y = 0; y < 14; y++) {
    const line = (images as number[][][]).flatMap((image) =>
      image[y]?.map((grey) => " .:-=+*#%@"[Math.floor(grey * 9.99)]),
    );
    console.log(line.join("").trimEnd());
  }
}
