// twice.js: the launching process calls `launch()` of the same launcher again before the first call has come to an end.
import { LightningEnvironment, ScriptLauncher } from "@fabric-ts/fabric";

const environment = new LightningEnvironment();
const launcher = new ScriptLauncher(environment, 2);
const first = launcher.launch(() => environment.localRank());
if (process.env.LOCAL_RANK === undefined) {
  await launcher.launch(() => {}).catch((error: Error) => console.log(`${error.name}: ${error.message}`));
}
console.log(`rank ${await first}`);
