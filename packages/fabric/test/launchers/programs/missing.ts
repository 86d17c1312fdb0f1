// missing.js: rank 1 starts but never comes to the meeting.
import { LightningEnvironment } from "../../../dist/environments/lightning.js";
import { createStore } from "../../../dist/environments/rendezvous.js";
import { ScriptLauncher } from "../../../dist/launchers/script.js";

const environment = new LightningEnvironment();
const rank = await new ScriptLauncher(environment, 3, 1).launch(() => environment.localRank());
if (rank === 1) await new Promise((resolve) => setTimeout(resolve, 30_000));
await createStore({ environment, worldSize: 3, rank, timeoutMs: 1000 });
