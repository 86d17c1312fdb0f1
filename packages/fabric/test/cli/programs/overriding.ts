// overriding.js <what>: scripts that do not fit to `fabric run`.
import { Fabric } from "@fabric-ts/fabric";

class Own extends Fabric {
  override run(): void {}
}
if (process.argv[2] === "run") new Own();
else new Fabric({ devices: 3 });
