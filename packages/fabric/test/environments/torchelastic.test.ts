// Ranks that torchrun starts: its variables, and the file in which it looks for their errors.
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { TorchElasticEnvironment } from "../../dist/environments/torchelastic.js";
import { catchWarnings } from "../../dist/utilities/warnings.js";
import { isolateVariables, ranksOf, runCode, set, temporaryFolder } from "./support.js";

isolateVariables();

describe("TorchElasticEnvironment", () => {
  it("detects itself by TORCHELASTIC_RUN_ID, whatever its value", () => {
    assert.equal(TorchElasticEnvironment.detect(), false);
    set({ TORCHELASTIC_RUN_ID: "" });
    assert.equal(TorchElasticEnvironment.detect(), true);
    assert.equal(new TorchElasticEnvironment().createsProcessesExternally, true);
  });

  it("warns about a missing address and port and sets them", async () => {
    const environment = new TorchElasticEnvironment();
    const caught = await catchWarnings(() => [environment.mainAddress, environment.mainPort]);
    assert.deepEqual(
      caught.map(({ message }) => message),
      [
        "MASTER_ADDR environment variable is not defined. Set as localhost",
        "MASTER_PORT environment variable is not defined. Set as 12910",
      ],
    );
    assert.deepEqual([environment.mainAddress, environment.mainPort], ["127.0.0.1", 12910]);
    assert.deepEqual([process.env.MASTER_ADDR, process.env.MASTER_PORT], ["127.0.0.1", "12910"]);
  });

  it("reads address, port and ranks, ignores the setters, names missing variables", () => {
    set({ MASTER_ADDR: "m", MASTER_PORT: "500", WORLD_SIZE: "20", RANK: "1", LOCAL_RANK: "2", GROUP_RANK: "3" });
    const environment = new TorchElasticEnvironment();
    environment.setWorldSize(100);
    environment.setGlobalRank(100);
    assert.deepEqual([environment.mainAddress, environment.mainPort], ["m", 500]);
    assert.deepEqual(ranksOf(environment), [20, 1, 2, 3]);
    delete process.env.GROUP_RANK;
    assert.equal(environment.nodeRank(), 0);
    for (const [name, read] of [
      ["WORLD_SIZE", () => environment.worldSize()],
      ["RANK", () => environment.globalRank()],
      ["LOCAL_RANK", () => environment.localRank()],
    ] as const) {
      delete process.env[name];
      assert.throws(
        read,
        new RegExp(`The environment variable ${name} is not set, although torchrun should have set it`),
      );
    }
  });

  it("compares devices and machines with the world size", () => {
    set({ WORLD_SIZE: "8" });
    const environment = new TorchElasticEnvironment();
    environment.validateSettings(4, 2);
    assert.throws(
      () => environment.validateSettings(3, 2),
      /`devices: 3` and `numNodes: 2`.*\(3 \* 2 = 6\) does not match the world size \(8\)/,
    );
  });

  it("connects to the agent's store where there is one, and keeps attempts apart in it", () => {
    const environment = new TorchElasticEnvironment();
    assert.deepEqual([environment.isStoreHosted, environment.attempt], [false, "0"]);
    set({ TORCHELASTIC_USE_AGENT_STORE: "True", TORCHELASTIC_RESTART_COUNT: "2" });
    assert.deepEqual([environment.isStoreHosted, environment.attempt], [true, "2"]);
  });
});

describe("torchrun's error file", () => {
  const folder = temporaryFolder();
  const environment = 'new (await load("environments/torchelastic.js")).TorchElasticEnvironment();';
  const run = (code: string, file = join(folder.path, "error.json")) =>
    runCode(`${environment}\n${code}`, { TORCHELASTIC_RUN_ID: "1", TORCHELASTIC_ERROR_FILE: file });
  const read = () =>
    (
      JSON.parse(readFileSync(join(folder.path, "error.json"), "utf8")) as {
        message: { message: string; extraInfo: { py_callstack: string; timestamp: string } };
      }
    ).message;

  it("gets an uncaught error with its stack and its time, and Node prints it, too", () => {
    const before = Math.floor(Date.now() / 1000);
    const { status, stderr } = run('throw new RangeError("out of ideas");');
    assert.equal(status, 1);
    assert.match(stderr, /RangeError: out of ideas/);
    const { message, extraInfo } = read();
    assert.equal(message, "RangeError: out of ideas");
    assert.match(extraInfo.py_callstack, /^RangeError: out of ideas\n {4}at /);
    const time = Number(extraInfo.timestamp);
    assert.ok(time >= before && time <= Math.floor(Date.now() / 1000), extraInfo.timestamp);
  });

  it("gets rejected promises, and what is no Error", () => {
    assert.equal(run('void Promise.reject("text");').status, 1);
    assert.match(read().message, /text/);
  });

  it("dates an error that another rank's end causes after that", () => {
    const before = Math.floor(Date.now() / 1000);
    run('const { DistributedError } = await import("@fabric-ts/torch"); throw new DistributedError("a peer is gone");');
    assert.ok(Number(read().extraInfo.timestamp) >= before + 5);
  });

  it("is not written for errors that the program handles, nor when all goes well", () => {
    assert.equal(run('process.on("uncaughtException", () => process.exit(5)); throw new Error("handled");').status, 5);
    assert.equal(run("").status, 0);
    assert.equal(existsSync(join(folder.path, "error.json")), false);
  });

  it("that cannot be written is told, and the error is printed all the same", () => {
    const { status, stderr } = run('throw new Error("first");', join(folder.path, "no/such/error.json"));
    assert.equal(status, 1);
    assert.match(stderr, /could not be written for torchrun: ENOENT[\s\S]*Error: first/);
  });
});
