// Ranks that mpirun starts: the variables of its kinds, the machine of each rank, and where the ranks meet.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { chmodSync, mkdirSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { describe, it } from "node:test";
import { distributed } from "@fabric-ts/torch";
import { MPIEnvironment } from "../../dist/environments/mpi.js";
import { rankFromEnvironment } from "../../dist/utilities/rank-zero.js";
import { isolateVariables, ranksOf, set, temporaryFolder } from "./support.js";

isolateVariables();

/** The variables of a rank under Open MPI. */
function setOpenMpi(rank: number, size: number, localRank: number, localSize: number): void {
  set({ OMPI_COMM_WORLD_RANK: `${rank}`, OMPI_COMM_WORLD_SIZE: `${size}` });
  set({ OMPI_COMM_WORLD_LOCAL_RANK: `${localRank}`, OMPI_COMM_WORLD_LOCAL_SIZE: `${localSize}` });
  // One more rank within the machine, whatever its name says.
  set({ OMPI_COMM_WORLD_NODE_RANK: `${localRank}` });
}

describe("MPIEnvironment", () => {
  const folder = temporaryFolder();

  it("detects itself where there is more than one rank", () => {
    assert.equal(MPIEnvironment.detect(), false);
    setOpenMpi(0, 1, 0, 1);
    assert.equal(MPIEnvironment.detect(), false);
    setOpenMpi(0, 2, 0, 2);
    assert.equal(MPIEnvironment.detect(), true);
    assert.equal(new MPIEnvironment().createsProcessesExternally, true);
  });

  it("reads Open MPI's variables, and not its NODE_RANK", () => {
    setOpenMpi(3, 4, 1, 2);
    const environment = new MPIEnvironment();
    environment.setWorldSize(100);
    environment.setGlobalRank(100);
    assert.deepEqual(ranksOf(environment), [4, 3, 1, 1]);
    setOpenMpi(2, 4, 0, 2);
    assert.deepEqual(ranksOf(environment), [4, 2, 0, 1]);
    environment.validateSettings(2, 2);
    assert.throws(() => environment.validateSettings(2, 1), /\(2 \* 1 = 2\) does not match the world size \(4\)/);
  });

  for (const [launcher, localRank, localSize] of [
    ["MPICH", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"],
    ["PALS", "PMI_LOCAL_RANK", "PMI_LOCAL_SIZE"],
  ] as const) {
    it(`reads the variables of ${launcher}`, () => {
      set({ PMI_RANK: "3", PMI_SIZE: "4", [localRank]: "1", [localSize]: "2" });
      assert.equal(MPIEnvironment.detect(), true);
      assert.deepEqual(ranksOf(new MPIEnvironment()), [4, 3, 1, 1]);
    });
  }

  it("reads MVAPICH2's variables", () => {
    set({ MV2_COMM_WORLD_RANK: "3", MV2_COMM_WORLD_SIZE: "4" });
    set({ MV2_COMM_WORLD_LOCAL_RANK: "1", MV2_COMM_WORLD_LOCAL_SIZE: "2" });
    assert.deepEqual(ranksOf(new MPIEnvironment()), [4, 3, 1, 1]);
  });

  it("names a variable that is missing", () => {
    set({ PMI_RANK: "3", PMI_SIZE: "4" });
    assert.throws(() => new MPIEnvironment().localRank(), /MPI_LOCALRANKID is not set, although mpirun should have/);
  });

  it("messages come from rank 0 only", () => {
    setOpenMpi(3, 4, 1, 2);
    assert.equal(rankFromEnvironment(), 3);
    assert.equal(rankFromEnvironment({ PMI_RANK: "2" }), 2);
  });

  it("once the ranks have met, a machine's number is its place among their sorted host names", async () => {
    // Dealt out in turn: two ranks on each of two machines, of which this one has the ranks 1 and 3.
    setOpenMpi(3, 4, 1, 2);
    for (const [other, expected] of [
      ["!first", 1],
      ["~last", 0],
    ] as const) {
      const store = new distributed.HashStore();
      for (const rank of [0, 2]) await store.set(`host/${rank}`, other);
      await store.set("host/1", hostname());
      const environment = new MPIEnvironment();
      await environment.exchange(store);
      assert.equal(environment.nodeRank(), expected);
    }
  });

  it("the ranks of several machines meet where mpirun runs, or where MASTER_ADDR says", () => {
    setOpenMpi(3, 4, 1, 2);
    const environment = new MPIEnvironment();
    assert.throws(() => environment.mainAddress, /the address of rank 0 is not known[\s\S]*-x MASTER_ADDR=/);
    set({ OMPI_MCA_orte_hnp_uri: "1234.0;tcp://10.77.0.1,172.17.0.1:53457" });
    assert.equal(environment.mainAddress, "10.77.0.1");
    set({ MASTER_ADDR: "h", MASTER_PORT: "500" });
    assert.deepEqual([environment.mainAddress, environment.mainPort], ["h", 500]);
  });

  it("rank 0 says so when mpirun runs on another machine", () => {
    setOpenMpi(0, 4, 0, 2);
    set({ OMPI_MCA_orte_hnp_uri: "1234.0;tcp://203.0.113.7:53457" });
    const message = /mpirun runs on 203\.0\.113\.7, but rank 0 on another machine[\s\S]*-x MASTER_ADDR=/;
    assert.throws(() => new MPIEnvironment().mainAddress, message);
    set({ OMPI_MCA_orte_hnp_uri: "1234.0;tcp://127.0.0.1:53457" });
    assert.equal(new MPIEnvironment().mainAddress, "127.0.0.1");
  });

  it("all ranks of a job get the same port, and different jobs different ones", () => {
    setOpenMpi(0, 2, 0, 2);
    const portOf = (job: string) => {
      set({ PMIX_NAMESPACE: job });
      return new MPIEnvironment().mainPort;
    };
    assert.equal(portOf("2142044161"), portOf("2142044161"));
    assert.notEqual(portOf("2142044161"), portOf("2142044162"));
    for (const job of ["1", "prterun-host-77@1"]) assert.ok(portOf(job) >= 15_000 && portOf(job) < 25_000);
  });

  it("on one machine the ranks meet in Open MPI's private folder, unless the user names a place", () => {
    setOpenMpi(0, 2, 0, 2);
    const environment = new MPIEnvironment();
    assert.deepEqual([environment.mainAddress, environment.rendezvousFile], ["127.0.0.1", undefined]);
    const session = join(folder.path, "session");
    set({ PMIX_SERVER_TMPDIR: session });
    assert.equal(environment.rendezvousFile, undefined);
    mkdirSync(session, { mode: 0o755 });
    assert.equal(environment.rendezvousFile, undefined);
    chmodSync(session, 0o700);
    assert.equal(environment.rendezvousFile, join(session, "fabric-store"));
    set({ MASTER_PORT: "500" });
    assert.equal(environment.rendezvousFile, undefined);
    delete process.env.MASTER_PORT;
    setOpenMpi(0, 4, 0, 2);
    assert.equal(environment.rendezvousFile, undefined);
  });
});

describe("MPICH's notice board", () => {
  /** Asks for the meeting point in a process whose board answers as `answer` says, by the command's name. */
  async function meetingPoint(rank: number, answer: (command: string, line: string) => string | null) {
    const mpi = JSON.stringify(new URL("../../dist/environments/mpi.js", import.meta.url).href);
    const code = `const { MPIEnvironment } = await import(${mpi}); const e = new MPIEnvironment(); console.log(e.mainAddress, e.mainPort);`;
    const child = spawn(process.execPath, ["--input-type=module", "-e", code], {
      env: {
        ...process.env,
        PMI_FD: "3",
        PMI_RANK: `${rank}`,
        PMI_SIZE: "2",
        MPI_LOCALRANKID: "0",
        MPI_LOCALNRANKS: "1",
      },
      stdio: ["ignore", "pipe", "pipe", "pipe"],
    });
    const asked: string[] = [];
    const board = child.stdio[3] as Duplex;
    board.setEncoding("utf8").on("data", (text: string) => {
      for (const line of text.split("\n").filter(Boolean)) {
        asked.push(line);
        const said = answer(/^cmd=(\w+)/.exec(line)?.[1] ?? "", line);
        if (said === null) board.end();
        else board.write(`${said}\n`);
      }
    });
    let output = "";
    for (const stream of [child.stdout, child.stderr])
      stream?.setEncoding("utf8").on("data", (text) => (output += text));
    await new Promise((resolve) => child.on("close", resolve));
    return { output, asked };
  }

  function answers(value: string) {
    const table: Record<string, string> = {
      init: "cmd=response_to_init pmi_version=1 pmi_subversion=1 rc=0",
      get_my_kvsname: "cmd=my_kvsname kvsname=kvs_1",
      put: "cmd=put_result rc=0 msg=success",
      barrier_in: "cmd=barrier_out",
      get: `cmd=get_result rc=0 msg=success value=${value}`,
      finalize: "cmd=finalize_ack",
    };
    return (command: string) => table[command] ?? null;
  }

  it("rank 0 puts its host and a free port on it, and the others read them", async () => {
    const { output, asked } = await meetingPoint(1, answers("elsewhere,4321"));
    assert.equal(output, "elsewhere 4321\n");
    assert.deepEqual(
      asked.map((line) => line.split(" ")[0]),
      ["cmd=init", "cmd=get_my_kvsname", "cmd=barrier_in", "cmd=get", "cmd=finalize"],
    );
    let put = "";
    const first = await meetingPoint(0, (command, line) => {
      if (command === "put") put = /value=(\S+)/.exec(line)?.[1] ?? "";
      return answers(put)(command);
    });
    assert.match(put, /^[^,]+,\d+$/);
    assert.equal(first.output, `${put.replace(",", " ")}\n`);
  });

  it("that fails is an error with the variables to set", async () => {
    const closed = await meetingPoint(1, () => null);
    assert.match(closed.output, /ConfigurationError: The ranks could not agree on a meeting point: mpiexec closed/);
    assert.match(closed.output, /Set MASTER_ADDR .* MASTER_PORT/);
    const refused = await meetingPoint(1, (command) =>
      command === "get" ? "cmd=get_result rc=-1 msg=key_not_found" : answers("")(command),
    );
    assert.match(refused.output, /mpiexec answered "cmd=get_result rc=-1 msg=key_not_found"/);
  });
});
