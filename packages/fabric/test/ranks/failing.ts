// Rank 1 throws while rank 0 waits for it.
import { Fabric } from "@fabric-ts/fabric";

const fabric = new Fabric({ accelerator: "cpu", devices: 2 });
await fabric.launch();
if (fabric.globalRank === 1) throw new Error("planned failure on rank 1");
await fabric.barrier();
