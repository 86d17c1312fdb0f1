// Two models under one: an encoder squeezes digits into 16 numbers and a decoder draws them again, trained by a single optimizer. Set-up
// is in two parts here, first the model and then the optimizer of its parameters, as sharded strategies need it.
//
//   npx tsx examples/autoencoder/train.ts --devices 2
import { Fabric } from "@fabric-ts/fabric";
import { data, nn, noGrad, optim, type Tensor } from "@fabric-ts/torch";
import { loadDigits } from "../digits/digits.js";
import { readOptions } from "../options.js";

class Autoencoder extends nn.Module<[Tensor], Tensor> {
  encoder = new nn.Sequential(new nn.Flatten(), new nn.Linear(784, 128), new nn.ReLU(), new nn.Linear(128, 16));
  decoder = new nn.Sequential(
    new nn.Linear(16, 128),
    new nn.ReLU(),
    new nn.Linear(128, 784),
    new nn.Sigmoid(),
    new nn.Unflatten(1, [1, 28, 28]),
  );

  forward(images: Tensor): Tensor {
    return this.decoder(this.encoder(images));
  }
}

const { devices, epochs } = readOptions({ devices: 2, epochs: 5 });
const fabric = new Fabric({ accelerator: "cpu", devices });
await fabric.launch();
fabric.seedEverything(1, { verbose: false });

const model = fabric.setupModule(new Autoencoder());
const optimizer = fabric.setupOptimizers(new optim.Adam(model.parameters(), { lr: 2e-3 }));
const digits = loadDigits();
const loader = fabric.setupDataLoaders(new data.DataLoader(digits.train, { batchSize: 64, shuffle: true }));

const { mseLoss } = nn.functional;
const heldOut = fabric.toDevice(digits.heldOut.tensors[0]);
const meanDigit = digits.train.tensors[0].mean(0, { keepdim: true });
fabric.print(
  `the mean of all digits in place of each: error ${mseLoss(meanDigit.expandAs(heldOut), heldOut).item().toFixed(4)}`,
);

for (let epoch = 1; epoch <= epochs; epoch++) {
  for (const [images] of loader) {
    optimizer.zeroGrad();
    fabric.backward(mseLoss(model(images), images));
    optimizer.step();
  }
  const error = noGrad(() => mseLoss(model(heldOut), heldOut).item());
  fabric.print(`epoch ${epoch}: error on new digits ${error.toFixed(4)}`);
}
