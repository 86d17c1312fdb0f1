// A training program that logs to an MLflow server and ends as it is told.
import { execFileSync } from "node:child_process";
import { Fabric, MLflowLogger } from "@fabric-ts/fabric";

const { LOG_NAME = "", LOG_END = "" } = process.env;
const fabric = new Fabric({
  accelerator: "cpu",
  devices: LOG_END === "two ranks" ? 2 : 1,
  loggers: new MLflowLogger({ runName: LOG_NAME }),
});
await fabric.launch();
for (let step = 0; step < 2500; step++) fabric.log("loss", step, step);

if (LOG_END === "throw") throw new Error("made to fail");
if (LOG_END === "exit") process.exit(3);
if (LOG_END === "exit well") process.exit(0);
if (LOG_END === "busy") {
  // A process of its own asks the server, while this one's event loop does not get a turn.
  const ask = `
    const answer = await fetch(process.argv[1] + "/count?name=" + process.argv[2]);
    process.stdout.write(await answer.text());
  `;
  const args = ["--input-type=module", "-e", ask, process.env.MLFLOW_TRACKING_URI ?? "", LOG_NAME];
  let count = 0;
  for (let tries = 0; tries < 50 && count < 2500; tries++) {
    count = Number(execFileSync(process.execPath, args, { encoding: "utf8" }));
  }
  process.stderr.write(`the server had metrics while the loop was busy: ${count === 2500}\n`);
}
