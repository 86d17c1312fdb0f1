// printing.js: two ranks that print long and short lines as fast as they can, without knowing of each other.
import { LightningEnvironment, ScriptLauncher } from "@fabric-ts/fabric";

const environment = new LightningEnvironment();
const rank = await new ScriptLauncher(environment, 2, 1).launch(() => environment.localRank());
for (let line = 0; line < 500; line++) {
  const text = String(rank).repeat(line % 50 === 0 ? 100_000 : 100);
  process.stdout.write(`<${text}`);
  process.stdout.write(`>\n`);
  if (line % 10 === 0) process.stderr.write(`<${text}>\n`);
}
process.stdout.write(`last of ${rank}`);
