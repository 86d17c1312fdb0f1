// Checkpoints in an object store: a real S3-compatible server, with faults in between.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { after, before, beforeEach, describe, it } from "node:test";
import {
  AsyncCheckpointIO,
  CheckpointError,
  Fabric,
  fileSystemOf,
  lazyLoad,
  ModelCheckpoint,
  materializeTensors,
  registerFileSystem,
  S3FileSystem,
  type S3FileSystemOptions,
} from "@fabric-ts/fabric";
import * as torch from "@fabric-ts/torch";
import { nn, optim } from "@fabric-ts/torch";
import { S3Server } from "../support/s3-server.js";

const server = new S3Server();
let endpoint = "";
const secretAccessKey = "S3RVER";
const options = (): S3FileSystemOptions => ({
  endpoint,
  credentials: { accessKeyId: "S3RVER", secretAccessKey },
  timeout: 10_000,
});
before(async () => {
  endpoint = await server.start();
  registerFileSystem("s3", () => new S3FileSystem(options()), { override: true });
});
after(() => server.stop());
beforeEach(() => {
  server.requests.length = 0;
  server.fault = () => null;
});

const fabric = new Fabric({ accelerator: "cpu" });
const large = () => ({ big: torch.arange(2_200_000).to("int64"), step: 1 });
const isLarge = (big: torch.Tensor): boolean => big.sum().item() === (2_200_000 * 2_199_999) / 2;
const stat = (path: string) => fileSystemOf(path).fileSystem.stat(path);
const names = async (path: string): Promise<string[]> =>
  (await fileSystemOf(path).fileSystem.list(path)).map(({ name, isFolder }) => (isFolder ? `${name}/` : name));

describe("a checkpoint in an object store", () => {
  it("is saved and loaded by fabric.save, load and loadRaw", async () => {
    const net = new nn.Linear(2, 1);
    const optimizer = new optim.Adam(net.parameters());
    net(torch.ones([2]))
      .sum()
      .backward();
    optimizer.step();
    const state = { net, optimizer, step: 7 };
    await fabric.save("s3://bucket/runs/last.ckpt", state);
    const other = new nn.Linear(2, 1);
    const loaded = { net: other, optimizer: new optim.Adam(other.parameters()), step: 0 };
    assert.deepEqual(await fabric.load("s3://bucket/runs/last.ckpt", loaded), {});
    assert.equal(loaded.step, 7);
    assert.deepEqual(other.weight.tolist(), net.weight.tolist());
    await fabric.save("s3://bucket/runs/bare.safetensors", net.stateDict());
    const third = new nn.Linear(2, 1);
    await fabric.loadRaw(new URL("s3://bucket/runs/bare.safetensors"), third);
    assert.deepEqual(third.weight.tolist(), net.weight.tolist());
    assert.deepEqual(await names("s3://bucket/runs"), ["bare.safetensors", "last.ckpt"]);
  });

  it("goes in parts when it is large, and comes in parts", async () => {
    await fabric.save("s3://bucket/large.ckpt", large());
    assert.equal(server.count("PUT part"), 3);
    assert.equal(server.count("POST complete"), 1);
    assert.equal(server.count("PUT"), 0);
    const { big } = (await fabric.load("s3://bucket/large.ckpt")) as { big: torch.Tensor };
    assert.ok(isLarge(big));
    assert.ok(server.count("GET") >= 4, String(server.count("GET")));
  });

  it("goes in one request when it is small", async () => {
    await fabric.save("s3://bucket/small.ckpt", { step: 1 });
    assert.deepEqual(
      server.requests.map(({ what }) => what),
      ["PUT"],
    );
  });

  it("is replaced as a whole", async () => {
    await fabric.save("s3://bucket/again.ckpt", { step: 1 });
    await fabric.save("s3://bucket/again.ckpt", { step: 2 });
    assert.equal(((await fabric.load("s3://bucket/again.ckpt")) as { step: number }).step, 2);
  });

  it("is read tensor by tensor when it is loaded lazily", async () => {
    await fabric.save("s3://bucket/lazy.ckpt", { ...large(), weight: torch.tensor([1, 2]) });
    server.requests.length = 0;
    const lazy = (await lazyLoad("s3://bucket/lazy.ckpt")) as { big: torch.Tensor; weight: torch.Tensor };
    assert.deepEqual((await materializeTensors(lazy.weight)).tolist(), [1, 2]);
    assert.ok(server.count("GET") <= 4);
    await materializeTensors(lazy);
    assert.ok(isLarge(lazy.big));
  });

  it("is saved in the background, from a copy", async () => {
    const io = new AsyncCheckpointIO();
    const mine = new Fabric({ accelerator: "cpu", plugins: [io] });
    const weight = torch.zeros([2_000_000]);
    await mine.save("s3://bucket/background.ckpt", { weight });
    weight.fill_(1);
    await io.flush();
    const loaded = (await fabric.load("s3://bucket/background.ckpt")) as { weight: torch.Tensor };
    assert.equal(loaded.weight.sum().item(), 0);
  });

  it("is copied before save returns to the caller", async () => {
    const weight = torch.zeros([2_000_000]);
    const saving = fabric.save("s3://bucket/copied.ckpt", { weight });
    await new Promise(setImmediate);
    weight.fill_(1);
    await saving;
    const loaded = (await fabric.load("s3://bucket/copied.ckpt")) as { weight: torch.Tensor };
    assert.equal(loaded.weight.sum().item(), 0);
  });

  it("is removed, also a folder of them and nothing beside it", async () => {
    for (const key of ["f/a", "f/b", "f/c/d", "f2/a", "f.ckpt"]) await fabric.save(`s3://bucket/${key}`, { a: 1 });
    const { checkpointIO } = fabric.strategy;
    await checkpointIO.removeCheckpoint("s3://bucket/f/a");
    await checkpointIO.removeCheckpoint("s3://bucket/f/none");
    assert.deepEqual(await names("s3://bucket/f"), ["b", "c/"]);
    await checkpointIO.removeCheckpoint("s3://bucket/f");
    assert.deepEqual(await names("s3://bucket/f"), []);
    assert.deepEqual(await names("s3://bucket/f2/"), ["a"]);
    assert.ok(await stat("s3://bucket/f.ckpt"));
    await assert.rejects(checkpointIO.removeCheckpoint("s3://bucket"), { code: "EPERM", message: /whole bucket/ });
    await assert.rejects(checkpointIO.removeCheckpoint("s3://bucket/"), { code: "EPERM" });
  });

  it("is described by stat, as are folders, empty objects and what is not there", async () => {
    await fabric.save("s3://other/x/y.ckpt", { a: 1 });
    const found = await stat("s3://other/x/y.ckpt");
    assert.ok(found && found.size > 0 && !found.isFolder && found.modified instanceof Date);
    const folder = { path: "s3://other/x", name: "x", isFolder: true, size: 0, modified: null };
    assert.deepEqual(await stat("s3://other/x"), folder);
    assert.equal(await stat("s3://other/z"), null);
    assert.equal((await stat("s3://other"))?.isFolder, true);
    const { fileSystem } = fileSystemOf("s3://other/empty");
    await (await fileSystem.openWrite("s3://other/empty")).commit();
    // The answer of other stores: this one does not answer at all.
    server.fault = ({ what }) => (what === "GET" ? { status: 416, code: "InvalidRange" } : null);
    assert.equal((await fileSystem.openRead("s3://other/empty")).size, 0);
    await assert.rejects(fabric.load("s3://other/empty"), { code: "ERR_CHECKPOINT_DAMAGED" });
  });

  it("may be a folder of several ranks", async () => {
    const { fileSystem } = fileSystemOf("s3://bucket/sharded");
    const fixtures = new URL("../../../torch/test/serialization/fixtures/sharded/two-ranks/", import.meta.url);
    for (const name of readdirSync(fixtures)) {
      const file = await fileSystem.openWrite(`s3://bucket/sharded/${name}`);
      await file.write(readFileSync(new URL(name, fixtures)));
      await file.commit();
    }
    const { epoch, model } = (await fabric.load("s3://bucket/sharded")) as { epoch: number; model: nn.StateDict };
    assert.deepEqual([epoch, model["0.weight"]?.shape], [5, [3, 4]]);
  });

  it("may have any name", async () => {
    const path = "s3://bucket/\u00e4 b+c&d=e?f#g/%41.ckpt";
    await fabric.save(path, { step: 5 });
    assert.equal(((await fabric.load(path)) as { step: number }).step, 5);
    assert.deepEqual(await names("s3://bucket/\u00e4 b+c&d=e?f#g"), ["%41.ckpt"]);
  });
});

describe("ModelCheckpoint", () => {
  it("keeps its files in an object store, and goes on from the newest", async () => {
    const keeper = (): ModelCheckpoint =>
      new ModelCheckpoint({ dirpath: "s3://bucket/keeper", everyNTrainSteps: 1, saveTopK: 2, state });
    const state = { step: 0 };
    const mine = new Fabric({ accelerator: "cpu", callbacks: keeper() });
    for (state.step = 1; state.step <= 3; state.step++)
      await mine.call("onTrainBatchEnd", { fabric: mine, step: state.step, batchIdx: 0 });
    assert.deepEqual(await names("s3://bucket/keeper"), ["step=2.ckpt", "step=3.ckpt"]);
    const latest = await ModelCheckpoint.latest("s3://bucket/keeper", { fabric: mine });
    assert.equal(latest, "s3://bucket/keeper/step=3.ckpt");
    await mine.load(latest as string, state);
    assert.equal(state.step, 3);
    // Another run with the same folder does not write over what is there.
    const other = new Fabric({ accelerator: "cpu", callbacks: keeper() });
    await other.call("onTrainBatchEnd", { fabric: other, step: 3, batchIdx: 0 });
    assert.deepEqual(await names("s3://bucket/keeper"), ["step=2.ckpt", "step=3-v1.ckpt", "step=3.ckpt"]);
    assert.equal(await ModelCheckpoint.latest("s3://bucket/nothing", { fabric: mine }), null);
  });
});

describe("saving that fails leaves what was there:", () => {
  const path = "s3://bucket/kept.ckpt";
  const fails = async (state: object, code: string, fault: S3Server["fault"]): Promise<string> => {
    await fabric.save(path, { step: 0 });
    server.requests.length = 0;
    server.fault = fault;
    return await fabric.save(path, state).then(
      () => assert.fail("it was saved"),
      (error: unknown) => {
        assert.ok(error instanceof CheckpointError, String(error));
        assert.equal(error.code, code, error.message);
        return error.message;
      },
    );
  };
  const unchanged = async (): Promise<void> => {
    server.fault = () => null;
    assert.equal(((await fabric.load(path)) as { step: number }).step, 0);
  };

  it("a part is refused", async () => {
    const message = await fails(large(), "EACCES", ({ what }, count) =>
      what === "PUT part" && count > 0 ? { status: 403, code: "AccessDenied" } : null,
    );
    assert.match(message, /^s3:\/\/bucket\/kept\.ckpt cannot be written: the store answered 403 AccessDenied/);
    assert.equal(server.count("DELETE upload"), 1);
    assert.equal(server.count("POST complete"), 0);
    await unchanged();
  });
  it("the end is refused", async () => {
    const message = await fails(large(), "EIO", ({ what }) =>
      what === "POST complete" ? { status: 400, code: "InvalidPart" } : null,
    );
    assert.match(message, /400 InvalidPart/);
    assert.equal(server.count("DELETE upload"), 1);
    await unchanged();
  });
  it("the whole object is refused", async () => {
    await fails({ step: 1 }, "EACCES", ({ what }) =>
      what === "PUT" ? { status: 403, code: "InvalidAccessKeyId" } : null,
    );
    await unchanged();
  });
  it("connections are reset forever", async () => {
    await fails(large(), "ECONNRESET", ({ what }) => (what === "PUT part" ? "reset" : null));
    await unchanged();
  });
  it("a value that cannot be saved is a TypeError before anything is sent", async () => {
    await assert.rejects(fabric.save(path, { f: () => 1 }), TypeError);
    assert.equal(server.count("PUT part") + server.count("DELETE upload"), 0);
  });
  it("an upload that is aborted twice, or written to afterwards", async () => {
    const { fileSystem } = fileSystemOf(path);
    const file = await fileSystem.openWrite("s3://bucket/aborted.ckpt");
    await file.write(Buffer.alloc(9 << 20));
    await file.abort();
    await file.abort();
    await assert.rejects(file.write(Buffer.alloc(1)), { name: "UsageError", message: /has ended/ });
    await assert.rejects(file.commit(), { name: "UsageError" });
    assert.equal(await stat("s3://bucket/aborted.ckpt"), null);
    assert.equal(server.count("DELETE upload"), 1);
  });
});

describe("what breaks off is tried again:", () => {
  it("parts, and an end whose answer is lost", async () => {
    server.fault = ({ what }, count) => {
      if (what === "PUT part" && count < 1) return { status: 503, code: "SlowDown" };
      return what === "POST complete" && count < 1 ? "lost answer" : null;
    };
    await fabric.save("s3://bucket/tried.ckpt", large());
    server.fault = () => null;
    const { big } = (await fabric.load("s3://bucket/tried.ckpt")) as { big: torch.Tensor };
    assert.ok(isLarge(big));
  });
  it("ranges that end early", async () => {
    await fabric.save("s3://bucket/cut.ckpt", large());
    server.fault = ({ what }, count) => (what === "GET" && count % 2 === 0 ? "cut" : null);
    const { big } = (await fabric.load("s3://bucket/cut.ckpt")) as { big: torch.Tensor };
    assert.ok(isLarge(big));
  });
});

describe("what does not work is an error that says why:", () => {
  const failure = async (path: string): Promise<CheckpointError> => {
    const error = await fabric.load(path).then(
      () => assert.fail("it was loaded"),
      (caught: unknown) => caught,
    );
    assert.ok(error instanceof CheckpointError, String(error));
    return error;
  };
  it("no such object, bucket or address", async () => {
    const missing = await failure("s3://bucket/none.ckpt");
    assert.equal(missing.code, "ENOENT");
    assert.match(missing.message, /^Checkpoint file not found: s3:\/\/bucket\/none\.ckpt/);
    const bucket = await failure("s3://nowhere/none.ckpt");
    assert.deepEqual([bucket.code, /no such bucket/.test(bucket.message)], ["ENOENT", true]);
    await assert.rejects(fabric.save("s3://nowhere/x.ckpt", {}), { code: "ENOENT", message: /no such bucket/ });
    await assert.rejects(fabric.save("s3://bucket/folder/", {}), { code: "EISDIR", message: /Add the name of a file/ });
    await assert.rejects(fabric.save("s3://", {}), { code: "EINVAL", message: /names no bucket/ });
  });
  it("an object that changes while it is read", async () => {
    await fabric.save("s3://bucket/changing.ckpt", large());
    const file = await fileSystemOf("s3://bucket/changing.ckpt").fileSystem.openRead("s3://bucket/changing.ckpt");
    await fabric.save("s3://bucket/changing.ckpt", { ...large(), step: 2 });
    await assert.rejects(file.read(file.size - 100, 100), {
      code: "ERR_CHECKPOINT_DAMAGED",
      message: /changed while it was read/,
    });
  });
  it("a store that ends every answer early", async () => {
    await fabric.save("s3://bucket/short.ckpt", { step: 1 });
    server.fault = ({ what }) => (what === "GET" ? "cut" : null);
    const error = await failure("s3://bucket/short.ckpt");
    assert.equal(error.code, "EIO");
    assert.match(error.message, /failed 4 times/);
  });
  it("a store that says nothing", async () => {
    registerFileSystem("quiet", () => new S3FileSystem({ ...options(), timeout: 200 }), { override: true });
    server.fault = () => "silence";
    const error = await failure("quiet://bucket/x.ckpt");
    assert.match(error.message, /quiet:\/\/bucket\/x\.ckpt cannot be read/);
  });
  it("keys and signatures are in no error", async () => {
    server.fault = () => ({ status: 403, code: "SignatureDoesNotMatch" });
    const error = await failure("s3://bucket/x.ckpt?X-Amz-Signature=5ecret");
    let text = "";
    for (let at: unknown = error; at instanceof Error; at = at.cause)
      text += `${at.message}\n${at.stack}\n${JSON.stringify(at)}`;
    assert.equal(error.code, "EACCES");
    assert.doesNotMatch(text, /AKIA|5ecret|X-Amz/);
    assert.match(text, /Check the credentials/);
  });
});

describe("a client of one's own", () => {
  it("is used, and options are checked", async () => {
    const sent: string[] = [];
    const client = {
      async send(command: object): Promise<object> {
        sent.push(command.constructor.name);
        return {};
      },
    };
    const mine = new S3FileSystem({ client });
    const file = await mine.openWrite("s3://b/k");
    await file.write(Buffer.from("x"));
    await file.commit();
    assert.deepEqual(sent, ["PutObjectCommand"]);
    assert.throws(() => new S3FileSystem({ endPoint: "x" } as never), /no option `endPoint`.*Did you mean `endpoint`/s);
  });
});
