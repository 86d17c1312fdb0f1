// A training run that can be ended at any moment: it saves after every step, and goes on from the last checkpoint when it is started again.
// Everything that PyTorch users have is in it: dropout of each rank's own, shuffled data, momentum, a schedule of rates, a loss scaler.
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { AsyncCheckpointIO, Fabric, GradScaler, MixedPrecision, RngState, TorchCheckpointIO } from "@fabric-ts/fabric";
import { data, manualSeed, nn, optim, randn, type Tensor } from "@fabric-ts/torch";

const { TEST_FOLDER = "", TEST_DEVICES = "1", TEST_FILE = "last.ckpt", TEST_ASYNC = "" } = process.env;
const epochs = 4;
const path = join(TEST_FOLDER, TEST_FILE);

/** Scales losses as on a GPU, and computes in float32, as CPUs have no float16 autocast. */
class ScaledPrecision extends MixedPrecision {
  override forwardContext(): Disposable {
    return { [Symbol.dispose]() {} };
  }
  override convertInput<T>(value: T): T {
    return value;
  }
}

const precision = new ScaledPrecision("16-mixed", "cpu", new GradScaler("cpu", { initScale: 4, growthInterval: 7 }));
const io = TEST_ASYNC === "1" ? new AsyncCheckpointIO() : new TorchCheckpointIO();
const fabric = new Fabric({ accelerator: "cpu", devices: Number(TEST_DEVICES), plugins: [precision, io] });
await fabric.launch();

manualSeed(11);
const dataset = new data.TensorDataset(randn([40, 6]), randn([40, 1]));
const net = new nn.Sequential(new nn.Linear(6, 16), new nn.Dropout(0.3), new nn.ReLU(), new nn.Linear(16, 1));
const adam = new optim.Adam(net.parameters(), { lr: 0.01 });
const scheduler = new optim.lrScheduler.CosineAnnealingLR(adam, 80);
const [model, optimizer] = fabric.setup(net, adam);
const loader = fabric.setupDataLoaders(new data.DataLoader(dataset, { batchSize: 4, shuffle: true }));
manualSeed(100 + fabric.globalRank);

/** The sum of this rank's losses. */
const losses = {
  perRank: true,
  sum: 0,
  stateDict: () => ({ sum: losses.sum }),
  loadStateDict: (saved: { sum: number }) => {
    losses.sum = saved.sum;
  },
};
const state = { model, optimizer, scheduler, loader, losses, rng: new RngState(), epoch: 0, step: 0 };
if (existsSync(path)) await fabric.load(path, state);
console.log(`pid ${process.pid} starts at step ${state.step}`);

for (; state.epoch < epochs; state.epoch++) {
  for await (const [x, y] of loader as AsyncIterable<[Tensor, Tensor]>) {
    optimizer.zeroGrad();
    const loss = nn.functional.mseLoss(model(x), y);
    fabric.backward(loss);
    optimizer.step();
    scheduler.step();
    losses.sum += loss.item();
    state.step++;
    // What the supervisor waits for comes before the save, so that it can end the run in the middle of it.
    console.log(`step ${state.step}`);
    await fabric.save(path, state);
  }
}
if (io instanceof AsyncCheckpointIO) await io.flush();
const hash = createHash("sha256");
for (const parameter of net.parameters()) hash.update(parameter.detach().toTypedArray());
hash.update(new Float64Array([losses.sum, scheduler.getLastLr()[0] as number, precision.scaler?.getScale() ?? 0]));
console.log(`RESULT ${fabric.globalRank} ${state.step} ${hash.digest("hex")}`);
