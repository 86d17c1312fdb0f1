// The rules by which each cluster's variables become ranks, sizes and addresses.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { detectEnvironment } from "../../dist/environments/detect.js";
import { KubeflowEnvironment } from "../../dist/environments/kubeflow.js";
import { LightningEnvironment } from "../../dist/environments/lightning.js";
import { LSFEnvironment } from "../../dist/environments/lsf.js";
import { MPIEnvironment } from "../../dist/environments/mpi.js";
import { firstHost, SLURMEnvironment } from "../../dist/environments/slurm.js";
import { TorchElasticEnvironment } from "../../dist/environments/torchelastic.js";
import { currentRank } from "../../dist/utilities/rank-zero.js";
import { catchWarnings } from "../../dist/utilities/warnings.js";

const before = { ...process.env };
const clusterVariable =
  /RANK|WORLD_SIZE|^MASTER_|^SLURM_|^TORCHELASTIC_|^LSB_|^JSM_|^OMPI_|^PMI|^MPI_|^STANDALONE_PORT$/;

function set(variables: Record<string, string>): void {
  Object.assign(process.env, variables);
}

beforeEach(() => {
  for (const name of Object.keys(process.env)) if (clusterVariable.test(name)) delete process.env[name];
});
afterEach(() => {
  for (const name of Object.keys(process.env)) if (!(name in before)) delete process.env[name];
  Object.assign(process.env, before);
});

describe("LightningEnvironment", () => {
  it("without variables is one process on this machine", () => {
    const environment = new LightningEnvironment();
    assert.equal(environment.createsProcessesExternally, false);
    assert.equal(environment.mainAddress, "127.0.0.1");
    assert.ok(environment.mainPort > 0 && environment.mainPort <= 65535);
    assert.equal(environment.mainPort, environment.mainPort);
    assert.deepEqual(
      [environment.worldSize(), environment.globalRank(), environment.localRank(), environment.nodeRank()],
      [1, 0, 0, 0],
    );
  });

  it("takes what is set, and NODE_RANK before GROUP_RANK", () => {
    set({ MASTER_ADDR: "1.2.3.4", MASTER_PORT: "500", LOCAL_RANK: "2", GROUP_RANK: "1" });
    const environment = new LightningEnvironment();
    assert.equal(environment.createsProcessesExternally, true);
    assert.deepEqual([environment.mainAddress, environment.mainPort], ["1.2.3.4", 500]);
    assert.deepEqual([environment.localRank(), environment.nodeRank()], [2, 1]);
    set({ NODE_RANK: "3" });
    assert.equal(environment.nodeRank(), 3);
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

describe("TorchElasticEnvironment", () => {
  it("detects itself by TORCHELASTIC_RUN_ID", () => {
    assert.equal(TorchElasticEnvironment.detect(), false);
    set({ TORCHELASTIC_RUN_ID: "" });
    assert.equal(TorchElasticEnvironment.detect(), true);
  });

  it("warns about a missing address and port and sets them", async () => {
    const environment = new TorchElasticEnvironment();
    const caught = await catchWarnings(() => [environment.mainAddress, environment.mainPort]);
    assert.deepEqual(
      caught.map(({ message }) => message.slice(0, 51)),
      ["MASTER_ADDR environment variable is not defined. Se", "MASTER_PORT environment variable is not defined. Se"],
    );
    assert.deepEqual([process.env.MASTER_ADDR, process.env.MASTER_PORT], ["127.0.0.1", "12910"]);
  });

  it("reads ranks, ignores the setters, names missing variables", () => {
    set({ WORLD_SIZE: "20", RANK: "1", LOCAL_RANK: "2", GROUP_RANK: "3" });
    const environment = new TorchElasticEnvironment();
    environment.setWorldSize(100);
    environment.setGlobalRank(100);
    assert.deepEqual(
      [environment.worldSize(), environment.globalRank(), environment.localRank(), environment.nodeRank()],
      [20, 1, 2, 3],
    );
    delete process.env.LOCAL_RANK;
    assert.throws(() => environment.localRank(), /LOCAL_RANK is not set, although torchrun should have set it/);
  });

  it("compares devices and machines with the world size", () => {
    set({ WORLD_SIZE: "8" });
    const environment = new TorchElasticEnvironment();
    environment.validateSettings(4, 2);
    assert.throws(() => environment.validateSettings(3, 2), /\(3 \* 2 = 6\) does not match the world size \(8\)/);
  });

  it("connects to the agent's store where there is one", () => {
    const environment = new TorchElasticEnvironment();
    assert.deepEqual([environment.isStoreHosted, environment.attempt], [false, "0"]);
    set({ TORCHELASTIC_USE_AGENT_STORE: "True", TORCHELASTIC_RESTART_COUNT: "2" });
    assert.deepEqual([environment.isStoreHosted, environment.attempt], [true, "2"]);
  });
});

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

  it("detects itself outside of interactive sessions", () => {
    assert.equal(SLURMEnvironment.detect(), false);
    set({ SLURM_NTASKS: "2" });
    assert.equal(SLURMEnvironment.detect(), true);
    for (const name of ["bash", "interactive"]) {
      set({ SLURM_JOB_NAME: name });
      assert.equal(SLURMEnvironment.detect(), false);
    }
  });

  it("reads ranks, address and port, and stores the last two", () => {
    set({ SLURM_NTASKS: "4", SLURM_NTASKS_PER_NODE: "2", SLURM_PROCID: "3", SLURM_LOCALID: "1", SLURM_NODEID: "1" });
    set({ SLURM_NODELIST: "n[1-2]", SLURM_JOB_ID: "0001234" });
    const environment = new SLURMEnvironment();
    assert.deepEqual(
      [environment.worldSize(), environment.globalRank(), environment.localRank(), environment.nodeRank()],
      [4, 3, 1, 1],
    );
    assert.deepEqual([environment.mainAddress, environment.mainPort], ["n1", 16234]);
    assert.deepEqual([process.env.MASTER_ADDR, process.env.MASTER_PORT], ["n1", "16234"]);
    assert.equal(SLURMEnvironment.jobId(), 1234);
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
  });
});

describe("LSFEnvironment", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "fabric-lsf-test-"));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it("reads hosts from the rank file, without the launch node", () => {
    const file = join(folder, "ranks");
    writeFileSync(file, `launch\nfirst\n${hostname()}\n${hostname()}\n`);
    set({
      LSB_JOBID: "1234",
      LSB_DJOB_RANKFILE: file,
      JSM_NAMESPACE_SIZE: "4",
      JSM_NAMESPACE_RANK: "3",
      JSM_NAMESPACE_LOCAL_RANK: "1",
    });
    assert.equal(LSFEnvironment.detect(), true);
    const environment = new LSFEnvironment();
    assert.deepEqual([environment.mainAddress, environment.mainPort], ["first", 10234]);
    assert.deepEqual([process.env.MASTER_ADDR, process.env.MASTER_PORT], ["first", "10234"]);
    assert.deepEqual(
      [environment.worldSize(), environment.globalRank(), environment.localRank(), environment.nodeRank()],
      [4, 3, 1, 1],
    );
    delete process.env.JSM_NAMESPACE_SIZE;
    assert.throws(
      () => environment.worldSize(),
      /Cannot determine world size. Environment variable `JSM_NAMESPACE_SIZE` not found/,
    );
  });

  it("names a missing or empty rank file variable", () => {
    assert.throws(() => new LSFEnvironment(), /Did not find the environment variable `LSB_DJOB_RANKFILE`/);
    set({ LSB_DJOB_RANKFILE: "" });
    assert.throws(() => new LSFEnvironment(), /is empty/);
  });
});

describe("MPIEnvironment", () => {
  it("reads Open MPI's variables", () => {
    assert.equal(MPIEnvironment.detect(), false);
    set({
      OMPI_COMM_WORLD_RANK: "3",
      OMPI_COMM_WORLD_SIZE: "4",
      OMPI_COMM_WORLD_LOCAL_RANK: "1",
      OMPI_COMM_WORLD_LOCAL_SIZE: "2",
    });
    assert.equal(MPIEnvironment.detect(), true);
    const environment = new MPIEnvironment();
    assert.deepEqual(
      [environment.worldSize(), environment.globalRank(), environment.localRank(), environment.nodeRank()],
      [4, 3, 1, 1],
    );
    assert.throws(() => environment.mainAddress, /-x MASTER_ADDR/);
    set({ OMPI_MCA_orte_hnp_uri: "1234.0;tcp://10.77.0.1,172.17.0.1:53457" });
    assert.equal(environment.mainAddress, "10.77.0.1");
    assert.equal(environment.mainPort, new MPIEnvironment().mainPort);
  });
});

describe("KubeflowEnvironment", () => {
  it("cannot be detected, and counts pods", () => {
    assert.throws(() => KubeflowEnvironment.detect(), /can't be detected automatically/);
    set({ MASTER_ADDR: "m", MASTER_PORT: "500", WORLD_SIZE: "20", RANK: "1" });
    const environment = new KubeflowEnvironment();
    assert.deepEqual([environment.mainAddress, environment.mainPort, environment.worldSize()], ["m", 500, 20]);
    assert.deepEqual([environment.globalRank(), environment.localRank(), environment.nodeRank()], [1, 0, 1]);
  });
});

it("torchrun is recognised inside of a SLURM job, and nothing is this machine alone", () => {
  assert.ok(detectEnvironment() instanceof LightningEnvironment);
  set({ SLURM_NTASKS: "2", SLURM_NTASKS_PER_NODE: "2" });
  assert.ok(detectEnvironment() instanceof SLURMEnvironment);
  set({ TORCHELASTIC_RUN_ID: "1" });
  assert.ok(detectEnvironment() instanceof TorchElasticEnvironment);
});
