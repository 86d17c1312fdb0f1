// describing.js <processes>: prints what a rank, or a program that runs in place, finds around it.
import { LightningEnvironment, ScriptLauncher } from "@fabric-ts/fabric";

const count = Number(process.argv[2]);
const environment = new LightningEnvironment();
// What the launching process has set by then is inherited.
if (process.env.LOCAL_RANK === undefined) process.env.PL_GLOBAL_SEED = "5";
process.on("exit", () => process.env.LOCAL_RANK === "0" && console.log("exit handler"));
const launcher = new ScriptLauncher(environment, count, 1);
await launcher.launch(() => {});
// Once more does no harm.
const rank = await launcher.launch(() => environment.localRank());
const names = ["LOCAL_RANK", "NODE_RANK", "RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "OMP_NUM_THREADS"];
names.push("PL_GLOBAL_SEED", "FABRIC_RANK_CHANNEL");
console.log(
  JSON.stringify({
    rank,
    isSupervised: process.env.FABRIC_LAUNCHER_PID === String(process.ppid),
    variables: Object.fromEntries(names.map((name) => [name, process.env[name]])),
    execArgv: process.execArgv,
    args: process.argv.slice(3),
  }),
);
if (process.env.EXIT_CODE !== undefined) process.exitCode = Number(process.env.EXIT_CODE);
