// Checkpoints on web servers: read by ranges or as a whole, again where a connection breaks off, and never wrong.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createServer } from "node:net";
import { after, before, beforeEach, describe, it } from "node:test";
import {
  CheckpointError,
  Fabric,
  fileSystemOf,
  HttpFileSystem,
  lazyLoad,
  materializeTensors,
  registerFileSystem,
} from "@fabric-ts/fabric";
import * as torch from "@fabric-ts/torch";
import { nn, serialization } from "@fabric-ts/torch";
import { FileServer, type ServedFile } from "../support/file-server.js";

const server = new FileServer();
let address = "";
before(async () => {
  address = await server.start();
  registerFileSystem("http", new HttpFileSystem({ timeout: 300 }), { override: true });
});
after(() => server.stop());
beforeEach(() => {
  server.files.clear();
  server.requests.length = 0;
  server.sent = 0;
});

const fabric = new Fabric({ accelerator: "cpu" });
const small = serialization.serialize({ step: 3, weight: torch.tensor([1, 2]) });
const large = serialization.serialize({
  big: torch.arange(3_000_000).to("int64"),
  weight: torch.tensor([1, 2]),
});

/** Serves a file; returns its address. */
function serve(name: string, file: ServedFile | Uint8Array): string {
  server.files.set(name, file instanceof Uint8Array ? { bytes: file } : file);
  return `${address}/${name}`;
}
const step = async (path: string): Promise<unknown> => ((await fabric.load(path)) as { step: number }).step;

describe("a checkpoint on a web server", () => {
  it("is loaded by fabric.load, into objects too, and by loadRaw", async () => {
    assert.equal(await step(serve("a.ckpt", small)), 3);
    assert.equal(await step(new URL(serve("a.ckpt", small)) as unknown as string), 3);
    const state = { step: 0, weight: torch.zeros([2]) };
    await fabric.load(serve("a.ckpt", small), state);
    assert.deepEqual([state.step, state.weight.tolist()], [3, [1, 2]]);
    const [from, to] = [new nn.Linear(2, 1), new nn.Linear(2, 1)];
    await fabric.loadRaw(serve("raw.pt", serialization.serialize(from.stateDict())), to);
    assert.deepEqual(to.weight.tolist(), from.weight.tolist());
    const bytes = torch.safetensors.save(from.stateDict());
    await fabric.loadRaw(serve("model.safetensors", bytes), to);
    assert.deepEqual(to.bias?.tolist(), from.bias?.tolist());
  });

  it("takes one request when it is small", async () => {
    await step(serve("a.ckpt", small));
    assert.deepEqual(
      server.requests.map(({ range }) => range),
      ["bytes=0-1048575"],
    );
  });

  it("is read in parts when it is large, each byte about once", async () => {
    const { big } = (await fabric.load(serve("a.ckpt", large))) as { big: torch.Tensor };
    assert.equal(big.sum().item(), (3_000_000 * 2_999_999) / 2);
    assert.ok(server.requests.length > 4, String(server.requests.length));
    assert.ok(server.sent < large.length + (3 << 20), `${server.sent} of ${large.length}`);
  });

  it("is read as a whole where the server knows no ranges", async () => {
    assert.equal(await step(serve("a.ckpt", { bytes: small, ranges: false })), 3);
    const { big } = (await fabric.load(serve("b.ckpt", { bytes: large, ranges: false }))) as { big: torch.Tensor };
    assert.equal(big.shape[0], 3_000_000);
    assert.equal(server.requests.length, 2);
  });

  it("is read tensor by tensor when it is loaded lazily", async () => {
    const lazy = (await lazyLoad(serve("a.ckpt", large))) as { big: torch.Tensor; weight: torch.Tensor };
    assert.deepEqual(lazy.big.shape, [3_000_000]);
    assert.throws(() => lazy.weight.add(1), { name: "UsageError", message: /await materializeTensors/ });
    await materializeTensors(lazy.weight);
    assert.deepEqual(lazy.weight.tolist(), [1, 2]);
    assert.ok(server.sent < 4 << 20, `${server.sent} bytes for a small tensor`);
    await materializeTensors(lazy);
    assert.equal(lazy.big.select(0, 7).item(), 7);
  });

  it("is described by stat", async () => {
    const { fileSystem, path } = fileSystemOf(
      serve("a.ckpt", { bytes: small, modified: "Wed, 21 Oct 2015 07:28:00 GMT" }),
    );
    assert.deepEqual(await fileSystem.stat(path), {
      path,
      name: "a.ckpt",
      isFolder: false,
      size: small.length,
      modified: new Date("2015-10-21T07:28:00Z"),
    });
    assert.equal(await fileSystem.stat(`${address}/none`), null);
    assert.equal((await fileSystem.stat(serve("empty", new Uint8Array())))?.size, 0);
  });

  it("may be elsewhere", async () => {
    assert.equal(await step(serve("old", { bytes: small, movedTo: serve("new", small) })), 3);
  });

  it("that is empty is damaged, not endless", async () => {
    await assert.rejects(step(serve("empty", new Uint8Array())), {
      code: "ERR_CHECKPOINT_DAMAGED",
      message: /is empty/,
    });
  });
});

describe("what breaks off is tried again:", () => {
  const faults: [string, ServedFile["fault"]][] = [
    ["an answer that ends early", (n) => (n < 2 ? { cutAfter: 50 } : null)],
    ["an answer that ends before it begins", (n) => (n < 2 ? { cutAfter: 0 } : null)],
    ["a connection that is reset", (n) => (n < 2 ? "reset" : null)],
    ["503", (n) => (n < 3 ? { status: 503 } : null)],
    ["429", (n) => (n < 1 ? { status: 429 } : null)],
    ["500", (n) => (n < 1 ? { status: 500 } : null)],
    ["a server that says nothing", (n) => (n < 1 ? "silence" : null)],
    ["a server that stops in the middle", (n) => (n < 1 ? "stall" : null)],
  ];
  for (const [name, fault] of faults) {
    it(name, async () => {
      assert.equal(await step(serve("a.ckpt", { bytes: small, fault } as ServedFile)), 3);
      assert.ok(server.requests.length > 1);
    });
  }
  it("also in the middle of a large file", async () => {
    const fault: ServedFile["fault"] = (n) => (n % 2 === 1 ? { cutAfter: 1000 } : null);
    const { big } = (await fabric.load(serve("a.ckpt", { bytes: large, fault }))) as { big: torch.Tensor };
    assert.equal(big.sum().item(), (3_000_000 * 2_999_999) / 2);
  });
});

describe("what does not work is an error that says why:", () => {
  const failure = async (path: string): Promise<{ code: string; message: string }> => {
    try {
      await fabric.load(path);
    } catch (error) {
      assert.ok(error instanceof CheckpointError, String(error));
      return { code: error.code, message: error.message };
    }
    assert.fail("it was loaded");
  };
  const cases: [string, Partial<ServedFile> | null, string, RegExp][] = [
    ["404", null, "ENOENT", /^Checkpoint file not found: http:\/\/127\.0\.0\.1:\d+\/a\.ckpt\n.*answered 404/],
    ["410", { fault: () => ({ status: 410 }) }, "ENOENT", /^Checkpoint file not found/],
    ["403", { fault: () => ({ status: 403 }) }, "EACCES", /answered 403 Forbidden\n.*headers/],
    ["401", { secret: "x" }, "EACCES", /answered 401/],
    ["418", { fault: () => ({ status: 418 }) }, "EIO", /answered 418/],
    [
      "500 forever",
      { fault: () => ({ status: 500 }) },
      "EIO",
      /failed 4 times, at last because the server answered 500/,
    ],
    ["resets forever", { fault: () => "reset" }, "EIO", /failed 4 times, at last because .*(ECONNRESET|socket|closed)/],
    ["an end too early forever", { fault: () => ({ cutAfter: 60 }) }, "EIO", /failed 4 times/],
    ["silence forever", { fault: () => "silence" }, "EIO", /nothing came for 0\.3 s/],
    ["a stop in the middle forever", { fault: () => "stall" }, "EIO", /nothing came for 0\.3 s/],
  ];
  for (const [name, file, code, message] of cases) {
    it(name, async () => {
      const path = file === null ? `${address}/a.ckpt` : serve("a.ckpt", { bytes: small, ...file });
      const failed = await failure(path);
      assert.equal(failed.code, code);
      assert.match(failed.message, message);
    });
  }
  const changes: [string, Partial<ServedFile>][] = [
    ["another version in between", { etag: '"one"', fault: (n) => (n > 0 ? "changed" : null) }],
    ["a server that forgets ranges in between", { fault: (n) => (n > 0 ? "whole" : null) }],
    ["a server that sends another range", { fault: (n) => (n > 0 ? "other range" : null) }],
  ];
  for (const [name, file] of changes) {
    it(name, async () => {
      const failed = await failure(serve("a.ckpt", { bytes: large, ...file }));
      assert.equal(failed.code, "ERR_CHECKPOINT_DAMAGED");
      assert.match(failed.message, /changed while it was read/);
    });
  }
  it("no server at all", async () => {
    const unused = createServer();
    await new Promise<void>((resolve) => unused.listen(0, "127.0.0.1", resolve));
    const { port } = unused.address() as { port: number };
    await new Promise((resolve) => unused.close(resolve));
    const failed = await failure(`http://127.0.0.1:${port}/a.ckpt`);
    assert.equal(failed.code, "EIO");
    assert.match(failed.message, /ECONNREFUSED/);
  });
  it("an address that is none", async () => {
    for (const path of ["http://[/a.ckpt", "http://ann:100%@host/a.ckpt"])
      assert.match((await failure(path)).message, /no valid address/);
  });
  it("a file that was damaged on its way", async () => {
    const bytes = Buffer.from(small);
    bytes[bytes.indexOf(Buffer.from(new BigInt64Array([1n, 2n]).buffer))] = 3;
    const failed = await failure(serve("a.ckpt", bytes));
    assert.equal(failed.code, "ERR_CHECKPOINT_DAMAGED");
    assert.match(failed.message, /checksum/);
  });
  it("writing", async () => {
    await assert.rejects(fabric.save(`${address}/a.ckpt`, { a: 1 }), {
      name: "NotSupportedError",
      message: /cannot be written: HttpFileSystem only reads files\.\nUse a path/,
    });
    const { fileSystem, path } = fileSystemOf(`${address}/a.ckpt`);
    await assert.rejects(fileSystem.list(path), { name: "NotSupportedError" });
    await assert.rejects(fileSystem.remove(path), { name: "NotSupportedError" });
  });
});

describe("a connection that was given up", () => {
  it("does not keep the process alive", async () => {
    const fault: ServedFile["fault"] = (n) => (n % 2 === 0 ? "silence" : "stall");
    const path = serve("a.ckpt", { bytes: small, fault });
    const script = `
      import { Fabric, HttpFileSystem, registerFileSystem } from ${JSON.stringify(import.meta.resolve("@fabric-ts/fabric"))};
      registerFileSystem("http", new HttpFileSystem({ timeout: 100 }), { override: true });
      await new Fabric({ accelerator: "cpu" }).load(${JSON.stringify(path)}).catch((error) => console.log(error.code));`;
    const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
      stdio: ["ignore", "pipe", "ignore"],
    });
    const tooLong = setTimeout(() => child.kill("SIGKILL"), 30_000);
    let output = "";
    child.stdout.on("data", (text) => (output += text));
    const code = await new Promise((resolve) => child.on("close", resolve));
    clearTimeout(tooLong);
    assert.deepEqual([output, code], ["EIO\n", 0]);
  });
});

describe("credentials", () => {
  const secret = `Basic ${Buffer.from("ann:s3cret").toString("base64")}`;
  it("in the address are sent, but never shown", async () => {
    serve("a.ckpt", { bytes: small, secret });
    const path = address.replace("//", "//ann:s3cret@");
    assert.equal(await step(`${path}/a.ckpt?signature=abc`), 3);
    assert.equal(server.requests[0]?.headers.authorization, secret);
    server.files.set("bad", { bytes: small, fault: () => ({ status: 500 }) });
    server.files.set("broken", { bytes: Buffer.from("no checkpoint") });
    for (const name of ["none", "bad", "broken"]) {
      await assert.rejects(fabric.load(`${path}/${name}?signature=abc`), (error: Error) => {
        let text = "";
        for (let at: unknown = error; at instanceof Error; at = at.cause) text += `${at.message}\n${at.stack}\n`;
        assert.doesNotMatch(text, /s3cret|signature|abc/);
        assert.match(text, new RegExp(`127\\.0\\.0\\.1:\\d+/${name}`));
        return true;
      });
    }
    await assert.rejects(fabric.save(`${path}/x?signature=abc`, {}), (error: Error) => {
      assert.doesNotMatch(error.message, /s3cret|signature/);
      return true;
    });
  });
  it("may be headers", async () => {
    serve("a.ckpt", { bytes: small, secret: "Bearer token" });
    const mine = new HttpFileSystem({ headers: { Authorization: "Bearer token" } });
    const file = await mine.openRead(`${address}/a.ckpt`);
    assert.equal(file.size, small.length);
    assert.throws(() => new HttpFileSystem({ header: {} } as never), /no option `header`.*Did you mean `headers`/s);
  });
});
