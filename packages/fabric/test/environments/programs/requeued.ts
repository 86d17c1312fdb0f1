// requeued.js CHECKPOINT: forty slow steps, the whole time in synchronous calls, that a signal of SLURM may interrupt. What the weights are in
// the end does not depend on it.
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { Fabric } from "@fabric-ts/fabric";
import { manualSeed, nn, optim, randn } from "@fabric-ts/torch";

const path = process.argv[2] as string;
const fabric = new Fabric({ accelerator: "cpu", strategy: process.env.LT_DEVICES === "1" ? "auto" : "ddp" });
await fabric.launch();
manualSeed(1);
const raw = new nn.Linear(6, 3);
const [model, optimizer] = fabric.setup(raw, new optim.SGD(raw.parameters(), { lr: 0.1, momentum: 0.9 }));
const state = { model, optimizer, step: 0 };
if (existsSync(path)) {
  await fabric.load(path, state);
  fabric.print(`RESUMED ${state.step} restarts ${process.env.SLURM_RESTART_COUNT}`);
}
while (state.step < 40) {
  manualSeed(100 + state.step * fabric.worldSize + fabric.globalRank);
  optimizer.zeroGrad();
  fabric.backward(nn.functional.mseLoss(model(randn([8, 6])), randn([8, 3])));
  optimizer.step();
  state.step++;
  fabric.print(`STEP ${state.step}`);
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50);
  await fabric.requeueOnSignal(async () => {
    await fabric.save(path, state);
    fabric.print(`SAVED ${state.step}`);
  });
}
const weights = raw.parameters().flatMap((parameter) => parameter.detach().flatten().tolist() as number[]);
if (fabric.isGlobalZero) {
  console.log(`WEIGHTS ${createHash("sha256").update(Float32Array.from(weights)).digest("hex")}`);
}
