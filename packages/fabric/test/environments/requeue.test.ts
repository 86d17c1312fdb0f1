// `fabric.requeueOnSignal` in one process with a `scontrol` of our own; scripts/clusters has the real thing on several ranks.
import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, it } from "node:test";
import { Fabric } from "@fabric-ts/fabric";
import { isolateVariables, runCode, temporaryFolder, writeProgram } from "./support.js";

isolateVariables();

it("does nothing where nobody announces an end", async () => {
  const fabric = new Fabric({ accelerator: "cpu", devices: 1 });
  await fabric.requeueOnSignal(() => assert.fail("saved"));
});

it("says what it takes", async () => {
  const fabric = new Fabric({ accelerator: "cpu", devices: 1 });
  await assert.rejects(
    () => fabric.requeueOnSignal("last.pt" as never),
    /Expected `requeueOnSignal` to get a function that saves, but got "last\.pt"[\s\S]*fabric\.save\(path, state\)/,
  );
});

it("has to be called after launch()", async () => {
  const fabric = new Fabric({ accelerator: "cpu", devices: 2 });
  await assert.rejects(() => fabric.requeueOnSignal(() => {}), /you must call `.launch\(\)` first/);
});

describe("in a SLURM job", () => {
  const folder = temporaryFolder();

  /** Runs steps with a signal in between; `scontrol` is what that program does. */
  function run(scontrol: string, body: string, options = "") {
    writeProgram(folder.path, "scontrol", scontrol);
    const code = `
      import { AsyncCheckpointIO, CheckpointIO, Fabric, SLURMEnvironment } from "@fabric-ts/fabric";
      const plugins = [new SLURMEnvironment(${options})];
      const fabric = new Fabric({ accelerator: "cpu", devices: 1, plugins });
      const check = () => fabric.requeueOnSignal(() => console.log("saved"));
      const signal = (name) => process.kill(process.pid, name);
      // What a long synchronous computation is to the JavaScript thread.
      const block = () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50);
      ${body}`;
    const job = { SLURM_NTASKS: "1", SLURM_PROCID: "0", SLURM_LOCALID: "0", SLURM_NODEID: "0", SLURM_JOB_ID: "42" };
    return runCode(code, { ...job, PATH: `${folder.path}:${process.env.PATH}` });
  }

  it("saves and requeues once after the signal, even if it comes in the middle of a computation, and then ends", () => {
    const { signal, stdout, stderr } = run(
      'echo "asked $*"; echo "asked $*" >&2; kill -TERM $PPID; sleep 5',
      'await check(); signal("SIGUSR1"); block(); await check(); console.log("went on");',
    );
    assert.equal(signal, "SIGTERM", stderr);
    assert.equal(stdout, "saved\n");
    assert.match(stderr, /^SIGUSR1: the cluster will end this job/);
  });

  it("goes on when SLURM refuses, and saves again at the next signal only", () => {
    const { status, stdout, stderr } = run(
      "exit 1",
      `signal("SIGUSR1"); block();
       await check(); await check(); console.log("went on");
       signal("SIGUSR1"); block(); await check();`,
    );
    assert.equal(status, 0, stderr);
    assert.equal(stdout, "saved\nwent on\nsaved\n");
    assert.equal(stderr.match(/The job was not put back into the queue/g)?.length, 2);
  });

  it("does not requeue what could not be saved", () => {
    const { status, stdout } = run(
      "kill -TERM $PPID",
      `signal("SIGUSR1"); block();
       await fabric.requeueOnSignal(async () => { throw new Error("disk full"); }).catch((error) => console.log(error.message));`,
    );
    assert.equal(status, 0);
    assert.equal(stdout, "disk full\n");
  });

  it("waits for what is saved in the background before it requeues, and does not requeue when that fails", () => {
    const file = join(folder.path, "written");
    const save = (write: string) => `
      import { writeFileSync } from "node:fs";
      class Slow extends CheckpointIO {
        async saveCheckpoint() { await new Promise((resolve) => setTimeout(resolve, 50)); ${write} }
      }
      const io = new AsyncCheckpointIO(new Slow());
      signal("SIGUSR1"); block();
      await fabric.requeueOnSignal(() => io.saveCheckpoint({}, "x")).catch((error) => console.log(error.message));`;
    const written = run(
      `[ -e '${file}' ] || exit 1; kill -TERM $PPID; sleep 5`,
      save(`writeFileSync(${JSON.stringify(file)}, "");`),
    );
    assert.equal(written.signal, "SIGTERM", written.stderr);
    const failed = run("kill -TERM $PPID", save('throw new Error("disk full");'));
    assert.deepEqual([failed.status, failed.stdout], [0, "disk full\n"], failed.stderr);
  });

  it("hears another signal, and nothing with autoRequeue: false", () => {
    const other = run("exit 1", 'signal("SIGUSR2"); block(); await check();', '{ requeueSignal: "SIGUSR2" }');
    assert.equal(other.stdout, "saved\n");
    const off = run(
      "exit 1",
      'process.on("SIGUSR1", () => {}); signal("SIGUSR1"); block(); await check();',
      "{ autoRequeue: false }",
    );
    assert.deepEqual([off.status, off.stdout], [0, ""]);
  });

  it("leaves the program its own handler of the signal", () => {
    const { stdout } = run(
      "exit 1",
      `process.on("SIGUSR1", () => console.log("heard")); signal("SIGUSR1"); block(); await check();
       await new Promise((resolve) => setTimeout(resolve, 20));`,
    );
    assert.deepEqual(stdout.split("\n").sort(), ["", "heard", "saved"]);
  });
});
