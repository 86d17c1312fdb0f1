// A progress bar, while every rank prints on both outputs. There are RANKS of them; with FAULT rank 0 fails in the end.
import { writeSync } from "node:fs";
import { Fabric, ProgressBar } from "@fabric-ts/fabric";

const batches = 6;
const fabric = new Fabric({
  accelerator: "cpu",
  devices: Number(process.env.RANKS),
  callbacks: [new ProgressBar({ refreshMs: 0 })],
});
await fabric.launch();
const rank = fabric.globalRank;
// The lines of several ranks go through the launcher, which needs a moment.
const momentMs = fabric.worldSize === 1 ? 0 : 300;
const settle = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, momentMs));
await settle();
await fabric.call("onTrainStart", { epochs: 1 });
await fabric.call("onTrainEpochStart", { epoch: 0, batches });
for (let batchIdx = 0; batchIdx < batches; batchIdx++) {
  await fabric.call("onTrainBatchEnd", { batchIdx, loss: 0.5, metrics: { acc: batchIdx } });
  await fabric.barrier();
  if (batchIdx === 2) console.log(`out ${rank}`);
  if (batchIdx === 3) console.error(`err ${rank}`);
  if (batchIdx === 4 && fabric.worldSize === 1) process.stdout.write("half of 0, ");
  await fabric.barrier();
  await settle();
  if (batchIdx === 4 && fabric.worldSize === 1) process.stdout.write("and the rest\n");
  if (batchIdx === 5 && process.env.FAULT === "throw" && rank === 0) throw new Error("out of ideas");
}
await fabric.call("onTrainEpochEnd", { epoch: 0 });
await fabric.call("onTrainEnd");
await fabric.barrier();
writeSync(1, "end\n");
