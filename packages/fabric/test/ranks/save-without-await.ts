// Two ranks go on training while a save that was not awaited is under way, and save and load twice at the same time.
import { join } from "node:path";
import { Fabric } from "@fabric-ts/fabric";
import * as torch from "@fabric-ts/torch";
import { nn, optim } from "@fabric-ts/torch";
import { messageOf, report } from "../support/run-ranks.js";

const fabric = new Fabric({ accelerator: "cpu", devices: 2 });
await fabric.launch();
torch.manualSeed(1);
const [model, optimizer] = fabric.setup(new nn.Linear(2, 1), new optim.SGD([torch.zeros([1])], { lr: 0.1 }));
const path = join(process.env.TEST_DIRECTORY as string, "unawaited.ckpt");
const loss = model(torch.ones([2])).sum();
const before = model.weight.tolist();

const saving = fabric.save(path, { model });
const backward = await messageOf(async () => fabric.backward(loss));
const another = fabric.save(path, { model });
const step = await messageOf(async () => void optimizer.step());
await saving;
await another;
fabric.backward(loss);
optimizer.step();
const [saved] = (await Promise.all([fabric.load(path), fabric.load(path)])) as {
  model: Record<string, torch.Tensor>;
}[];
report(fabric.globalRank, {
  backward,
  step,
  isWhole: JSON.stringify(saved?.model.weight?.tolist()) === JSON.stringify(before),
});
