// Rank 0's turn takes longer than a collective should.
import { Fabric } from "@fabric-ts/fabric";

const fabric = new Fabric({ accelerator: "cpu", devices: 2 });
await fabric.launch();
await fabric.rankZeroFirst(
  () => new Promise<void>((resolve) => setTimeout(resolve, fabric.globalRank === 0 ? 2000 : 0)),
);
