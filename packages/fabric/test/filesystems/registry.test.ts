// File systems by scheme: those that are there, and those of the user.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import {
  Fabric,
  type FileInfo,
  type FileReader,
  FileSystem,
  type FileWriter,
  fileSystemOf,
  LocalFileSystem,
  lazyLoad,
  registerFileSystem,
} from "@fabric-ts/fabric";
import { nn, type Tensor } from "@fabric-ts/torch";
import { schemeOf, shownAddress } from "../../dist/filesystems/address.js";

const folder = mkdtempSync(join(tmpdir(), "fabric-test-"));
after(() => rmSync(folder, { recursive: true }));

/** Files in memory, as a user may write it. */
class MemoryFileSystem extends FileSystem {
  readonly files = new Map<string, Uint8Array>();
  failAt = Number.POSITIVE_INFINITY;
  readonly events: string[] = [];

  override async stat(path: string): Promise<FileInfo | null> {
    const bytes = this.files.get(path);
    return bytes ? { path, name: path, isFolder: false, size: bytes.length, modified: null } : null;
  }
  override async openRead(path: string): Promise<FileReader> {
    const bytes = this.files.get(path);
    if (!bytes) throw Object.assign(new Error("nothing there"), { code: "ENOENT" });
    const { events } = this;
    return {
      name: path,
      size: bytes.length,
      read: async (offset, length) => bytes.subarray(offset, offset + length),
      close: () => void events.push("close"),
    };
  }
  override async openWrite(path: string): Promise<FileWriter> {
    const parts: Uint8Array[] = [];
    const { events } = this;
    return {
      write: async (bytes) => {
        if (--this.failAt < 0) throw Object.assign(new Error("the store is full"), { code: "ENOSPC" });
        parts.push(bytes.slice());
      },
      commit: async () => {
        events.push("commit");
        this.files.set(path, Buffer.concat(parts));
      },
      abort: async () => void events.push("abort"),
    };
  }
  override async remove(path: string): Promise<void> {
    this.files.delete(path);
  }
}
const memory = new MemoryFileSystem();
registerFileSystem("mem", memory);
const fabric = new Fabric({ accelerator: "cpu" });

describe("a file system of the user's", () => {
  it("is used by save, load, loadRaw, lazyLoad and the checkpoint IO", async () => {
    const net = new nn.Linear(2, 1);
    await fabric.save("mem://runs/last.ckpt", { net, step: 3 });
    assert.deepEqual([...memory.files.keys()], ["mem://runs/last.ckpt"]);
    const other = new nn.Linear(2, 1);
    const state = { net: other, step: 0 };
    await fabric.load("mem://runs/last.ckpt", state);
    assert.deepEqual([state.step, other.weight.tolist()], [3, net.weight.tolist()]);
    await fabric.save("mem://runs/bare.safetensors", net.stateDict());
    await fabric.loadRaw("mem://runs/bare.safetensors", other);
    const lazy = (await lazyLoad("mem://runs/last.ckpt")) as { net: { weight: Tensor } };
    assert.deepEqual(lazy.net.weight.shape, [1, 2]);
    await fabric.strategy.checkpointIO.removeCheckpoint("mem://runs/last.ckpt");
    assert.deepEqual([...memory.files.keys()], ["mem://runs/bare.safetensors"]);
  });

  it("is told to give up when writing fails, and its error reaches the user", async () => {
    await fabric.save("mem://kept", { step: 0 });
    memory.events.length = 0;
    memory.failAt = 0;
    await assert.rejects(fabric.save("mem://kept", { step: 1 }), { message: "the store is full", code: "ENOSPC" });
    memory.failAt = Number.POSITIVE_INFINITY;
    assert.deepEqual(memory.events, ["abort"]);
    assert.equal(((await fabric.load("mem://kept")) as { step: number }).step, 0);
    assert.ok(memory.events.includes("close"));
  });

  it("is closed after a file that is no checkpoint", async () => {
    memory.files.set("mem://junk", Buffer.from("nothing but junk"));
    memory.events.length = 0;
    await assert.rejects(fabric.load("mem://junk"), { code: "ERR_CHECKPOINT_FORMAT", message: /mem:\/\/junk/ });
    await assert.rejects(lazyLoad("mem://junk"), { code: "ERR_CHECKPOINT_FORMAT" });
    assert.ok(memory.events.filter((event) => event === "close").length >= 2);
  });

  it("is made when it is needed, once, and replaces another only when asked", async () => {
    let count = 0;
    registerFileSystem("lazy", () => {
      count++;
      return memory;
    });
    assert.equal(count, 0);
    assert.equal(fileSystemOf("lazy://a").fileSystem, memory);
    assert.equal(fileSystemOf("LAZY://b").fileSystem, memory);
    assert.equal(count, 1);
    assert.throws(() => registerFileSystem("lazy", memory), {
      name: "ConfigurationError",
      message: /already\.\nPass `\{ override: true \}`/,
    });
    const other = new MemoryFileSystem();
    registerFileSystem("lazy", other, { override: true });
    assert.equal(fileSystemOf("lazy://a").fileSystem, other);
  });

  it("is checked", () => {
    for (const scheme of ["", "a", "A1", "gs://", 3, null]) {
      assert.throws(() => registerFileSystem(scheme as string, memory), TypeError);
    }
    assert.throws(() => registerFileSystem("gs", {} as never), /or a function that makes one, but got an object/);
    registerFileSystem("bad", () => ({}) as never);
    assert.throws(() => fileSystemOf("bad://x"), /did not make a FileSystem, but an object/);
  });
});

describe("paths", () => {
  it("without a scheme, and file URLs, are of this machine", () => {
    for (const path of [
      "a/b.ckpt",
      "/a/b.ckpt",
      "file:///a/b.ckpt",
      new URL("file:///a/b.ckpt"),
      "c:/x",
      "a:b",
      "./s3:/x",
    ])
      assert.ok(fileSystemOf(path).fileSystem instanceof LocalFileSystem, String(path));
  });
  it("of an unknown scheme are an error that says how to add it, before anything is written", async () => {
    const unknown = {
      name: "NotSupportedError",
      message: /No file system is registered for gs:\/\/.*gs:\/\/b\/x\.\n.*s3:\/\/.*registerFileSystem\("gs"/s,
    };
    await assert.rejects(fabric.save("gs://user:pass@b/x", { a: 1 }), unknown);
    await assert.rejects(fabric.load("gs://b/x"), unknown);
    assert.ok(!readdirSync(".").includes("gs:"));
  });
  it("that are none are a TypeError", async () => {
    for (const path of ["", "a\0b", 3, null, undefined, {}]) {
      await assert.rejects(fabric.load(path as string), { name: "TypeError", message: /to be a string or a URL/ });
      await assert.rejects(fabric.save(path as string, {}), TypeError);
    }
    assert.throws(() => fileSystemOf(new URL("s3://bucket/100%.ckpt")), { name: "CheckpointError", code: "EINVAL" });
  });
  it("are shown without user, password, query and fragment", () => {
    const shown: [string, string][] = [
      ["https://ann:pa@ss@host:8/a/b?sig=1#x", "https://host:8/a/b"],
      ["s3://key:secret@bucket/a@b", "s3://bucket/a@b"],
      ["http://host?x=1", "http://host"],
      ["http://u@host", "http://host"],
      ["a/b?c#d@e", "a/b?c#d@e"],
      ["", ""],
    ];
    for (const [path, expected] of shown) assert.equal(shownAddress(path), expected);
    assert.deepEqual(["S3://a", "a/b", "a://", "x+y.z-1://"].map(schemeOf), ["s3", null, null, "x+y.z-1"]);
  });
});

describe("the file system of this machine", () => {
  const local = new LocalFileSystem();
  it("lists, describes and removes", async () => {
    const root = join(folder, "local");
    const file = await local.openWrite(join(root, "deep", "a.txt"));
    await file.write(Buffer.from("abc"));
    assert.deepEqual(await local.list(join(root, "deep", "none")), []);
    await file.commit();
    writeFileSync(join(root, "b.txt"), "12345");
    symlinkSync("nowhere", join(root, "dangling"));
    const found = await local.list(root);
    assert.deepEqual(
      found.map(({ name, isFolder, size }) => [name, isFolder, size]),
      [
        ["b.txt", false, 5],
        ["deep", true, 0],
      ],
    );
    assert.equal((await local.stat(pathToFileURL(join(root, "b.txt")).href))?.size, 5);
    assert.equal(await local.stat(join(root, "b.txt", "below")), null);
    const reader = await local.openRead(join(root, "deep", "a.txt"));
    assert.equal(Buffer.from(await reader.read(1, 2)).toString(), "bc");
    await reader.close();
    await local.remove(root);
    await local.remove(root);
    assert.equal(await local.stat(root), null);
  });
  it("leaves nothing of a file that is given up", async () => {
    const path = join(folder, "given-up", "a.txt");
    const file = await local.openWrite(path);
    await file.write(Buffer.alloc(100_000));
    await file.abort();
    await file.abort();
    assert.deepEqual(await local.list(join(folder, "given-up")), []);
  });
});

describe("the AWS SDK", () => {
  it("that is not installed is an error that says what to type", () => {
    // A copy of the packages, without what else is installed beside them.
    const root = join(folder, "bare");
    const modules = join(root, "node_modules", "@fabric-ts");
    mkdirSync(modules, { recursive: true });
    const here = fileURLToPath(new URL("../../", import.meta.url));
    cpSync(join(here, "bundle"), join(modules, "fabric", "bundle"), { recursive: true });
    cpSync(join(here, "package.json"), join(modules, "fabric", "package.json"));
    symlinkSync(realpathSync(join(here, "../torch")), join(modules, "torch"));
    const script = join(root, "save.mjs");
    writeFileSync(
      script,
      `import { Fabric } from "@fabric-ts/fabric";
       await new Fabric({ accelerator: "cpu" }).save("s3://bucket/x.ckpt", { a: 1 }).catch((error) => console.log(error.name, error.message));`,
    );
    const { stdout, stderr } = spawnSync(process.execPath, [script], { encoding: "utf8" });
    const expected =
      "NotSupportedError Paths that begin with s3:// need the package @aws-sdk/client-s3, which is not installed.\nType `npm install @aws-sdk/client-s3`.\n";
    assert.equal(stdout, expected, stderr);
  });
});
