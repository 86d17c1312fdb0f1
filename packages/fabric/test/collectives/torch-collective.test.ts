// Collectives as objects, without Fabric: on two processes, and what one process shows.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { afterEach, before, describe, it, mock } from "node:test";
import { fileURLToPath } from "node:url";
import { Collective, SingleDeviceCollective, TorchCollective } from "@fabric-ts/fabric";
import * as torch from "@fabric-ts/torch";
import { distributed, type Tensor } from "@fabric-ts/torch";
import { native } from "../../../torch/dist/native.js";
import { freePort } from "../launchers/job.js";
import { cleanEnvironment } from "../support/run-ranks.js";

/** Runs a program of test/ranks as two processes that are told their places; gives what they reported. */
async function runAlone<T>(name: string): Promise<T[]> {
  const script = fileURLToPath(new URL(`../ranks/${name}.js`, import.meta.url));
  const port = String(await freePort());
  const run = async (rank: string): Promise<T> => {
    const env = { ...cleanEnvironment(), RANK: rank, WORLD_SIZE: "2", TEST_PORT: port, OMP_NUM_THREADS: "1" };
    const child = spawn(process.execPath, [script], { env, stdio: ["ignore", "pipe", "pipe"], timeout: 60_000 });
    let output = "";
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding("utf8").on("data", (text) => (output += text));
    const code = await new Promise((resolve) => child.on("close", resolve));
    const json = /^REPORT \d+ (.*)$/m.exec(output)?.[1];
    assert.ok(code === 0 && json !== undefined, `rank ${rank} ended with ${code}\n${output}`);
    return JSON.parse(json) as T;
  };
  return await Promise.all([run("0"), run("1")]);
}

interface Report {
  setup: { environment: boolean; place: unknown[]; manages: boolean };
  calls: Record<string, unknown> & { wrong: string };
  groups: Record<string, unknown> & Record<"twice" | "outside" | "nothing" | "without", string | null>;
  again: unknown;
}

describe("TorchCollective on two processes", () => {
  let ranks: Report[];
  before(async () => {
    ranks = await runAlone<Report>("torch-collective");
  });

  it("connects once, and leaves the environment as it was", () => {
    for (const [rank, { setup }] of ranks.entries()) {
      assert.deepEqual(setup, { environment: true, place: [rank, 2, rank, true], manages: true });
    }
  });
  it("makes every call in place", () => {
    for (const [rank, { calls }] of ranks.entries()) {
      const { wrong, ...rest } = calls;
      assert.deepEqual(rest, {
        nothing: true,
        returned: [true, true, true, true, true],
        filled: [1, rank + 1, 2 * (rank + 1)],
        broadcast: [1],
        sum: [true, [3]],
        max: [1],
        reduced: rank === 1 ? [6] : null,
        inPlace: true,
        gathered: [[0], [1]],
        onOne: rank === 1 ? [[5], [6]] : [],
        scattered: [rank + 1],
        parts: [rank === 0 ? 1 : 10],
        exchanged: [true, rank === 0 ? [[0], [1]] : [[10], [11]]],
        received: [rank === 1 ? 7 : 0],
        objects: [{ rank: 0 }, { rank: 1 }],
        sent: ["a", { b: 1 }],
        collected: rank === 0 ? ["from 0", "from 1"] : [],
        distributed: [rank === 0 ? "x" : "y"],
      });
      assert.match(wrong, /^ConfigurationError: op "median" is not a member of `ReduceOp`/);
    }
  });
  it("owns a group, and ends that of all processes with the last one", () => {
    for (const [rank, { groups }] of ranks.entries()) {
      const { twice, outside, nothing, without, ...rest } = groups;
      assert.deepEqual(rest, {
        place: [rank, 2, rank === 0 ? 0 : -1, rank === 0 ? 1 : -1],
        text: "hello",
        chained: true,
        between: true,
        after: [false, false],
      });
      assert.match(twice ?? "", /^UsageError: `TorchCollective` already owns a group\./);
      assert.equal(outside === null, rank === 0);
      if (outside) assert.match(outside, /this process is no member of it/);
      assert.match(nothing ?? "", /^UsageError: `TorchCollective` does not own a group to destroy\./);
      assert.match(
        without ?? "",
        /^UsageError: `TorchCollective` does not own a group\.\nCall `await TorchCollective.createGroup\(\)`/,
      );
    }
  });
  it("connects again, at the address of the environment where that has one, and forgets a group that somebody else has ended", () => {
    const expected = { sum: [2], kept: true, forgotten: false, initialized: false };
    for (const { again } of ranks) assert.deepEqual(again, expected);
  });
});

describe("TorchCollective in one process", () => {
  afterEach(() => {
    if (distributed.isInitialized()) distributed.destroyProcessGroup();
  });
  const collective = new TorchCollective();

  it("knows reductions in any case, and names what is none", () => {
    for (const name of ["sum", "avg", "product", "min", "max", "band", "bor", "bxor"]) {
      assert.equal(collective.convertToNativeOp(name.toUpperCase()), name);
    }
    assert.throws(() => collective.convertToNativeOp("INVALID"), {
      name: "ConfigurationError",
      message: /^op "INVALID" is not a member of `ReduceOp`\.\nUse one of sum, avg/,
    });
    assert.throws(
      () => collective.convertToNativeOp(1 as never),
      /^ConfigurationError: Unsupported op 1 of type number\./,
    );
    assert.throws(() => collective.convertToNativeOp("premul_sum"), /Multiply the tensor first/);
  });
  it("cannot be made where the engine has no library for several processes", () => {
    const engine = native() as unknown as { versions(): object };
    const versions = mock.method(engine, "versions", () => ({ gloo: false, nccl: false }));
    try {
      assert.throws(() => new TorchCollective(), {
        name: "UsageError",
        message:
          /^Torch distributed is not available\.\nThe addon was built without Gloo and NCCL: install Gloo's headers/,
      });
      assert.deepEqual([collective.isAvailable(), collective.isInitialized()], [false, false]);
    } finally {
      versions.mock.restore();
    }
  });
  it("has no group before it is connected", async () => {
    assert.throws(() => collective.group, /does not own a group/);
    await assert.rejects(collective.createGroup(), /has not been initialized/);
    assert.deepEqual([collective.isAvailable(), collective.isInitialized()], [true, false]);
  });
  it("says what it does not know", async () => {
    await assert.rejects(collective.setup({ worldSize: 2 }), /does not know the rank of this process\.\nPass it/);
    await assert.rejects(collective.setup({ rank: 0 }), /does not know the number of processes/);
    await assert.rejects(
      collective.setup({ rank: 0, worldSize: 2 }),
      /does not know where the processes meet\.\nPass a free port/,
    );
    await assert.rejects(
      collective.setup({ port: 1 } as never),
      /setup has no option `port`\.\nIt takes `mainAddress`, `mainPort`/,
    );
    const outside = { rank: 2, worldSize: 2, mainAddress: "127.0.0.1", mainPort: 1 };
    await assert.rejects(collective.setup(outside), /The rank of this process is 2 in a world of 2\./);
    assert.deepEqual([process.env.MASTER_ADDR, process.env.MASTER_PORT], [undefined, undefined]);
  });
  it("takes a store, and works alone", async () => {
    const store = new distributed.HashStore();
    assert.ok((await collective.setup({ rank: 0, worldSize: 1, store })) === collective);
    assert.deepEqual([collective.rank, collective.worldSize], [0, 1]);
    assert.ok(collective.group === distributed.getDefaultGroup());
    assert.deepEqual((await collective.allReduce(torch.ones([1]))).tolist(), [1]);
    assert.ok((await collective.teardown()) === collective);
    assert.equal(distributed.isInitialized(), false);
  });
  it("may be torn down after a group whose end has ended everything, once", async () => {
    const world = await new TorchCollective().setup({ rank: 0, worldSize: 1, store: new distributed.HashStore() });
    const part = await new TorchCollective().createGroup({ ranks: [0] });
    await part.teardown();
    assert.equal(distributed.isInitialized(), false);
    assert.ok((await world.teardown()) === world);
    await assert.rejects(world.teardown(), /does not own a group to destroy/);
  });
  it("ends groups that there are, and no others", async () => {
    await collective.setup({ rank: 0, worldSize: 1, store: new distributed.HashStore() });
    const group = await collective.newGroup({ ranks: [0] });
    assert.equal(distributed.getGroups().length, 2);
    for (const one of [group, group, null]) collective.destroyGroup(one);
    assert.equal(distributed.getGroups().length, 1);
    await collective.teardown();
  });
  it("leaves a group of all processes alone that is not its own", async () => {
    await distributed.initProcessGroup({ rank: 0, worldSize: 1, store: new distributed.HashStore() });
    const other = await new TorchCollective().setup();
    await other.createGroup();
    await other.teardown();
    assert.equal(distributed.isInitialized(), true);
  });
});

it("SingleDeviceCollective has everything at once", async () => {
  const collective = await new SingleDeviceCollective().setup();
  const x = torch.ones([2]);
  assert.deepEqual([collective.rank, collective.worldSize], [0, 1]);
  assert.deepEqual([collective.isAvailable(), collective.isInitialized()], [true, true]);
  const same = [collective.broadcast(x), collective.allReduce(x), collective.reduce(x), collective.recv(x)];
  for (const result of await Promise.all(same)) assert.ok(result === x);
  assert.deepEqual([await collective.allGather([], x), await collective.gather(x)], [[x], [x]]);
  const other = torch.zeros([2]);
  assert.ok((await collective.scatter(other, [x])) === x);
  assert.ok((await collective.reduceScatter(other, [x])) === x);
  const inputs = [x];
  assert.ok((await collective.allToAll([], inputs)) === inputs);
  assert.deepEqual([await collective.send(), await collective.barrier()], [undefined, undefined]);
  assert.throws(() => collective.group, /^UsageError: `SingleDeviceCollective` does not own a group\./);
  const owner = await collective.createGroup();
  assert.equal(typeof owner.group, "object");
  await assert.rejects(collective.createGroup(), /already owns a group/);
  assert.ok((await owner.teardown()) === collective);
  await assert.rejects(collective.teardown(), /`SingleDeviceCollective` does not own a group to destroy\./);
});

it("a Collective of one's own is set up once, with the options that it is given", async () => {
  const seen: unknown[] = [];
  class Own extends Collective<string> {
    #isConnected = false;
    rank = 0;
    worldSize = 1;
    broadcast = async (tensor: Tensor) => tensor;
    allReduce = this.broadcast;
    reduce = this.broadcast;
    allGather = async (tensors: Tensor[]) => tensors;
    gather = async () => [];
    scatter = this.broadcast;
    reduceScatter = this.broadcast;
    allToAll = this.allGather;
    send = async () => {};
    recv = this.broadcast;
    barrier = async () => {};
    isAvailable = () => true;
    isInitialized = () => this.#isConnected;
    initGroup = async (options?: object) => {
      seen.push(["init", options]);
      this.#isConnected = true;
    };
    newGroup = async (options?: object) => {
      seen.push(["new", options]);
      return "group";
    };
    destroyGroup = (group: string) => void seen.push(["destroy", group]);
    convertToNativeOp = (op: string) => op;
  }
  const own = await new Own().setup({ a: 1 });
  await own.setup({ a: 2 });
  await own.createGroup({ b: 3 });
  assert.equal(own.group, "group");
  await own.teardown();
  assert.deepEqual(seen, [
    ["init", { a: 1 }],
    ["new", { b: 3 }],
    ["destroy", "group"],
  ]);
});
