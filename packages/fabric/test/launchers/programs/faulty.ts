// faulty.js <where> <what> <rank>: two ranks, one of which fails in that way at that place.
import { writeSync } from "node:fs";
import { distributed, ones } from "@fabric-ts/torch";
import { LightningEnvironment } from "../../../dist/environments/lightning.js";
import { reportPhase } from "../../../dist/environments/rank-channel.js";
import { createStore } from "../../../dist/environments/rendezvous.js";
import { ScriptLauncher } from "../../../dist/launchers/script.js";

const [where, what, victim] = process.argv.slice(2);
const isVictim = process.env.LOCAL_RANK === victim;
const worldSize = 2;
const environment = new LightningEnvironment();
const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

async function failAt(place: string): Promise<void> {
  if (isVictim && place === where) await fail();
}

async function fail(): Promise<void> {
  writeSync(2, `FAULT at ${Date.now()}\n`);
  if (what === "throw") throw new Error("boom on purpose");
  if (what === "reject") {
    void Promise.reject(new Error("boom on purpose"));
    // Node looks for rejections when the program waits; loading the engine would come first otherwise.
    await pause(1000);
  }
  if (what === "exit-3") process.exit(3);
  if (what === "exit-0") process.exit(0);
  if (what === "SIGKILL" || what === "SIGSEGV") process.kill(process.pid, what);
}

await failAt("before launch");
const rank = await new ScriptLauncher(environment, worldSize, 1).launch(() => environment.localRank());
await failAt("after launch");
const store = await createStore({ environment, worldSize, rank, timeoutMs: 30_000 });
await distributed.initProcessGroup({ backend: "gloo", rank, worldSize, store, timeoutMs: 30_000 });
reportPhase("joined");
await distributed.barrier();
await failAt("between collectives");
await distributed.allReduce(ones([4]));
if (where === "while the other waits in a barrier" && isVictim) await pause(150).then(fail);
if (where === "inside of an all-reduce") {
  // The victim is in the collective, the other rank is not.
  if (isVictim) void pause(150).then(fail);
  else await pause(10_000);
  await distributed.allReduce(ones([1000]));
}
await distributed.barrier();
await pause(where === undefined ? 0 : 10_000);
