// Checkpoints: everything that a run needs to go on is in one state, saved after each epoch. Started again, the program goes on where it
// stopped, and ends with the numbers of a run that never stopped.
//
//   npx tsx examples/checkpoints/train.ts --devices 2 --stop-after 4      stops in between, as if somebody had pulled the plug
//   npx tsx examples/checkpoints/train.ts --devices 2                     goes on
//   rm -r runs/checkpoints; npx tsx examples/checkpoints/train.ts --devices 2     without a stop: the same weights
import { existsSync } from "node:fs";
import { join } from "node:path";
import { AttributeDict, Fabric, RngState } from "@fabric-ts/fabric";
import { data, nn, optim } from "@fabric-ts/torch";
import { readOptions } from "../options.js";
import { SpiralNet, spirals } from "../spirals.js";

const options = readOptions({ devices: 2, epochs: 10, "stop-after": 0, folder: "runs/checkpoints" });
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

// Models, optimizers and the like are restored in place, plain values are assigned.
const state = new AttributeDict({
  model,
  optimizer,
  scheduler,
  rng: new RngState(),
  hyper,
  epoch: 0,
  step: 0,
  loss: 0,
});
const path = join(options.folder, "last.ckpt");
if (existsSync(path)) {
  await fabric.load(path, state);
  fabric.print(`goes on after epoch ${state.epoch}, step ${state.step}`);
}

while (state.epoch < options.epochs) {
  loader.setEpoch(state.epoch); // the order of this epoch
  for (const [points, labels] of loader) {
    optimizer.zeroGrad();
    const loss = nn.functional.crossEntropy(model(points), labels);
    fabric.backward(loss);
    optimizer.step();
    state.step++;
    state.loss = loss.item();
  }
  scheduler.step();
  state.epoch++;
  await fabric.save(path, state);
  fabric.print(`epoch ${state.epoch}  step ${state.step}  loss ${state.loss.toFixed(4)}  saved`);
  if (state.epoch === options["stop-after"]) process.exit();
}

const weights = nn.utils.parametersToVector(net.parameters());
fabric.print(`done: loss ${state.loss}, norm of the weights ${weights.norm().item()}`);
