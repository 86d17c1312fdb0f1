// typed.ts, run as it is: syntax that needs more than leaving the types out.

import { Fabric } from "@fabric-ts/fabric";
import { distributed } from "@fabric-ts/torch";

enum Answer {
  right = 42,
}
const fabric: Fabric = new Fabric();
console.log(`typed ${Answer.right} rank ${fabric.globalRank} ${distributed.isInitialized()}`);
