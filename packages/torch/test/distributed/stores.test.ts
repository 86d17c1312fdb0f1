// Stores, within one process.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { distributed, versions } from "@fabric-ts/torch";
import { isLoopback, listenersOf } from "../support/listeners.js";

async function useStore(store: distributed.Store): Promise<void> {
  await store.set("text", "gr\u00fc\u00df");
  assert.equal(await store.getText("text"), "gr\u00fc\u00df");
  await store.set("bytes", new Uint8Array([0, 255, 7]));
  assert.deepEqual([...(await store.get("bytes"))], [0, 255, 7]);
  assert.equal(await store.add("count", 3), 3);
  assert.equal(await store.add("count", -1), 2);
  assert.equal(await store.check(["text", "bytes"]), true);
  assert.equal(await store.check(["text", "absent"]), false);
  const waiting = store.getText("later");
  await store.set("later", "now");
  assert.equal(await waiting, "now");
}

test("a hash store holds texts, bytes and counters, and waits for keys", async () => {
  const store = new distributed.HashStore();
  await useStore(store);
  assert.equal(await store.deleteKey("text"), true);
  assert.equal(await store.check(["text"]), false);
});

// They have to stay as long as the process.
const waits = new Int32Array(4);

test("waits are counted where a launcher sees them", async () => {
  distributed.showWaiting(waits, 1);
  const store = new distributed.HashStore();
  const waiting = [store.get("one"), store.get("two")];
  while (waits[2] !== 2) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.deepEqual([...waits], [0, 2, 2, 0]);
  await store.set("one", "");
  await waiting[0];
  assert.deepEqual([...waits], [0, 1, 2, 0]);
  await store.set("two", "");
  await waiting[1];
  assert.deepEqual([...waits], [0, 0, 2, 0]);
  assert.throws(() => distributed.showWaiting(waits, 3), TypeError);
  assert.throws(() => distributed.showWaiting(new Float32Array(4) as never, 0), TypeError);
});

test("a file store holds the same, and a second one on the file sees it", async () => {
  const folder = mkdtempSync(join(tmpdir(), "fabric-store-"));
  try {
    const path = join(folder, "store");
    await useStore(new distributed.FileStore(path, 1));
    const other = new distributed.FileStore(path, 2);
    assert.equal(await other.getText("later"), "now");
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("a TCP store on port 0 tells its port, and a client reaches it", async () => {
  const master = new distributed.TCPStore("127.0.0.1", 0, 2, true, { timeoutMs: 5000 });
  const { port } = await master.connected();
  assert.ok(port > 0);
  const client = new distributed.TCPStore("127.0.0.1", port, 2, false, { timeoutMs: 5000 });
  await useStore(client);
  assert.equal(await master.getText("later"), "now");
});

test("what blocks the thread instead of being awaited does the same", async () => {
  const folder = mkdtempSync(join(tmpdir(), "fabric-store-"));
  try {
    const master = new distributed.TCPStore("127.0.0.1", 0, 1, true, { timeoutMs: 5000, sync: true });
    const file = new distributed.FileStore(join(folder, "store"), 1);
    for (const inner of [master, file, new distributed.HashStore()]) {
      const store = new distributed.PrefixStore("sync", inner);
      store.setSync("key", "gr\u00fc\u00df");
      assert.equal(store.checkSync(["key", "absent"]), false);
      store.waitSync(["key"]);
      assert.equal(store.checkSync(["key"]), true);
      assert.equal(await store.getText("key"), "gr\u00fc\u00df");
      assert.throws(() => store.waitSync(["absent"], { timeoutMs: 20 }), { code: "ERR_STORE_TIMEOUT" });
      assert.throws(() => store.setSync("key", 3 as never), /Expected `value` to be a string or a Uint8Array/);
    }
    assert.ok((await master.connected()).port > 0);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("a TCP store that is still on its way cannot be used without waiting", async () => {
  const store = new distributed.TCPStore("127.0.0.1", 0, 1, true, { timeoutMs: 5000 });
  assert.throws(
    () => store.setSync("key", "x"),
    /The store is not connected yet\.\nAwait `store\.connected\(\)` first/,
  );
  await store.connected();
  store.setSync("key", "x");
  assert.equal(store.checkSync(["key"]), true);
});

test("a default group can be made with a blocked thread, once at a time", async () => {
  const store = new distributed.HashStore();
  for (let turn = 0; turn < 2; turn++) {
    const group = distributed.initProcessGroupSync({ rank: 0, worldSize: 1, store });
    assert.ok(distributed.getDefaultGroup() === group);
    assert.throws(() => distributed.initProcessGroupSync({ rank: 0, worldSize: 1, store }), /initialized already/);
    await distributed.barrier();
    distributed.destroyProcessGroup();
  }
  assert.throws(
    () => distributed.initProcessGroupSync({ rank: 1, worldSize: 1, store }),
    /`rank` is 1 in a world of 1/,
  );
});

test("a TCP store at an address listens at that address alone", {
  skip: versions().torch.startsWith("1.") ? "LibTorch 1.13 listens on every interface" : process.platform !== "linux",
}, async () => {
  const stores = ["127.0.0.1", "localhost"].map((host) => new distributed.TCPStore(host, 0, 1, true));
  for (const store of stores) await store.connected();
  const listeners = listenersOf(process.pid);
  assert.ok(listeners.length >= stores.length);
  assert.deepEqual(
    listeners.filter((address) => !isLoopback(address)),
    [],
  );
  await useStore(stores[0] as distributed.Store);
});

test("prefix stores on one store do not meet", async () => {
  const store = new distributed.HashStore();
  const [a, b] = [new distributed.PrefixStore("a", store), new distributed.PrefixStore("b", store)];
  await a.set("key", "1");
  assert.equal(await b.check(["key"]), false);
  assert.equal(await a.getText("key"), "1");
});

test("a key that does not come is an error that names it", async () => {
  const store = new distributed.HashStore();
  await store.set("there", "1");
  await assert.rejects(store.wait(["there", "absent"], { timeoutMs: 50 }), {
    name: "DistributedError",
    code: "ERR_STORE_TIMEOUT",
    message: /^The in-process store had no value for "absent" within 50 ms\./,
  });
});

test("a port that another program uses is an error that names the address", async () => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "0.0.0.0", resolve));
  const { port } = server.address() as { port: number };
  const taken = new distributed.TCPStore("127.0.0.1", port, 1, true, { timeoutMs: 1000 });
  await assert.rejects(taken.connected(), {
    name: "DistributedError",
    message: new RegExp(`could not listen on 127.0.0.1:${port}`),
  });
  server.close();
});

test("masters of one process at one port share a store", async () => {
  const first = new distributed.TCPStore("127.0.0.1", 0, 1, true, { timeoutMs: 5000 });
  const { port } = await first.connected();
  const second = await distributed.TCPStore.connect("127.0.0.1", port, 1, true, { timeoutMs: 5000 });
  await first.set("key", "shared");
  assert.equal(await second.getText("key"), "shared");
});

test("groups are needed before collectives, and bad options are named", async () => {
  assert.equal(distributed.isAvailable(), true);
  assert.equal(distributed.isInitialized(), false);
  await assert.rejects(distributed.barrier(), { name: "UsageError", message: /has not been initialized/ });
  const store = new distributed.HashStore();
  await assert.rejects(distributed.initProcessGroup({ rank: 2, worldSize: 2, store }), /`rank` is 2 in a world of 2\./);
  await assert.rejects(distributed.initProcessGroup({ rank: 0, worldSize: 0, store }), /`worldSize` is 0\./);
  await assert.rejects(
    distributed.initProcessGroup({ rank: 0, worldSize: 1, store, backend: "mpi" as never }),
    /`backend` is "mpi"\./,
  );
});

test("a world of one works without any other process", async () => {
  await distributed.initProcessGroup({ rank: 0, worldSize: 1, store: new distributed.HashStore() });
  await distributed.barrier();
  assert.deepEqual(await distributed.allGatherObject({ a: 1 }), [{ a: 1 }]);
  distributed.destroyProcessGroup();
  assert.equal(distributed.isInitialized(), false);
});
