// The default environment, Kubeflow's, and which of all environments is taken.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { ClusterEnvironment } from "@fabric-ts/fabric";
import { Connector } from "../../dist/connector.js";
import { detectEnvironment } from "../../dist/environments/detect.js";
import { KubeflowEnvironment } from "../../dist/environments/kubeflow.js";
import { LightningEnvironment } from "../../dist/environments/lightning.js";
import { LSFEnvironment } from "../../dist/environments/lsf.js";
import { MPIEnvironment } from "../../dist/environments/mpi.js";
import { SLURMEnvironment } from "../../dist/environments/slurm.js";
import { TorchElasticEnvironment } from "../../dist/environments/torchelastic.js";
import { currentRank } from "../../dist/utilities/rank-zero.js";
import { catchWarnings } from "../../dist/utilities/warnings.js";
import { isolateVariables, ranksOf, runCode, set, temporaryFolder } from "./support.js";

isolateVariables();

describe("LightningEnvironment", () => {
  it("without variables is one process on this machine", () => {
    assert.equal(LightningEnvironment.detect(), true);
    const environment = new LightningEnvironment();
    assert.equal(environment.createsProcessesExternally, false);
    assert.equal(environment.mainAddress, "127.0.0.1");
    assert.ok(environment.mainPort > 0 && environment.mainPort <= 65535);
    assert.equal(environment.mainPort, environment.mainPort);
    assert.deepEqual(ranksOf(environment), [1, 0, 0, 0]);
  });

  it("takes what is set, and NODE_RANK before GROUP_RANK", () => {
    set({ MASTER_ADDR: "1.2.3.4", MASTER_PORT: "500", LOCAL_RANK: "2", GROUP_RANK: "1" });
    const environment = new LightningEnvironment();
    assert.equal(environment.createsProcessesExternally, true);
    assert.deepEqual([environment.mainAddress, environment.mainPort], ["1.2.3.4", 500]);
    assert.deepEqual([environment.localRank(), environment.nodeRank()], [2, 1]);
    set({ NODE_RANK: "3" });
    assert.equal(environment.nodeRank(), 3);
    delete process.env.LOCAL_RANK;
    assert.deepEqual([environment.createsProcessesExternally, environment.localRank()], [false, 0]);
  });

  it("finds its free port once, and MASTER_PORT is asked for each time", () => {
    const environment = new LightningEnvironment();
    const found = environment.mainPort;
    set({ STANDALONE_PORT: "1234" });
    assert.equal(environment.mainPort, found);
    set({ MASTER_PORT: "500" });
    assert.equal(environment.mainPort, 500);
  });

  it("sets world size and rank, also for messages; teardown removes WORLD_SIZE", () => {
    set({ WORLD_SIZE: "16" });
    const environment = new LightningEnvironment();
    environment.setWorldSize(100);
    environment.setGlobalRank(7);
    assert.deepEqual([environment.worldSize(), environment.globalRank(), currentRank()], [100, 7, 7]);
    environment.setGlobalRank(0);
    environment.teardown();
    assert.equal(process.env.WORLD_SIZE, undefined);
  });

  it("uses STANDALONE_PORT as the free port, and names a bad MASTER_PORT", () => {
    set({ STANDALONE_PORT: "1234" });
    assert.equal(new LightningEnvironment().mainPort, 1234);
    set({ MASTER_PORT: "x1" });
    assert.throws(() => new LightningEnvironment().mainPort, /MASTER_PORT should be a whole number, but is "x1"/);
    set({ MASTER_PORT: "70000" });
    assert.throws(() => new LightningEnvironment().mainPort, /MASTER_PORT should be a port, but is 70000/);
  });
});

describe("KubeflowEnvironment", () => {
  it("cannot be detected, and counts pods", () => {
    assert.throws(() => KubeflowEnvironment.detect(), /can't be detected automatically/);
    set({ MASTER_ADDR: "m", MASTER_PORT: "500", WORLD_SIZE: "20", RANK: "1" });
    const environment = new KubeflowEnvironment();
    assert.deepEqual([environment.mainAddress, environment.mainPort, environment.worldSize()], ["m", 500, 20]);
    environment.setWorldSize(100);
    environment.setGlobalRank(100);
    assert.deepEqual(ranksOf(environment), [20, 1, 0, 1]);
    assert.equal(environment.createsProcessesExternally, true);
    environment.validateSettings(1, 20);
    assert.throws(() => environment.validateSettings(20, 1 + 1), /world size \(20\)[\s\S]*number of pods/);
  });

  it("names a variable that is missing", () => {
    const environment = new KubeflowEnvironment();
    assert.throws(() => environment.mainAddress, /MASTER_ADDR is not set, although Kubeflow should have set it/);
    assert.throws(() => environment.mainPort, /MASTER_PORT is not set, although Kubeflow should have set it/);
    assert.throws(() => environment.worldSize(), /WORLD_SIZE is not set, although Kubeflow should have set it/);
    assert.throws(() => environment.globalRank(), /RANK is not set, although Kubeflow should have set it/);
  });
});

describe("which environment is taken", () => {
  const folder = temporaryFolder();

  it("the first that detects itself: torchrun, SLURM, LSF, MPI, and else this machine alone", () => {
    assert.ok(detectEnvironment() instanceof LightningEnvironment);
    set({ PMI_RANK: "0", PMI_SIZE: "2" });
    assert.ok(detectEnvironment() instanceof MPIEnvironment);
    const file = join(folder.path, "ranks");
    writeFileSync(file, `launch\n${hostname()}\n`);
    set({ LSB_JOBID: "1", LSB_DJOB_RANKFILE: file, JSM_NAMESPACE_LOCAL_RANK: "0", JSM_NAMESPACE_SIZE: "1" });
    assert.ok(detectEnvironment() instanceof LSFEnvironment);
    set({ SLURM_NTASKS: "2", SLURM_NTASKS_PER_NODE: "2" });
    assert.ok(detectEnvironment() instanceof SLURMEnvironment);
    set({ TORCHELASTIC_RUN_ID: "1" });
    assert.ok(detectEnvironment() instanceof TorchElasticEnvironment);
  });

  it("Kubeflow's variables alone are taken for no cluster", () => {
    set({ MASTER_ADDR: "m", MASTER_PORT: "500", WORLD_SIZE: "20", RANK: "1" });
    assert.ok(detectEnvironment() instanceof LightningEnvironment);
  });

  it("ranks that were started and would train alone are told, with what to set", async () => {
    set({ TORCHELASTIC_RUN_ID: "1", WORLD_SIZE: "2", RANK: "0", LOCAL_RANK: "0" });
    const warnings = await catchWarnings(() => new Connector({ accelerator: "cpu" }));
    assert.equal(warnings.length, 1);
    assert.match(
      warnings[0]?.message ?? "",
      /2 processes were started \(TorchElasticEnvironment\)[\s\S]*trains alone. Set `devices` and `numNodes`/,
    );
    assert.deepEqual(await catchWarnings(() => new Connector({ accelerator: "cpu", devices: 2 })), []);
    set({ WORLD_SIZE: "1" });
    assert.deepEqual(await catchWarnings(() => new Connector({ accelerator: "cpu" })), []);
  });
});

it("what an environment need not have", async () => {
  class Own extends ClusterEnvironment {
    createsProcessesExternally = false;
    mainAddress = "h";
    mainPort = 1;
    worldSize = () => 1;
    setWorldSize = () => {};
    globalRank = () => 0;
    setGlobalRank = () => {};
    localRank = () => 0;
    nodeRank = () => 0;
  }
  const own = new Own();
  own.validateSettings(7, 7);
  own.teardown();
  assert.equal(Own.detect(), false);
  assert.deepEqual(
    [own.isStoreHosted, own.attempt, own.jobKey, own.rendezvousFile, own.endSignal],
    [false, "0", "", undefined, undefined],
  );
  assert.equal(await own.requeue(), false);
});

it("setters that a cluster ignores say so to those who look for it", () => {
  const code = `const e = new (await load("environments/kubeflow.js")).KubeflowEnvironment(); e.setWorldSize(2); e.setGlobalRank(1);`;
  assert.equal(runCode(code, {}).stderr, "");
  const { stderr } = runCode(code, { NODE_DEBUG: "fabric" });
  assert.match(stderr, /KubeflowEnvironment: setting the world size is not allowed. Ignored./);
  assert.match(stderr, /KubeflowEnvironment: setting the global rank is not allowed. Ignored./);
});

it("making the process group is said on every rank, its completion on rank 0, and a second launch changes nothing", () => {
  const code = `
    import { Fabric } from "@fabric-ts/fabric";
    const fabric = new Fabric({ accelerator: "cpu", devices: 1, strategy: "ddp" });
    await fabric.launch();
    await fabric.launch();
    console.log(process.env.MASTER_ADDR);`;
  const { status, stdout, stderr } = runCode(code, { NODE_DEBUG: "fabric", POSSIBLE_USER_WARNINGS: "off" });
  assert.deepEqual([status, stdout], [0, "undefined\n"], stderr);
  const lines = stderr.split("\n").map((line) => line.replace(/^FABRIC \d+: /, ""));
  assert.deepEqual(lines, [
    "Initializing distributed: GLOBAL_RANK: 0, MEMBER: 1/1",
    "All distributed processes registered. Starting with 1 processes (distributed_backend=gloo).",
    "The process group is initialized already.",
    "",
  ]);
});
