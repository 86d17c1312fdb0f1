// What `save`, `load` and `loadRaw` do on two ranks: who writes, with which arguments, what is exempt from waiting for the others, and
// checkpoints from before and after `setup`.
import { join } from "node:path";
import { type CheckpointPath, Fabric, TorchCheckpointIO } from "@fabric-ts/fabric";
import * as torch from "@fabric-ts/torch";
import { nn, optim } from "@fabric-ts/torch";
import { messageOf, report } from "../support/run-ranks.js";

const calls: unknown[] = [];
class Noting extends TorchCheckpointIO {
  override async saveCheckpoint(
    checkpoint: Record<string, unknown>,
    path: CheckpointPath,
    storageOptions?: unknown,
  ): Promise<void> {
    calls.push(["save", Object.keys(checkpoint), String(path).split("/").at(-1), storageOptions ?? null]);
    await super.saveCheckpoint(checkpoint, path, storageOptions);
  }
  override async loadCheckpoint(path: CheckpointPath, options?: object): Promise<unknown> {
    calls.push(["load", String(path).split("/").at(-1), options ?? null]);
    return await super.loadCheckpoint(path, options);
  }
}

const fabric = new Fabric({ accelerator: "cpu", devices: 2, plugins: new Noting() });
const file = (name: string): string => join(process.env.TEST_DIRECTORY as string, name);
function trained(seed: number): { net: nn.Linear; sgd: optim.SGD } {
  torch.manualSeed(seed);
  const net = new nn.Linear(2, 1);
  const sgd = new optim.SGD(net.parameters(), { lr: 0.1, momentum: 0.9 });
  net(torch.ones([2]))
    .sum()
    .backward();
  sgd.step();
  return { net, sgd };
}

// Only the process that the user started sees this before it becomes a supervisor; the ranks run it, too.
const bare = trained(1);
const early = new nn.Linear(2, 1);
const before = [await messageOf(() => fabric.save(file("x"), { a: 1 })), await messageOf(() => fabric.load(file("x")))];
if (process.env.RANK !== undefined || process.env.LOCAL_RANK !== undefined) {
  // Each rank a file of its own: they do not know of each other yet.
  const own = file(`bare-${process.pid}.pt`);
  torch.saveSync(bare.net.stateDict(), own);
  await fabric.loadRaw(own, early);
}
await fabric.launch();
const rank = fabric.globalRank;
const isLoadedEarly = torch.equal(early.weight, bare.net.weight);
calls.length = 0;

// Rank 1 alone: nobody waits for rank 0.
let alone = true;
if (rank === 1) {
  torch.saveSync(bare.net.stateDict(), file("alone.pt"));
  const target = new nn.Linear(2, 1);
  await fabric.loadRaw(file("alone.pt"), target);
  alone = torch.equal(target.weight, bare.net.weight);
}
calls.length = 0;

const combinations: boolean[] = [];
for (const isSavedWrapped of [true, false]) {
  for (const isLoadedWrapped of [true, false]) {
    const from = trained(2);
    const [model, optimizer] = isSavedWrapped ? fabric.setup(from.net, from.sgd) : [from.net, from.sgd];
    const name = `${isSavedWrapped}-${isLoadedWrapped}.ckpt`;
    await fabric.save(file(name), { model, optimizer });
    const to = trained(3);
    const [model2, optimizer2] = isLoadedWrapped ? fabric.setup(to.net, to.sgd) : [to.net, to.sgd];
    await fabric.load(file(name), { model: model2, optimizer: optimizer2 });
    const momentum = ({ net, sgd }: typeof to): torch.Tensor =>
      (sgd.state.get(net.weight) as { momentum_buffer: torch.Tensor }).momentum_buffer;
    combinations.push(torch.equal(from.net.weight, to.net.weight) && torch.equal(momentum(from), momentum(to)));
  }
}
const kept = calls.slice(0, 2);
calls.length = 0;
await fabric.load(file("true-true.ckpt"), undefined, { weightsOnly: true });
report(rank, { before, isLoadedEarly, alone, combinations, kept, withOption: calls });
