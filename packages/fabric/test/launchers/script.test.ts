// What ranks find around them, what the launching process does and does not do, and how output comes through.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { it } from "node:test";
import { fileURLToPath } from "node:url";
import { LightningEnvironment, ScriptLauncher, SpawnLauncher } from "@fabric-ts/fabric";
import { cleanEnvironment } from "../support/run-ranks.js";
import { Job } from "./job.js";

interface Description {
  rank: number;
  isSupervised: boolean;
  variables: Record<string, string>;
  execArgv: string[];
  args: string[];
}

function descriptions(job: Job): Description[] {
  const lines = job.stdout.split("\n").filter((line) => line.startsWith("{"));
  return lines.map((line) => JSON.parse(line) as Description).sort((a, b) => a.rank - b.rank);
}

it("each rank runs the same program with the same flags and arguments, and knows its place", async () => {
  const job = new Job("describing", ["2", "a b", "--flag"], { flags: ["--no-deprecation"] });
  assert.equal((await job.end).code, 0);
  const threads = String(process.env.OMP_NUM_THREADS ?? Math.max(1, Math.floor(availableParallelism() / 2)));
  assert.deepEqual(
    descriptions(job),
    [0, 1].map((rank) => ({
      rank,
      isSupervised: true,
      variables: {
        LOCAL_RANK: String(rank),
        NODE_RANK: "0",
        WORLD_SIZE: "2",
        MASTER_ADDR: "127.0.0.1",
        OMP_NUM_THREADS: threads,
        PL_GLOBAL_SEED: "5",
      },
      execArgv: ["--no-deprecation"],
      args: ["a b", "--flag"],
    })),
  );
  assert.equal(job.stdout.split("exit handler").length, 2);
  await job.assertClean();
});

it("ranks share the cores of the machine, unless OMP_NUM_THREADS says otherwise", async () => {
  const share = String(Math.max(1, Math.floor(availableParallelism() / 2)));
  for (const [given, threads] of [
    [undefined, share],
    ["3", "3"],
  ] as const) {
    const job = new Job("describing", ["2"], { env: { OMP_NUM_THREADS: given } });
    assert.equal((await job.end).code, 0);
    assert.deepEqual(
      descriptions(job).map(({ variables }) => variables.OMP_NUM_THREADS),
      [threads, threads],
    );
    await job.assertClean();
    // The processes of another launcher are there already: the engine is told as well.
    const program = `
      import { LightningEnvironment, ScriptLauncher } from "@fabric-ts/fabric";
      import { getNumThreads } from "@fabric-ts/torch";
      await new ScriptLauncher(new LightningEnvironment(), 2).launch(() => {});
      console.log(process.env.OMP_NUM_THREADS, getNumThreads());`;
    const env = { ...cleanEnvironment(), LOCAL_RANK: "0", OMP_NUM_THREADS: given };
    const run = spawnSync(process.execPath, ["--input-type=module", "-e", program], { env, encoding: "utf8" });
    assert.equal(run.stdout, `${threads} ${threads}\n`, run.stderr);
  }
});

it("with one process nothing is started", async () => {
  const job = new Job("describing", ["1"]);
  assert.equal((await job.end).code, 0);
  const [only, ...others] = descriptions(job);
  assert.deepEqual([only?.rank, only?.isSupervised, only?.variables.LOCAL_RANK, others], [0, false, undefined, []]);
  await job.assertClean();
});

it("under another launcher nothing is started", async () => {
  const job = new Job("external", []);
  assert.equal((await job.end).code, 0);
  assert.equal(job.stdout, "rank 1\n");
  await job.assertClean();
});

it("under another launcher each process gets its share of the threads, unless the user has said how many", () => {
  const threads = (env: Record<string, string | undefined>): string => {
    const program = `
      import { LightningEnvironment, ScriptLauncher } from "@fabric-ts/fabric";
      import { getNumThreads } from "@fabric-ts/torch";
      await new ScriptLauncher(new LightningEnvironment(), 1000).launch(() => {});
      console.log(process.env.OMP_NUM_THREADS, getNumThreads());`;
    const { stdout } = spawnSync(process.execPath, ["--input-type=module", "-e", program], {
      cwd: fileURLToPath(new URL(".", import.meta.url)),
      env: { ...cleanEnvironment(), LOCAL_RANK: "0", OMP_NUM_THREADS: undefined, ...env },
      encoding: "utf8",
    });
    return stdout;
  };
  assert.equal(threads({}), "1 1\n");
  assert.equal(threads({ OMP_NUM_THREADS: "2" }), "2 2\n");
});

it("a launcher starts processes once, and not from a rank", async () => {
  class Here extends LightningEnvironment {
    override get createsProcessesExternally(): boolean {
      return false;
    }
    override localRank(): number {
      return 1;
    }
  }
  await assert.rejects(() => new ScriptLauncher(new Here(), 2).launch(() => {}), {
    name: "UsageError",
    message: /attempted to launch new distributed processes with `local_rank > 0`.*Possible reasons: 1\).*2\)/s,
  });
  const job = new Job("twice", []);
  assert.equal((await job.end).code, 0, job.stderr);
  const [refusal, ...ranks] = job.stdout.trim().split("\n");
  assert.equal(refusal, "UsageError: The launcher can only create subprocesses once.");
  assert.deepEqual(ranks.sort(), ["rank 0", "rank 1"]);
  await job.assertClean();
});

it("settings that do not fit to the environment are refused in every process", async () => {
  class Strict extends LightningEnvironment {
    override validateSettings(numDevices: number, numNodes: number): void {
      throw new Error(`refused ${numDevices} * ${numNodes}`);
    }
  }
  for (const [Launcher, rank] of [
    [ScriptLauncher, undefined],
    [ScriptLauncher, "1"],
    [SpawnLauncher, undefined],
    [SpawnLauncher, "1"],
  ] as const) {
    if (rank !== undefined) process.env.LOCAL_RANK = rank;
    try {
      await assert.rejects(() => new Launcher(new Strict(), 2, 3).launch(() => {}), /refused 2 \* 3/);
    } finally {
      delete process.env.LOCAL_RANK;
    }
  }
});

it("on several machines the meeting point has to be given: what is missing is named", async () => {
  const before = { ...process.env };
  const launch = (): Promise<void> => new ScriptLauncher(new LightningEnvironment(), 2, 2).launch(() => {});
  const all = { MASTER_ADDR: "127.0.0.1", MASTER_PORT: "500", NODE_RANK: "1" };
  try {
    process.env = cleanEnvironment() as NodeJS.ProcessEnv;
    for (const missing of Object.keys(all)) {
      Object.assign(process.env, all);
      delete process.env[missing];
      await assert.rejects(launch, {
        name: "ConfigurationError",
        message: new RegExp(`^With 2 machines, ${missing} must be set on each of them\\.`),
      });
    }
  } finally {
    process.env = before;
  }
});

it("arguments reach the function where nothing is started", async () => {
  const launcher = new ScriptLauncher(new LightningEnvironment(), 1);
  assert.deepEqual([launcher.requiresFunction, launcher.isInteractiveCompatible], [false, false]);
  assert.equal(await launcher.launch((a: number, b: number) => a - b, 5, 3), 2);
});

it("the ranks' exit code is the job's", async () => {
  const job = new Job("describing", ["2"], { env: { EXIT_CODE: "7" } });
  assert.equal((await job.end).code, 7);
  await job.assertClean();
});

it("lines of different ranks are never mixed, whatever their length", async () => {
  const job = new Job("printing", []);
  assert.equal((await job.end).code, 0);
  for (const [text, perRank] of [
    [job.stdout, 501],
    [job.stderr, 50],
  ] as const) {
    const lines = text.split("\n").slice(0, -1);
    assert.equal(lines.length, 2 * perRank);
    for (const line of lines) assert.match(line, /^(<0+>|<1+>|last of [01])$/);
  }
  await job.assertClean();
});

it("a file of tests that launches runs under `node --test`: on each rank, and a test that fails on one fails the file", async () => {
  const good = new Job("under-node-test", [], { flags: ["--test"] });
  assert.equal((await good.end).code, 0, good.stdout + good.stderr);
  await good.assertClean();
  const bad = new Job("under-node-test", [], { flags: ["--test"], env: { LAST_FAILS: "1" } });
  assert.equal((await bad.end).code, 1);
  assert.match(bad.stdout, /not ok 2 - the last rank passes/);
  assert.match(bad.stdout + bad.stderr, /Rank 1 \(pid \d+\) ended with exit code 1/);
  await bad.assertClean();
});

it("two jobs that start at the same moment do not meet", async () => {
  const tmp = mkdtempSync(join(tmpdir(), "fabric-launch-test-"));
  const jobs = [1, 2, 3].map(() => new Job("faulty", [], { tmp }));
  for (const job of jobs) assert.deepEqual([(await job.end).code, job.stderr], [0, ""]);
  for (const job of jobs.slice(1)) await job.assertClean({ keepsFiles: true });
  await jobs[0].assertClean();
});

it("the launching process never loads LibTorch, and nothing listens outside of this machine", async () => {
  const job = new Job("waiting", ["idle"]);
  await job.until("ready", 2);
  const pids = [...job.stdout.matchAll(/ready (\d+)/g)].map((match) => Number(match[1]));
  const hasLibTorch = (pid: number) => /libtorch|libc10|fabric_torch/.test(readFileSync(`/proc/${pid}/maps`, "utf8"));
  assert.deepEqual([job.pid, ...pids].map(hasLibTorch), [false, true, true]);
  for (const address of job.listeners()) assert.match(address, /^(0100007F|0{24}01000000|0{16}FFFF00000100007F)$/);
  job.launcher.kill("SIGTERM");
  await job.end;
  await job.assertClean();
});
