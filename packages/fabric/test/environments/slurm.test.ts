// Ranks that srun starts: the variables, node lists, ports, what is refused, and putting a job back into the queue.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { detectEnvironment } from "../../dist/environments/detect.js";
import { MPIEnvironment } from "../../dist/environments/mpi.js";
import { firstHost, SLURMEnvironment } from "../../dist/environments/slurm.js";
import { catchWarnings } from "../../dist/utilities/warnings.js";
import { isolateVariables, ranksOf, set, temporaryFolder, writeProgram } from "./support.js";

isolateVariables();

/** Runs `body` where Node says that this is Windows. */
function onWindows<T>(body: () => T): T {
  const { platform } = process;
  Object.defineProperty(process, "platform", { value: "win32" });
  try {
    return body();
  } finally {
    Object.defineProperty(process, "platform", { value: platform });
  }
}

describe("SLURMEnvironment", () => {
  for (const [nodes, host] of [
    ["127.0.0.1", "127.0.0.1"],
    ["alpha", "alpha"],
    ["alpha,beta,gamma", "alpha"],
    ["alpha beta gamma", "alpha"],
    ["1.2.3.[100-110]", "1.2.3.100"],
    ["1.2.3.[089, 100-110]", "1.2.3.089"],
    ["host[22]", "host22"],
    ["host[1,5-9]", "host1"],
    ["host[5-9,1]", "host5"],
    ["alpha, host[5-9], gamma", "alpha"],
    ["alpha[3,1], beta", "alpha3"],
    ["host[22],a-b[3]", "host22"],
    ["r[1-2]n[03-04]-ib", "r1n03-ib"],
  ] as const) {
    it(`${nodes} begins with ${host}`, () => assert.equal(firstHost(nodes), host));
  }

  it("detects itself by SLURM_NTASKS, outside of interactive sessions", () => {
    assert.equal(SLURMEnvironment.detect(), false);
    set({ SLURM_NTASKS: "2" });
    assert.equal(SLURMEnvironment.detect(), true);
    for (const name of ["bash", "interactive"]) {
      set({ SLURM_JOB_NAME: name });
      assert.equal(SLURMEnvironment.detect(), false);
    }
    set({ SLURM_JOB_NAME: "train" });
    assert.equal(SLURMEnvironment.detect(), true);
  });

  it("leaves ranks to mpirun that mpirun started inside of a job", () => {
    set({ SLURM_NTASKS: "2", SLURM_NTASKS_PER_NODE: "2" });
    set({ OMPI_COMM_WORLD_RANK: "0", OMPI_COMM_WORLD_SIZE: "2" });
    assert.ok(detectEnvironment() instanceof MPIEnvironment);
    delete process.env.OMPI_COMM_WORLD_RANK;
    // What srun sets with --mpi=pmi2.
    set({ PMI_RANK: "0", PMI_SIZE: "2" });
    assert.ok(detectEnvironment() instanceof SLURMEnvironment);
  });

  it("reads ranks, ignores the setters, names what is missing", () => {
    set({ SLURM_NTASKS: "4", SLURM_NTASKS_PER_NODE: "2", SLURM_PROCID: "3", SLURM_LOCALID: "1", SLURM_NODEID: "1" });
    const environment = new SLURMEnvironment();
    assert.equal(environment.createsProcessesExternally, true);
    environment.setWorldSize(100);
    environment.setGlobalRank(100);
    assert.deepEqual(ranksOf(environment), [4, 3, 1, 1]);
    delete process.env.SLURM_PROCID;
    assert.throws(() => environment.globalRank(), /SLURM_PROCID is not set, although srun should have set it/);
  });

  it("meets at the first host of the step, else of the job, and stores it in MASTER_ADDR", () => {
    assert.equal(new SLURMEnvironment().mainAddress, "127.0.0.1");
    for (const [variables, address] of [
      [{ SLURM_NODELIST: "n[1-2]" }, "n1"],
      [{ SLURM_NODELIST: "n[1-2]", SLURM_STEP_NODELIST: "n2" }, "n2"],
    ] as const) {
      delete process.env.MASTER_ADDR;
      set(variables);
      assert.equal(new SLURMEnvironment().mainAddress, address);
      assert.equal(process.env.MASTER_ADDR, address);
    }
    set({ MASTER_ADDR: "h" });
    assert.equal(new SLURMEnvironment().mainAddress, "h");
  });

  for (const [job, port] of [
    [undefined, 12910],
    ["0001234", 16234],
    ["12345678", 20678],
    ["7", 15007],
  ] as const) {
    it(`job ${job} meets at port ${port}, which is stored in MASTER_PORT`, () => {
      if (job !== undefined) set({ SLURM_JOB_ID: job });
      assert.equal(new SLURMEnvironment().mainPort, port);
      assert.equal(process.env.MASTER_PORT, String(port));
    });
  }

  it("takes MASTER_PORT, and names a job id that is no number", () => {
    set({ MASTER_PORT: "500", SLURM_JOB_ID: "x" });
    assert.equal(new SLURMEnvironment().mainPort, 500);
    delete process.env.MASTER_PORT;
    assert.throws(() => new SLURMEnvironment().mainPort, /SLURM_JOB_ID should be a whole number, but is "x"/);
  });

  it("knows the job's name and number", () => {
    assert.deepEqual([SLURMEnvironment.jobName(), SLURMEnvironment.jobId()], [undefined, undefined]);
    set({ SLURM_JOB_NAME: "train", SLURM_JOB_ID: "42" });
    assert.deepEqual([SLURMEnvironment.jobName(), SLURMEnvironment.jobId()], ["train", 42]);
    set({ SLURM_JOB_ID: "a42" });
    assert.equal(SLURMEnvironment.jobId(), undefined);
    set({ SLURM_JOB_NAME: "interactive", SLURM_JOB_ID: "42" });
    assert.deepEqual([SLURMEnvironment.jobName(), SLURMEnvironment.jobId()], ["interactive", undefined]);
  });

  it("tells steps and restarts of jobs apart", () => {
    set({ SLURM_JOB_ID: "42", SLURM_STEP_ID: "0" });
    const environment = new SLURMEnvironment();
    assert.deepEqual([environment.jobKey, environment.attempt], ["42.0", "0"]);
    set({ SLURM_RESTART_COUNT: "1" });
    assert.deepEqual([environment.jobKey, environment.attempt], ["42.0", "1"]);
  });

  it("refuses --ntasks, and other numbers than the job's", () => {
    set({ SLURM_NTASKS: "2" });
    assert.throws(() => new SLURMEnvironment(), /You set `--ntasks=2` in your SLURM[\s\S]*`--ntasks-per-node=2`/);
    set({ SLURM_NTASKS_PER_NODE: "2", SLURM_NNODES: "1" });
    const environment = new SLURMEnvironment();
    environment.validateSettings(2, 1);
    assert.throws(
      () => environment.validateSettings(4, 1),
      /`--ntasks-per-node=2` does not match[\s\S]*Set `devices: 2`/,
    );
    assert.throws(() => environment.validateSettings(2, 3), /`--nodes=1` does not match[\s\S]*Set `numNodes: 1`/);
    set({ SLURM_JOB_NAME: "interactive" });
    environment.validateSettings(4, 3);
  });

  it("refuses more devices than the one task of a job", () => {
    set({ SLURM_NTASKS: "1" });
    const environment = new SLURMEnvironment();
    environment.validateSettings(1, 1);
    assert.throws(() => environment.validateSettings(2, 1), /world size \(1\)[\s\S]*`--ntasks-per-node=2`/);
  });
});

describe("srun that is there and not used", () => {
  const folder = temporaryFolder();

  it("is a warning with the command to type, of 64 characters at most", async () => {
    writeProgram(folder.path, "srun", "");
    set({ PATH: folder.path });
    for (const use of [() => SLURMEnvironment.detect(), () => new SLURMEnvironment()]) {
      const [warning, ...others] = await catchWarnings(use);
      assert.deepEqual([warning?.kind, others], ["PossibleUserWarning", []]);
      assert.match(warning?.message ?? "", /The `srun` command is available on your system but is not used/);
      const command = /like so: (.*) \.\.\.$/.exec(warning?.message ?? "")?.[1] ?? "";
      assert.ok(command.startsWith("srun node ") && command.length <= 64, command);
    }
  });

  it("names tsx where that runs the program", async () => {
    writeProgram(folder.path, "srun", "");
    set({ PATH: folder.path });
    process.execArgv.push("--import", "file:///node_modules/tsx/dist/loader.mjs");
    const [warning] = await catchWarnings(() => SLURMEnvironment.detect());
    process.execArgv.splice(-2);
    assert.match(warning?.message ?? "", /like so: srun npx tsx /);
  });

  it("is none in a job, in a rank that Fabric or mpirun started, on Windows, and without srun", async () => {
    const isQuiet = async () => assert.deepEqual(await catchWarnings(() => SLURMEnvironment.detect()), []);
    set({ PATH: folder.path });
    await isQuiet();
    writeProgram(folder.path, "srun", "");
    assert.deepEqual(await catchWarnings(() => onWindows(() => SLURMEnvironment.detect())), []);
    for (const name of ["SLURM_NTASKS", "FABRIC_LAUNCHER_PID", "OMPI_COMM_WORLD_RANK"]) {
      set({ [name]: "0" });
      await isQuiet();
      delete process.env[name];
    }
  });
});

describe("the requeue", () => {
  const folder = temporaryFolder();

  /** Puts the job into the queue with a `scontrol` of our own; what it was asked, and the warnings. */
  async function requeue(script: string | null) {
    const asked = join(folder.path, "asked");
    writeFileSync(asked, "");
    if (script !== null) writeProgram(folder.path, "scontrol", `echo "$@" > ${asked}\n${script}`);
    set({ PATH: script === null ? "/nowhere" : `${folder.path}:${process.env.PATH}` });
    const environment = new SLURMEnvironment();
    let isTaken = false;
    const warnings = await catchWarnings(async () => {
      isTaken = await environment.requeue();
    });
    return { isTaken, asked: readFileSync(asked, "utf8").trim(), warnings: warnings.map(({ message }) => message) };
  }

  it("options are kept: on with SIGUSR1, off, or with another signal", () => {
    const facts = ({ autoRequeue, requeueSignal, endSignal }: SLURMEnvironment) => [
      autoRequeue,
      requeueSignal,
      endSignal,
    ];
    assert.deepEqual(facts(new SLURMEnvironment()), [true, "SIGUSR1", "SIGUSR1"]);
    assert.deepEqual(facts(new SLURMEnvironment({ autoRequeue: false })), [false, "SIGUSR1", undefined]);
    assert.deepEqual(facts(new SLURMEnvironment({ requeueSignal: "SIGUSR2" })), [true, "SIGUSR2", "SIGUSR2"]);
    onWindows(() => assert.deepEqual(facts(new SLURMEnvironment()), [true, undefined, undefined]));
  });

  it("options that cannot be are named", () => {
    const make = (options: unknown) => () => new SLURMEnvironment(options as object);
    assert.throws(make({ requeueSignal: "USR1" }), /`requeueSignal` is "USR1"[\s\S]*"SIGUSR1"/);
    assert.throws(make({ requeueSignal: "SIGKILL" }), /`requeueSignal` is "SIGKILL"[\s\S]*can catch/);
    assert.throws(make({ autorequeue: true }), /has no option `autorequeue`[\s\S]*`autoRequeue`/);
    assert.throws(make(true), /Expected the options of SLURMEnvironment to be an object, but got true/);
  });

  it("asks scontrol for the job, or for the task of an array job", async () => {
    set({ SLURM_JOB_ID: "42" });
    assert.deepEqual(await requeue(""), { isTaken: true, asked: "requeue 42", warnings: [] });
    set({ SLURM_JOB_ID: "45", SLURM_ARRAY_JOB_ID: "42", SLURM_ARRAY_TASK_ID: "3" });
    assert.deepEqual(await requeue(""), { isTaken: true, asked: "requeue 42_3", warnings: [] });
  });

  it("that ends scontrol as well has worked", async () => {
    set({ SLURM_JOB_ID: "42" });
    assert.deepEqual(await requeue("kill -TERM $$"), { isTaken: true, asked: "requeue 42", warnings: [] });
  });

  it("that SLURM refuses, or without scontrol, is a warning that keeps the checkpoint", async () => {
    set({ SLURM_JOB_ID: "42" });
    const refused = await requeue("echo Requested operation is presently disabled >&2; exit 1");
    assert.equal(refused.isTaken, false);
    const [text] = refused.warnings;
    assert.match(
      text ?? "",
      /not put back into the queue: `scontrol requeue 42` failed \(Requested operation is presently/,
    );
    assert.match(text ?? "", /The checkpoint is kept\.\nSubmit it again with `sbatch`/);
    const absent = await requeue(null);
    assert.equal(absent.isTaken, false);
    assert.match(
      absent.warnings[0] ?? "",
      /`scontrol` was not found. The checkpoint is kept.[\s\S]*path of the compute nodes/,
    );
  });

  it("outside of a job is a warning", async () => {
    const { isTaken, warnings } = await requeue("");
    assert.deepEqual([isTaken, warnings.length], [false, 1]);
    assert.match(warnings[0] ?? "", /SLURM_JOB_ID is not set/);
  });
});
