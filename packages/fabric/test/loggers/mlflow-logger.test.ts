// The MLflow logger as a user has it: its thread, its options, the end of the process.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { inspect } from "node:util";
import { catchWarnings, Fabric, MLflowLogger } from "@fabric-ts/fabric";
import * as torch from "@fabric-ts/torch";
import { cleanEnvironment } from "../support/run-ranks.js";
import { MLflowStub, type StubRun } from "./support/mlflow-server.js";
import { onRank } from "./support/temporary.js";

let server: MLflowStub;
before(async () => (server = await MLflowStub.start()));
after(() => server.close());

describe("the MLflow logger", () => {
  it("sends metrics, parameters and tags, and ends the run", async () => {
    const logger = new MLflowLogger({
      trackingUri: `${server.url}/`,
      experimentName: "digits",
      runName: "first",
      tags: { team: "a", apiKey: "s3cret" },
      prefix: "p",
    });
    assert.deepEqual([logger.name, logger.version, logger.runId, logger.logDir], ["digits", "", null, null]);
    const fabric = new Fabric({ accelerator: "cpu", loggers: logger });
    logger.logHyperparams({ lr: 0.1, model: { depth: 3 }, token: "s3cret", long: "x".repeat(7000) });
    fabric.logDict({ loss: torch.tensor(0.5), acc: { top1: 1 }, flag: true }, 3);
    fabric.log("loss", Number.NaN, 4);
    const id = await logger.start();
    await logger.finalize("success");
    const run = server.runs.find((candidate) => candidate.id === id) as StubRun;
    assert.deepEqual([run.name, run.status, run.tags.team, run.tags.apiKey], ["first", "FINISHED", "a", "***"]);
    assert.deepEqual(
      { ...run.params, long: run.params.long?.length },
      { lr: "0.1", "model/depth": "3", token: "***", long: 6000 },
    );
    const sent = run.metrics.map(({ key, value, step }) => [key, value, step]);
    assert.deepEqual(sent, [
      ["p-loss", 0.5, 3],
      ["p-acc/top1", 1, 3],
      ["p-flag", 1, 3],
      ["p-loss", "NaN", 4],
    ]);
    assert.ok(Math.abs((run.metrics[0]?.timestamp as number) - Date.now()) < 60_000);
  });

  it("marks runs as failed or killed, and begins a new one for what comes later", async () => {
    const logger = new MLflowLogger({ trackingUri: server.url, experimentName: "endings" });
    const ids: (string | null)[] = [];
    for (const status of ["failed", "aborted", "finished"]) {
      logger.logMetrics({ a: 1 }, 0);
      ids.push(await logger.start());
      assert.equal(logger.version, ids.at(-1));
      await logger.finalize(status);
      await logger.finalize(status);
    }
    const statuses = ids.map((id) => server.runs.find((run) => run.id === id)?.status);
    assert.deepEqual(statuses, ["FAILED", "KILLED", "FINISHED"]);
  });

  it("does nothing on other ranks", async () => {
    const before = server.requests.length;
    const logger = new MLflowLogger({ trackingUri: server.url });
    await onRank(1, async () => {
      logger.logMetrics({ a: 1 }, 0);
      logger.logHyperparams({ a: 1 });
      assert.equal(await logger.start(), null);
      await logger.finalize("success");
    });
    assert.equal(server.requests.length, before);
  });

  it("takes the server and the credentials from the environment, or from the address, and shows them nowhere", async () => {
    const variables = {
      MLFLOW_TRACKING_URI: server.url.replace("//", "//someone:s3cret%2Fword@"),
      MLFLOW_TRACKING_TOKEN: "s3cret-token",
    };
    Object.assign(process.env, variables);
    try {
      const logger = new MLflowLogger();
      logger.logMetrics({ a: 1 }, 0);
      await logger.finalize("success");
      const header = `Basic ${Buffer.from("someone:s3cret/word").toString("base64")}`;
      assert.ok(server.authorizations.has(header));
      assert.doesNotMatch(inspect(logger, { depth: 10, showHidden: true }), /s3cret/);
      const withToken = new MLflowLogger({ trackingUri: server.url });
      withToken.logMetrics({ a: 1 }, 0);
      await withToken.finalize("success");
      assert.ok(server.authorizations.has("Bearer s3cret-token"));
    } finally {
      for (const name of Object.keys(variables)) delete process.env[name];
    }
  });

  it("refuses what cannot be, without showing a password in the address", () => {
    assert.throws(
      () => new MLflowLogger(),
      /does not know the tracking server[\s\S]*MLFLOW_TRACKING_URI[\s\S]*trackingUri: "http/,
    );
    for (const trackingUri of ["file:///u:s3cret@x", "u:s3cret@host", "databricks://u:s3cret@x"]) {
      assert.throws(
        () => new MLflowLogger({ trackingUri }),
        (error: Error) => /needs a tracking server over HTTP/.test(error.message) && !inspect(error).includes("s3cret"),
      );
    }
    const trackingUri = server.url;
    assert.throws(
      () => new MLflowLogger({ trackingUri, tracking_uri: "x" } as never),
      /no option `tracking_uri`[\s\S]*`trackingUri`/,
    );
    assert.throws(
      () => new MLflowLogger({ trackingUri, runName: 3 as never }),
      /`runName` of MLflowLogger to be a string/,
    );
    assert.throws(() => new MLflowLogger({ trackingUri, timeoutSecs: -1 }), /`timeoutSecs`/);
    const logger = new MLflowLogger({ trackingUri });
    assert.throws(() => logger.logMetrics({ a: "text" }, 0), /MLflow takes numbers only, but `a` is "text"/);
  });

  it("does not wait for a server that is not there: neither when logging nor, for long, at the end", async () => {
    const gone = await MLflowStub.start();
    const { url } = gone;
    await gone.close();
    const logger = new MLflowLogger({ trackingUri: url, timeoutSecs: 0.5, maxQueue: 100 });
    const warnings = await catchWarnings(async () => {
      for (let step = 0; step < 15_000; step++) logger.logMetrics({ loss: step }, step);
      const started = performance.now();
      await logger.finalize("success");
      assert.ok(performance.now() - started < 15_000);
      assert.equal(await logger.start(), null);
      await logger.finalize("success");
    });
    const text = warnings.map(({ message }) => message).join("\n");
    assert.match(
      text,
      /MLflowLogger: the start of the run could not be sent, and is tried again: no answer \(ECONNREFUSED\)/,
    );
    assert.match(text, /5000 metrics, parameters and tags could not be sent|waited for no longer/);
  });
});

describe("at the end of the process", () => {
  const program = fileURLToPath(new URL("./programs/mlflow.js", import.meta.url));

  async function run(
    name: string,
    end: string,
  ): Promise<{ code: number | null; stderr: string; run: StubRun | undefined }> {
    const child = spawn(process.execPath, [program], {
      env: { ...cleanEnvironment(), MLFLOW_TRACKING_URI: server.url, LOG_NAME: name, LOG_END: end },
      stdio: ["ignore", "ignore", "pipe"],
    });
    let stderr = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
    const code = await new Promise<number | null>((resolve) => child.on("close", resolve));
    return { code, stderr, run: server.runs.find((candidate) => candidate.name === name) };
  }

  it("everything has arrived and the run is marked, although nothing but the training loop ran", async () => {
    const expected = [
      ["", 0, "FINISHED"],
      ["throw", 1, "FAILED"],
      ["exit", 3, "FAILED"],
      ["exit well", 0, "FINISHED"],
    ] as const;
    for (const [end, code, status] of expected) {
      const ended = await run(`ends by ${end}`, end);
      assert.equal(ended.code, code, ended.stderr);
      assert.equal(ended.run?.status, status, ended.stderr);
      assert.equal(ended.run?.metrics.length, 2500);
    }
  });

  it("on several ranks the run of rank zero is marked, too", async () => {
    const ended = await run("two ranks", "two ranks");
    assert.equal(ended.code, 0, ended.stderr);
    assert.deepEqual([ended.run?.status, ended.run?.metrics.length], ["FINISHED", 2500]);
    assert.equal(server.runs.filter(({ name }) => name === "two ranks").length, 1);
  });

  it("a training loop that lets nothing else run is no obstacle: metrics arrive while it runs", async () => {
    const ended = await run("busy", "busy");
    assert.equal(ended.code, 0, ended.stderr);
    assert.match(ended.stderr, /the server had metrics while the loop was busy: true/);
  });
});
