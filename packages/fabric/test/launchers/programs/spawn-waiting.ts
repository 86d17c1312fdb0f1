// spawn-waiting.js <what>: a function that waits for ever in two processes, in one of several surroundings.
import { Fabric } from "@fabric-ts/fabric";

const what = process.argv[2];
const fabric = new Fabric({ accelerator: "cpu", devices: 2, strategy: "ddp_spawn" });
if (what === "handled" && process.env.LOCAL_RANK === undefined) process.on("SIGTERM", () => console.log("own handler"));
try {
  await fabric.launch(async (own) => {
    await own.barrier();
    console.log(`ready ${process.pid}`);
    if (what === "blocked") Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 60_000);
    await new Promise((resolve) => setTimeout(resolve, 60_000));
  });
} catch (error) {
  console.log(`caught ${(error as Error).message}`);
}
