// Two processes whose callbacks decide together, on metrics, clocks and gradients that differ.
import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  AsyncCheckpointIO,
  catchWarnings,
  EarlyStopping,
  Fabric,
  FiniteGuard,
  GradientAccumulationScheduler,
  ModelCheckpoint,
} from "@fabric-ts/fabric";
import * as torch from "@fabric-ts/torch";
import { nn, optim } from "@fabric-ts/torch";
import { messageOf, report } from "../support/run-ranks.js";

const fabric = new Fabric({ accelerator: "cpu", devices: 2 });
await fabric.launch();
const rank = fabric.globalRank;
const folder = (name: string): string => join(process.env.TEST_DIRECTORY as string, name);
const filesIn = async (name: string): Promise<string[]> => {
  await fabric.barrier();
  return existsSync(folder(name)) ? readdirSync(folder(name)).sort() : [];
};

// Alone, rank 0 would go on and rank 1 would stop at once: the mean improves twice.
const stopping = new EarlyStopping({ monitor: "loss", patience: 1 });
const checks: boolean[] = [];
const warnings = await catchWarnings(async () => {
  for (const step of [0, 1, 2, 3]) {
    const loss = rank === 0 ? [4, 2, 0, 0][step] : [2, 3, 4, 5][step];
    checks.push(await stopping.check(fabric, { loss }));
  }
});
const notFinite = new EarlyStopping({ monitor: "loss" });
let nan = false;
await catchWarnings(async () => {
  nan = await notFinite.check(fabric, { loss: rank === 1 ? Number.NaN : 1 });
});
const missing = await messageOf(() => stopping.check(fabric, rank === 1 ? {} : { loss: 1 }));

// Rank 1 finds its second loss the better one; together the first is.
const best = new ModelCheckpoint({ dirpath: folder("best"), monitor: "loss", saveTopK: 1 });
const state = { best, value: rank };
await catchWarnings(async () => {
  await best.save(fabric, { epoch: 0, metrics: { loss: rank === 0 ? 1 : 3 }, state });
  await best.save(fabric, { epoch: 1, metrics: { loss: rank === 0 ? 5 : 2 }, state });
});
const kept = [...best.bestKModels];
// What rank 0 alone can see, a name that is taken and a folder that cannot be made, all know.
if (rank === 0) writeFileSync(folder("plain"), "");
await fabric.barrier();
const impossible = new ModelCheckpoint({ dirpath: folder("plain/below") });
const failure = await messageOf(() => impossible.save(fabric, { epoch: 0, state }));
const afterFailure = [impossible.lastModelPath, impossible.bestKModels.size];
const latest = await ModelCheckpoint.latest(folder("best"), { fabric });
const again = new ModelCheckpoint({ dirpath: folder("best"), monitor: "loss" });
if (latest) await fabric.load(latest, { best: again });
const resumed = again.bestModelScore;

// The clock of rank 1 stands still.
const byTime = new ModelCheckpoint({ dirpath: folder("time"), everyNMinutes: 1e-9, saveTopK: -1, state });
const never = new ModelCheckpoint({ dirpath: folder("never"), everyNMinutes: 1e9, state });
if (rank === 1) performance.now = () => 0;
for (let step = 1; step <= 3; step++) {
  await byTime.onTrainBatchEnd({ fabric, step });
  await never.onTrainBatchEnd({ fabric, step });
}

// Gradients are averaged, so rank 1's NaN is everybody's.
const guard = new FiniteGuard({ action: "skip" });
const net = new nn.Linear(2, 1);
const [model, optimizer] = fabric.setup(net, new optim.SGD(net.parameters(), { lr: 0.1 }));
const skipped: boolean[] = [];
await catchWarnings(() => {
  for (let step = 0; step < 4; step++) {
    optimizer.zeroGrad();
    fabric.backward(
      model(torch.full([1, 2], step === 2 && rank === 1 ? Number.NaN : rank + 1, { dtype: "float32" })).sum(),
    );
    skipped.push(!guard.check(model, { optimizer, step }));
    optimizer.step();
  }
});

// Three batches in a step, and one in the last: gradients are exchanged at its end only.
const schedule = new GradientAccumulationScheduler({ 0: 3 });
torch.manualSeed(4);
const accumulating = fabric.setup(new nn.Linear(1, 1));
const { weight } = accumulating.module;
const gradients: number[] = [];
for (let batchIdx = 0; batchIdx < 4; batchIdx++) {
  fabric.noBackwardSync(accumulating, { enabled: schedule.isAccumulating(batchIdx, 4) }, () => {
    fabric.backward(
      accumulating(torch.full([1, 1], 3 * (rank + 1), { dtype: "float32" }))
        .div(schedule.batchesInStep(batchIdx, 4))
        .sum(),
    );
  });
  gradients.push((weight.grad as torch.Tensor).item());
  if (!schedule.isAccumulating(batchIdx, 4)) weight.grad = null;
}

// In the background, with a state that differs from rank to rank.
const background = new Fabric({ accelerator: "cpu", devices: 2, plugins: [new AsyncCheckpointIO()] });
await background.launch();
const later = new ModelCheckpoint({ dirpath: folder("later"), everyNTrainSteps: 1, state: { rank } });
for (let step = 1; step <= 3; step++) await later.onTrainBatchEnd({ fabric: background, step });
await later.onTrainEnd({ fabric: background });

report(rank, {
  checks,
  reason: stopping.reason,
  warnings: warnings.map(({ message }) => message),
  nan,
  missing,
  kept: kept.map(([path, score]) => [path.split("/").at(-1), score]),
  best: await filesIn("best"),
  failure,
  afterFailure,
  latest: latest?.split("/").at(-1),
  resumed,
  time: await filesIn("time"),
  never: await filesIn("never"),
  skipped,
  finite: net.weight.isfinite().all().item(),
  gradients,
  later: await filesIn("later"),
});
