// Rank 0 saves alone while rank 1 goes on to a barrier.
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Fabric } from "@fabric-ts/fabric";

const fabric = new Fabric({ accelerator: "cpu", devices: 2 });
await fabric.launch();
if (fabric.globalRank === 0) await fabric.save(join(tmpdir(), "fabric-never-written.ckpt"), { step: 1 });
await fabric.barrier("epoch");
