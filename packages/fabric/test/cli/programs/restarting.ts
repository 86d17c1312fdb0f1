// restarting.js <failures> <how>: two ranks, the second of which fails in its first attempts.
import { writeSync } from "node:fs";
import { Fabric } from "@fabric-ts/fabric";

const [failures, how] = process.argv.slice(2);
const attempt = Number(process.env.TORCHELASTIC_RESTART_COUNT);
const fabric = new Fabric();
const sum = (await fabric.allReduce(fabric.globalRank + 1, { reduceOp: "sum" })).item();
console.log(`attempt ${attempt} rank ${fabric.globalRank} sum ${sum}`);
console.error(`to stderr from ${fabric.globalRank}`);
const isStubborn = how === "stubborn" && fabric.globalRank === 0;
if (isStubborn) process.on("SIGTERM", () => console.log("got SIGTERM"));
await fabric.barrier();
if (isStubborn) await new Promise((resolve) => setTimeout(resolve, 30_000));
if (fabric.globalRank === 1 && attempt < Number(failures)) {
  writeSync(2, `FAULT at ${Date.now()}\n`);
  if (how === "kill") process.kill(process.pid, "SIGKILL");
  throw new Error(`boom in attempt ${attempt}`);
}
await fabric.barrier();
