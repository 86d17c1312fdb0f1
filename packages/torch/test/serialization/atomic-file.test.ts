// A file is replaced as a whole or not at all, whichever system call fails, and nothing is left behind.
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { CheckpointError } from "../../dist/errors.js";
import { AtomicFile, type FileSystem, prefixOf, realFileSystem } from "../../dist/serialization/atomic-file.js";
import { loadSync, save, saveSync } from "../../dist/serialization/files.js";
import { TemporaryFolder } from "./support/temporary.js";

const filesModule = new URL("../../dist/serialization/files.js", import.meta.url).href;

/** The real system, whose call number `n` fails once. */
class Failing {
  calls = 0;
  failed = "";
  readonly system: FileSystem;

  constructor(n: number, code: string) {
    const step = (name: string): void => {
      if (this.calls++ !== n) return;
      this.failed = name;
      throw Object.assign(new Error(`${code}: made to fail, ${name}`), { code });
    };
    const real = realFileSystem;
    this.system = {
      open: (path, flags, mode) => {
        step("open");
        return real.open(path, flags, mode);
      },
      // Half of what is asked for, as a system may.
      write: (fd, bytes, offset, length) => {
        step("write");
        return real.write(fd, bytes, offset, Math.ceil(length / 2));
      },
      writeAsync: async (fd, bytes, offset, length) => {
        step("write");
        return real.writeAsync(fd, bytes, offset, Math.ceil(length / 2));
      },
      fsync: (fd) => {
        step("fsync");
        return real.fsync(fd);
      },
      fsyncAsync: async (fd) => {
        step("fsync");
        await real.fsyncAsync(fd);
      },
      close: (fd) => {
        // A failing close has closed all the same.
        real.close(fd);
        step("close");
      },
      rename: (from, to) => {
        step("rename");
        return real.rename(from, to);
      },
      unlink: (path) => real.unlink(path),
      list: (folder) => {
        step("list");
        return real.list(folder);
      },
    };
  }
}

async function write(path: string, system: FileSystem, wait: boolean): Promise<void> {
  const file = new AtomicFile(path, system);
  for (let i = 0; i < 4; i++) {
    const bytes = Buffer.alloc(50_000, i);
    if (wait && i % 2 === 0) await file.writeAsync(bytes);
    else file.write(bytes);
  }
  if (wait) await file.commit();
  else file.commitSync();
}
const expected = Buffer.concat([0, 1, 2, 3].map((i) => Buffer.alloc(50_000, i)));

for (const wait of [false, true]) {
  test(`every system call may fail (${wait ? "waiting" : "blocking"}): old or new file, an error with its code, no rest`, async () => {
    const failures = new Set<string>();
    for (let n = 0; ; n++) {
      using folder = new TemporaryFolder();
      const path = folder.file("state.pt");
      writeFileSync(path, "old");
      const failing = new Failing(n, "EIO");
      let error: unknown;
      await write(path, failing.system, wait).catch((e: unknown) => {
        error = e;
      });
      failures.add(failing.failed);
      assert.deepEqual(readdirSync(folder.path), ["state.pt"], `rest after call ${n} (${failing.failed})`);
      const content = readFileSync(path);
      if (failing.failed === "") {
        assert.equal(error, undefined);
        assert.deepEqual(content, expected);
        break;
      }
      if (error === undefined) {
        // Tidying up and closing a folder may fail without harm.
        assert.ok(failing.failed === "list" || failing.failed === "close", failing.failed);
        assert.deepEqual(content, expected);
        continue;
      }
      assert.ok(error instanceof CheckpointError);
      assert.equal(error.code, "EIO");
      assert.ok(error.message.includes(path), error.message);
      // Only the folder's own flush comes after the rename.
      if (content.toString() !== "old") assert.deepEqual(content, expected);
    }
    assert.deepEqual([...failures].sort(), ["", "close", "fsync", "list", "open", "rename", "write"]);
  });
}

test("what cannot be saved leaves the old file and no rest", () => {
  using folder = new TemporaryFolder();
  const path = folder.file("state.pt");
  saveSync({ epoch: 1 }, path);
  assert.throws(() => saveSync({ epoch: () => 2 }, path), TypeError);
  assert.deepEqual({ ...(loadSync(path) as object) }, { epoch: 1 });
  assert.deepEqual(readdirSync(folder.path), ["state.pt"]);
});

test("a missing folder, a folder as target and a device give errors with their code", async () => {
  using folder = new TemporaryFolder();
  await assert.rejects(save(1, folder.file("none/state.pt")), { name: "CheckpointError", code: "ENOENT" });
  await assert.rejects(save(1, folder.path), { name: "CheckpointError", code: "EISDIR" });
  await assert.rejects(save(1, folder.file("new/")), { name: "CheckpointError", code: "EISDIR" });
  await assert.rejects(save(1, "/dev/null"), { name: "CheckpointError", code: "EINVAL" });
  assert.ok(statSync("/dev/null").isCharacterDevice());
  assert.throws(() => loadSync(folder.file("none.pt")), { name: "CheckpointError", code: "ENOENT" });
  assert.throws(() => loadSync(folder.path), { name: "CheckpointError", code: "EISDIR" });
});

test("a named pipe is refused at once: nobody has to write to it", { skip: process.platform === "win32" }, () => {
  using folder = new TemporaryFolder();
  const path = folder.file("pipe");
  assert.equal(spawnSync("mkfifo", [path]).status, 0);
  const code = `import(${JSON.stringify(filesModule)}).then(({ loadSync }) => loadSync(${JSON.stringify(path)}))`;
  const { stderr } = spawnSync(process.execPath, ["-e", code], { encoding: "utf8", timeout: 60_000 });
  assert.match(stderr, /CheckpointError: .*pipe is not a checkpoint that can be loaded: it is not a regular file\./);
});

test("a name may be as long as the system allows, and what is left of it is swept", () => {
  using folder = new TemporaryFolder();
  const dead = spawnSync(process.execPath, ["-e", ""]).pid;
  const names = ["a".repeat(255), "\u{1f642}".repeat(63), `${"\u00fc".repeat(125)}.ckpt`];
  for (const name of names) {
    const path = folder.file(name);
    writeFileSync(folder.file(`${prefixOf(path)}${dead}-0`), "");
    saveSync(name, path);
    assert.equal(loadSync(path), name);
  }
  assert.notEqual(prefixOf("a".repeat(255)), prefixOf("a".repeat(254)));
  assert.deepEqual(readdirSync(folder.path).sort(), [...names].sort());
});

test("a folder without write permission gives EACCES", {
  skip: process.getuid?.() === 0 ? "root may write everywhere" : false,
}, () => {
  using folder = new TemporaryFolder();
  mkdirSync(folder.file("locked"), { mode: 0o500 });
  assert.throws(() => saveSync(1, folder.file("locked/state.pt")), { name: "CheckpointError", code: "EACCES" });
});

test("a link stays a link, and permissions stay", () => {
  using folder = new TemporaryFolder();
  const [target, link] = [folder.file("step-1.pt"), folder.file("last.pt")];
  saveSync(1, target);
  chmodSync(target, 0o640);
  symlinkSync("step-1.pt", link);
  saveSync(2, link);
  assert.ok(lstatSync(link).isSymbolicLink());
  assert.equal(loadSync(target), 2);
  assert.equal(statSync(target).mode & 0o777, 0o640);
});

test("temporary files of dead processes are swept, those of living ones and of others are not", () => {
  using folder = new TemporaryFolder();
  const path = folder.file("state.pt");
  const dead = spawnSync(process.execPath, ["-e", ""]).pid;
  const prefix = prefixOf(path);
  const keep = [
    `${prefix}${process.ppid}-0`,
    `${prefixOf(folder.file("other.pt"))}${dead}-0`,
    `.state.pt.tmp-00000000-${dead}-0`,
    `${prefix}notes`,
  ];
  for (const name of [`${prefix}${dead}-0`, `${prefix}${dead}-17`, ...keep]) writeFileSync(folder.file(name), "");
  saveSync(1, path);
  assert.deepEqual(readdirSync(folder.path).sort(), [...keep, "state.pt"].sort());
});

test("a process that is killed while saving leaves the old file; the next save sweeps its rest", async () => {
  using folder = new TemporaryFolder();
  const path = folder.file("state.pt");
  saveSync({ round: -1 }, path);
  const program = `
    const { saveSync } = await import(${JSON.stringify(filesModule)});
    const text = "x".repeat(4 << 20);
    process.stdout.write("ready");
    for (let round = 0; ; round++) saveSync({ round, text, end: round }, ${JSON.stringify(path)});`;
  for (let i = 0; i < 8; i++) {
    const child = spawn(process.execPath, ["--input-type=module", "-e", program], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    await new Promise((resolve) => child.stdout.once("data", resolve));
    await new Promise((resolve) => setTimeout(resolve, 5 + 13 * i));
    const gone = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await gone;
    const { round, end } = loadSync(path) as { round: number; end?: number };
    assert.ok(round === -1 || end === round);
  }
  saveSync(1, path);
  assert.deepEqual(readdirSync(folder.path), ["state.pt"]);
});

test("two saves at the same time both succeed, and one of them wins", async () => {
  using folder = new TemporaryFolder();
  const path = folder.file("state.pt");
  await Promise.all([save("a", path), save("b", path), save("c", path)]);
  assert.ok(["a", "b", "c"].includes(loadSync(path) as string));
  assert.deepEqual(readdirSync(folder.path), ["state.pt"]);
});

test("the value is read before save returns", async () => {
  using folder = new TemporaryFolder();
  const value = { epoch: 1 };
  const saved = save(value, folder.file("state.pt"));
  value.epoch = 2;
  await saved;
  assert.deepEqual({ ...(loadSync(folder.file("state.pt")) as object) }, { epoch: 1 });
});

test("a file that shrinks while it is read is an error", async () => {
  using folder = new TemporaryFolder();
  const path = folder.file("state.pt");
  saveSync({ text: "x".repeat(100_000) }, path);
  const { FileSource } = await import("../../dist/serialization/byte-source.js");
  const source = new FileSource(path);
  truncateSync(path, 1000);
  assert.throws(() => source.readSync(0, 50_000), { code: "ERR_CHECKPOINT_DAMAGED" });
  await assert.rejects(source.read(0, 50_000), { code: "ERR_CHECKPOINT_DAMAGED" });
  source.close();
});

const noMount = ((): string | false => {
  if (process.platform !== "linux") return "needs Linux";
  const run = spawnSync("unshare", ["-m", "sh", "-c", "mount -t tmpfs -o size=64k tmpfs /mnt"]);
  return run.status === 0 ? false : "mounting a small disk is not permitted here";
})();

test("a full disk is an ordinary error: ENOSPC, the old file whole, no rest", { skip: noMount }, () => {
  using folder = new TemporaryFolder();
  const mount = folder.file("disk");
  mkdirSync(mount);
  const program = `
    import { readdirSync } from "node:fs";
    const { save, saveSync, loadSync } = await import(${JSON.stringify(filesModule)});
    const path = ${JSON.stringify(join(mount, "state.pt"))};
    saveSync({ text: "x".repeat(3 << 20) }, path);
    const tell = (error) => console.log(error.name, error.code);
    try { saveSync({ text: "y".repeat(7 << 20) }, path); } catch (error) { tell(error); }
    await save({ text: "y".repeat(7 << 20) }, path).catch(tell);
    console.log(loadSync(path).text === "x".repeat(3 << 20), readdirSync(${JSON.stringify(mount)}).join());
    saveSync({ text: "small" }, path);
    console.log(loadSync(path).text);`;
  const script = folder.file("program.mjs");
  writeFileSync(script, program);
  const run = spawnSync(
    "unshare",
    ["-m", "sh", "-c", `mount -t tmpfs -o size=8m tmpfs "$1" && exec "$2" "$3"`, "sh", mount, process.execPath, script],
    { encoding: "utf8" },
  );
  assert.equal(run.stdout, "CheckpointError ENOSPC\nCheckpointError ENOSPC\ntrue state.pt\nsmall\n", run.stderr);
});

test("these tests run the built files", () => {
  assert.ok(existsSync(fileURLToPath(filesModule)));
});
