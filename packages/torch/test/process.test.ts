// The addon for launched processes: a child dies with its parent, and a deadline holds while JavaScript is blocked.
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { fstatSync, readSync } from "node:fs";
import type { Readable } from "node:stream";
import { it } from "node:test";
import { fileURLToPath } from "node:url";
import { DistributedError, messages, processControl } from "@fabric-ts/torch";
import * as base from "@fabric-ts/torch/base";

const addon = JSON.stringify(processControl.processAddonPath());
const block = "Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20000);";

function run(code: string): { status: number | null; stdout: string } {
  return spawnSync(process.execPath, ["-e", `const addon = require(${addon}); ${code}`], { encoding: "utf8" });
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

it("exitNow skips exit handlers and keeps the code", () => {
  const { status, stdout } = run('process.on("exit", () => console.log("handler")); addon.exitNow(7);');
  assert.deepEqual([status, stdout], [7, ""]);
});

it("the exit timer ends a blocked process, and can be taken back", () => {
  const started = Date.now();
  assert.equal(run(`addon.startExitTimer(100, 9); ${block}`).status, 9);
  assert.ok(Date.now() - started < 10_000);
  assert.equal(run("addon.startExitTimer(300, 9); addon.cancelExitTimer(); setTimeout(() => {}, 600);").status, 0);
});

it("a process whose parent is another one ends at once", () => {
  assert.equal(run(`addon.dieWithParent(1); ${block}`).status, 137);
});

it("a blocked child dies with its parent", async () => {
  const child = `require(${addon}).dieWithParent(process.ppid); console.log(process.pid); ${block}`;
  const parent = spawn(process.execPath, [
    "-e",
    `require("node:child_process").spawn(process.execPath, ["-e", ${JSON.stringify(child)}], { stdio: "inherit", detached: true }); ${block}`,
  ]);
  const pid = Number(
    await new Promise<string>((resolve) => parent.stdout.once("data", (data) => resolve(String(data)))),
  );
  assert.ok(isAlive(pid));
  parent.kill("SIGKILL");
  const deadline = Date.now() + 2000;
  while (isAlive(pid) && Date.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 10));
  assert.ok(!isAlive(pid));
});

it("limitSignal gives a blocked handler the grace period, then ends the process", () => {
  const kill = `require("node:child_process").spawn("sh", ["-c", "sleep 0.1; kill -TERM " + process.pid], { detached: true });`;
  const handled = run(
    `process.on("SIGTERM", () => process.exit(5)); addon.limitSignal(15, 10000); setTimeout(() => {}, 20000); ${kill}`,
  );
  assert.equal(handled.status, 5);
  const blocked = run(`process.on("SIGTERM", () => process.exit(5)); addon.limitSignal(15, 200); ${kill} ${block}`);
  assert.equal(blocked.status, 143);
});

it("countSignal counts while the thread is blocked, and the handlers run later", () => {
  const { status, stdout } = run(
    `process.on("SIGUSR2", () => console.log("handler")); addon.countSignal(12); addon.countSignal(12);
     for (let i = 0; i < 2; i++) { process.kill(process.pid, 12); Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50); }
     console.log(addon.signalCount(12), addon.signalCount(10)); setTimeout(() => {}, 100);`,
  );
  assert.deepEqual([status, stdout], [0, "2 0\nhandler\nhandler\n"]);
});

// musl has one kind of heap only.
const report = process.report?.getReport() as { header?: { glibcVersionRuntime?: string } } | undefined;
const hasGlibc = report?.header?.glibcVersionRuntime !== undefined;

it("the first thread's heap grows by much before a large library is loaded, and by little afterwards", {
  skip: !hasGlibc && "a C library other than glibc",
}, () => {
  const program = `
    const { Worker } = require("node:worker_threads");
    const heap = () => {
      const maps = require("node:fs").readFileSync("/proc/self/maps", "utf8");
      const sizes = [...maps.matchAll(/^(\\w+)-(\\w+) .*\\[heap\\]$/gm)].map(([, from, to]) => parseInt(to, 16) - parseInt(from, 16));
      return sizes.reduce((sum, size) => sum + size) / 2 ** 20;
    };
    const grown = (body) => {
      const before = heap();
      body();
      return heap() - before;
    };
    const none = grown(() => addon.settleHeap());
    const much = grown(() => addon.widenHeap());
    addon.settleHeap();
    const code = "require(" + JSON.stringify(process.argv[1]) + ").widenHeap()";
    const before = heap();
    new Worker(code, { eval: true }).on("exit", () => console.log(JSON.stringify([none, much, heap() - before])));`;
  const { stdout } = spawnSync(
    process.execPath,
    ["-e", `const addon = require(${addon}); ${program}`, JSON.parse(addon)],
    {
      encoding: "utf8",
    },
  );
  const [none, much, elsewhere] = JSON.parse(stdout) as number[];
  assert.ok(none < 5 && much > 40 && much < 64 && elsewhere < 20, stdout);
});

it("a launcher reads what its child wrote into shared memory, after the child was killed", async () => {
  const fd = processControl.processAddon().createPage();
  const code = `const page = new Int32Array(require(${addon}).mapPage(3)); page[0] = 42; page[63] = -1; console.log("written"); ${block}`;
  const child = spawn(process.execPath, ["-e", code], { stdio: ["ignore", "pipe", "inherit", fd] });
  const words = new Int32Array(64);
  const heart = (): number => {
    readSync(fd, words, 0, 256, 0);
    return words[1] as number;
  };
  await once(child.stdout as Readable, "data");
  // It beats while the JavaScript thread is blocked.
  for (const end = Date.now() + 20_000; heart() < 2 && Date.now() < end; )
    await new Promise((resolve) => setTimeout(resolve, 50));
  child.kill("SIGKILL");
  await once(child, "exit");
  assert.ok(heart() >= 2);
  assert.deepEqual([words[0], words[63]], [42, -1]);
  assert.ok((words[2] as number) > 1000, `at most ${words[2]} KiB`);
  processControl.processAddon().closePage(fd);
  assert.throws(() => fstatSync(fd), { code: "EBADF" });
});

it("memory that is no shared memory is an error", () => {
  const { stdout } = run("try { addon.mapPage(99) } catch (e) { console.log(e.message) }");
  assert.match(stdout, /^The memory shared with the launcher cannot be mapped: Bad file descriptor/);
});

it("wrong arguments are TypeErrors", () => {
  const { stdout } = run(
    'for (const f of Object.values(addon)) if (f.length === 0) try { f("x") } catch (e) { console.log(e.name, e.message) }',
  );
  assert.match(stdout, /TypeError dieWithParent expects the process id of the parent\./);
  assert.match(stdout, /TypeError countSignal expects the number of a signal\./);
  assert.match(stdout, /TypeError Expected a file descriptor\./);
});

it("the base entry is a part of the whole one, and loads neither the rest nor LibTorch", () => {
  assert.ok(base.DistributedError === DistributedError && base.processControl === processControl);
  assert.equal(base.messages.closestName, messages.closestName);
  const code = `
    import * as base from "@fabric-ts/torch/base";
    import { readFileSync } from "node:fs";
    base.processControl.processAddonPath();
    console.log(/libtorch|fabric_torch/.test(readFileSync("/proc/self/maps", "utf8")));`;
  assert.equal(runModule(code), "false\n");
});

it("counting GPUs loads LibTorch only where there can be some", { skip: !isForCpu() && "a build with CUDA" }, () => {
  const code = `
    import { cuda, isEngineLoaded, ones } from "@fabric-ts/torch";
    console.log(cuda.deviceCount(), cuda.isAvailable(), isEngineLoaded());
    ones([1]);
    console.log(cuda.deviceCount(), isEngineLoaded());`;
  assert.equal(runModule(code), "0 false false\n0 true\n");
});

function isForCpu(): boolean {
  const build = processControl.addonBuild();
  return !(build instanceof Error) && build.cuda === false;
}

function runModule(code: string): string {
  const cwd = fileURLToPath(new URL("./", import.meta.url));
  return spawnSync(process.execPath, ["--input-type=module", "-e", code], { encoding: "utf8", cwd }).stdout;
}
