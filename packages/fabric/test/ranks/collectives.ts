// Two processes: collectives on numbers, tensors and collections, taking turns, shares of data, and agreement on failures.
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CheckpointIO, Fabric } from "@fabric-ts/fabric";
import * as torch from "@fabric-ts/torch";
import { data, nn, optim, type Tensor } from "@fabric-ts/torch";
import { messageOf, report } from "../support/run-ranks.js";

const fabric = new Fabric({ accelerator: "cpu", devices: 2 });
await fabric.launch();
const rank = fabric.globalRank;
const list = (tensor: Tensor): unknown => tensor.tolist();

const gathered = await fabric.allGather({
  n: rank + 0.5,
  flag: rank === 1,
  big: BigInt(rank),
  x: torch.tensor([rank, 1]),
  text: `r${rank}`,
});
const inPlace = torch.tensor([rank + 1, 2], { dtype: "float32" });
const reduced = await fabric.allReduce([inPlace, 1 + rank]);
const withGrad = torch.tensor([1, 2], { dtype: "float32", requiresGrad: true });
const plainGraph = (await fabric.allGather(withGrad)).requiresGrad;
const joined = await fabric.allGather(withGrad, { syncGrads: true });
joined
  .mul(
    torch
      .tensor([
        [1.0, 1.0],
        [10.0, 10.0],
      ])
      .mul(rank + 1),
  )
  .sum()
  .backward();

const order: string[] = [];
const turn = await fabric.rankZeroFirst(async () => {
  order.push(`body ${rank}`);
  await new Promise((resolve) => setTimeout(resolve, rank === 0 ? 100 : 0));
  return performance.timeOrigin + performance.now();
});
const times = await fabric.allGather(torch.tensor([turn], { dtype: "float64" }));
const turnFailure = await messageOf(() =>
  fabric.rankZeroFirst(() => {
    if (rank === 0) throw new Error("first fails");
  }),
);
{
  await using _ = await fabric.rankZeroFirst({ local: true });
  order.push("block");
}

const loader = fabric.setupDataLoaders(
  new data.DataLoader(
    Array.from({ length: 5 }, (_, i) => torch.tensor(i)),
    { batchSize: 2 },
  ),
);
const batches = [...loader].map(list);
const untouched = fabric.setupDataLoaders(new data.DataLoader([1, 2]), { useDistributedSampler: false }).length;

// Saving: one file, the same on all ranks; a failure of rank 0 is a failure of all.
const directory = (await fabric.broadcast(rank === 0 ? mkdtempSync(join(tmpdir(), "fabric-test-")) : null)) as string;
await fabric.rankZeroFirst(async () => {
  if (rank === 0) return;
  await new Promise((resolve) => setTimeout(resolve, 100));
  writeFileSync(join(directory, "second"), "");
});
const secondWasDone = existsSync(join(directory, "second"));
const make = (seed: number): nn.Linear => {
  torch.manualSeed(seed);
  return new nn.Linear(2, 2);
};
const raw = make(1);
const [model, optimizer] = fabric.setup(raw, new optim.SGD(raw.parameters(), { lr: 0.1, momentum: 0.9 }));
fabric.backward(model(torch.ones([2])).sum());
optimizer.step();
const path = join(directory, "deep", "state.ckpt");
await fabric.save(path, { model, optimizer, step: 7 });
const bare = make(2);
const state = { model: bare, step: 0 };
const remainder = Object.keys(await fabric.load(path, state));
const wrapped = fabric.setup(make(3));
await fabric.load(path, { model: wrapped });
const loads = [bare, wrapped.module].every(
  (loaded) => JSON.stringify(loaded.weight.tolist()) === JSON.stringify(raw.weight.tolist()),
);

const blocked = join(directory, "file");
if (rank === 0) writeFileSync(blocked, "");
await fabric.barrier();
const saveFailure = await messageOf(() => fabric.save(join(blocked, "state.ckpt"), { step: 1 }));
const folderFailure = await messageOf(() => fabric.save("/proc/nope/state.ckpt", { step: 1 }));
const loadFailure = await messageOf(() => fabric.load(join(directory, "nothing.ckpt")));
const stillWorks = (await fabric.allReduce(1, { reduceOp: "sum" })).item();

const decisions = [
  await fabric.strategy.reduceBooleanDecision(rank === 0),
  await fabric.strategy.reduceBooleanDecision(rank === 0, { all: false }),
  await fabric.strategy.reduceBooleanDecision(true),
];
const sent = await fabric.broadcast({ from: rank, x: torch.tensor([rank]) }, 1);

await fabric.barrier();
if (rank === 0) rmSync(directory, { recursive: true });
void CheckpointIO;
report(rank, {
  gathered: {
    n: list(gathered.n),
    flag: list(gathered.flag),
    flagDtype: gathered.flag.dtype,
    big: list(gathered.big),
    x: list(gathered.x),
    text: gathered.text,
  },
  reduced: reduced.map(list),
  sameObject: (reduced[0] as Tensor) === inPlace,
  gradient: list(withGrad.grad as Tensor),
  plainGraph,
  order,
  firstWasFirst: (times.select(0, 0).item() as number) <= (times.select(0, 1).item() as number),
  turnFailure,
  secondWasDone,
  batches,
  length: loader.length,
  untouched,
  step: state.step,
  remainder,
  loads,
  saveFailure,
  folderFailure,
  loadFailure,
  stillWorks,
  decisions,
  sent: [sent.from, list(sent.x)],
});
