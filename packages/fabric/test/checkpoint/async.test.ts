// Saving in the background.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { AsyncCheckpointIO, CheckpointError, CheckpointIO, Fabric } from "@fabric-ts/fabric";
import * as torch from "@fabric-ts/torch";
import { nn, type Tensor } from "@fabric-ts/torch";
import { cleanEnvironment } from "../support/run-ranks.js";

const directory = mkdtempSync(join(tmpdir(), "fabric-test-"));
after(() => rmSync(directory, { recursive: true }));

/** Writes when it is told to. */
class Slow extends CheckpointIO {
  readonly events: string[] = [];
  readonly saved: Record<string, unknown>[] = [];
  #next: { resolve(): void; reject(error: Error): void } | null = null;
  override async saveCheckpoint(
    checkpoint: Record<string, unknown>,
    path: string | URL,
    storageOptions?: unknown,
  ): Promise<void> {
    this.events.push(`start ${path}${storageOptions ? ` ${String(storageOptions)}` : ""}`);
    this.saved.push(checkpoint);
    await new Promise<void>((resolve, reject) => (this.#next = { resolve, reject }));
    this.events.push(`end ${path}`);
  }
  override async loadCheckpoint(path: string | URL): Promise<unknown> {
    this.events.push(`load ${path}`);
    return {};
  }
  override async removeCheckpoint(path: string | URL): Promise<void> {
    this.events.push(`remove ${path}`);
  }
  override teardown(): void {
    this.events.push("teardown");
  }
  go(error?: Error): void {
    const next = this.#next as { resolve(): void; reject(error: Error): void };
    if (error) next.reject(error);
    else next.resolve();
  }
}
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe("AsyncCheckpointIO", () => {
  it("copies before it returns, tensors that share memory still do, and nothing else is lost", async () => {
    const slow = new Slow();
    const io = new AsyncCheckpointIO(slow);
    const base = torch.arange(4).to("float32");
    const weight = new nn.Parameter(torch.ones([2]));
    const { Tuple, PyFloat } = torch.serialization;
    const list = [1];
    await io.saveCheckpoint(
      {
        base,
        half: base.select(0, 1),
        weight,
        list,
        tuple: Tuple.of(1, 2),
        f: new PyFloat(1),
        m: new Map([[1, list]]),
      },
      "a",
      "options",
    );
    base.fill_(9);
    list.push(2);
    assert.equal(io.isSaving, true);
    const [saved] = slow.saved as [Record<string, Tensor>];
    assert.deepEqual((saved.base as Tensor).tolist(), [0, 1, 2, 3]);
    (saved.base as Tensor).fill_(7);
    assert.equal((saved.half as Tensor).item(), 7);
    assert.ok(
      saved.weight instanceof nn.Parameter && saved.tuple instanceof Tuple && (saved.f as unknown) instanceof PyFloat,
    );
    assert.deepEqual(saved.m, new Map([[1, [1]]]));
    slow.go();
    await io.flush();
    assert.equal(io.isSaving, false);
    assert.deepEqual(slow.events, ["start a options", "end a"]);
  });

  it("writes one checkpoint at a time, in order, also when saves are not awaited", async () => {
    const slow = new Slow();
    const io = new AsyncCheckpointIO(slow);
    const saves = ["a", "b", "c"].map((path) => io.saveCheckpoint({}, path));
    for (const path of ["a", "b", "c"]) {
      await settle();
      assert.equal(slow.events.at(-1), `start ${path}`);
      slow.go();
    }
    await Promise.all(saves);
    await io.teardown();
    assert.deepEqual(slow.events, ["start a", "end a", "start b", "end b", "start c", "end c", "teardown"]);
  });

  it("waits before it loads and removes", async () => {
    const slow = new Slow();
    const io = new AsyncCheckpointIO(slow);
    await io.saveCheckpoint({}, "a");
    const loading = io.loadCheckpoint("a");
    await settle();
    assert.deepEqual(slow.events, ["start a"]);
    slow.go();
    await loading;
    await io.removeCheckpoint("a");
    assert.deepEqual(slow.events, ["start a", "end a", "load a", "remove a"]);
  });

  it("an error surfaces once: at the next save, or at teardown, which still ends the other one", async () => {
    const slow = new Slow();
    const io = new AsyncCheckpointIO(slow);
    await io.saveCheckpoint({}, "a");
    slow.go(new Error("lost"));
    await settle();
    await assert.rejects(io.saveCheckpoint({}, "b"), /^Error: lost$/);
    assert.deepEqual(slow.events, ["start a"]);
    await io.saveCheckpoint({}, "c");
    slow.go(new Error("lost again"));
    await assert.rejects(io.teardown(), /lost again/);
    assert.equal(slow.events.at(-1), "teardown");
    await io.teardown();
  });

  it("refuses what is no CheckpointIO", () => {
    assert.throws(() => new AsyncCheckpointIO({} as never), /to be given a `CheckpointIO`, but got Object/);
  });

  it("with files: Fabric saves, goes on, loads what was there at the time of the save", async () => {
    const fabric = new Fabric({ accelerator: "cpu", plugins: [new AsyncCheckpointIO()] });
    const model = fabric.setup(new nn.Linear(600, 600));
    const path = join(directory, "deep/er/last.ckpt");
    const before = model.module.weight.tolist();
    await fabric.save(path, { model, step: 1 });
    torch.noGrad(() => model.module.weight.fill_(0));
    const state = { model, step: 0 };
    await fabric.load(path, state);
    assert.deepEqual([model.module.weight.tolist(), state.step], [before, 1]);
    assert.deepEqual(readdirSync(join(directory, "deep/er")), ["last.ckpt"]);
    writeFileSync(join(directory, "plain"), "");
    await fabric.save(join(directory, "plain/x.ckpt"), state);
    await assert.rejects(fabric.save(path, state), { name: "CheckpointError", code: "ENOTDIR" });
    await fabric.strategy.teardown();
  });

  const program = (body: string): { status: number | null; stderr: string } =>
    spawnSync(
      process.execPath,
      [
        "--input-type=module",
        "-e",
        `import { AsyncCheckpointIO, Fabric } from "@fabric-ts/fabric"; import * as torch from "@fabric-ts/torch";
         const fabric = new Fabric({ accelerator: "cpu", plugins: [new AsyncCheckpointIO()] }); ${body}`,
      ],
      { cwd: new URL("../..", import.meta.url), env: cleanEnvironment() as never, encoding: "utf8" },
    );
  it("the process stays until the file is complete", async () => {
    const path = join(directory, "exit.ckpt");
    const { status, stderr } = program(
      `await fabric.save(${JSON.stringify(path)}, { x: torch.ones([3_000_000]) }); if (!fabric.strategy.checkpointIO.isSaving) process.exit(9);`,
    );
    assert.equal(status, 0, stderr);
    assert.ok(existsSync(path));
    const { x } = (await torch.load(path)) as { x: Tensor };
    assert.equal(x.sum().item(), 3_000_000);
  });
  it("an exit before the file is complete is no success, and says what is lost", () => {
    const path = join(directory, "cut.ckpt");
    const saving = `await fabric.save(${JSON.stringify(path)}, { x: torch.ones([3_000_000]) });`;
    for (const code of ["", "0", "7"]) {
      const { status, stderr } = program(`${saving} process.exit(${code});`);
      assert.equal(status, Number(code) || 1);
      assert.match(
        stderr,
        /cut\.ckpt is written; this checkpoint is lost\.\nType `await io\.flush\(\)` before `process\.exit/,
      );
    }
    assert.ok(!existsSync(path));
    const { status, stderr } = program(`${saving} await fabric.strategy.checkpointIO.flush(); process.exit();`);
    assert.equal(status, 0, stderr);
    assert.doesNotMatch(stderr, /lost/);
    assert.deepEqual(
      readdirSync(directory).filter((name) => name.includes("cut")),
      ["cut.ckpt"],
    );
  });
  it("an error that nobody asked for ends the process with an error", () => {
    const { status, stderr } = program(`await fabric.save("/dev/null/x", { a: 1 });`);
    assert.notEqual(status, 0);
    assert.match(stderr, new RegExp(CheckpointError.name));
  });
});
