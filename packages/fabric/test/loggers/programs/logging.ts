// A training program that logs and ends as it is told: by the end of the file, an error, `process.exit`, or a signal.
import { ConsoleLogger, CSVLogger, Fabric, JSONLinesLogger, Logger, TensorBoardLogger } from "@fabric-ts/fabric";
import { report } from "../../support/run-ranks.js";

class Announcing extends Logger {
  override get name(): string {
    return "announcing";
  }
  override get version(): number {
    return 0;
  }
  override logMetrics(): void {}
  override logHyperparams(): void {}
  override save(): void {
    process.stderr.write("the user's logger saves\n");
  }
}

const { LOG_ROOT = "", LOG_END = "", LOG_DEVICES = "1" } = process.env;
const fabric = new Fabric({
  accelerator: "cpu",
  devices: Number(LOG_DEVICES),
  loggers: [
    new CSVLogger(LOG_ROOT),
    new TensorBoardLogger(LOG_ROOT),
    new JSONLinesLogger(LOG_ROOT),
    new ConsoleLogger({ every: 100 }),
    new Announcing(),
  ],
});
await fabric.launch();
for (let step = 0; step < 42; step++) fabric.log("loss", 1 / (step + 1), step);
if (fabric.worldSize > 1) report(fabric.globalRank, { logDirs: fabric.loggers.map(({ logDir }) => logDir) });

if (LOG_END === "throw") throw new Error("made to fail");
if (LOG_END === "throw later") setTimeout(() => Promise.reject(new Error("made to fail later")), 1);
if (LOG_END === "exit") process.exit(3);
if (LOG_END === "kill") {
  // What is older than a second is on disk, although nothing but this loop runs.
  const end = performance.now() + 1100;
  while (performance.now() < end);
  fabric.log("loss", 0, 42);
  process.kill(process.pid, "SIGKILL");
}
