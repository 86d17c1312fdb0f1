// Real launchers start real ranks: the same training gives the same weights under each, failures are told in each one's own way, and a SLURM
// job that is signalled comes back where it was. Run by scripts/test-clusters.mjs, in namespaces of their own.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { missing, mpirun, torchrun } from "./engines.mjs";
import { on, startHosts } from "./hosts.mjs";
import { outputOf, run, waitFor } from "./processes.mjs";
import { logs, startSlurm } from "./slurm.mjs";

const folder = process.env.FABRIC_CLUSTER_FOLDER;
const programs = new URL("../../packages/fabric/dist-test/environments/programs/", import.meta.url);
const program = (name, ...args) => [process.execPath, fileURLToPath(new URL(`${name}.js`, programs)), ...args];
const training = program("training");
const fabricRun = [
  process.execPath,
  fileURLToPath(new URL("../../packages/fabric/bundle/cli/main.js", import.meta.url)),
  "run",
];
const twoHere = { LT_DEVICES: "2" };
const oneOnEach = { LT_DEVICES: "1", LT_NUM_NODES: "2" };

let slurm;
let hosts;

before(async () => {
  if (!missing("slurm")) slurm = await startSlurm(join(folder, "slurm"));
  if (!missing("hosts")) hosts = await startHosts(folder);
});
after(() => hosts?.stop());

const skip = (...needs) => needs.map(missing).find(Boolean) ?? false;

/** One start on each of the two hosts; what both wrote. */
async function onEachHost(commandOf, env) {
  const starts = hosts.all.map((host, index) => {
    return outputOf(on(host, commandOf(index)), { env: { ...env, NODE_RANK: String(index) } });
  });
  return (await Promise.all(starts)).join("");
}

// Two ranks of a program, started in every way: what that needs, and how it is typed.
const ways = {
  "the script itself": { run: (program) => outputOf(program, { env: twoHere }) },
  "fabric run": { run: (program) => outputOf([...fabricRun, "--devices=2", ...program.slice(1)]) },
  torchrun: {
    needs: ["torchrun"],
    run: (program) =>
      outputOf([...torchrun(), "--nproc_per_node=2", "--master_port=29500", ...program], { env: twoHere }),
  },
  "torchrun --standalone": {
    needs: ["torchrun"],
    run: (program) => outputOf([...torchrun(), "--standalone", "--nproc_per_node=2", ...program], { env: twoHere }),
  },
  srun: {
    needs: ["slurm"],
    run: (program) =>
      outputOf(["srun", "--nodes=1", "--ntasks-per-node=2", ...program], { env: { ...slurm, ...twoHere } }),
  },
  "srun on two nodes": {
    needs: ["slurm"],
    nodes: 2,
    run: (program) =>
      outputOf(["srun", "--nodes=2", "--ntasks-per-node=1", ...program], { env: { ...slurm, ...oneOnEach } }),
  },
  mpirun: {
    needs: ["openmpi"],
    isQuiet: true,
    run: (program) => outputOf([...mpirun, "-np", "2", ...program], { env: twoHere }),
  },
  "MPICH's mpiexec": {
    needs: ["mpich"],
    run: (program) => outputOf(["mpiexec.hydra", "-n", "2", ...program], { env: twoHere }),
  },
  "the script itself on each of two hosts": {
    needs: ["hosts"],
    nodes: 2,
    run: (program) => onEachHost(() => program, { ...oneOnEach, MASTER_ADDR: "h1", MASTER_PORT: "29501" }),
  },
  "fabric run on each of two hosts": {
    needs: ["hosts"],
    nodes: 2,
    run: (program) => {
      const options = ["--devices=1", "--num-nodes=2", "--main-address=h1", "--main-port=29503"];
      return onEachHost((index) => [...fabricRun, ...options, `--node-rank=${index}`, ...program.slice(1)], {});
    },
  },
  "torchrun on each of two hosts": {
    needs: ["hosts", "torchrun"],
    nodes: 2,
    run: (program) => {
      const options = ["--nnodes=2", "--nproc_per_node=1", "--master_addr=192.168.78.1", "--master_port=29502"];
      return onEachHost((index) => [...torchrun(), ...options, `--node_rank=${index}`, ...program], oneOnEach);
    },
  },
  "mpirun on two hosts": {
    needs: ["hosts", "openmpi"],
    nodes: 2,
    run: (program) => outputOf(onBoth("h1:1,h2:1", "-np", "2", ...program), { env: oneOnEach }),
  },
  "MPICH's mpiexec on two hosts": {
    needs: ["hosts", "mpich"],
    nodes: 2,
    run: (program) => {
      const options = ["-launcher", "ssh", "-launcher-exec", hosts.remoteShell, "-hosts", "h1,h2", "-n", "2"];
      return outputOf(on(hosts.all[0], ["mpiexec.hydra", ...options, ...program]), { env: oneOnEach });
    },
  },
};

/** mpirun on the first host, for ranks on both; it reaches the second by entering it instead of by ssh. */
function onBoth(slots, ...args) {
  const network = ["--mca", "oob_tcp_if_include", "192.168.78.0/24", "--mca", "plm_rsh_agent", hosts.remoteShell];
  return on(hosts.all[0], [...mpirun, ...network, "--host", slots, ...args]);
}

describe("the same training gives the same weights", () => {
  let expected;
  for (const [name, way] of Object.entries(ways)) {
    it(`started by ${name}`, { skip: skip(...(way.needs ?? [])) }, async () => {
      const output = await way.run(training);
      const places = placesIn(output);
      const ranks = places.map(({ rank, nodeRank, localRank, worldSize }) => [rank, nodeRank, localRank, worldSize]);
      const second = way.nodes === 2 ? [1, 1, 0, 2] : [1, 0, 1, 2];
      assert.deepEqual(ranks, [[0, 0, 0, 2], second], output);
      expected ??= weightsIn(output);
      assert.equal(weightsIn(output), expected);
    });
  }
});

describe("the example on digits learns the same", () => {
  const example = [process.execPath, fileURLToPath(new URL("../../examples/dist/digits/train.js", import.meta.url))];
  const started = ["the script itself", "fabric run", "torchrun", "srun", "mpirun"];
  let expected;
  for (const name of [...started, "the script itself on each of two hosts", "fabric run on each of two hosts"]) {
    const { needs = [], nodes = 1, run: start } = ways[name];
    it(`started by ${name}`, { skip: skip(...needs) }, async () => {
      const before = process.cwd();
      process.chdir(mkdtempSync(join(folder, "digits-")));
      try {
        const output = await start([...example, "--epochs", "1", "--devices", String(nodes === 2 ? 1 : 2)]);
        assert.match(output, /2 process\(es\)/);
        const weights = createHash("sha256").update(readFileSync("runs/digits/model.pt")).digest("hex");
        expected ??= weights;
        assert.equal(weights, expected);
      } finally {
        process.chdir(before);
      }
    });
  }
});

describe("on one machine no rank listens to the network", () => {
  for (const name of ["the script itself", "fabric run", "mpirun"]) {
    const { needs = [], run: start } = ways[name];
    it(`started by ${name}`, { skip: skip(...needs) }, async () => {
      const loopback = /^(0100007F|0{24}01000000|0{16}FFFF00000100007F)$/;
      for (const { listeners } of placesIn(await start(training))) {
        for (const address of listeners) assert.match(address, loopback);
      }
    });
  }
});

describe("mpirun", () => {
  it("that deals ranks out in turn gives each its machine", { skip: skip("hosts", "openmpi") }, async () => {
    const env = { LT_DEVICES: "2", LT_NUM_NODES: "2" };
    const places = placesIn(await outputOf(onBoth("h1:2,h2:2", "-np", "4", "--map-by", "node", ...training), { env }));
    assert.deepEqual(
      places.map(({ host, nodeRank, localRank }) => [host, nodeRank, localRank]),
      [
        ["h1", 0, 0],
        ["h2", 1, 0],
        ["h1", 0, 1],
        ["h2", 1, 1],
      ],
    );
  });

  it("ends the others when a rank is killed", { skip: skip("openmpi") }, async () => {
    const { code } = await run([...mpirun, "-np", "2", ...program("failing", "kill")], { env: twoHere });
    assert.equal(code, 137);
  });
});

describe("torchrun", { skip: skip("torchrun") }, () => {
  const failing = (how, ...options) => {
    const command = [...torchrun(), "--nproc_per_node=2", "--master_port=29504", ...options];
    return run([...command, ...program("failing", how)], { env: twoHere });
  };

  it("shows the error of the rank that failed first, with its stack", async () => {
    const { code, stderr } = await failing("throw");
    assert.equal(code, 1);
    const report = stderr.slice(stderr.indexOf("Root Cause"));
    assert.match(
      report,
      /rank {6}: 1 \(local_rank: 1\)[\s\S]*traceback : RangeError: out of ideas\n {6}at .*failing\.js/,
    );
    // What that did to the other rank is no cause.
    const others = stderr.slice(stderr.lastIndexOf("Failures:"), stderr.indexOf("Root Cause"));
    assert.match(others, /NO_OTHER_FAILURES|rank {6}: 0 [\s\S]*DistributedError/);
  });

  it("restarts all ranks after one was killed, and they meet again in the agent's store", async () => {
    const { code, stdout, stderr } = await failing("kill", "--max_restarts=1");
    assert.equal(code, 0, stderr);
    assert.equal(stdout, "SUM 2 attempt 1\n");
  });
});

describe("SLURM", { skip: skip("slurm") }, () => {
  it("ends the others when a rank is killed", async () => {
    const command = ["srun", "--kill-on-bad-exit=1", "--nodes=2", "--ntasks-per-node=1", ...program("failing", "kill")];
    const { code, stderr } = await run(command, { env: { ...slurm, ...oneOnEach } });
    assert.notEqual(code, 0);
    assert.match(stderr, /task 1: Killed/);
  });
});

describe("a SLURM job that is about to end", { skip: skip("slurm") }, () => {
  // Three tasks of an array, which run at the same time: the first is left alone, the others are signalled, and the last has no scontrol.
  const path = (task) => join(folder, `job.${task}.txt`);
  const read = (task) => readFileSync(path(task), { encoding: "utf8", flag: "a+" });
  const all = () => [0, 1, 2].map(read);
  let env;
  let job;

  /** Waits for words in the output of tasks. */
  async function until(words, tasks, meanwhile = async () => {}) {
    const state = async () =>
      `${all().join("\n")}\n${await outputOf(["scontrol", "show", "job"], { env })}\n${logs(join(folder, "slurm"))}`;
    const isThere = async () => {
      await meanwhile();
      return tasks.every((task) => read(task).includes(words));
    };
    await waitFor(isThere, state);
  }

  before(async () => {
    env = { ...slurm, ...twoHere };
    const script = join(folder, "job.sh");
    const command = program("requeued", `${folder}/job.$SLURM_ARRAY_TASK_ID.pt`).join(" ");
    writeFileSync(
      script,
      `#!/bin/bash\n[ $SLURM_ARRAY_TASK_ID = 2 ] && hide=PATH=/nowhere\nsrun env $hide ${command}\n`,
    );
    const options = ["--array=0-2", "--nodes=1", "--ntasks-per-node=2", "--job-name=train", "--open-mode=append"];
    job = (await outputOf(["sbatch", "--parsable", ...options, `--output=${path("%a")}`, script], { env })).trim();
    await until("STEP 5\n", [1, 2]);
    for (const task of [1, 2]) await outputOf(["scancel", "--signal=USR1", `${job}_${task}`], { env });
  });

  it("goes back into the queue, once, and goes on where it was", async () => {
    await until("SAVED", [1]);
    await waitFor(
      async () => !(await hasSteps(`${job}_1`, env)),
      () => "The first run of the job did not end.",
    );
    // A job that was put back waits for two minutes, unless somebody is in a hurry. SLURM counts in seconds, and would take a start in the
    // second of the end for that of the run that it has ended.
    await new Promise((resolve) => setTimeout(resolve, 1500));
    await until("RESUMED", [1], () => run(["scontrol", "update", `JobId=${job}_1`, "StartTime=now"], { env }));
    await until("WEIGHTS", [0, 1]);
    const requeued = read(1);
    const saved = [...requeued.matchAll(/^SAVED (\d+)$/gm)].map(([, step]) => Number(step));
    assert.equal(saved.length, 1, requeued);
    assert.match(requeued, new RegExp(`^RESUMED ${saved[0]} restarts 1\nSTEP ${saved[0] + 1}$`, "m"));
    assert.doesNotMatch(requeued, /Error/);
    assert.equal(weightsIn(requeued), weightsIn(read(0)));
  });

  it("keeps its checkpoint without scontrol, says so, and goes on", async () => {
    await until("WEIGHTS", [0, 2]);
    const kept = read(2);
    assert.equal(kept.match(/^SAVED /gm)?.length, 1, kept);
    assert.match(kept, /The job was not put back into the queue: `scontrol` was not found. The checkpoint is kept./);
    assert.equal(weightsIn(kept), weightsIn(read(0)));
  });
});

/** Whether processes of a job are left. */
async function hasSteps(job, env) {
  const id = /JobId=(\d+)/.exec(await outputOf(["scontrol", "show", "job", job], { env }))?.[1];
  const processes = await outputOf(["ps", "-A", "-o", "args="]);
  return processes.includes(`slurmstepd: [${id}.`);
}

function placesIn(output) {
  const places = [...output.matchAll(/^RANK (.*)$/gm)].map(([, json]) => JSON.parse(json));
  return places.sort((a, b) => a.rank - b.rank);
}

function weightsIn(output) {
  const found = [...output.matchAll(/^WEIGHTS (\w+)$/gm)].map(([, hash]) => hash);
  assert.equal(found.length, 1, output);
  return found[0];
}
