// failing.js HOW: rank 1 fails in its first attempt, while the others wait for it; a second attempt goes well. HOW is "throw" or "kill".
import { Fabric } from "@fabric-ts/fabric";

const attempt = process.env.TORCHELASTIC_RESTART_COUNT ?? process.env.SLURM_RESTART_COUNT ?? "0";
const fabric = new Fabric({ accelerator: "cpu", strategy: "ddp" });
await fabric.launch();
if (fabric.globalRank === 1 && attempt === "0") {
  if (process.argv[2] === "kill") process.kill(process.pid, "SIGKILL");
  throw new RangeError("out of ideas");
}
const sum = await fabric.allReduce(1, { reduceOp: "sum" });
fabric.print(`SUM ${sum.item()} attempt ${attempt}`);
