// Collectives without Fabric: processes that play different parts. All but the last fit a line to points of their own and average gradients
// within a group of their own; the last one watches, and tells them all when it is good enough.
//
//   npx fabric run --devices 3 examples/collective/train.ts
//   npx tsx examples/collective/train.ts                          one process, which does both
import { TorchCollective } from "@fabric-ts/fabric";
import { Generator, nn, noGrad, optim, randn, type Tensor, tensor } from "@fabric-ts/torch";
import { readOptions } from "../options.js";

const { rounds, goal } = readOptions({ rounds: 50, goal: 0.02 });

// Rank, number of processes and meeting point come from whoever started them.
const alone = process.env.WORLD_SIZE === undefined ? { rank: 0, worldSize: 1 } : {};
const world = await new TorchCollective().setup(alone);
const watcher = world.worldSize - 1;
const ranks = world.worldSize === 1 ? [0] : Array.from({ length: watcher }, (_, rank) => rank);
const trainers = await new TorchCollective().createGroup({ ranks }); // all processes call it, members or not
const isTrainer = ranks.includes(world.rank);

const truth = tensor([[2.0, -1.5, 0.5]], { dtype: "float32" });
const points = (count: number, seed: number) => {
  const x = randn([count, 3], { generator: new Generator().manualSeed(seed) });
  return { x, y: x.matmul(truth.T) };
};
const net = new nn.Linear(3, 1, { bias: false });
const optimizer = new optim.SGD(net.parameters(), { lr: 0.05 });
await world.broadcast(net.weight, 0); // all begin with the weights of rank 0

async function train(steps: number): Promise<void> {
  const { x, y } = points(64, 100 + world.rank);
  for (let step = 0; step < steps; step++) {
    optimizer.zeroGrad();
    nn.functional.mseLoss(net(x), y).backward();
    await trainers.allReduce(net.weight.grad as Tensor, "mean");
    optimizer.step();
  }
}

for (let round = 1; round <= rounds; round++) {
  if (isTrainer) await train(5);
  const [sent] = await world.broadcastObjectList([{ from: world.rank, weights: net.stateDict() }], 0);
  const verdict = [{ error: Number.NaN, isDone: false }];
  if (world.rank === watcher && sent) {
    net.loadStateDict(sent.weights);
    const { x, y } = points(200, 1);
    const error = noGrad(() => nn.functional.mseLoss(net(x), y).item());
    console.log(
      `round ${round}: weights from rank ${sent.from}, seen by rank ${world.rank}: error ${error.toFixed(4)}`,
    );
    verdict[0] = { error, isDone: error < goal };
  }
  await world.broadcastObjectList(verdict, watcher);
  if (verdict[0]?.isDone) break;
}
if (isTrainer) console.log(`rank ${world.rank} of ${world.worldSize}: ${JSON.stringify(net.weight.tolist())}`);
await trainers.teardown();
await world.teardown();
