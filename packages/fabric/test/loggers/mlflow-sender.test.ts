// What is sent to an MLflow server, against a local one that enforces the documented limits, drops connections and fails.
import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, it } from "node:test";
import fc from "fast-check";
import { mlflowName } from "../../dist/loggers/mlflow/names.js";
import { BatchQueue, halves, type Metric } from "../../dist/loggers/mlflow/queue.js";
import { MLflowSender, type SenderOptions } from "../../dist/loggers/mlflow/sender.js";
import { MLflowStub, type StubRun } from "./support/mlflow-server.js";

let server: MLflowStub;
let warnings: string[] = [];
beforeEach(async () => {
  server = await MLflowStub.start();
  warnings = [];
});
afterEach(() => server.close());

function makeSender(options: Partial<SenderOptions> = {}): MLflowSender {
  const defaults: SenderOptions = {
    server: { url: server.url, authorization: null },
    experimentName: "exp",
    runName: null,
    runId: null,
    tags: [],
    startId: "start-1",
    maxQueue: 100_000,
    batchMs: 1,
    requestMs: 30_000,
    pauseMs: 1,
    longestPauseMs: 4,
  };
  return new MLflowSender({ ...defaults, ...options }, { onRun: () => {}, onWarning: (text) => warnings.push(text) });
}

function metrics(count: number, key = "loss"): Metric[] {
  return Array.from({ length: count }, (_, step) => ({ key, value: step, timestamp: 1, step }));
}

function onlyRun(): StubRun {
  assert.equal(server.runs.length, 1);
  return server.runs[0] as StubRun;
}

describe("a run", () => {
  it("is made in its experiment, gets its metrics, parameters and tags, and is ended", async () => {
    const sender = makeSender({ runName: "my run", tags: [{ key: "team", value: "a" }] });
    sender.add({ metrics: metrics(3) });
    sender.add({ params: [{ key: "lr", value: "0.1" }] });
    await sender.finish("FINISHED", 5000);
    const run = onlyRun();
    assert.deepEqual([run.name, run.status, run.tags.team, run.params], ["my run", "FINISHED", "a", { lr: "0.1" }]);
    assert.deepEqual(server.values("loss"), [0, 1, 2]);
    assert.deepEqual([...server.experiments.keys()], ["exp"]);
    // What comes after the end is dropped.
    sender.add({ metrics: metrics(1) });
    await sender.finish("FAILED", 100);
    assert.equal(server.values("loss").length, 3);
    assert.deepEqual(warnings, []);
  });

  it("joins an experiment that exists, also when another run makes it at the same moment", async () => {
    server.experiments.set("exp", "77");
    await makeSender().finish("FINISHED", 5000);
    assert.ok(!server.requests.includes("experiments/create"));
    server.experiments.clear();
    let isFirst = true;
    server.fault = (path) => {
      if (path === "experiments/create" && isFirst) {
        isFirst = false;
        server.experiments.set("exp", "78");
      }
      return null;
    };
    await makeSender({ startId: "start-2" }).finish("FINISHED", 5000);
    assert.deepEqual([server.runs.length, warnings], [2, []]);
  });

  it("can be continued by its id", async () => {
    await makeSender().finish("FAILED", 5000);
    const { id } = onlyRun();
    const sender = makeSender({ runId: id, tags: [{ key: "again", value: "yes" }] });
    sender.add({ metrics: metrics(2) });
    while (onlyRun().metrics.length < 2) await new Promise((resolve) => setTimeout(resolve, 5));
    assert.equal(onlyRun().status, "RUNNING");
    await sender.finish("FINISHED", 5000);
    const run = onlyRun();
    assert.deepEqual([run.status, run.metrics.length, run.tags.again], ["FINISHED", 2, "yes"]);
    await makeSender({ runId: "no such run" }).finish("FINISHED", 5000);
    assert.match(
      warnings.join("\n"),
      /refuses the start of the run, nothing more is sent: 404 Run with id=no such run not found/,
    );
  });
});

describe("requests", () => {
  it("keep to every limit, however much is added at once, and keep the order", async () => {
    const sender = makeSender();
    const pairs = (count: number, text = "v") =>
      Array.from({ length: count }, (_, i) => ({ key: `k${i}`, value: text }));
    sender.add({ metrics: metrics(12_345), params: pairs(250), tags: pairs(180) });
    await sender.finish("FINISHED", 20_000);
    const run = onlyRun();
    assert.deepEqual(warnings, []);
    assert.deepEqual(
      server.values("loss"),
      metrics(12_345).map(({ value }) => value),
    );
    assert.deepEqual([Object.keys(run.params).length, Object.keys(run.tags).length], [250, 181]);
    assert.equal(server.largestBatch, 1000);
  });

  it("keep to the limit of bytes", async () => {
    const sender = makeSender();
    const key = "k".repeat(240);
    sender.add({
      metrics: metrics(3000).map((metric) => ({
        ...metric,
        key: `${key}/é${metric.step % 7}`.normalize().replace("é", "e"),
        timestamp: 1_750_000_000_000,
      })),
    });
    sender.add({ params: Array.from({ length: 100 }, (_, i) => ({ key: `p${i}`, value: "é".repeat(6000) })) });
    await sender.finish("FINISHED", 20_000);
    const run = onlyRun();
    assert.deepEqual(warnings, []);
    assert.deepEqual([run.metrics.length, Object.keys(run.params).length], [3000, 100]);
  });

  it("take together what comes in a short time", async () => {
    const sender = makeSender({ batchMs: 50 });
    for (const metric of metrics(500)) sender.add({ metrics: [metric] });
    await sender.finish("FINISHED", 5000);
    assert.equal(server.requests.filter((path) => path === "runs/log-batch").length, 1);
  });
});

describe("when the server fails", () => {
  it("everything arrives once, after errors, refusals to work now, and connections that break before the work", async () => {
    const faults = [
      { status: 500, body: '{"error_code":"INTERNAL_ERROR","message":"oops"}' },
      { status: 503 },
      "drop",
      { status: 429 },
      null,
      null,
    ] as const;
    let state = 1;
    server.fault = () => {
      state = (state * 48271) % 2147483647;
      return faults[state % faults.length] ?? null;
    };
    const sender = makeSender();
    for (let i = 0; i < 5; i++) {
      sender.add({ metrics: metrics(700, `m${i}`) });
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    await sender.finish("FINISHED", 20_000);
    const run = onlyRun();
    assert.equal(run.status, "FINISHED");
    for (let i = 0; i < 5; i++)
      assert.deepEqual(
        server.values(`m${i}`),
        metrics(700).map(({ value }) => value),
      );
    assert.equal(warnings.length, 1);
    assert.match(warnings[0] ?? "", /could not be sent, and is tried again: (429|500|503|no answer)/);
  });

  it("a run is not made twice when the answer to its making is lost", async () => {
    let isFirst = true;
    server.fault = (path) => {
      if (path !== "runs/create" || !isFirst) return null;
      isFirst = false;
      return "drop after";
    };
    const sender = makeSender();
    sender.add({ metrics: metrics(2) });
    await sender.finish("FINISHED", 5000);
    assert.deepEqual([onlyRun().status, server.values("loss")], ["FINISHED", [0, 1]]);
  });

  it("an answer that does not come is waited for no longer than it may take", async () => {
    let silent = 2;
    server.fault = () => (silent-- > 0 ? "silence" : null);
    const sender = makeSender({ requestMs: 50 });
    sender.add({ metrics: metrics(2) });
    await sender.finish("FINISHED", 20_000);
    assert.equal(onlyRun().metrics.length, 2);
    assert.match(warnings[0] ?? "", /no answer \(timeout\)/);
  });

  it("it is given the time that it asks for", async () => {
    const times: number[] = [];
    server.fault = (path) => {
      if (path !== "runs/log-batch") return null;
      times.push(performance.now());
      return times.length === 1 ? { status: 429, headers: { "retry-after": "1" } } : null;
    };
    const sender = makeSender();
    sender.add({ metrics: metrics(2) });
    while (times.length < 2) await new Promise((resolve) => setTimeout(resolve, 20));
    await sender.finish("FINISHED", 20_000);
    assert.ok((times[1] as number) - (times[0] as number) >= 990);
  });

  it("the end waits for a bounded time, and says what was lost", async () => {
    server.fault = (path) => (path === "runs/log-batch" ? { status: 503 } : null);
    const sender = makeSender();
    sender.add({ metrics: metrics(1500) });
    const started = performance.now();
    await sender.finish("FINISHED", 2000);
    assert.ok(performance.now() - started < 15_000);
    // There was time left for the status.
    assert.equal(onlyRun().status, "FINISHED");
    assert.match(warnings.at(-1) ?? "", /1500 metrics, parameters and tags could not be sent/);
  });

  it("the end is bounded also where nobody listens, where nobody answers, and in a long pause", async () => {
    await server.close();
    const gone = makeSender({ pauseMs: 60_000, longestPauseMs: 60_000 });
    gone.add({ metrics: metrics(2) });
    await new Promise((resolve) => setTimeout(resolve, 30));
    const started = performance.now();
    await gone.finish("FINISHED", 200);
    server = await MLflowStub.start();
    server.fault = () => "silence";
    const silent = makeSender();
    silent.add({ metrics: metrics(2) });
    await silent.finish("FINISHED", 200);
    assert.ok(performance.now() - started < 15_000);
    assert.match(
      warnings.join("\n"),
      /no answer \(ECONNREFUSED\)[\s\S]*2 metrics, parameters and tags could not be sent/,
    );
  });

  it("no more than so many metrics wait: the oldest make place", async () => {
    let isDown = true;
    server.fault = (path) => (isDown && path === "runs/log-batch" ? { status: 503 } : null);
    const sender = makeSender({ maxQueue: 2000, batchMs: 20 });
    for (let i = 0; i < 10; i++) sender.add({ metrics: metrics(1000, `m${i}`) });
    isDown = false;
    await sender.finish("FINISHED", 20_000);
    assert.ok(server.values("m9").length === 1000 && server.values("m8").length === 1000);
    assert.ok(onlyRun().metrics.length <= 3000);
    assert.match(warnings.join("\n"), /more than 2000 metrics wait to be sent: the oldest are dropped/);
  });
});

describe("when the server refuses", () => {
  it("the one item that it does not want is dropped and named, everything else arrives", async () => {
    const sender = makeSender();
    const bad = { key: "bad//name", value: 1, timestamp: 1, step: 0 };
    sender.add({ metrics: [...metrics(600), bad, ...metrics(300, "other")], params: [{ key: "lr", value: "0.1" }] });
    sender.add({ params: [{ key: "lr", value: "0.2" }], tags: [{ key: "t", value: "v" }] });
    await sender.finish("FINISHED", 20_000);
    const run = onlyRun();
    assert.deepEqual([server.values("loss").length, server.values("other").length], [600, 300]);
    assert.deepEqual([run.params, run.tags.t], [{ lr: "0.1" }, "v"]);
    assert.equal(warnings.length, 2);
    assert.match(warnings.join("\n"), /the server refuses `lr`: 400 Changing param values is not allowed/);
    assert.match(warnings.join("\n"), /the server refuses `bad\/\/name`: 400 Invalid name/);
  });

  it("for good, one warning says so and nothing more is sent", async () => {
    for (const [status, path] of [
      [401, "experiments/get-by-name"],
      [403, "runs/create"],
      [404, "runs/log-batch"],
      [302, "runs/create"],
    ] as const) {
      warnings = [];
      server.fault = (asked) => (asked === path ? { status, headers: { location: "http://elsewhere/" } } : null);
      const sender = makeSender({ startId: `start-${status}` });
      sender.add({ metrics: metrics(2) });
      while (warnings.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
      const before = server.requests.length;
      sender.add({ metrics: metrics(2) });
      await sender.finish("FINISHED", 1000);
      assert.equal(server.requests.length, before);
      assert.match(warnings[0] ?? "", new RegExp(`the server refuses .*, nothing more is sent: ${status}`));
    }
  });

  it("an answer of another kind of server is said to be one", async () => {
    server.fault = () => ({ status: 200, body: "<html>hello</html>" });
    await makeSender().finish("FINISHED", 1000);
    server.fault = () => ({ status: 200, body: '{"hello":1}' });
    await makeSender().finish("FINISHED", 1000);
    assert.match(warnings[0] ?? "", /200 the answer is not JSON/);
    assert.match(warnings.at(-1) ?? "", /an answer without `experiment_id`/);
  });

  it("no warning shows the credentials, even where the server repeats them", async () => {
    for (const [authorization, secret] of [
      ["Bearer s3cret-token", "s3cret-token"],
      [`Basic ${Buffer.from("user:s3cret-word").toString("base64")}`, "s3cret-word"],
    ] as const) {
      warnings = [];
      const echo = `you sent ${authorization}, which is ${secret}`;
      server.fault = () => ({ status: 401, body: JSON.stringify({ error_code: "UNAUTHENTICATED", message: echo }) });
      await makeSender({ server: { url: server.url, authorization } }).finish("FINISHED", 1000);
      server.fault = () => ({ status: 500, body: echo });
      await makeSender({ server: { url: server.url, authorization } }).finish("FINISHED", 50);
      assert.ok(server.authorizations.has(authorization));
      assert.ok(warnings.length >= 2);
      assert.doesNotMatch(warnings.join("\n"), new RegExp(`${secret}|${authorization.slice(8)}`));
      assert.match(warnings.join("\n"), /you sent .*\*\*\*/);
    }
  });
});

describe("names", () => {
  it("become ones that the server takes", () => {
    assert.equal(mlflowName("val/acc top-1.5"), "val/acc top-1.5");
    assert.equal(mlflowName("a:b(é)"), "a_b___");
    assert.equal(mlflowName("/a//b/../c/."), "_/a/_/b/_/c/_");
    assert.equal(mlflowName("x".repeat(300)).length, 250);
    assert.equal(mlflowName(""), "_");
    fc.assert(
      fc.property(fc.string({ maxLength: 400, unit: fc.constantFrom("a", "/", ".", "é", " ", "-", "\n") }), (name) => {
        const made = mlflowName(name);
        const parts = made.split("/");
        assert.match(made, /^[/\w.\- ]{1,250}$/);
        assert.ok(!parts.some((part) => part === "" || part === "." || part === ".."), made);
      }),
    );
  });
});

describe("the queue", () => {
  it("gives everything back once, in order, in batches within the limits", () => {
    const item = fc.record({ key: fc.string({ minLength: 1, maxLength: 250 }), value: fc.string({ maxLength: 3000 }) });
    fc.assert(
      fc.property(
        fc.uniqueArray(item, { maxLength: 230, selector: ({ key }) => key }),
        fc.nat(2500),
        (pairs, count) => {
          const queue = new BatchQueue(10_000);
          queue.add({ params: pairs, tags: pairs.slice(0, 150), metrics: metrics(count) });
          const taken = { params: 0, tags: 0, metrics: 0 };
          while (queue.length > 0) {
            const batch = queue.take();
            const total = batch.params.length + batch.tags.length + batch.metrics.length;
            assert.ok(total > 0 && total <= 1000 && batch.params.length <= 100 && batch.tags.length <= 100);
            assert.ok(Buffer.byteLength(JSON.stringify(batch)) <= 1_000_000);
            assert.deepEqual(batch.params, pairs.slice(taken.params, taken.params + batch.params.length));
            assert.deepEqual(
              batch.metrics.map(({ step }) => step),
              batch.metrics.map((_, i) => taken.metrics + i),
            );
            taken.params += batch.params.length;
            taken.tags += batch.tags.length;
            taken.metrics += batch.metrics.length;
          }
          assert.deepEqual(taken, { params: pairs.length, tags: Math.min(150, pairs.length), metrics: count });
        },
      ),
      { numRuns: 30 },
    );
  });

  it("splits a batch until its items are alone, and loses none", () => {
    const tags = [{ key: "t", value: "" }];
    const batch = { metrics: metrics(5), params: [{ key: "p", value: "" }], tags };
    const alone: string[] = [];
    const pending = [batch];
    for (let next = pending.pop(); next; next = pending.pop()) {
      const parts = halves(next);
      if (parts) pending.push(...parts.reverse());
      else alone.push(...[...next.metrics, ...next.params, ...next.tags].map(({ key }) => key));
    }
    assert.deepEqual(alone, ["loss", "loss", "loss", "loss", "loss", "p", "t"]);
  });
});
