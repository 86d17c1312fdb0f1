// meeting.js <rank> <attempt> <port> <how>: one of two ranks that meet at a port, in an attempt of a run that is started again.
import { distributed } from "@fabric-ts/torch";
import { LightningEnvironment } from "../../../dist/environments/lightning.js";
import { createStore, createStoreSync } from "../../../dist/environments/rendezvous.js";

const [rank, attempt, port, how] = process.argv.slice(2) as [string, string, string, string];
class Attempt extends LightningEnvironment {
  override get attempt(): string {
    return attempt;
  }
}
process.env.MASTER_PORT = port;
const timeoutMs = how.includes("short") ? 1500 : 30_000;
const options = { environment: new Attempt(), worldSize: 2, rank: Number(rank), timeoutMs };
console.log("coming");
try {
  const store = how.startsWith("sync") ? createStoreSync(options) : await createStore(options);
  if (how.startsWith("sync")) distributed.initProcessGroupSync({ ...options, store });
  else await distributed.initProcessGroup({ ...options, store });
  const ranks = await distributed.allGatherObject(options.rank);
  console.log(`met ${ranks.join()}`);
} catch (error) {
  console.log(`${(error as Error).name}: ${(error as Error).message}`);
}
process.exit(0);
