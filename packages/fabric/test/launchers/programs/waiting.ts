// waiting.js <how>: two ranks that have met and then wait for ever, in JavaScript or with a blocked JavaScript thread.
import { distributed } from "@fabric-ts/torch";
import { LightningEnvironment } from "../../../dist/environments/lightning.js";
import { reportPhase } from "../../../dist/environments/rank-channel.js";
import { createStore } from "../../../dist/environments/rendezvous.js";
import { ScriptLauncher } from "../../../dist/launchers/script.js";

const how = process.argv[2];
const worldSize = 2;
const environment = new LightningEnvironment();
const rank = await new ScriptLauncher(environment, worldSize, 1).launch(() => environment.localRank());
const store = await createStore({ environment, worldSize, rank, timeoutMs: 30_000 });
await distributed.initProcessGroup({ backend: "gloo", rank, worldSize, store, timeoutMs: 30_000 });
reportPhase("joined");
if (how === "ignoring")
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => console.log(`got ${signal}`));
if (how === "graceful") {
  process.on("SIGTERM", () => {
    console.log("saved");
    process.exit(0);
  });
}
await distributed.barrier();
console.log(`ready ${process.pid}`);
if (how === "blocked") Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 60_000);
// The other rank never comes.
if (how === "collective" && rank === 0) await distributed.barrier();
await new Promise((resolve) => setTimeout(resolve, 60_000));
