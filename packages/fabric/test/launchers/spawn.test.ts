// Functions in processes of their own: what they get, what comes back, and what happens when one of the processes does not.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { availableParallelism } from "node:os";
import { before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { freePort, Job } from "./job.js";

// biome-ignore lint/suspicious/noExplicitAny: whatever the programs print
type Reports = Record<string, any>;

async function reportsOf(program: string): Promise<Reports> {
  const job = new Job(program, []);
  const { code } = await job.end;
  assert.equal(code, 0, `${job.stdout}\n${job.stderr}`);
  await job.assertClean();
  const lines = job.stdout.matchAll(/^REPORT (\w+) (.*)$/gm);
  return Object.fromEntries([...lines].map(([, name, json]) => [name, JSON.parse(json as string)]));
}

describe("a function launched with `ddp_spawn`", () => {
  let found: Reports;
  before(async () => {
    found = await reportsOf("spawning");
  });

  it("runs in new processes, and rank 0's result comes back to the process that stays", () => {
    const { rank, localRank, port, ranks, isTensor, isRank } = found.first;
    assert.deepEqual([rank, localRank, port, ranks, isTensor, isRank], [0, "0", undefined, [0, 1], true, false]);
  });
  it("has its share of the threads", () => {
    const share = Math.max(1, Math.floor(availableParallelism() / 2));
    assert.equal(found.first.threads, process.env.OMP_NUM_THREADS ?? String(share));
  });
  it("gets the arguments of the launching process: data, tensors, and models and optimizers in their states", () => {
    assert.deepEqual(found.first.start, [
      [3, 3],
      [3, 3],
    ]);
    assert.equal(found.first.rate, 0.5);
    assert.equal(found.first.hints, true);
  });
  it("trains models that are each rank's own, with tied weights still tied; the launching process' stays as it was", () => {
    assert.deepEqual([found.first.isOwn, found.first.isTied, found.first.changed], [true, true, true]);
    assert.deepEqual(found.first.here, [
      [3, 3],
      [3, 3],
    ]);
  });
  it("draws the random numbers that the launching process would have drawn", () => {
    assert.equal(found.first.draw, true);
  });
  it("fails in the launching process, with the rank's error as the cause", () => {
    const { name, code, message, cause } = found.failed;
    assert.deepEqual([name, code], ["DistributedError", "ERR_RANK_FAILED"]);
    assert.match(
      message,
      /^Rank 1 \(pid \d+\) failed with an uncaught error .*\nRangeError: only on rank 1\nThe other rank: rank 0 \(pid \d+\) /,
    );
    assert.deepEqual(cause, ["RangeError", "only on rank 1", "E_OWN", true]);
  });
  it("may be the second of the program: its ranks see the results of the first", () => {
    assert.deepEqual(found.second, [0, [0, 1], "DistributedError"]);
  });
  it("is over when what it saves in the background is written; an error of that is one of the function", () => {
    const { written, failed } = found.background;
    assert.deepEqual(written, ["saved", true]);
    assert.match(failed, /^Rank 0 .*\nError: disk full\n/);
  });
  it("is refused before anything starts when it, or an argument, cannot be sent", () => {
    const [fn, nested, noParameter, none] = found.refused as string[];
    assert.match(
      fn as string,
      /^Argument 2 of `fabric.launch\(\)` cannot be sent to other processes: it is the function/,
    );
    assert.match(
      nested as string,
      /^Argument 2, `\.layers\[1\]`, of `fabric.launch\(\)` cannot be sent .* it is a Fabric/,
    );
    assert.match(noParameter as string, /needs to take at least one argument/);
    assert.match(none as string, /`DDPStrategy` strategy, `.launch\(\)` needs to be called with a function/);
  });
  it("that ends its process, is killed, or returns what cannot be sent is an error as well", () => {
    assert.match(found.left, /^The ranks have ended before the launched function had returned/);
    assert.match(found.lost, /^Rank \d \(pid \d+\) was killed by SIGKILL after/);
    assert.match(
      found.unsent,
      /^Rank 0 .*\nTypeError: The result of `fabric.launch\(\)` cannot be sent to other processes/,
    );
  });
});

describe("a function launched by its module's name", () => {
  let found: Reports;
  before(async () => {
    found = await reportsOf("referring");
  });

  it("runs without the program that names it", () => {
    assert.deepEqual(found.result, { sum: [2, 4], more: ["more"], worldSize: 2, args: 2 });
    assert.deepEqual(found.alone, { sum: [1], more: 0, worldSize: 1, args: 2 });
  });
  it("fails in the launching process", () => {
    assert.match(found.failed, /^Rank [01] .*\nTypeError: by default\n/);
  });
  it("is refused before anything starts when it cannot be found or the ranks cannot make the same Fabric", () => {
    const texts = [
      /launched\.js exports no function `five`, but 5 under that name\.\nFunctions that it exports: addUp, default\./,
      /cannot be loaded: Cannot find module .*nowhere\.js/,
      /Expected `module` to be a path or a URL, but got 3\./,
      /has no option `exports`\.\nDid you mean `export`\?/,
      /Expected `export` to be the name of an exported function, but got 3\./,
      /referring\.js is the script that is running/,
      /^Argument 2 of .* it is a Linear\.\nMake it inside of the function, and send its `stateDict\(\)`\./,
      /^a Fabric whose `callbacks` are objects cannot launch a function by its module's name/,
      /^`Own` cannot launch a function by its module's name/,
    ];
    for (const [index, text] of texts.entries()) assert.match(found.refused[index], text);
  });

  it("works where there is no script to run again", async () => {
    const module = new URL("./programs/launched.js", import.meta.url).href;
    // One line: the REPL does not wait with the next one for what a line awaits.
    const line = `void (async () => {
      const { Fabric } = await import("@fabric-ts/fabric");
      const { tensor } = await import("@fabric-ts/torch");
      const fabric = new Fabric({ accelerator: "cpu", devices: 2, strategy: "ddp_spawn" });
      console.log((await fabric.launch({ module: "${module}", export: "addUp" }, tensor([4]), 1)).sum);
      await fabric.launch((own) => own.globalRank).catch((error) => console.log(error.message));
      process.exit();
    })();`;
    const { stdout } = await node(["-i"], {}, `${line.replaceAll("\n", " ")}\n`);
    assert.match(stdout, /\[ 8 \]/);
    assert.match(stdout, /cannot start more processes from a REPL.*\{ module: ".\/train.js", export: "train" \}/s);
  });
});

it("functions are launched from `node -e` as well", async () => {
  const code = `import { Fabric } from "@fabric-ts/fabric";
    const fabric = new Fabric({ accelerator: "cpu", devices: 2, strategy: "ddp_spawn" });
    console.log("sum", (await fabric.launch(async (own, x) => (await own.allReduce(x, { reduceOp: "sum" })).item(), 3)));`;
  const { stdout, stderr } = await node(["--input-type=module", "-e", code]);
  assert.equal(stdout, "sum 6\n", stderr);
});

it("ranks that have nothing to do end well, however early the first of them is done", async () => {
  const code = `import { Fabric } from "@fabric-ts/fabric";
    const fabric = new Fabric({ accelerator: "cpu", devices: 4, strategy: "ddp_spawn" });
    for (let i = 0; i < 3; i++) await fabric.launch((own) => own.globalRank);
    if (process.env.LOCAL_RANK === undefined) console.log("done");`;
  const { stdout, stderr } = await node(["--input-type=module", "-e", code], { OMP_NUM_THREADS: "1" });
  assert.equal(stdout, "done\n", stderr);
});

it("where the processes exist already, or one is enough, `ddp_spawn` starts none", async () => {
  const alone = new Job("spawn-here", []);
  assert.equal((await alone.end).code, 0, alone.stderr);
  assert.equal(alone.stdout, "[true,0,1,false]\n");
  await alone.assertClean();
  const started = new Job("spawn-here", [], { command: ["run", "--devices", "2"] });
  assert.equal((await started.end).code, 0, started.stderr);
  assert.deepEqual(started.stdout.trim().split("\n").sort(), ["[true,0,2,false]", "[true,1,2,false]"]);
  await started.assertClean();
});

it("a function runs on several machines, and each gets the result of its own first rank", async () => {
  const port = await freePort();
  const code = `import { Fabric } from "@fabric-ts/fabric";
    const fabric = new Fabric({ accelerator: "cpu", devices: 2, numNodes: 2, strategy: "ddp_spawn" });
    console.log("result", await fabric.launch(async (own) => [own.globalRank, (await own.allReduce(1, { reduceOp: "sum" })).item()].join()));`;
  const env = { MASTER_ADDR: "127.0.0.1", MASTER_PORT: String(port) };
  const ends = [0, 1].map((rank) => node(["--input-type=module", "-e", code], { ...env, NODE_RANK: String(rank) }));
  const outputs = (await Promise.all(ends)).map(({ stdout }) => stdout);
  assert.deepEqual(outputs, ["result 0,4\n", "result 2,4\n"]);
});

describe("signals to a process that waits for a launched function", () => {
  for (const [signal, code] of [
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const) {
    it(`${signal} ends the ranks and the process`, async () => {
      const job = new Job("spawn-waiting", ["blocked"]);
      await job.until("ready", 2);
      process.kill(-job.pid, signal);
      assert.equal((await job.end).code, code);
      assert.doesNotMatch(job.stdout, /caught/);
      await job.assertClean();
    });
  }
  it("a program with a handler of its own gets an error instead", async () => {
    const job = new Job("spawn-waiting", ["handled"]);
    await job.until("ready", 2);
    job.launcher.kill("SIGTERM");
    assert.equal((await job.end).code, 0);
    assert.match(job.stdout, /own handler\n[\s\S]*caught SIGTERM has ended the launched processes\./);
    await job.assertClean();
  });
  it("kill -9 takes the ranks along", async () => {
    const job = new Job("spawn-waiting", ["blocked"]);
    await job.until("ready", 2);
    job.launcher.kill("SIGKILL");
    await job.assertClean({ withinMs: 2000, keepsFiles: true });
    // The next launch clears up.
    const next = new Job("spawning", [], { tmp: job.tmp });
    assert.equal((await next.end).code, 0, next.stderr);
    await next.assertClean();
  });
});

interface Ended {
  stdout: string;
  stderr: string;
}

/** Runs Node below this package, where the packages are found by name. */
function node(args: readonly string[], env: Record<string, string> = {}, input?: string): Promise<Ended> {
  const child = spawn(process.execPath, args, {
    cwd: fileURLToPath(new URL("./", import.meta.url)),
    env: { ...process.env, NODE_TEST_CONTEXT: undefined, ...env },
    stdio: [input === undefined ? "ignore" : "pipe", "pipe", "pipe"],
  });
  let stdout = "";
  let stderr = "";
  child.stdout?.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr?.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  // Left open: a REPL ends with its input.
  child.stdin?.write(input ?? "");
  return new Promise((resolve) => child.on("close", () => resolve({ stdout, stderr })));
}
