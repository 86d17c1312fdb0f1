// training.js: ten steps on fixed data, on the ranks that somebody has started. Each rank says where it is and where it listens, and
// rank 0 what came out.
import { createHash } from "node:crypto";
import { hostname } from "node:os";
import { Fabric } from "@fabric-ts/fabric";
import { train } from "../../support/training.js";

// Compiled beside this package's tests; the compiler sees one package's tests at a time.
const { listenersOf } = (await import(
  new URL("../../../../torch/dist-test/support/listeners.js", import.meta.url).href
)) as { listenersOf(pid: number): string[] };

// LT_DEVICES and LT_NUM_NODES say the rest.
const fabric = new Fabric({ accelerator: "cpu", strategy: "ddp" });
await fabric.launch();
const { globalRank: rank, localRank, nodeRank, worldSize } = fabric;
const place = { rank, localRank, nodeRank, worldSize, host: hostname(), listeners: listenersOf(process.pid) };
process.stdout.write(`RANK ${JSON.stringify(place)}\n`);
const weights = Float32Array.from(train(fabric, "plain"));
if (fabric.isGlobalZero) console.log(`WEIGHTS ${createHash("sha256").update(weights).digest("hex")}`);
