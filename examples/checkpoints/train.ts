// Checkpoints: everything that a run needs to go on is in one state, saved every so many steps. Started again, the program goes on where it
// was saved, in the middle of an epoch, and ends with the numbers of a run that never stopped.
//
//   npx tsx examples/checkpoints/train.ts --devices 2 --stop-after 150      stops in between, as if somebody had pulled the plug
//   npx tsx examples/checkpoints/train.ts --devices 2                       goes on from step 120
//   npx tsx examples/checkpoints/train.ts --devices 2 --folder runs/whole   without a stop: the same weights
import { existsSync } from "node:fs";
import { join } from "node:path";
import { AttributeDict, Fabric, RngState } from "@fabric-ts/fabric";
import { data, nn, optim } from "@fabric-ts/torch";
import { readOptions } from "../options.js";
import { SpiralNet, spirals } from "../spirals.js";

const options = readOptions({ devices: 2, epochs: 8, every: 40, "stop-after": 0, folder: "runs/checkpoints" });
const fabric = new Fabric({ accelerator: "cpu", devices: options.devices });
await fabric.launch();
fabric.seedEverything(5, { verbose: false });

const hyper = { lr: 0.02, batchSize: 32 };
const net = new SpiralNet();
const raw = new optim.Adam(net.parameters(), { lr: hyper.lr });
const [model, optimizer, scheduler] = fabric.setup(net, raw, {
  scheduler: new optim.lrScheduler.CosineAnnealingLR(raw, options.epochs),
});
const loader = fabric.setupDataLoaders(
  new data.DataLoader(spirals(2048), { batchSize: hyper.batchSize, shuffle: true }),
);

// Models, optimizers, loaders and the like are restored in place, plain values are assigned.
const rng = new RngState();
const state = new AttributeDict({ model, optimizer, scheduler, loader, rng, hyper, step: 0, loss: 0 });
const path = join(options.folder, "last.ckpt");
if (existsSync(path)) {
  await fabric.load(path, state);
  fabric.print(`goes on after step ${state.step}, in epoch ${loader.epoch + 1}`);
}

while (loader.epoch < options.epochs) {
  for (const [points, labels] of loader) {
    optimizer.zeroGrad();
    const loss = nn.functional.crossEntropy(model(points), labels);
    fabric.backward(loss);
    optimizer.step();
    state.step++;
    state.loss = loss.item();
    if (state.step % options.every === 0) {
      await fabric.save(path, state);
      fabric.print(`step ${state.step}  loss ${state.loss.toFixed(4)}  saved`);
    }
    if (state.step === options["stop-after"]) process.exit();
  }
  scheduler.step();
}

const weights = nn.utils.parametersToVector(net.parameters());
fabric.print(`done: loss ${state.loss}, norm of the weights ${weights.norm().item()}`);
