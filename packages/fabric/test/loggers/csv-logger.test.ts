// The CSV logger: versions, columns, steps, flushing, continuing; read back by papaparse.
import assert from "node:assert/strict";
import { appendFileSync, existsSync, mkdirSync, readFileSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, it, mock } from "node:test";
import { CSVLogger, catchWarnings, NotSupportedError } from "@fabric-ts/fabric";
import * as torch from "@fabric-ts/torch";
import fc from "fast-check";
import Papa from "papaparse";
import { fileCalls } from "../../dist/loggers/append-file.js";
import { CSVFile } from "../../dist/loggers/csv-file.js";
import { filesIn, onRank, temporaryFolder } from "./support/temporary.js";

function rowsOf(path: string): Record<string, string>[] {
  const parsed = Papa.parse<Record<string, string>>(readFileSync(path, "utf8"), { header: true, skipEmptyLines: true });
  assert.deepEqual(parsed.errors, []);
  return parsed.data;
}

function fileOf(logger: CSVLogger): string {
  return join(logger.logDir, "metrics.csv");
}

describe("versions and folders", () => {
  it("the version is one more than the highest folder version_<digits>; anything else does not count", () => {
    const root = temporaryFolder();
    const folder = join(root, "exp");
    for (const name of ["version_0", "version_7", "version_x", "version_9a", "aversion_12", "version_-3", "version_"]) {
      mkdirSync(join(folder, name), { recursive: true });
    }
    mkdirSync(join(folder, `version_${"9".repeat(30)}`));
    writeFileSync(join(folder, "version_20"), "a file");
    symlinkSync(join(folder, "nowhere"), join(folder, "version_30"));
    assert.equal(new CSVLogger(root, { name: "exp" }).version, 8);
    assert.equal(new CSVLogger(root, { name: "other" }).version, 0);
  });

  it("any set of names gives a number that is free", () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.oneof(
            fc.string({ maxLength: 12 }),
            fc.nat(50).map((n) => `version_${n}`),
          ),
        ),
        (names) => {
          const root = temporaryFolder();
          for (const name of names) {
            if (!/[/\0]/.test(name) && !["", ".", ".."].includes(name))
              mkdirSync(join(root, name), { recursive: true });
          }
          const { logDir } = new CSVLogger(root, { name: "" });
          return !existsSync(logDir);
        },
      ),
      { numRuns: 100 },
    );
  });

  it("the version is looked up once, when it is first needed", () => {
    const root = temporaryFolder();
    const logger = new CSVLogger(root, { name: "exp" });
    mkdirSync(join(root, "exp", "version_4"), { recursive: true });
    assert.equal(logger.version, 5);
    mkdirSync(join(root, "exp", "version_9"));
    assert.equal(logger.version, 5);
  });

  it("name and version make the folder; a text is its own folder, an empty name none", () => {
    const at = (options: object): string => new CSVLogger("logs", options).logDir;
    assert.equal(at({ version: 3 }), join("logs", "lightning_logs", "version_3"));
    assert.equal(at({ name: "exp", version: "best" }), join("logs", "exp", "best"));
    assert.equal(at({ name: "", version: 3 }), join("logs", "version_3"));
    assert.equal(at({ name: null, version: 3 }), join("logs", "version_3"));
    const logger = new CSVLogger("logs", { name: "exp" });
    assert.deepEqual([logger.rootDir, logger.name, logger.groupSeparator], ["logs", "exp", "/"]);
  });

  it("nothing is made before the first metric, and nothing on other ranks", async () => {
    const root = temporaryFolder();
    const logger = new CSVLogger(root);
    assert.equal(logger.version, 0);
    logger.save();
    logger.finalize("success");
    await onRank(1, () => {
      logger.logMetrics({ a: 1 }, 0);
      logger.experiment.logMetrics({ a: 1 }, 0);
      logger.experiment.save();
      logger.logHyperparams();
      logger.save();
    });
    assert.deepEqual(filesIn(root), []);
    assert.ok(!existsSync(join(root, "lightning_logs")));
  });

  it("two runs that begin at the same moment do not write into one folder", async () => {
    const root = temporaryFolder();
    const [first, second] = [new CSVLogger(root), new CSVLogger(root)];
    assert.equal(first.version, second.version);
    first.logMetrics({ a: 1 }, 0);
    first.save();
    const warnings = await catchWarnings(() => second.logMetrics({ a: 2 }, 0));
    second.save();
    assert.match(
      warnings.map(({ message }) => message).join(),
      /Another logger has begun to write to .*version_0 .*version_1/,
    );
    assert.deepEqual([first.version, second.version], [0, 1]);
    assert.deepEqual(
      [rowsOf(fileOf(first)), rowsOf(fileOf(second))],
      [[{ a: "1", step: "0" }], [{ a: "2", step: "0" }]],
    );
  });

  it("a folder that cannot be made is an error with the next move", () => {
    const root = temporaryFolder();
    writeFileSync(join(root, "file"), "");
    const logger = new CSVLogger(join(root, "file"));
    assert.throws(() => logger.logMetrics({ a: 1 }, 0), {
      name: "ConfigurationError",
      message: /cannot make its folder[\s\S]*Give it a directory/,
    });
    assert.throws(() => new CSVLogger("/proc/none").logMetrics({ a: 1 }, 0), { name: "ConfigurationError" });
  });

  it("arguments that cannot be say what to type", () => {
    const make =
      (...args: unknown[]) =>
      () =>
        new CSVLogger(...(args as [string]));
    assert.throws(make(), /directory of CSVLogger to be a path, but got undefined[\s\S]*new CSVLogger\("logs"/);
    assert.throws(make({ rootDir: "logs" }), /It comes first, options by name after it/);
    assert.throws(make("logs", "exp"), /options of CSVLogger to be an object.*"exp"/);
    assert.throws(make("logs", { nam: "x" }), /no option `nam`[\s\S]*`name`/);
    assert.throws(make("logs", { name: 3 }), /`name` of CSVLogger to be a string/);
    assert.throws(make("logs", { version: -1 }), /`version` of CSVLogger/);
    assert.throws(make("logs", { version: 1.5 }), /`version` of CSVLogger/);
    assert.throws(make("logs", { prefix: 1 }), /`prefix` of CSVLogger/);
    assert.throws(make("logs", { flushLogsEveryNSteps: 0 }), /flushLogsEveryNSteps/);
    assert.throws(make("logs", { every: 0 }), /`every` of CSVLogger/);
  });

  it("an explicit version that holds files is mentioned, and its metrics are deleted at once", async () => {
    const root = temporaryFolder();
    const folder = join(root, "exp", "version_0");
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, "metrics.csv"), "a,step\r\n1,0\r\n");
    writeFileSync(join(folder, "notes.txt"), "mine");
    const logger = new CSVLogger(root, { name: "exp", version: 0 });
    const warnings = await catchWarnings(() => logger.experiment);
    assert.equal(
      warnings[0]?.message,
      `Experiment logs directory ${folder} exists and is not empty. An earlier metrics.csv in it is deleted. Give another \`version\`, or \`append: true\` to continue that file.`,
    );
    assert.equal(warnings.length, 1);
    assert.deepEqual(filesIn(folder), ["notes.txt"]);
  });

  it("an empty folder, and a file that is continued, are no reason to warn", async () => {
    const root = temporaryFolder();
    mkdirSync(join(root, "version_0"));
    const logger = new CSVLogger(root, { name: "", version: 0 });
    assert.deepEqual(await catchWarnings(() => logger.experiment), []);
    logger.logMetrics({ a: 1 }, 0);
    logger.save();
    const next = new CSVLogger(root, { name: "", version: 0, append: true });
    assert.deepEqual(await catchWarnings(() => next.logMetrics({ a: 2 }, 1)), []);
    next.save();
    assert.deepEqual(rowsOf(fileOf(next)), [
      { a: "1", step: "0" },
      { a: "2", step: "1" },
    ]);
  });
});

describe("rows and columns", () => {
  it("columns are sorted, step among them; lines end with CRLF", () => {
    const logger = new CSVLogger(temporaryFolder());
    logger.logMetrics({ d: 4, a: torch.tensor(1), z: torch.tensor([0.5]) }, 7);
    logger.logMetrics({ b: true, c: "text", none: null, n: 3n }, 8);
    logger.save();
    assert.equal(
      readFileSync(fileOf(logger), "utf8"),
      "a,b,c,d,n,none,step,z\r\n1,,,4,,,7,0.5\r\n,true,text,,3,,8,\r\n",
    );
  });

  it("new columns rewrite the file; old rows get empty cells", () => {
    const logger = new CSVLogger(temporaryFolder());
    logger.logMetrics({ b: 1 }, 0);
    logger.save();
    logger.logMetrics({ b: 2, a: 3 }, 1);
    logger.save();
    logger.logMetrics({ c: 4 }, 2);
    logger.save();
    assert.equal(readFileSync(fileOf(logger), "utf8"), "a,b,c,step\r\n,1,,0\r\n3,2,,1\r\n,,4,2\r\n");
    assert.deepEqual(filesIn(logger.logDir), ["metrics.csv"]);
  });

  it("what is nested gets a column for each value, and a prefix comes before all but the step", () => {
    const logger = new CSVLogger(temporaryFolder(), { prefix: "fold0" });
    logger.logMetrics({ acc: { train: 1, val: 2 }, loss: 3 }, 0);
    logger.save();
    assert.deepEqual(rowsOf(fileOf(logger)), [
      { "fold0-acc/train": "1", "fold0-acc/val": "2", "fold0-loss": "3", step: "0" },
    ]);
  });

  it("numbers come back as they were, also those that are none", () => {
    const logger = new CSVLogger(temporaryFolder());
    const values = [0.1, 1e-300, -0, 1e21, Number.NaN, Infinity, -Infinity, 2 ** 53];
    for (const value of values) logger.logMetrics({ value });
    logger.save();
    const read = rowsOf(fileOf(logger)).map(({ value }) => Number(value));
    assert.deepEqual(
      read,
      values.map((value) => (value === 0 ? 0 : value)),
    );
  });

  it("any names and texts come back as they were", () => {
    const name = fc
      .string({ minLength: 1, maxLength: 8, unit: "binary" })
      .filter((text) => text !== "step" && !/[\uFEFF]/.test(text) && text.trim() === text);
    const cell = fc.oneof(
      fc.string({ unit: "binary", maxLength: 12 }),
      fc.constantFrom('"', "a,b", "\r\n", '""', ",", "\n"),
    );
    fc.assert(
      fc.property(
        fc.array(fc.dictionary(name, cell, { minKeys: 1, maxKeys: 4 }), { minLength: 1, maxLength: 6 }),
        fc.nat(3),
        (rows, flushEvery) => {
          const logger = new CSVLogger(temporaryFolder(), { flushLogsEveryNSteps: flushEvery + 1 });
          for (const row of rows) logger.logMetrics(row);
          logger.save();
          const { data } = Papa.parse<string[]>(readFileSync(fileOf(logger), "utf8").slice(0, -2), { newline: "\r\n" });
          const [header = [], ...lines] = data;
          assert.deepEqual(header, [...new Set(["step", ...rows.flatMap((row) => Object.keys(row))])].sort());
          assert.equal(lines.length, rows.length);
          for (const [i, row] of rows.entries()) {
            const wanted = { ...row, step: String(i) } as Record<string, string>;
            assert.deepEqual(
              lines[i],
              header.map((column) => (Object.hasOwn(wanted, column) ? wanted[column] : "")),
            );
          }
        },
      ),
      { numRuns: 150 },
    );
  });

  it("without a step, rows are numbered; flushing does not begin again", () => {
    const logger = new CSVLogger(temporaryFolder(), { flushLogsEveryNSteps: 2 });
    for (let i = 0; i < 5; i++) logger.logMetrics({ a: i });
    logger.logMetrics({ a: 5 }, 40);
    logger.logMetrics({ a: 6 });
    logger.save();
    assert.deepEqual(
      rowsOf(fileOf(logger)).map(({ step }) => step),
      ["0", "1", "2", "3", "4", "40", "6"],
    );
  });

  it("metrics that are no object, steps that are no number and tensors with several elements are errors", () => {
    const logger = new CSVLogger(temporaryFolder());
    // biome-ignore lint/suspicious/noExplicitAny: wrong on purpose
    const wrong = logger as any;
    assert.throws(() => wrong.logMetrics(3), /metrics to be an object, but got 3[\s\S]*fabric\.logDict/);
    assert.throws(() => wrong.logMetrics([1]), TypeError);
    assert.throws(() => wrong.logMetrics({ a: 1 }, "3"), /`step` to be a number, but got "3"/);
    assert.throws(() => wrong.logMetrics({ a: 1 }, Number.NaN), /`step`/);
    assert.throws(() => logger.logMetrics({ a: torch.ones([2]) }), /it cannot be converted to a scalar/);
  });

  it("hyper-parameters have no place in it", () => {
    assert.throws(() => new CSVLogger(temporaryFolder()).logHyperparams(), {
      name: NotSupportedError.name,
      message: /^The `CSVLogger` does not support logging hyper-parameters\.\n`TensorBoardLogger` and/,
    });
  });
});

describe("flushing", () => {
  afterEach(() => mock.restoreAll());

  it("is at every n-th step, and when n rows wait", () => {
    const logger = new CSVLogger(temporaryFolder(), { flushLogsEveryNSteps: 3 });
    const saved = mock.method(logger, "save");
    const savesAfter = (step: number): number => {
      logger.logMetrics({ a: 1 }, step);
      return saved.mock.callCount();
    };
    assert.deepEqual([0, 1, 2, 3, 4, 5].map(savesAfter), [0, 0, 1, 1, 1, 2]);
    // Steps of a loop that counts by six never hit one before a multiple of three.
    assert.deepEqual([6, 12, 18].map(savesAfter), [2, 2, 3]);
  });

  it("does not wait for more than a second", () => {
    mock.timers.enable({ apis: ["setTimeout"] });
    const logger = new CSVLogger(temporaryFolder());
    logger.logMetrics({ a: 1 }, 0);
    mock.timers.tick(999);
    assert.equal(readFileSync(fileOf(logger), "utf8"), "");
    mock.timers.tick(1);
    assert.deepEqual(rowsOf(fileOf(logger)), [{ a: "1", step: "0" }]);
    mock.timers.reset();
    // Where timers never get their turn, the next call writes.
    const now = mock.method(performance, "now", () => 1000);
    logger.logMetrics({ a: 2 }, 1);
    now.mock.mockImplementation(() => 2001);
    logger.logMetrics({ a: 3 }, 2);
    assert.equal(rowsOf(fileOf(logger)).length, 3);
  });

  it("writes nothing when there is nothing, and each row once", () => {
    const logger = new CSVLogger(temporaryFolder());
    logger.experiment.save();
    assert.equal(readFileSync(fileOf(logger), "utf8"), "");
    logger.logMetrics({ a: 1 }, 0);
    logger.save();
    logger.save();
    logger.finalize("success");
    assert.equal(rowsOf(fileOf(logger)).length, 1);
    assert.equal(logger.experiment.metrics.length, 0);
  });
});

describe("continuing a file", () => {
  it("keeps its columns, its rows and the count of steps", () => {
    const root = temporaryFolder();
    const first = new CSVLogger(root, { version: 0 });
    first.logMetrics({ a: 1, "b,c": 2 });
    first.logMetrics({ a: 3 });
    first.save();
    const next = new CSVLogger(root, { version: 0, append: true });
    next.logMetrics({ d: 4 });
    next.save();
    assert.deepEqual(rowsOf(fileOf(next)), [
      { a: "1", "b,c": "2", d: "", step: "0" },
      { a: "3", "b,c": "", d: "", step: "1" },
      { a: "", "b,c": "", d: "4", step: "2" },
    ]);
  });

  it("two loggers write to one file, each with its own columns", () => {
    const root = temporaryFolder();
    const loggers = [0, 1].map(() => new CSVLogger(root, { version: "shared" })) as [CSVLogger, CSVLogger];
    for (const logger of loggers) void logger.experiment;
    loggers[0].logMetrics({ a: 1 }, 0);
    loggers[0].save();
    loggers[1].logMetrics({ b: 2 }, 0);
    loggers[1].save();
    loggers[0].logMetrics({ a: 3 }, 1);
    loggers[0].save();
    assert.equal(readFileSync(fileOf(loggers[0]), "utf8"), "a,b,step\r\n1,,0\r\n,2,0\r\n3,,1\r\n");
  });

  it("whatever is left of a file: complete rows stay, a torn one goes, new ones follow", () => {
    const whole = 'a,"b ""x""",step\r\n1,"two\r\nlines",0\r\n0.125,"é",1\r\n3,,2\r\n';
    const bytes = Buffer.from(whole);
    const path = join(temporaryFolder(), "metrics.csv");
    for (let length = 0; length <= bytes.length; length++) {
      writeFileSync(path, bytes.subarray(0, length));
      const file = new CSVFile(path);
      const rows = file.readRows();
      file.append([
        new Map([
          ["a", "new"],
          ["step", "9"],
        ]),
      ]);
      const read = rowsOf(path);
      assert.equal(read.length, rows + 1, `cut at ${length}`);
      const original = Papa.parse<Record<string, string>>(whole, { header: true, skipEmptyLines: true }).data;
      if (rows > 0) assert.deepEqual(read.slice(0, rows), original.slice(0, rows), `cut at ${length}`);
      assert.equal(read.at(-1)?.a, "new");
    }
  });

  it("random bytes and random cuts never crash it, and what is complete stays", () => {
    const path = join(temporaryFolder(), "metrics.csv");
    const text = fc.oneof(
      fc.string({ maxLength: 40, unit: fc.constantFrom("a", "1", ",", '"', "\r", "\n", "é") }),
      fc.uint8Array({ maxLength: 60 }),
    );
    fc.assert(
      fc.property(text, (content) => {
        writeFileSync(path, content);
        const before = readFileSync(path);
        const file = new CSVFile(path);
        const rows = file.readRows();
        const kept = readFileSync(path);
        assert.ok(before.subarray(0, kept.length).equals(kept), "something but the end was changed");
        file.append([
          new Map([
            ["step", "1"],
            ["new column", "x"],
          ]),
        ]);
        assert.equal(new CSVFile(path).readRows(), kept.length === 0 ? 1 : rows + 1);
      }),
      { numRuns: 300 },
    );
  });

  it("a large file is continued and rewritten in pieces", () => {
    const path = join(temporaryFolder(), "metrics.csv");
    const rows = Array.from({ length: 60_000 }, (_, i) => `${i},${"x".repeat(20)},${i}\r\n`);
    writeFileSync(path, `a,text,step\r\n${rows.join("")}7,torn`);
    const file = new CSVFile(path);
    assert.equal(file.readRows(), 60_000);
    file.append([
      new Map([
        ["b", "1"],
        ["step", "60000"],
      ]),
    ]);
    const read = rowsOf(path);
    assert.equal(read.length, 60_001);
    assert.deepEqual(read[59_999], { a: "59999", b: "", step: "59999", text: "x".repeat(20) });
  });

  it("a file that ends in an endless quotation is not cut", () => {
    const path = join(temporaryFolder(), "metrics.csv");
    writeFileSync(path, `a,step\r\n"${"x".repeat(2 << 20)}`);
    assert.throws(() => new CSVFile(path).readRows(), { name: "ConfigurationError", message: /open quotation/ });
    assert.ok(readFileSync(path).length > 2 << 20);
  });

  it("rows that another process cut off or added in between do no harm", () => {
    const logger = new CSVLogger(temporaryFolder());
    logger.logMetrics({ a: 1 }, 0);
    logger.save();
    appendFileSync(fileOf(logger), "7,");
    logger.logMetrics({ a: 2 }, 1);
    logger.save();
    assert.equal(readFileSync(fileOf(logger), "utf8"), "a,step\r\n1,0\r\n2,1\r\n");
    truncateSync(fileOf(logger), 3);
    logger.logMetrics({ a: 3 }, 2);
    logger.save();
    assert.equal(readFileSync(fileOf(logger), "utf8"), "a,step\r\n3,2\r\n");
  });
});

describe("when writing fails", () => {
  afterEach(() => mock.restoreAll());
  const full = (): never => {
    throw Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC" });
  };

  it("rows are lost with one warning, the file stays whole, and later rows are written", async () => {
    const logger = new CSVLogger(temporaryFolder());
    logger.logMetrics({ a: 1 }, 0);
    logger.save();
    const { write } = fileCalls;
    // A part of the bytes goes through before the disk is full.
    mock.method(fileCalls, "write", (fd: number, bytes: Uint8Array, offset: number, length: number) =>
      offset > 0 ? full() : write(fd, bytes, offset, Math.min(3, length)),
    );
    const warnings = await catchWarnings(() => {
      for (const metrics of [{ a: 2 }, { a: 3 }, { b: 4 }]) {
        logger.logMetrics(metrics, 1);
        logger.save();
      }
    });
    mock.restoreAll();
    assert.equal(warnings.length, 1);
    assert.match(warnings[0]?.message ?? "", /CSVLogger cannot write to .*: ENOSPC.*Training goes on/);
    assert.equal(readFileSync(fileOf(logger), "utf8"), "a,step\r\n1,0\r\n");
    assert.deepEqual(filesIn(logger.logDir), ["metrics.csv"]);
    logger.logMetrics({ b: 5 }, 2);
    logger.save();
    assert.equal(readFileSync(fileOf(logger), "utf8"), "a,b,step\r\n1,,0\r\n,5,2\r\n");
  });
});
