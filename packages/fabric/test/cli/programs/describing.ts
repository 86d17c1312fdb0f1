// describing.js [--launch] [--exit N] [...]: what a script finds under `fabric run`.
import { Fabric, type ParallelStrategy } from "@fabric-ts/fabric";
import { distributed } from "@fabric-ts/torch";

const fabric = new Fabric();
const isConnected = distributed.isInitialized();
if (process.argv.includes("--launch")) {
  await fabric.launch();
  // A second time, with a function, does no harm either.
  await fabric.launch(async (same) => same.barrier());
}
const sum = await fabric.allReduce(fabric.globalRank + 1, { reduceOp: "sum" });
const names = [
  "RANK",
  "LOCAL_RANK",
  "WORLD_SIZE",
  "LOCAL_WORLD_SIZE",
  "GROUP_RANK",
  "GROUP_WORLD_SIZE",
  "MASTER_ADDR",
  "MASTER_PORT",
  "OMP_NUM_THREADS",
  "TORCHELASTIC_RESTART_COUNT",
  "TORCHELASTIC_MAX_RESTARTS",
  "LT_CLI_USED",
  "LT_DEVICES",
  "LT_NUM_NODES",
  "LT_ACCELERATOR",
  "LT_STRATEGY",
  "LT_PRECISION",
];
const description = {
  rank: fabric.globalRank,
  worldSize: fabric.worldSize,
  nodeRank: fabric.nodeRank,
  isConnected,
  sum: typeof sum === "number" ? sum : sum.item(),
  strategy: fabric.strategy.constructor.name,
  environment: (fabric.strategy as ParallelStrategy).clusterEnvironment?.constructor.name,
  precision: fabric.strategy.precision.constructor.name,
  variables: Object.fromEntries(names.map((name) => [name, process.env[name]])),
  runId: process.env.TORCHELASTIC_RUN_ID,
  args: process.argv.slice(2),
  execArgv: process.execArgv,
};
console.log(JSON.stringify(description));
