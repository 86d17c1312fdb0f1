// TensorBoard's files, read back by the second implementation in support/event-reader.ts.
import assert from "node:assert/strict";
import { existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { homedir, hostname } from "node:os";
import { basename, join } from "node:path";
import { afterEach, describe, it, mock } from "node:test";
import { inflateSync } from "node:zlib";
import { ConfigurationError, catchWarnings, Fabric, SummaryWriter, TensorBoardLogger } from "@fabric-ts/fabric";
import * as torch from "@fabric-ts/torch";
import { nn, type Tensor } from "@fabric-ts/torch";
import { fileCalls } from "../../dist/loggers/append-file.js";
import { decode, type Message, readEvents, readRecords, readScalars, readValues } from "./support/event-reader.js";
import { filesIn, onRank, temporaryFolder } from "./support/temporary.js";

function loggerIn(options: ConstructorParameters<typeof TensorBoardLogger>[1] = {}): TensorBoardLogger {
  return new TensorBoardLogger(temporaryFolder(), options);
}

/** The one value under a name. */
function oneValue(logger: TensorBoardLogger, tag: string): Message {
  logger.save();
  const found = readValues(logger.logDir).filter((value) => value.tag === tag);
  assert.equal(found.length, 1, `${found.length} values are called ${tag}`);
  return found[0];
}

describe("versions and folders", () => {
  it("are those of the CSV logger, with a folder below the version's", () => {
    const root = temporaryFolder();
    mkdirSync(join(root, "tb", "version_1"), { recursive: true });
    const logger = new TensorBoardLogger(root, { name: "tb", subDir: "sub" });
    assert.equal(logger.version, 2);
    assert.equal(logger.logDir, join(root, "tb", "version_2", "sub"));
    assert.equal(logger.subDir, "sub");
    logger.logMetrics({ a: 1 }, 0);
    logger.save();
    assert.deepEqual(readScalars(logger.logDir), { a: [[0, 1]] });
    assert.equal(new TensorBoardLogger(root, { name: "tb", version: "named" }).logDir, join(root, "tb", "named"));
    assert.equal(new TensorBoardLogger(root, { name: "", version: 5 }).logDir, join(root, "version_5"));
    assert.equal(new TensorBoardLogger(root).subDir, null);
  });

  it("environment variables and ~ are replaced; the root directory stays as given", () => {
    const root = temporaryFolder();
    process.env.FABRIC_TEST_LOGS = root;
    try {
      mkdirSync(join(root, "a", "version_3"), { recursive: true });
      const logger = new TensorBoardLogger("$FABRIC_TEST_LOGS/a", { name: "", subDir: `\${FABRIC_TEST_NOT_SET}x` });
      assert.equal(logger.rootDir, "$FABRIC_TEST_LOGS/a");
      assert.equal(logger.logDir, join(root, "a", "version_4", `\${FABRIC_TEST_NOT_SET}x`));
      assert.equal(
        new TensorBoardLogger("~/logs", { version: 0, name: "~" }).logDir,
        join(homedir(), "logs/~/version_0"),
      );
      assert.equal(new TensorBoardLogger("a~", { version: 0, name: "" }).logDir, join("a~", "version_0"));
    } finally {
      delete process.env.FABRIC_TEST_LOGS;
    }
  });

  it("nothing is made before something is logged, and nothing on other ranks", async () => {
    const root = temporaryFolder();
    const logger = new TensorBoardLogger(root, { name: "tb" });
    void logger.logDir;
    logger.save();
    logger.finalize("success");
    await onRank(2, () => {
      logger.logMetrics({ a: 1 }, 0);
      logger.logHyperparams({ a: 1 });
      logger.logGraph(new nn.Linear(1, 1), torch.ones([1, 1]));
      logger.experiment.addHistogram("w", torch.ones([2]), 0);
      logger.save();
      logger.finalize("success");
    });
    assert.deepEqual(readdirSync(root), []);
  });

  it("a CSV and an event file of one run share its version", async () => {
    const root = temporaryFolder();
    const { CSVLogger } = await import("@fabric-ts/fabric");
    for (const version of [0, 1]) {
      const loggers = [new CSVLogger(root, { name: "" }), new TensorBoardLogger(root, { name: "" })];
      const warnings = await catchWarnings(() => new Fabric({ accelerator: "cpu", loggers }).log("a", 1, 0));
      assert.deepEqual(
        warnings.filter(({ kind }) => kind === "UserWarning"),
        [],
      );
      assert.deepEqual(
        loggers.map((logger) => logger.version),
        [version, version],
      );
      for (const logger of loggers) logger.finalize("success");
      assert.equal(filesIn(join(root, `version_${version}`)).length, 2);
    }
  });
});

describe("files", () => {
  it("are named as TensorBoard's own and begin with its version", () => {
    const logger = loggerIn({ filenameSuffix: ".mine" });
    logger.logMetrics({ a: 1 }, 0);
    logger.finalize("success");
    const [name = ""] = readdirSync(logger.logDir);
    const host = hostname().replace(/[.]/g, "\\.");
    assert.match(name, new RegExp(`^events\\.out\\.tfevents\\.\\d{10}\\.${host}\\.${process.pid}\\.\\d+\\.mine$`));
    const [header, event] = readEvents(join(logger.logDir, name));
    assert.equal(header.file_version, "brain.Event:2");
    assert.ok(Math.abs(event.wall_time - Date.now() / 1000) < 60);
  });

  it("grow in whole records: a reader sees no torn one, and a file cut anywhere is read up to there", () => {
    const logger = loggerIn({ maxQueue: 1 });
    for (let step = 0; step < 5; step++) {
      logger.logMetrics({ a: step }, step);
      assert.equal(readScalars(logger.logDir).a?.length, step + 1);
    }
    const [name = ""] = readdirSync(logger.logDir);
    const bytes = readFileSync(join(logger.logDir, name));
    let seen = 0;
    for (let length = 0; length <= bytes.length; length++) {
      const count = readRecords(bytes.subarray(0, length), true).length;
      assert.ok(count >= seen);
      seen = count;
    }
    assert.equal(seen, 6);
  });

  it("hold 50,000 scalars as they were logged", () => {
    const logger = loggerIn();
    const { experiment } = logger;
    const values = Array.from({ length: 50_000 }, (_, i) => Math.fround(Math.sin(i)));
    for (const [step, value] of values.entries()) experiment.addScalar("loss", value, step);
    // Nearly all are in the file already: no more than a thousand wait.
    const files = filesIn(logger.logDir);
    assert.equal(files.length, 1);
    assert.ok(readScalars(logger.logDir).loss?.length === 50_000);
    logger.save();
    assert.deepEqual(readScalars(logger.logDir), { loss: values.map((value, step) => [step, value]) });
  });

  it("are written after `flushSecs`, or `maxQueue` events", () => {
    mock.timers.enable({ apis: ["setTimeout"] });
    try {
      const logger = loggerIn({ maxQueue: 3, flushSecs: 20 });
      logger.logMetrics({ a: 1, b: 2 }, 0);
      assert.deepEqual(readScalars(logger.logDir), {});
      mock.timers.tick(20_000);
      assert.equal(Object.keys(readScalars(logger.logDir)).length, 2);
      logger.logMetrics({ a: 1, b: 2, c: 3 }, 1);
      assert.equal(Object.keys(readScalars(logger.logDir)).length, 3);
    } finally {
      mock.timers.reset();
    }
  });

  it("of a closed experiment stay; what comes later goes to a new one", () => {
    const logger = loggerIn();
    logger.logMetrics({ a: 1 }, 0);
    logger.finalize("success");
    logger.finalize("success");
    logger.logMetrics({ a: 2 }, 1);
    logger.finalize("success");
    assert.equal(filesIn(logger.logDir).length, 2);
    assert.deepEqual(readScalars(logger.logDir).a?.sort(), [
      [0, 1],
      [1, 2],
    ]);
  });
});

describe("metrics", () => {
  it("numbers, booleans and tensors with one element are scalars at their step", () => {
    const logger = loggerIn();
    logger.logMetrics(
      { float: 0.5, int: 3, big: 7n, flag: true, tensor: torch.tensor([0.25]), int64: torch.tensor(9) },
      12,
    );
    logger.logMetrics({ float: Number.NaN, int: -Infinity }, 2 ** 40);
    logger.logMetrics({ float: 1 }, -3);
    logger.save();
    assert.deepEqual(readScalars(logger.logDir), {
      float: [
        [12, 0.5],
        [2 ** 40, Number.NaN],
        [-3, 1],
      ],
      int: [
        [12, 3],
        [2 ** 40, -Infinity],
      ],
      big: [[12, 7]],
      flag: [[12, 1]],
      tensor: [[12, 0.25]],
      int64: [[12, 9]],
    });
  });

  it("without a step they are numbered", () => {
    const logger = loggerIn();
    for (const a of [5, 6, 7]) logger.logMetrics({ a });
    logger.save();
    assert.deepEqual(readScalars(logger.logDir).a, [
      [0, 5],
      [1, 6],
      [2, 7],
    ]);
  });

  it("a dictionary of numbers is one chart: each of its names is a run of its own", () => {
    const logger = loggerIn({ prefix: "p" });
    logger.logMetrics({ "acc/top1": { train: 1, "val/a": torch.tensor(2) }, loss: 3 }, 4);
    logger.save();
    assert.deepEqual(readScalars(logger.logDir), { "p-loss": [[4, 3]] });
    assert.deepEqual(readScalars(join(logger.logDir, "p-acc_top1_train")), { "p-acc/top1": [[4, 1]] });
    assert.deepEqual(readScalars(join(logger.logDir, "p-acc_top1_val_a")), { "p-acc/top1": [[4, 2]] });
  });

  it("a name cannot lead out of the folder", () => {
    const logger = loggerIn();
    logger.logMetrics({ "../../up": { "../x": 1 } }, 0);
    logger.save();
    assert.deepEqual(readdirSync(logger.logDir), [".._.._up_.._x"]);
  });

  it("anything else is an error that shows it", () => {
    const logger = loggerIn();
    for (const value of ["text", [1, 2], null, { a: "text" }]) {
      assert.throws(() => logger.logMetrics({ a: value }, 0), {
        name: "ConfigurationError",
        message: /you tried to log .* which is currently not supported/,
      });
    }
    assert.throws(() => logger.logMetrics({ a: torch.ones([2]) }, 0), /it cannot be converted to a scalar/);
  });
});

describe("hyper-parameters", () => {
  function hparamsOf(logger: TensorBoardLogger): Message {
    logger.save();
    const parts: Message = {};
    for (const { tag, metadata, step } of readValues(logger.logDir)) {
      if (metadata?.plugin_data.plugin_name !== "hparams") continue;
      assert.ok(tag.startsWith("_hparams_/"));
      parts[tag.slice(10)] = { ...decode("HParamsPluginData", metadata.plugin_data.content), step };
    }
    return parts;
  }

  it("are three summaries: the experiment, the values of this run, and its end", () => {
    const logger = loggerIn();
    const nested = { layers: [{ size: 2 }, { size: 3 }], act: nn.ReLU, betas: [0.9, 0.99] };
    logger.logHyperparams(
      { lr: 0.1, depth: 3, flag: false, name: "é", none: null, model: nested, one: torch.tensor(2.5) },
      { "val/acc": 0.75 },
      9,
    );
    const { experiment, session_start_info: start, session_end_info: end } = hparamsOf(logger);
    const types = experiment.experiment.hparam_infos.map((info: Message) => [info.name, info.type]);
    assert.deepEqual(types, [
      ["lr", "DATA_TYPE_FLOAT64"],
      ["depth", "DATA_TYPE_FLOAT64"],
      ["flag", "DATA_TYPE_BOOL"],
      ["name", "DATA_TYPE_STRING"],
      ["none", "DATA_TYPE_STRING"],
      ["model/layers/0/size", "DATA_TYPE_FLOAT64"],
      ["model/layers/1/size", "DATA_TYPE_FLOAT64"],
      ["model/act", "DATA_TYPE_STRING"],
      ["model/betas", "DATA_TYPE_STRING"],
      ["one", "DATA_TYPE_FLOAT64"],
    ]);
    assert.deepEqual(experiment.experiment.metric_infos, [{ name: { tag: "val/acc" } }]);
    assert.deepEqual(start.session_start_info.hparams, {
      lr: { number_value: 0.1 },
      depth: { number_value: 3 },
      flag: { bool_value: false },
      name: { string_value: "é" },
      none: { string_value: "null" },
      "model/layers/0/size": { number_value: 2 },
      "model/layers/1/size": { number_value: 3 },
      "model/act": { string_value: "ReLU" },
      "model/betas": { string_value: "[0.9,0.99]" },
      one: { number_value: 2.5 },
    });
    assert.equal(end.session_end_info.status, "STATUS_SUCCESS");
    assert.equal(experiment.step, 9);
    assert.deepEqual(readScalars(logger.logDir), { "val/acc": [[9, 0.75]] });
  });

  it("come with the metric hp_metric, -1, or the number that is given", () => {
    for (const [metrics, value] of [
      [undefined, -1],
      [null, -1],
      [0.5, 0.5],
      [torch.tensor(0.25), 0.25],
    ] as const) {
      const logger = loggerIn();
      logger.logHyperparams({ lr: 1 }, metrics);
      assert.deepEqual(hparamsOf(logger).experiment.experiment.metric_infos, [{ name: { tag: "hp_metric" } }]);
      assert.deepEqual(readScalars(logger.logDir), { hp_metric: [[0, value]] });
    }
  });

  it("without it and without metrics, nothing is written", () => {
    const logger = loggerIn({ defaultHpMetric: false });
    logger.logHyperparams({ lr: 1 });
    logger.save();
    assert.ok(!existsSync(logger.logDir));
    logger.logHyperparams({ lr: 1 }, { a: 2 });
    assert.deepEqual(hparamsOf(logger).experiment.experiment.metric_infos, [{ name: { tag: "a" } }]);
  });

  it("may be none, have names that are no texts, and hold tensors with many elements", () => {
    for (const params of [null, undefined, {}]) {
      const logger = loggerIn();
      logger.logHyperparams(params);
      assert.equal(hparamsOf(logger).experiment.experiment.hparam_infos, undefined);
    }
    const logger = loggerIn();
    const weights = torch.ones([2, 2]);
    logger.logHyperparams(
      new Map<unknown, unknown>([
        [1, { 2: "x" }],
        [Symbol.iterator, weights],
      ]),
    );
    assert.deepEqual(hparamsOf(logger).session_start_info.session_start_info.hparams, {
      "1/2": { string_value: "x" },
      "Symbol(Symbol.iterator)": { string_value: String(weights) },
    });
  });

  it("are masked where they sound secret, unless that is turned off", () => {
    const params = { auth: { apiKey: "s3cret" }, list: [{ token: "s3cret" }, 1], tokenizer: "bpe" };
    const text = (logger: TensorBoardLogger): string => {
      logger.logHyperparams(params);
      logger.save();
      return filesIn(logger.logDir)
        .map((name) => readFileSync(join(logger.logDir, name), "latin1"))
        .join();
    };
    assert.doesNotMatch(text(loggerIn()), /s3cret/);
    assert.match(text(loggerIn()), /bpe/);
    assert.match(text(loggerIn({ secrets: false })), /s3cret/);
    assert.doesNotMatch(text(loggerIn({ secrets: /tokenizer/ })), /bpe/);
    assert.throws(
      () => loggerIn({ secrets: "token" as never }),
      /`secrets` of TensorBoardLogger to be a regular expression or false/,
    );
  });
});

describe("histograms", () => {
  it("have the figures of the elements, and buckets that hold each of them", () => {
    const logger = loggerIn();
    const elements = [-2, -1e-13, 0, 0, 1e-12, 0.5, 3, Number.NaN, Infinity];
    logger.experiment.addHistogram("w", torch.tensor(elements, { dtype: "float64" }).reshape([3, 3]), 5);
    const { histo, step } = oneValue(logger, "w");
    const finite = elements.filter(Number.isFinite);
    assert.equal(step, 5);
    assert.deepEqual([histo.min, histo.max, histo.num], [-2, 3, 7]);
    assert.ok(Math.abs(histo.sum - finite.reduce((a, b) => a + b)) < 1e-12);
    assert.ok(Math.abs(histo.sum_squares - finite.reduce((a, b) => a + b * b, 0)) < 1e-12);
    assert.equal(histo.bucket.length, histo.bucket_limit.length);
    // Each bucket begins where the one before it ends; the first is empty.
    assert.equal(histo.bucket[0], 0);
    const isSorted = histo.bucket_limit.every(
      (limit: number, i: number) => i === 0 || limit > histo.bucket_limit[i - 1],
    );
    assert.ok(isSorted);
    histo.bucket.forEach((count: number, i: number) => {
      const low = i === 0 ? -Infinity : histo.bucket_limit[i - 1];
      const inside = finite.filter((value) => value >= low && value < histo.bucket_limit[i]).length;
      assert.equal(count, inside, `the bucket below ${histo.bucket_limit[i]}`);
    });
    assert.ok(histo.bucket.at(-1) > 0);
  });

  it("take arrays and any kind of tensor", () => {
    const logger = loggerIn();
    logger.experiment.addHistogram("array", [1, 2, 2], 0);
    logger.experiment.addHistogram("int", torch.tensor([1, 2, 2]), 0);
    logger.experiment.addHistogram("bf16", torch.tensor([1, 2, 2]).to("bfloat16"), 0);
    const weight = new nn.Linear(2, 2).weight;
    logger.experiment.addHistogram("weight", weight, 0);
    for (const tag of ["array", "int", "bf16"]) {
      const { histo } = oneValue(logger, tag);
      assert.deepEqual([histo.min, histo.max, histo.num, histo.sum, histo.sum_squares], [1, 2, 3, 5, 9]);
    }
    assert.equal(oneValue(logger, "weight").histo.num, 4);
  });

  it("of nothing, or of nothing finite, are an error", () => {
    const { experiment } = loggerIn();
    assert.throws(() => experiment.addHistogram("w", torch.zeros([0])), /no finite number for the histogram/);
    assert.throws(() => experiment.addHistogram("w", [Number.NaN]), ConfigurationError);
    assert.throws(() => experiment.addHistogram("w", 3 as never), /to be a Tensor or an array, but got 3/);
  });
});

describe("images", () => {
  /** The bytes of a PNG's pixels: the decoder of this test, for what our encoder makes (no filters). */
  function pixelsOf(png: Uint8Array): { width: number; height: number; type: number; rows: number[][] } {
    const view = Buffer.from(png);
    assert.equal(view.toString("latin1", 0, 8), "\u0089PNG\r\n\u001a\n");
    let header = Buffer.alloc(0);
    const data: Buffer[] = [];
    for (let at = 8; at < view.length; ) {
      const length = view.readUInt32BE(at);
      const type = view.toString("latin1", at + 4, at + 8);
      const body = view.subarray(at + 8, at + 8 + length);
      assert.equal(view.readUInt32BE(at + 8 + length), crc32(view.subarray(at + 4, at + 8 + length)), type);
      if (type === "IHDR") header = body;
      if (type === "IDAT") data.push(body);
      at += length + 12;
    }
    const [width, height, type] = [header.readUInt32BE(0), header.readUInt32BE(4), header[9] as number];
    const raw = inflateSync(Buffer.concat(data));
    const rowBytes = raw.length / height;
    const rows = Array.from({ length: height }, (_, y) => [...raw.subarray(y * rowBytes, (y + 1) * rowBytes)]);
    for (const row of rows) assert.equal(row.shift(), 0);
    return { width, height, type, rows };
  }

  function crc32(bytes: Uint8Array): number {
    let crc = -1;
    for (const byte of bytes) {
      crc ^= byte;
      for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
    }
    return ~crc >>> 0;
  }

  const rgb = (): Tensor => torch.arange(12).reshape([3, 2, 2]);

  it("are PNG files with the tensor's pixels, whatever the order of its dimensions", () => {
    const logger = loggerIn();
    logger.experiment.addImage("chw", rgb().to("uint8"), 3);
    logger.experiment.addImage("hwc", rgb().permute([1, 2, 0]), 3, { dataFormat: "HWC" });
    logger.experiment.addImage(
      "hw",
      torch.tensor([
        [0, 0.5, 1],
        [-1, 2, Number.NaN],
      ]),
      3,
      { dataFormat: "HW" },
    );
    logger.experiment.addImage("rgba", torch.ones([4, 1, 1]), 3);
    for (const tag of ["chw", "hwc"]) {
      const { image, step } = oneValue(logger, tag);
      assert.deepEqual([image.height, image.width, image.colorspace, step], [2, 2, 3, 3]);
      const expected = {
        width: 2,
        height: 2,
        type: 2,
        rows: [
          [0, 4, 8, 1, 5, 9],
          [2, 6, 10, 3, 7, 11],
        ],
      };
      assert.deepEqual(pixelsOf(image.encoded_image_string), expected);
    }
    const grey = oneValue(logger, "hw").image;
    assert.equal(grey.colorspace, 1);
    assert.deepEqual(pixelsOf(grey.encoded_image_string).rows, [
      [0, 127, 255],
      [0, 255, 0],
    ]);
    assert.deepEqual(pixelsOf(oneValue(logger, "rgba").image.encoded_image_string), {
      width: 1,
      height: 1,
      type: 6,
      rows: [[255, 255, 255, 255]],
    });
  });

  it("of a batch stand in a grid, eight in a row", () => {
    const logger = loggerIn();
    const batch = torch.arange(10).reshape([10, 1, 1, 1]);
    logger.experiment.addImages("grid", batch, 0);
    logger.experiment.addImages("last", batch.permute([0, 2, 3, 1]), 0, { dataFormat: "NHWC" });
    for (const tag of ["grid", "last"]) {
      const { height, width, encoded_image_string: png } = oneValue(logger, tag).image;
      assert.deepEqual([height, width], [2, 8]);
      assert.deepEqual(pixelsOf(png).rows, [
        [0, 1, 2, 3, 4, 5, 6, 7],
        [8, 9, 0, 0, 0, 0, 0, 0],
      ]);
    }
  });

  it("of another shape are errors that name the formats", () => {
    const { experiment } = loggerIn();
    assert.throws(
      () => experiment.addImage("x", torch.ones([2, 2])),
      /shape \[2, 2\] is no image in the format CHW[\s\S]*dataFormat: "HWC"/,
    );
    assert.throws(() => experiment.addImage("x", torch.ones([5, 2, 2])), /1 to 4 channels/);
    assert.throws(() => experiment.addImage("x", torch.ones([3, 0, 2])), /no empty dimension/);
    assert.throws(
      () => experiment.addImage("x", torch.ones([3, 2, 2]), 0, { dataFormat: "CWH" as never }),
      /no image format "CWH"/,
    );
    assert.throws(() => experiment.addImage("x", [1] as never), /image to be a Tensor/);
    assert.throws(
      () => experiment.addImage("x", torch.ones([3, 2, 2]), 0, { dataformats: "HWC" } as never),
      /Did you mean `dataFormat`/,
    );
  });
});

describe("texts", () => {
  it("are tensors of one text, for the page of texts", () => {
    const logger = loggerIn();
    logger.experiment.addText("note", "# Häding\n*x*", 2);
    const { tensor, metadata, step } = oneValue(logger, "note/text_summary");
    assert.equal(metadata.plugin_data.plugin_name, "text");
    assert.deepEqual([tensor.dtype, tensor.tensor_shape.dim, step], [7, [{ size: 1 }], 2]);
    assert.equal(Buffer.from(tensor.string_val[0]).toString("utf8"), "# Häding\n*x*");
    assert.throws(() => logger.experiment.addText("note", 3 as never), /text to be a string/);
  });
});

describe("graphs", () => {
  function graphOf(logger: TensorBoardLogger): Message {
    logger.save();
    const [name = ""] = readdirSync(logger.logDir);
    const event = readEvents(join(logger.logDir, name)).find(({ graph_def }) => graph_def !== undefined);
    return decode("GraphDef", event.graph_def);
  }
  const edges = (graph: Message): unknown => graph.node.map(({ name, op, input }: Message) => [name, op, input ?? []]);

  class Residual extends nn.Module<[Tensor], Tensor> {
    first = new nn.Linear(4, 4);
    act = new nn.ReLU();
    second = new nn.Linear(4, 2);
    exampleInputArray: unknown;
    forward(x: Tensor): Tensor {
      const y = this.act(this.act(this.first(x)));
      return this.second(y.add(x));
    }
  }

  it("show each call of a layer; dotted edges stand for what happens in between", () => {
    const logger = loggerIn();
    const model = new Residual();
    model.first.eval();
    logger.logGraph(model, torch.ones([3, 4]));
    const graph = graphOf(logger);
    assert.deepEqual(edges(graph), [
      ["input/0", "Placeholder", []],
      ["Residual/first", "Linear", ["input/0"]],
      ["Residual/act", "ReLU", ["Residual/first"]],
      ["Residual/act_1", "ReLU", ["Residual/act"]],
      ["Residual/second", "Linear", ["^Residual/act_1"]],
      ["output", "Output", ["Residual/second"]],
    ]);
    const { attr } = graph.node[1];
    assert.equal(attr.parameters.i, 20);
    assert.deepEqual(attr._output_shapes.list.shape, [{ dim: [{ size: 3 }, { size: 4 }] }]);
    // The model is as before: modes, hooks, gradients.
    assert.deepEqual([model.training, model.first.training, model.act.training], [true, false, true]);
    assert.equal(model.first.weight.grad, null);
  });

  it("take the model's example input, and unwrap what Fabric wrapped", () => {
    const fabric = new Fabric({ accelerator: "cpu" });
    const model = new Residual();
    model.exampleInputArray = [torch.ones([1, 4])];
    const logger = loggerIn();
    logger.logGraph(fabric.setup(model) as unknown as Residual);
    assert.equal(graphOf(logger).node[1].name, "Residual/first");
  });

  it("give models with hooks for batches their input through these", () => {
    class Hooked extends Residual {
      seen: unknown[] = [];
      _onBeforeBatchTransfer(batch: unknown): unknown {
        this.seen.push(batch);
        return torch.ones([2, 4]);
      }
      _applyBatchTransferHandler(batch: Tensor): Tensor {
        this.seen.push([...batch.shape]);
        return batch;
      }
    }
    const logger = loggerIn();
    const model = new Hooked();
    const input = torch.ones([7, 7]);
    logger.logGraph(model, input);
    assert.deepEqual(model.seen, [input, [2, 4]]);
    assert.deepEqual(graphOf(logger).node[0].attr._output_shapes.list.shape, [{ dim: [{ size: 2 }, { size: 4 }] }]);
  });

  it("are a warning where there is no input, none that can be used, or the model fails on it", async () => {
    const logger = loggerIn();
    const expected = [
      [
        undefined,
        /Could not log computational graph to TensorBoard: The `model.exampleInputArray` attribute is not set/,
      ],
      [
        "text",
        /Could not log computational graph to TensorBoard: .* has type String which can't be traced by TensorBoard/,
      ],
      [[torch.ones([1, 4]), 3], /has type Array which can't be traced by TensorBoard/],
      [torch.ones([1, 5]), /Could not log computational graph to TensorBoard: the model failed on the example input/],
    ] as const;
    for (const [input, text] of expected) {
      const model = new Residual();
      const warnings = await catchWarnings(() => logger.logGraph(model, input));
      assert.equal(warnings.length, 1);
      assert.match(warnings[0]?.message ?? "", text);
      assert.ok(model.training);
    }
    logger.save();
    assert.deepEqual(readValues(logger.logDir), []);
  });
});

describe("the writer alone", () => {
  it("writes to any folder", () => {
    const folder = join(temporaryFolder(), "a", "b");
    const writer = new SummaryWriter(folder);
    writer.addScalar("loss", 1, 2);
    writer.addScalars("acc", { train: 1 }, 2);
    writer.close();
    assert.deepEqual(readScalars(folder), { loss: [[2, 1]] });
    assert.deepEqual(readScalars(join(folder, "acc_train")), { acc: [[2, 1]] });
  });

  it("refuses arguments that cannot be", () => {
    assert.throws(() => new SummaryWriter(3 as never), /folder of a SummaryWriter to be a path, but got 3/);
    assert.throws(() => new SummaryWriter("x", { maxQueue: -1 }), /`maxQueue` to be a number, 0 or more/);
    assert.throws(() => new SummaryWriter("x", { filenameSuffix: "../x" }), /filenameSuffix/);
    assert.throws(() => loggerIn({ flushSecs: "10" as never }), /`flushSecs`/);
    assert.throws(() => loggerIn({ max_queue: 1 } as never), /no option `max_queue`[\s\S]*`maxQueue`/);
    const writer = new SummaryWriter(temporaryFolder());
    assert.throws(() => writer.addScalar(3 as never, 1), /name in TensorBoard to be a string/);
    assert.throws(
      () => writer.addScalar("a", "1" as never),
      /Expected a number, or a tensor with one element, but got "1"/,
    );
    assert.throws(() => writer.addScalar("a", 1, "0" as never), /`step` to be a number/);
  });
});

describe("when writing fails", () => {
  afterEach(() => mock.restoreAll());

  it("events are lost with one warning, the file stays readable, and later events are written", async () => {
    const logger = loggerIn({ maxQueue: 1 });
    let isFull = true;
    const { write } = fileCalls;
    mock.method(fileCalls, "write", (fd: number, bytes: Uint8Array, offset: number, length: number) => {
      if (!isFull) return write(fd, bytes, offset, length);
      if (offset === 0) return write(fd, bytes, 0, 5);
      throw Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC" });
    });
    const warnings = await catchWarnings(() => {
      for (let step = 0; step < 3; step++) logger.logMetrics({ a: step }, step);
    });
    assert.equal(warnings.length, 1);
    assert.match(warnings[0]?.message ?? "", /TensorBoardLogger cannot write to .*ENOSPC/);
    isFull = false;
    logger.logMetrics({ a: 3 }, 3);
    isFull = true;
    await catchWarnings(() => logger.logMetrics({ a: 4 }, 4));
    isFull = false;
    logger.logMetrics({ a: 5 }, 5);
    assert.deepEqual(readScalars(logger.logDir).a, [
      [3, 3],
      [5, 5],
    ]);
    assert.equal(basename(filesIn(logger.logDir).join()).includes("events.out"), true);
  });
});
