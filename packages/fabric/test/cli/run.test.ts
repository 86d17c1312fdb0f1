// `fabric run`: what the script finds, what the options do, restarts, log files.
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { faultTime, freePort, Job, type JobEnd } from "../launchers/job.js";

interface Description {
  rank: number;
  worldSize: number;
  nodeRank: number;
  isConnected: boolean;
  sum: number;
  strategy: string;
  precision: string;
  variables: Record<string, string>;
  runId: string;
  args: string[];
  execArgv: string[];
}

const here = new URL("./", import.meta.url);
const program = (name: string): URL => new URL(`programs/${name}.js`, here);
// The sources of the tests lie beside what is compiled of them.
const source = (name: string): URL => new URL(`../../test/cli/programs/${name}`, here);

const folder = mkdtempSync(join(tmpdir(), "fabric-run-test-"));
after(() => rmSync(folder, { recursive: true, force: true }));

async function ended(job: Job, code = 0): Promise<JobEnd> {
  const end = await job.end;
  assert.equal(end.code, code, `${job.stdout}\n${job.stderr}`);
  await job.assertClean();
  return end;
}

function descriptions(...jobs: Job[]): Description[] {
  const lines = jobs.flatMap((job) => job.stdout.split("\n")).filter((line) => line.startsWith("{"));
  return lines.map((line) => JSON.parse(line) as Description).sort((a, b) => a.rank - b.rank);
}

describe("a script under `fabric run`", () => {
  it("runs once for each device, is connected by the constructor, and finds torchrun's variables", async () => {
    const command = ["run", "--accelerator", "cpu", "--devices", "2", "--strategy=ddp", "--precision", "64"];
    const job = new Job(program("describing"), ["--devices", "9", "a b", "--x=1", "--", "-v"], {
      command,
      flags: ["--no-deprecation"],
    });
    await ended(job);
    const found = descriptions(job);
    const threads = process.env.OMP_NUM_THREADS ?? String(Math.max(1, Math.floor(availableParallelism() / 2)));
    assert.deepEqual(
      found.map(({ runId: _, ...rest }) => rest),
      [0, 1].map((rank) => ({
        rank,
        worldSize: 2,
        nodeRank: 0,
        isConnected: true,
        sum: 3,
        strategy: "DDPStrategy",
        environment: "TorchElasticEnvironment",
        precision: "DoublePrecision",
        variables: {
          RANK: String(rank),
          LOCAL_RANK: String(rank),
          WORLD_SIZE: "2",
          LOCAL_WORLD_SIZE: "2",
          GROUP_RANK: "0",
          GROUP_WORLD_SIZE: "1",
          MASTER_ADDR: "127.0.0.1",
          MASTER_PORT: "29400",
          OMP_NUM_THREADS: threads,
          TORCHELASTIC_RESTART_COUNT: "0",
          TORCHELASTIC_MAX_RESTARTS: "0",
          LT_CLI_USED: "1",
          LT_DEVICES: "2",
          LT_NUM_NODES: "1",
          LT_ACCELERATOR: "cpu",
          LT_STRATEGY: "ddp",
          LT_PRECISION: "64",
        },
        args: ["--devices", "9", "a b", "--x=1", "--", "-v"],
        execArgv: ["--no-deprecation"],
      })),
    );
    assert.equal(found[0]?.runId, found[1]?.runId);
    assert.ok(found[0]?.runId);
  });

  it("runs in one process by default, whatever the script calls", async () => {
    const job = new Job(program("describing"), ["--launch"], { command: ["run"] });
    await ended(job);
    const [only, ...others] = descriptions(job);
    assert.deepEqual([only?.worldSize, only?.sum, only?.strategy, others], [1, 1, "SingleDeviceStrategy", []]);
    assert.deepEqual(
      ["LT_DEVICES", "LT_NUM_NODES", "LT_ACCELERATOR", "LT_STRATEGY", "LT_PRECISION"].map(
        (name) => only?.variables[name],
      ),
      ["1", "1", undefined, undefined, undefined],
    );
  });

  it("may call `launch()` as well: the same file runs with and without the command line tool", async () => {
    const job = new Job(program("describing"), ["--launch"], { command: ["run", "--devices", "2"] });
    await ended(job);
    assert.deepEqual(
      descriptions(job).map(({ sum }) => sum),
      [3, 3],
    );
  });

  it("is refused when it overrides `run`, or says something else than the command line", async () => {
    const overriding = new Job(program("overriding"), ["run"], { command: ["run"] });
    await ended(overriding, 1);
    assert.match(overriding.stderr, /TypeError: Overriding `Fabric.run\(\)` and launching from the CLI is not allowed/);
    const conflicting = new Job(program("overriding"), ["devices"], { command: ["run", "--devices", "2"] });
    await ended(conflicting, 1);
    assert.match(conflicting.stderr, /`new Fabric\({ devices: 3 }\)` but it conflicts with the value `--devices=2`/);
  });

  it("may be TypeScript, run by tsx, also where that is loaded already", async () => {
    for (const flags of [[], ["--import", "tsx"]]) {
      const job = new Job(source("typed.ts"), [], { command: ["run", "--devices", "2"], flags });
      await ended(job);
      assert.deepEqual(job.stdout.trim().split("\n").sort(), ["typed 42 rank 0 true", "typed 42 rank 1 true"]);
    }
  });

  it("in TypeScript needs something that runs it, and is told what", async () => {
    const script = join(folder, "bare.ts");
    writeFileSync(script, 'const x: number = 1;\nconsole.log("bare", x);\n');
    const job = new Job(new URL(`file://${script}`), [], { command: ["run"], cwd: folder });
    const { code } = await job.end;
    const canStrip = process.allowedNodeEnvironmentFlags.has("--experimental-strip-types");
    assert.equal(code, canStrip ? 0 : 1, job.stderr);
    if (canStrip) assert.equal(job.stdout, "bare 1\n");
    else
      assert.match(
        job.stderr,
        /^Error: .*bare\.ts is not plain JavaScript.*\nInstall tsx \(`npm install --save-dev tsx`\)/,
      );
    await job.assertClean();
  });

  it("may be CommonJS, and a program of an installed package", async () => {
    const script = join(folder, "common.cjs");
    writeFileSync(script, 'console.log(require("node:path").basename(__filename), ...process.argv.slice(2));\n');
    const job = new Job(new URL(`file://${script}`), ["x"], { command: ["run", "--devices", "2"] });
    await ended(job);
    assert.equal(job.stdout, "common.cjs x\ncommon.cjs x\n");

    const modules = join(folder, "node_modules");
    mkdirSync(join(modules, ".bin"), { recursive: true });
    mkdirSync(join(modules, "@own/trainer"), { recursive: true });
    writeFileSync(
      join(modules, "@own/trainer/package.json"),
      JSON.stringify({ bin: { trainer: "cli.cjs", other: "x.cjs" } }),
    );
    writeFileSync(
      join(modules, "@own/trainer/cli.cjs"),
      '#!/usr/bin/env node\nconsole.log("trainer", ...process.argv.slice(2));\n',
    );
    symlinkSync("../@own/trainer/cli.cjs", join(modules, ".bin/shortcut"));
    for (const name of ["@own/trainer", "shortcut", "@own/trainer/cli.cjs"]) {
      // The helper gives a path last; here it is an argument of the program.
      const packaged = new Job(new URL("file:///last"), [], { command: ["run", "-m", name, "--lr"], cwd: folder });
      await ended(packaged);
      assert.equal(packaged.stdout, "trainer --lr /last\n");
    }
  });

  it("gives each rank an inspector port of its own", async () => {
    const job = new Job(program("describing"), [], { command: ["run", "--devices", "2"], flags: ["--inspect=0"] });
    await ended(job);
    assert.equal(job.stderr.split("Debugger listening").length, 4);
    assert.deepEqual(
      descriptions(job).map(({ execArgv }) => execArgv),
      [0, 1].map(() => ["--inspect=0", "--inspect-port=0"]),
    );
  });

  it("starts no LibTorch in the supervising process, and opens no port", async () => {
    const job = new Job("waiting", ["idle"], { command: ["run", "--devices", "2"] });
    await job.until("ready", 2);
    assert.doesNotMatch(readFileSync(`/proc/${job.pid}/maps`, "utf8"), /libtorch|libc10|fabric_torch/);
    for (const address of job.listeners()) assert.match(address, /^(0100007F|0{24}01000000|0{16}FFFF00000100007F)$/);
    job.launcher.kill("SIGTERM");
    await ended(job, 143);
  });

  it("spans several machines, each of which runs its own `fabric run`", async () => {
    const port = await freePort();
    const jobs = [0, 1].map((node) => {
      const where = [
        "--num_nodes",
        "2",
        "--node-rank",
        String(node),
        "--main_address=localhost",
        "--main-port",
        String(port),
      ];
      return new Job(program("describing"), ["--launch"], { command: ["run", "--devices", "2", ...where] });
    });
    for (const job of jobs) await ended(job);
    assert.deepEqual(
      descriptions(...jobs).map(({ rank, worldSize, nodeRank, sum, variables: { RANK, LOCAL_RANK, GROUP_RANK } }) => [
        ...[rank, worldSize, nodeRank, sum],
        ...[RANK, LOCAL_RANK, GROUP_RANK],
      ]),
      [
        [0, 4, 0, 10, "0", "0", "0"],
        [1, 4, 0, 10, "1", "1", "0"],
        [2, 4, 1, 10, "2", "0", "1"],
        [3, 4, 1, 10, "3", "1", "1"],
      ],
    );
    assert.equal(descriptions(...jobs)[3]?.variables.MASTER_PORT, String(port));
  });
});

describe("options behind the script", () => {
  it("are the script's, with a word about those that Fabric has as well", async () => {
    const job = new Job(program("describing"), ["--precision=16", "--seed", "1"], {
      command: ["run", "--devices", "1"],
    });
    await ended(job);
    assert.deepEqual(descriptions(job)[0]?.args, ["--precision=16", "--seed", "1"]);
    assert.match(job.stderr, /^Note: --precision stands behind .*describing\.js and goes to the script/);
  });
});

describe("--max-restarts", () => {
  it("starts all ranks again after a failure, and ends well when they do", async () => {
    const logs = join(folder, "restart-logs");
    const job = new Job(program("restarting"), ["2"], {
      command: ["run", "--devices", "2", "--max-restarts", "3", "--log-dir", logs, "--tee"],
    });
    await ended(job);
    const lines = job.stdout.trim().split("\n");
    const expected = [0, 1, 2].flatMap((attempt) =>
      [0, 1].map((rank) => `[rank ${rank}] attempt ${attempt} rank ${rank} sum 3`),
    );
    assert.deepEqual(lines.sort(), expected.sort());
    assert.match(
      job.stderr,
      /^Rank 1 \(pid \d+\) failed with an uncaught error .*\nError: boom in attempt 0\n[\s\S]*^All 2 ranks are started again \(restart 1 of 3\)\.$[\s\S]*boom in attempt 1\n[\s\S]*\(restart 2 of 3\)\.$/m,
    );
    assert.match(job.stderr, /^\[rank 1\] to stderr from 1$/m);
    assert.match(
      readFileSync(join(logs, "rank-1.log"), "utf8"),
      /attempt 0 rank 1 sum 3\n[\s\S]*boom in attempt 0\n {4}at [\s\S]*--- restart 1 of 3 ---\n[\s\S]*attempt 2 rank 1 sum 3\n/,
    );
    assert.doesNotMatch(readFileSync(join(logs, "rank-0.log"), "utf8"), /rank 1/);
  });

  it("gives up after that many, with the last failure's exit code", async () => {
    const job = new Job(program("restarting"), ["9", "kill"], {
      command: ["run", "--devices", "2", "--max-restarts", "1"],
    });
    await ended(job, 137);
    assert.equal(job.stderr.split("was killed by SIGKILL").length, 3);
    assert.equal(job.stderr.split("are started again").length, 2);
  });

  it("brings the ranks of other machines along", async () => {
    const port = String(await freePort());
    const jobs = [0, 1].map((node) => {
      const where = [
        "--num-nodes",
        "2",
        "--node-rank",
        String(node),
        "--main-address",
        "127.0.0.1",
        "--main-port",
        port,
      ];
      return new Job(program("restarting"), ["1"], { command: ["run", "--max-restarts", "1", ...where] });
    });
    for (const job of jobs) await ended(job);
    for (const [rank, job] of jobs.entries()) {
      assert.equal(job.stdout, `attempt 0 rank ${rank} sum 3\nattempt 1 rank ${rank} sum 3\n`);
      assert.match(job.stderr, /^The rank is started again \(restart 1 of 1\)\.$/m);
    }
    assert.match(
      jobs[1]?.stderr ?? "",
      /^Rank 1 \(pid \d+\) failed with an uncaught error .*\nError: boom in attempt 0$/m,
    );
  });

  it("does not start again what a signal has ended", async () => {
    const job = new Job("waiting", ["idle"], { command: ["run", "--devices", "2", "--max-restarts", "3"] });
    await job.until("ready", 2);
    job.launcher.kill("SIGINT");
    await ended(job, 130);
    assert.equal(job.stderr, "");
  });

  it("does not start again when a signal comes while the ranks of a failed attempt are ending", async () => {
    const job = new Job(program("restarting"), ["9", "stubborn"], {
      command: ["run", "--devices", "2", "--max-restarts", "3"],
    });
    await job.until("got SIGTERM");
    job.launcher.kill("SIGINT");
    await ended(job, 1);
    assert.match(job.stderr, /^Error: boom in attempt 0$/m);
    assert.doesNotMatch(job.stderr, /started again/);
  });
});

describe("--log-dir", () => {
  it("takes the output off the console, adds to what is there, and leaves the launcher's own words", async () => {
    const logs = join(folder, "logs");
    mkdirSync(logs);
    writeFileSync(join(logs, "rank-0.log"), "older\n");
    const job = new Job(program("restarting"), ["1"], { command: ["run", "--devices", "2", "--log-dir", logs] });
    const { at } = await ended(job, 1);
    assert.equal(job.stdout, "");
    assert.match(job.stderr, /^Rank 1 \(pid \d+\) failed .*\nError: boom/);
    assert.match(readFileSync(join(logs, "rank-0.log"), "utf8"), /^older\n[\s\S]*attempt 0 rank 0 sum 3\n/);
    const log = readFileSync(join(logs, "rank-1.log"), "utf8");
    const fault = Number(/FAULT at (\d+)/.exec(log)?.[1]);
    assert.ok(at - fault < 5000, `ended ${at - fault} ms after the fault`);
  });

  it("that cannot be made is an error before anything starts", async () => {
    const file = join(folder, "a-file");
    writeFileSync(file, "");
    const job = new Job(program("describing"), [], { command: ["run", "--log-dir", join(file, "logs")] });
    await ended(job, 1);
    assert.match(
      job.stderr,
      /^Error: The log files cannot be made in .*a-file\/logs: ENOTDIR.*\nGive a folder that can be written to\.$/m,
    );
    assert.equal(job.stdout, "");
  });

  it("without room does not end the training", { skip: !existsDevFull() && "needs /dev/full" }, async () => {
    const logs = join(folder, "full");
    mkdirSync(logs);
    symlinkSync("/dev/full", join(logs, "rank-1.log"));
    const job = new Job(program("restarting"), ["0"], { command: ["run", "--devices", "2", "--log-dir", logs] });
    await ended(job);
    assert.match(job.stderr, /^Nothing more is written to .*rank-1\.log: ENOSPC.* The job goes on\.\n$/);
    assert.match(readFileSync(join(logs, "rank-0.log"), "utf8"), /attempt 0 rank 0 sum 3/);
  });

  it("is not needed for the rank before each line", async () => {
    const job = new Job("printing", [], { command: ["run", "--devices", "2", "--prefix"] });
    await ended(job);
    const lines = job.stdout.split("\n").slice(0, -1);
    assert.equal(lines.length, 1002);
    for (const line of lines) assert.match(line, /^\[rank ([01])\] (<\1+>|last of \1)$/);
  });
});

describe("when a rank fails under `fabric run`", () => {
  for (const [where, what, code, text] of [
    [
      "before launch",
      "throw",
      1,
      /^Rank 1 \(pid \d+\) failed with an uncaught error .*\nError: boom on purpose\n +at .*faulty/m,
    ],
    ["inside of an all-reduce", "SIGKILL", 137, /^Rank 1 \(pid \d+\) was killed by SIGKILL /m],
    ["while the other waits in a barrier", "exit-3", 3, /^Rank 1 \(pid \d+\) ended with exit code 3 /m],
    ["after launch", "exit-0", 1, /^Rank 1 \(pid \d+\) ended with exit code 0 .* were waiting for it/m],
  ] as const) {
    it(`(${what} ${where}) the job ends soon, with one message and nothing left`, async () => {
      const job = new Job("faulty", [where, what, "1"], { command: ["run", "--devices", "2"] });
      const { at } = await ended(job, code);
      const took = at - faultTime(job);
      assert.ok(took < 5000, `ended ${took} ms after the fault`);
      assert.match(job.stderr, text);
      assert.match(job.stderr, /The other rank: rank 0 \(pid \d+\)/);
      assert.doesNotMatch(job.stderr, /DistributedError/);
    });
  }

  for (const [signal, code] of [
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const) {
    it(`${signal} ends a job that waits in a collective with ${code}`, async () => {
      const job = new Job("waiting", ["collective"], { command: ["run", "--devices", "2"] });
      await job.until("ready", 2);
      process.kill(-job.pid, signal);
      await ended(job, code);
      assert.equal(job.stderr, "");
    });
  }

  it("ranks have a grace period after a signal, which a second one ends", async () => {
    const job = new Job("waiting", ["ignoring"], {
      command: ["run", "--devices", "2"],
      env: { FABRIC_GRACE_SECONDS: "30" },
    });
    await job.until("ready", 2);
    job.launcher.kill("SIGTERM");
    await job.until("got SIGTERM", 2);
    job.launcher.kill("SIGTERM");
    await ended(job, 143);
  });

  it("kill -9 of the supervisor takes the ranks along", async () => {
    const job = new Job("waiting", ["blocked"], { command: ["run", "--devices", "2"] });
    await job.until("ready", 2);
    job.launcher.kill("SIGKILL");
    await job.assertClean({ withinMs: 2000, keepsFiles: true });
    rmSync(job.tmp, { recursive: true });
  });
});

function existsDevFull(): boolean {
  try {
    writeFileSync("/dev/full", "x");
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ENOSPC";
  }
}
