// Rank 0 cannot save, for every reason that a disk has. Both ranks report what they saw, and train on together in between.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { CheckpointError, Fabric, type FileWriter, LocalFileSystem, registerFileSystem } from "@fabric-ts/fabric";
import * as torch from "@fabric-ts/torch";
import { nn, optim } from "@fabric-ts/torch";
import { report } from "../support/run-ranks.js";

/** The disk under another name, whose call number `failAt` fails. */
class Flaky extends LocalFileSystem {
  calls = 0;
  failAt = Number.POSITIVE_INFINITY;

  override async openWrite(path: string): Promise<FileWriter> {
    this.#step("open");
    const file = await super.openWrite(path.replace("flaky://", ""));
    const passOn = async (name: string, action: () => Promise<void>): Promise<void> => {
      this.#step(name);
      await action();
    };
    return {
      write: (bytes) => passOn("write", () => file.write(bytes)),
      commit: () => passOn("commit", () => file.commit()),
      abort: () => file.abort(),
    };
  }
  #step(name: string): void {
    if (this.calls++ === this.failAt) throw new CheckpointError(`the disk failed: ${name}`, { code: "EIO" });
  }
}
const flaky = new Flaky();
registerFileSystem("flaky", flaky);

const fabric = new Fabric({ accelerator: "cpu", devices: 2 });
await fabric.launch();
const isZero = fabric.globalRank === 0;
const disk = process.env.TEST_DISK as string;
const path = join(disk, "run", "last.ckpt");
const net = new nn.Linear(2, 1);
const [model, optimizer] = fabric.setup(net, new optim.SGD(net.parameters(), { lr: 0.1 }));

/** What each rank saw of a save that has to fail: the error, what can be loaded afterwards, what is in the folder. */
async function fails(name: string, save: () => Promise<void>): Promise<void> {
  let seen = "no error";
  await save().catch((error: Error & { code?: string }) => {
    const elsewhere = /failed on rank 0, and therefore on all/.test(error.message);
    seen = `${error.name} ${error.code}${elsewhere ? " elsewhere" : ""}`;
  });
  const { epoch } = await fabric.load(path);
  optimizer.zeroGrad();
  fabric.backward(model(torch.ones([2])).sum());
  optimizer.step();
  events.push([name, seen, epoch, readdirSync(join(disk, "run")).join()]);
  await fabric.barrier();
}
const events: unknown[] = [];
// A shell that is there already: with too many open files none can be started.
const shell = isZero ? spawn("sh", { stdio: ["pipe", "pipe", "inherit"] }) : null;
const system = async (command: string): Promise<void> => {
  if (shell === null) return;
  shell.stdin.write(`${command} && echo done || echo failed\n`);
  const [answer] = (await once(shell.stdout, "data")) as [Buffer];
  if (answer.toString() !== "done\n") throw new Error(`${command}: ${answer.toString()}`);
};

await fabric.save(path, { model, optimizer, epoch: 1 });
const big = torch.zeros([8 << 20], { dtype: "uint8" });

let saved = false;
for (let n = 0; !saved; n++) {
  flaky.failAt = flaky.calls + n;
  await fails(`call ${n}`, async () => {
    await fabric.save(`flaky://${path}`, { big: torch.zeros([1 << 20]), epoch: 1 });
    saved = true;
  });
}

await fabric.save(path, { model, optimizer, epoch: 2 });
await fails("full", () => fabric.save(path, { big, epoch: 3 }));
await fails("full, elsewhere", () => fabric.save(join(disk, "run", "other.ckpt"), { big }));
await fails("full, safetensors", () => fabric.save(join(disk, "run", "other.safetensors"), { big }));

await system(`mount -o remount,ro ${disk}`);
await fails("read-only", () => fabric.save(path, { epoch: 3 }));
await fails("read-only, new folder", () => fabric.save(join(disk, "other", "x.ckpt"), { epoch: 3 }));
await system(`mount -o remount,rw ${disk}`);

await fails("folder that is a file", () => fabric.save(join(path, "x.ckpt"), { epoch: 3 }));
await fails("file that is a folder", () => fabric.save(join(disk, "run"), { epoch: 3 }));

if (isZero) rmSync(join(disk, "run"), { recursive: true });
await fabric.barrier();
await fails("vanished folder", () => fabric.save(path, { model, optimizer, epoch: 4 }));

await system(
  `prlimit --pid ${process.pid} --nofile=${Math.max(...readdirSync("/proc/self/fd").map(Number)) + 20}:1024`,
);
const opened: number[] = [];
try {
  while (isZero) opened.push(openSync("/dev/null", "r"));
} catch {
  // Now there are as many open files as there may be.
}
const crowded = await fabric.save(path, { epoch: 5 }).then(
  () => "no error",
  (error: { name: string; code: string }) => `${error.name} ${error.code}`,
);
const loading = await fabric.load(path).then(
  () => "no error",
  (error: { name: string; code: string }) => `${error.name} ${error.code}`,
);
for (const fd of opened) closeSync(fd);
await fails("after all", () => fabric.save(path, { model, optimizer, epoch: 6 }));
shell?.stdin.end();
report(fabric.globalRank, { events, crowded, loading });
