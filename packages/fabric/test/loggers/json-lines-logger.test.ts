// The logger of lines of JSON.
import assert from "node:assert/strict";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it, mock } from "node:test";
import { catchWarnings, JSONLinesLogger } from "@fabric-ts/fabric";
import * as torch from "@fabric-ts/torch";
import fc from "fast-check";
import { fileCalls } from "../../dist/loggers/append-file.js";
import { onRank, temporaryFolder } from "./support/temporary.js";

function linesOf(logger: JSONLinesLogger): Record<string, unknown>[] {
  logger.save();
  const lines = readFileSync(join(logger.logDir, "metrics.jsonl"), "utf8").split("\n");
  assert.equal(lines.pop(), "");
  return lines.map((line) => JSON.parse(line));
}

describe("lines of JSON", () => {
  it("hold the step, the time and the metrics as they are", () => {
    const logger = new JSONLinesLogger(temporaryFolder(), { prefix: "p" });
    logger.logMetrics({ loss: torch.tensor(0.5), acc: { train: 1 }, nan: Number.NaN, text: "a\nb" }, 3);
    logger.logMetrics({ loss: -Infinity });
    const [first, second] = linesOf(logger);
    assert.ok(Math.abs((first?.time as number) - Date.now() / 1000) < 60);
    delete first?.time;
    assert.deepEqual(first, { step: 3, "p-loss": 0.5, "p-acc": { train: 1 }, "p-nan": "NaN", "p-text": "a\nb" });
    assert.deepEqual([second?.step, second?.["p-loss"]], [1, "-Infinity"]);
  });

  it("keep step and time apart from metrics of that name, and take any other", () => {
    const logger = new JSONLinesLogger(temporaryFolder());
    logger.logMetrics(JSON.parse('{"step":7,"time":0,"__proto__":1,"toString":2}'), 3);
    const [line] = linesOf(logger);
    assert.deepEqual(Object.keys(line as object), ["step", "time", "__proto__", "toString"]);
    assert.deepEqual([line?.step, line?.time === 0], [3, false]);
  });

  it("hold hyper-parameters as they are nested, without secrets", () => {
    const logger = new JSONLinesLogger(temporaryFolder());
    logger.logHyperparams({ lr: 0.1, auth: { token: "s3cret", user: "u" }, layers: [1, { key: "s3cret" }] });
    const [line] = linesOf(logger);
    assert.deepEqual(line?.hyperparameters, {
      lr: 0.1,
      auth: { token: "***", user: "u" },
      layers: [1, { key: "***" }],
    });
    const open = new JSONLinesLogger(temporaryFolder(), { secrets: false });
    open.logHyperparams({ token: "shown" });
    assert.deepEqual(linesOf(open)[0]?.hyperparameters, { token: "shown" });
  });

  it("are written by the hundred, and none on other ranks", async () => {
    const root = temporaryFolder();
    const logger = new JSONLinesLogger(root);
    await onRank(1, () => {
      logger.logMetrics({ a: 1 }, 0);
      logger.logHyperparams({ a: 1 });
      logger.save();
    });
    assert.deepEqual(readdirSync(root), []);
    const now = mock.method(performance, "now", () => 1000);
    for (let step = 0; step < 99; step++) logger.logMetrics({ a: 1 }, step);
    assert.equal(readFileSync(join(logger.logDir, "metrics.jsonl"), "utf8"), "");
    now.mock.restore();
    logger.logMetrics({ a: 1 }, 99);
    assert.equal(readFileSync(join(logger.logDir, "metrics.jsonl"), "utf8").split("\n").length, 101);
  });

  it("go on behind the last complete line of a file that exists, wherever it was cut", () => {
    const root = temporaryFolder();
    const folder = join(root, "run");
    mkdirSync(folder);
    const file = join(folder, "metrics.jsonl");
    const append = (content: string | Uint8Array): string => {
      writeFileSync(file, content);
      const logger = new JSONLinesLogger(root, { name: "", version: "run" });
      logger.logMetrics({ a: 1 }, 7);
      logger.save();
      return readFileSync(file, "latin1");
    };
    const whole = '{"step":0}\n{"step":1}\n';
    for (let length = 0; length <= whole.length; length++) {
      const text = append(whole.slice(0, length));
      const kept = whole.slice(0, whole.lastIndexOf("\n", length - 1) + 1 || 0);
      const expected = length === 0 ? "" : kept;
      assert.ok(text.startsWith(`${expected}{"step":7,`), `cut at ${length}: ${text}`);
    }
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 50 }), (bytes) => {
        const text = append(bytes);
        const kept = Buffer.from(bytes)
          .subarray(0, Buffer.from(bytes).lastIndexOf(0x0a) + 1)
          .toString("latin1");
        assert.ok(text.startsWith(`${kept}{"step":7,`));
      }),
      { numRuns: 200 },
    );
    // A torn line longer than what is read at once.
    const long = `{"a":1}\n${"x".repeat(200_000)}`;
    assert.ok(append(long).startsWith('{"a":1}\n{"step":7,'));
  });

  it("are lost with one warning when the disk is full", async () => {
    const logger = new JSONLinesLogger(temporaryFolder());
    const failing = mock.method(fileCalls, "write", () => {
      throw Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC" });
    });
    const warnings = await catchWarnings(() => {
      for (const step of [0, 1]) {
        logger.logMetrics({ a: 1 }, step);
        logger.save();
      }
    });
    failing.mock.restore();
    assert.equal(warnings.length, 1);
    assert.match(warnings[0]?.message ?? "", /JSONLinesLogger cannot write to .*ENOSPC/);
    logger.logMetrics({ a: 1 }, 2);
    assert.deepEqual(
      linesOf(logger).map(({ step }) => step),
      [2],
    );
  });
});
