// A test file of a user's that launches: each rank runs its tests.
import assert from "node:assert/strict";
import { it } from "node:test";
import { Fabric } from "@fabric-ts/fabric";
import * as torch from "@fabric-ts/torch";

const fabric = new Fabric({ accelerator: "cpu", devices: 2 });
await fabric.launch();

it("the ranks add up", async () => {
  const sum = await fabric.allReduce(torch.tensor(fabric.globalRank + 1), { reduceOp: "sum" });
  assert.equal((sum as torch.Tensor).item(), 3);
});
it("the last rank passes", () => assert.ok(process.env.LAST_FAILS === undefined || fabric.globalRank === 0));
