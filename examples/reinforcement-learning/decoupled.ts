// Reinforcement learning with parts: rank 0 plays, and deals out the moves; all other ranks are trainers, who average gradients among
// themselves through Fabric; the first of them sends the new weights back to the player. Needs two processes at least.
//
//   npx fabric run --accelerator cpu --devices 3 examples/reinforcement-learning/decoupled.ts
import { DDPStrategy, Fabric, TorchCollective } from "@fabric-ts/fabric";
import { type distributed, nn, noGrad, optim } from "@fabric-ts/torch";
import { readOptions } from "../options.js";
import { haveSameWeights } from "../same-weights.js";
import { Agent, batchesOf, type Experience, lossOf, Player } from "./agent.js";

const { updates, games, steps } = readOptions({ updates: 40, games: 16, steps: 64 });
const PLAYER = 0;
const FIRST_TRAINER = 1;

if (Number(process.env.WORLD_SIZE ?? 1) < 2) {
  console.error("There is nobody to train: start it with `npx fabric run --devices 2` or more.");
  process.exit(2);
}
const world = await new TorchCollective().setup();
const ranks = Array.from({ length: world.worldSize - 1 }, (_, i) => i + 1);
// Every process makes all groups, its own or not.
const weightsGroup = await new TorchCollective().createGroup({ ranks: [PLAYER, FIRST_TRAINER] });
const trainers = await world.newGroup({ ranks });

await (trainers === null ? play() : train(trainers));
await weightsGroup.teardown();
await world.teardown();

/** What the player does. A null in place of moves is the end. */
async function play(): Promise<void> {
  Fabric.seedEverything(2, { verbose: false });
  const agent = new Agent();
  const receive = async (): Promise<void> => {
    const weights = await weightsGroup.broadcast(
      nn.utils.parametersToVector(agent.parameters()).detach(),
      FIRST_TRAINER,
    );
    noGrad(() => nn.utils.vectorToParameters(weights, agent.parameters()));
  };
  const player = new Player(agent, games, 1);
  await receive();
  console.log(`before training the pole falls after ${new Player(agent, games, 900).meanLength().toFixed(1)} steps`);
  for (let update = 1; update <= updates; update++) {
    const moves = player.play(steps);
    // Every n-th move goes to the same trainer.
    const shares = ranks.map((rank) => moves.map((part) => part.at(`${rank - 1}::${ranks.length}`).contiguous()));
    await world.scatterObjectList([null], [null, ...shares], PLAYER);
    await receive();
    if (update % Math.ceil(updates / 8) === 0) {
      const lengths = player.takeLengths();
      const mean = lengths.reduce((sum, length) => sum + length, 0) / Math.max(1, lengths.length);
      console.log(`update ${update}: ${lengths.length} games ended, after ${mean.toFixed(1)} steps on average`);
    }
  }
  await world.scatterObjectList([null], [null, ...ranks.map(() => null)], PLAYER);
  const length = new Player(agent, games, 900).meanLength();
  console.log(`after training the pole falls after ${length.toFixed(1)} steps; games end at 500`);
}

/** What each trainer does. */
async function train(group: distributed.ProcessGroup): Promise<void> {
  const fabric = new Fabric({ accelerator: "cpu", strategy: new DDPStrategy({ processGroup: group }) });
  fabric.seedEverything(1, { verbose: false });
  const raw = new Agent();
  const adam = new optim.Adam(raw.parameters(), { lr: 1e-3 });
  const [agent, optimizer, scheduler] = fabric.setup(raw, adam, {
    scheduler: new optim.lrScheduler.LinearLR(adam, { startFactor: 1, endFactor: 0.05, totalIters: updates }),
  });
  const send = async (): Promise<void> => {
    if (world.rank !== FIRST_TRAINER) return;
    await weightsGroup.broadcast(nn.utils.parametersToVector(raw.parameters()).detach(), FIRST_TRAINER);
  };
  await send();
  while (true) {
    const [moves] = await world.scatterObjectList<Experience>([null], null, PLAYER);
    if (!moves) break;
    for (const batch of batchesOf(moves, 6, Math.floor(256 / ranks.length))) {
      optimizer.zeroGrad();
      fabric.backward(lossOf(agent, batch));
      fabric.clipGradients(agent, optimizer, { maxNorm: 0.5 });
      optimizer.step();
    }
    scheduler.step();
    await send();
  }
  const areEqual = await haveSameWeights(fabric, [raw], { group });
  if (world.rank === FIRST_TRAINER) console.log(`${ranks.length} trainer(s), with the same weights: ${areEqual}`);
}
