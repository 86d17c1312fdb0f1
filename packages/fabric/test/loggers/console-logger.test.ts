// The table in the terminal.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ConsoleLogger, type ConsoleLoggerOptions } from "@fabric-ts/fabric";
import * as torch from "@fabric-ts/torch";
import { onRank } from "./support/temporary.js";

function tableIn(options: ConsoleLoggerOptions = {}, terminal: { isTTY?: boolean; columns?: number } = {}) {
  const stream = { ...terminal, text: "", write: (text: string) => (stream.text += text) };
  return { logger: new ConsoleLogger({ stream, ...options }), stream };
}

/** Runs `fn` with these environment variables, and without others that mean colours. */
function withEnv(env: Record<string, string>, fn: () => void): void {
  const names = ["NO_COLOR", "FORCE_COLOR", "TERM"];
  const before = names.map((name) => process.env[name]);
  for (const name of names) delete process.env[name];
  Object.assign(process.env, env);
  try {
    fn();
  } finally {
    names.forEach((name, i) => {
      if (before[i] === undefined) delete process.env[name];
      else process.env[name] = before[i];
    });
  }
}

describe("the table", () => {
  it("has a line of names and numbers below each other", () => {
    const { logger, stream } = tableIn();
    logger.logMetrics({ loss: torch.tensor(2.5), epoch: 1 }, 0);
    logger.logMetrics({ loss: 0.123456, epoch: 2 }, 100);
    assert.equal(
      stream.text,
      "    step      loss     epoch\n" + //
        "       0    2.5000         1\n" +
        "     100    0.1235         2\n",
    );
  });

  it("names its columns again when there is a new one, or one becomes wider; what is missing is empty", () => {
    const { logger, stream } = tableIn();
    logger.logMetrics({ loss: 1.5 }, 0);
    logger.logMetrics({ "val/acc": { top1: 0.5 } }, 1);
    logger.logMetrics({ loss: 0.25, state: "a text of some length" }, 2);
    assert.equal(
      stream.text,
      "    step      loss\n" +
        "       0    1.5000\n" +
        "    step      loss  val/acc/top1\n" +
        "       1                  0.5000\n" +
        "    step      loss  val/acc/top1                  state\n" +
        "       2    0.2500                a text of some length\n",
    );
  });

  it("shows numbers of any size, and what is no number", () => {
    const { logger, stream } = tableIn();
    logger.logMetrics(
      { a: 1e-7, b: -123456789.5, c: Number.NaN, d: 12345.678, e: true, f: null, g: 5n, h: 123456789 },
      1.5,
    );
    const [, row = ""] = stream.text.split("\n");
    assert.deepEqual(row.trim().split(/\s+/), [
      "1.5",
      "1.000e-7",
      "-1.235e+8",
      "NaN",
      "12345.6780",
      "true",
      "5",
      "123456789",
    ]);
  });

  it("gives a narrow terminal one metric a line", () => {
    const { logger, stream } = tableIn({}, { isTTY: true, columns: 24 });
    withEnv({ NO_COLOR: "1" }, () => {
      logger.logMetrics({ loss: 1.5 }, 0);
      logger.logMetrics({ loss: 1.25, accuracy_of_the_validation: 0.5 }, 1);
      stream.columns = 80;
      logger.logMetrics({ loss: 1 }, 2);
    });
    assert.equal(
      stream.text,
      "    step      loss\n" +
        "       0    1.5000\n" +
        "step 1\n" +
        "  loss 1.2500\n" +
        "  accuracy_of_the_valid.\n" +
        "    step      loss  accuracy_of_the_valid...\n" +
        "       2         1\n",
    );
  });

  it("has colours in a terminal only, and not with NO_COLOR or in a dumb one", () => {
    const coloured = (env: Record<string, string>, terminal: { isTTY?: boolean; columns?: number }): boolean => {
      const { logger, stream } = tableIn({}, terminal);
      withEnv(env, () => logger.logMetrics({ a: 1 }, 0));
      return stream.text.includes("\u001b[");
    };
    const terminal = { isTTY: true, columns: 80 };
    assert.equal(coloured({}, terminal), true);
    assert.equal(coloured({ NO_COLOR: "1" }, terminal), false);
    assert.equal(coloured({ NO_COLOR: "" }, terminal), true);
    assert.equal(coloured({ TERM: "dumb" }, terminal), false);
    assert.equal(coloured({}, {}), false);
    assert.equal(coloured({ FORCE_COLOR: "1" }, {}), true);
    assert.equal(coloured({ FORCE_COLOR: "1", NO_COLOR: "1" }, {}), false);
    assert.equal(coloured({ FORCE_COLOR: "0" }, terminal), false);
  });

  it("does not let names and texts move the cursor", () => {
    const { logger, stream } = tableIn();
    logger.logMetrics({ "a\u001b[2J": "x\ny\u202e" }, 0);
    assert.equal(stream.text, "    step     a?[2J\n       0      x?y?\n");
  });

  it("is printed for every n-th block of steps, on rank zero", async () => {
    const { logger, stream } = tableIn({ every: 10, prefix: "p" });
    await onRank(1, () => {
      logger.logMetrics({ a: 1 }, 0);
      logger.logHyperparams({ a: 1 });
    });
    assert.equal(stream.text, "");
    for (let step = 0; step < 25; step++) logger.logMetrics({ a: step }, step);
    assert.deepEqual(stream.text.match(/\d+$/gm), ["0", "10", "20"]);
    assert.match(stream.text, /p-a/);
  });
});

describe("hyper-parameters", () => {
  it("are a list, without secrets", () => {
    const { logger, stream } = tableIn();
    logger.logHyperparams({ lr: 0.1, model: { depth: 3 }, apiKey: "s3cret", layers: [1, 2] });
    assert.equal(stream.text, "lr           0.1\nmodel/depth  3\napiKey       ***\nlayers       [1,2]\n");
    logger.logHyperparams({});
    logger.logHyperparams(null);
  });
});

describe("its arguments", () => {
  it("are checked", () => {
    assert.throws(
      () => new ConsoleLogger({ stream: 3 as never }),
      /`stream` of ConsoleLogger to have a method `write`/,
    );
    assert.throws(() => new ConsoleLogger("logs" as never), /options of ConsoleLogger to be an object/);
    assert.throws(() => new ConsoleLogger({ every: -1 }), /`every` of ConsoleLogger/);
    const { name, version, rootDir, logDir } = new ConsoleLogger({ name: "exp" });
    assert.deepEqual([name, version, rootDir, logDir], ["exp", 0, null, null]);
  });
});
