// Reinforcement learning with PPO: each process plays games of its own and learns from them; gradients are averaged as in any training.
//
//   npx tsx examples/reinforcement-learning/ppo.ts --devices 2
import { Fabric } from "@fabric-ts/fabric";
import { optim } from "@fabric-ts/torch";
import { readOptions } from "../options.js";
import { Agent, batchesOf, lossOf, Player } from "./agent.js";

const { devices, updates, games, steps } = readOptions({ devices: 2, updates: 40, games: 8, steps: 64 });
const fabric = new Fabric({ accelerator: "cpu", devices });
await fabric.launch();
fabric.seedEverything(1, { verbose: false }); // the same first weights everywhere

const raw = new Agent();
const adam = new optim.Adam(raw.parameters(), { lr: 1e-3 });
const [agent, optimizer, scheduler] = fabric.setup(raw, adam, {
  scheduler: new optim.lrScheduler.LinearLR(adam, { startFactor: 1, endFactor: 0.05, totalIters: updates }),
});

/** How long games of the agent last, over all processes. */
async function meanLength(): Promise<string> {
  const player = new Player(agent, games, 900 + fabric.globalRank);
  return (await fabric.allReduce(player.meanLength())).item().toFixed(1);
}

fabric.seedEverything(1 + fabric.globalRank, { verbose: false }); // moves of its own for each process
fabric.print(`before training the pole falls after ${await meanLength()} steps`);
const player = new Player(agent, games, fabric.globalRank);
for (let update = 1; update <= updates; update++) {
  const moves = player.play(steps);
  for (const batch of batchesOf(moves)) {
    optimizer.zeroGrad();
    fabric.backward(lossOf(agent, batch));
    fabric.clipGradients(agent, optimizer, { maxNorm: 0.5 });
    optimizer.step();
  }
  scheduler.step();
  if (update % Math.ceil(updates / 8) === 0) {
    const lengths = player.takeLengths();
    const sum = lengths.reduce((total, length) => total + length, 0);
    const all = await fabric.allReduce({ games: lengths.length, sum }, { reduceOp: "sum" });
    const mean = all.sum.item() / Math.max(1, all.games.item());
    fabric.print(`update ${update}: ${all.games.item()} games ended, after ${mean.toFixed(1)} steps on average`);
  }
}
fabric.print(`after training the pole falls after ${await meanLength()} steps; games end at 500`);
