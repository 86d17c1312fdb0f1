// Sets up, then runs a compiled program of this repository with the remaining arguments, in this very process: there is no
// process in between that a signal could miss.
//
//   node scripts/run.mjs examples/dist/digits/train.js --devices 1
import { existsSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { orExit, ROOT, setUp } from "./setup.mjs";

const [program, ...args] = process.argv.slice(2);
if (!program) {
  console.error("usage: node scripts/run.mjs PROGRAM.js [arguments]");
  process.exit(2);
}
await orExit(() => setUp());
const path = join(ROOT, program);
if (!existsSync(path)) {
  console.error(`${path} does not exist: has its source been removed?`);
  process.exit(1);
}
process.setSourceMapsEnabled(true);
// The program is started again, once for each rank, by what it finds here.
process.argv = [process.execPath, path, ...args];
await import(pathToFileURL(path).href);
