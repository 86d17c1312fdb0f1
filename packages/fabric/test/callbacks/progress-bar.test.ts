// ProgressBar: what it says, on terminals of any width and elsewhere, and that it leaves what others print whole.
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { EventEmitter } from "node:events";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { Fabric, ProgressBar, type ProgressBarOptions } from "@fabric-ts/fabric";
import * as torch from "@fabric-ts/torch";
import { liveText, type Progress, plainText, shownMetrics } from "../../dist/callbacks/progress-text.js";
import { cleanEnvironment } from "../support/run-ranks.js";
import { screenAfter } from "../support/screen.js";

// Whatever the terminal is that the tests run on, or none: it is not the one that they draw on.
process.env.TERM = "xterm";

/** An output that remembers; with columns it is a terminal. */
class Output extends EventEmitter {
  text = "";
  readonly isTTY: boolean;
  constructor(public columns?: number) {
    super();
    this.isTTY = columns !== undefined;
  }
  write(text: string): boolean {
    this.text += text;
    return true;
  }
  get screen(): string[] {
    return screenAfter(this.text, this.columns || 80);
  }
  get lines(): string[] {
    return this.text.split("\n").slice(0, -1);
  }
}
/** Speed and times depend on the machine. */
const timeless = (line: string | undefined): string =>
  (line ?? "").replace(/[\d.e+]+ (it\/s|s\/it)/, "R").replace(/(eta|in) [\d:]+/, "$1 T");

function fabricWith(options: ProgressBarOptions): Fabric {
  return new Fabric({ accelerator: "cpu", callbacks: [new ProgressBar(options)] });
}

describe("on a terminal", () => {
  it("there is one live line for each epoch, with loss, metrics and the time that is left", async () => {
    const stream = new Output(100);
    const fabric = fabricWith({ stream, refreshMs: 0 });
    await fabric.call("onTrainStart", { epochs: 2 });
    for (let epoch = 0; epoch < 2; epoch++) {
      await fabric.call("onTrainEpochStart", { epoch, batches: 4 });
      for (let batchIdx = 0; batchIdx < 4; batchIdx++) {
        const loss = torch.tensor(1 / (batchIdx + 1));
        await fabric.call("onTrainBatchEnd", { batchIdx, loss, metrics: { acc: batchIdx, shape: [1] } });
        if (batchIdx === 1) {
          assert.equal(
            timeless(stream.screen.at(-1)),
            `epoch ${epoch + 1}/2  ${"#".repeat(15)}${".".repeat(15)}  2/4  R  eta T  loss 0.5000  acc 1`,
          );
        }
      }
      await fabric.call("onTrainEpochEnd", { epoch, metrics: { acc: 0.75 } });
    }
    await fabric.call("onTrainEnd");
    const bar = "#".repeat(30);
    assert.deepEqual(stream.screen.map(timeless), [
      `epoch 1/2  ${bar}  4/4  R  in T  loss 0.2500  acc 0.7500`,
      `epoch 2/2  ${bar}  4/4  R  in T  loss 0.2500  acc 0.7500`,
    ]);
    assert.ok(stream.text.endsWith("\n"));
    assert.equal(stream.listenerCount("resize"), 0);
  });

  it("validation has a line of its own, in an epoch or after it", async () => {
    const stream = new Output(100);
    const fabric = fabricWith({ stream, refreshMs: 0 });
    const validate = async (): Promise<void> => {
      await fabric.call("onValidationStart", { batches: 2 });
      await fabric.call("onValidationBatchEnd", { batchIdx: 0 });
      assert.match(stream.screen.at(-1) ?? "", /^validation {2}#{15}\.{15} {2}1\/2/);
      await fabric.call("onValidationEnd", { metrics: { val_loss: 1e-9 } });
    };
    await fabric.call("onTrainEpochStart", { epoch: 0 });
    await fabric.call("onTrainBatchEnd", { batchIdx: 0 });
    await validate();
    await fabric.call("onTrainBatchEnd", { batchIdx: 1 });
    await fabric.call("onTrainEpochEnd", { epoch: 0 });
    await validate();
    await fabric.call("onTestStart", {});
    await fabric.call("onTestBatchEnd", {});
    await fabric.call("onTestEnd", {});
    assert.deepEqual(stream.screen.map(timeless), [
      `validation  ${"#".repeat(15)}${".".repeat(15)}  1/2  R  in T  val_loss 1.00e-9`,
      "epoch 1  2  R  in T",
      `validation  ${"#".repeat(15)}${".".repeat(15)}  1/2  R  in T  val_loss 1.00e-9`,
      "test  1  R  in T",
    ]);
  });

  it("the line fits, also when the window changes, and unknown widths are 80", async () => {
    const stream = new Output(120);
    const fabric = fabricWith({ stream, refreshMs: 0 });
    await fabric.call("onTrainEpochStart", { epoch: 0, batches: 2 });
    await fabric.call("onTrainBatchEnd", { batchIdx: 0, metrics: { long: 123456, name: "x".repeat(60) } });
    for (const columns of [60, 40, 20, 5, 1, 0]) {
      stream.text = "";
      stream.columns = columns;
      stream.emit("resize");
      const [line, ...others] = screenAfter(stream.text, columns || 80);
      assert.deepEqual(others, []);
      assert.ok((line ?? "").length <= (columns || 80) - 1, `${columns}: ${line}`);
    }
    await fabric.call("onException", { error: new Error() });
    assert.ok(stream.text.endsWith("\n"));
    stream.text = "";
    stream.emit("resize");
    assert.equal(stream.text, "");
  });

  it("draws now and then, and always the last batch", async () => {
    const stream = new Output(100);
    const fabric = fabricWith({ stream, refreshMs: 1e9 });
    await fabric.call("onTrainEpochStart", { epoch: 0, batches: 50 });
    const reads: number[] = [];
    for (let batchIdx = 0; batchIdx < 50; batchIdx++) {
      const metrics = {
        get acc() {
          reads.push(batchIdx);
          return batchIdx;
        },
      };
      await fabric.call("onTrainBatchEnd", { batchIdx, metrics });
    }
    // Reading a metric waits for the device.
    assert.deepEqual(reads, [0, 49]);
    assert.match(stream.screen.at(-1) ?? "", /50\/50/);
  });

  it("works without the hooks that start and end epochs, and in a run that was resumed", async () => {
    const stream = new Output(100);
    const fabric = fabricWith({ stream, refreshMs: 0 });
    for (const [epoch, batchIdx] of [
      [3, 7],
      [3, 8],
      [4, 0],
    ] as const) {
      await fabric.call("onTrainBatchEnd", { epoch, batchIdx, batches: 9 });
    }
    await fabric.call("onTrainEnd");
    assert.deepEqual(
      stream.screen.map((line) => timeless(line).replace(/[#.]+/, "B")),
      ["epoch 4  B  9/9  R  in T", "epoch 5  B  1/9  R  in T"],
    );
    stream.text = "";
    await fabric.call("onTrainEpochStart", {});
    await fabric.call("onValidationStart", {});
    await fabric.call("onTrainEpochEnd", { metrics: { acc: 1 } });
    assert.deepEqual(stream.screen, ["validation  0", "training  0  acc 1"]);
    await assert.rejects(async () => fabric.call("onTrainBatchEnd", 3 as never), /to be given an object, but got 3/);
  });
});

describe("elsewhere", () => {
  it("there is a plain line at the end of each epoch, and every so many seconds", async (context) => {
    let now = 0;
    context.mock.method(performance, "now", () => now);
    const stream = new Output();
    const fabric = fabricWith({ stream, plainEverySeconds: 5 });
    await fabric.call("onTrainStart", { epochs: 1 });
    await fabric.call("onTrainEpochStart", { epoch: 0, batches: 12 });
    for (let batchIdx = 0; batchIdx < 12; batchIdx++) {
      now += 1000;
      await fabric.call("onTrainBatchEnd", { batchIdx, loss: batchIdx });
    }
    await fabric.call("onTrainEpochEnd", { epoch: 0 });
    assert.deepEqual(stream.lines, [
      "epoch 1/1  5/12  1.00 it/s  eta 0:07  loss 4",
      "epoch 1/1  10/12  1.00 it/s  eta 0:02  loss 9",
      "epoch 1/1  12/12  1.00 it/s  in 0:12  loss 11",
    ]);
  });

  it("the time of a validation is not the epoch's", async (context) => {
    let now = 0;
    context.mock.method(performance, "now", () => now);
    const stream = new Output();
    const fabric = fabricWith({ stream });
    await fabric.call("onTrainEpochStart", { epoch: 0 });
    now += 2000;
    await fabric.call("onTrainBatchEnd", {});
    await fabric.call("onValidationStart", {});
    now += 90_000;
    await fabric.call("onValidationBatchEnd", {});
    await fabric.call("onValidationEnd", {});
    await fabric.call("onTrainEpochEnd", {});
    assert.deepEqual(stream.lines, [
      "validation  1  90.0 s/it",
      "validation  1  90.0 s/it  in 1:30",
      "epoch 1  1  2.00 s/it  in 0:02",
    ]);
  });
});

describe("the text", () => {
  const progress: Progress = {
    label: "epoch 1",
    done: 3,
    total: 12,
    counted: 3,
    seconds: 6,
    isOver: false,
    metrics: [],
  };

  it("has speeds and times that can be read", () => {
    const facts = (changes: Partial<Progress>): string => plainText({ ...progress, ...changes });
    assert.equal(facts({}), "epoch 1  3/12  2.00 s/it  eta 0:18");
    assert.equal(facts({ seconds: 0.001 }), "epoch 1  3/12  3000 it/s  eta 0:00");
    assert.equal(facts({ total: 12_003, seconds: 3 }), "epoch 1  3/12003  1.00 it/s  eta 3:20:00");
    assert.equal(facts({ total: null, seconds: 0.25 }), "epoch 1  3  12.0 it/s");
    assert.equal(facts({ counted: 0, seconds: 0 }), "epoch 1  3/12");
    assert.equal(facts({ isOver: true, seconds: 3661 }), "epoch 1  3/12  1.22e+3 s/it  in 1:01:01");
  });

  it("has a bar of one of three lengths, coloured where colours are wanted", () => {
    assert.equal(
      liveText(progress, 80, false),
      `epoch 1  ${"#".repeat(7)}${".".repeat(23)}  3/12  2.00 s/it  eta 0:18`,
    );
    assert.ok(liveText(progress, 80, true).includes(`\x1b[32m${"#".repeat(7)}\x1b[39m${".".repeat(23)}`));
    assert.equal(
      liveText(progress, 60, false),
      `epoch 1  ${"#".repeat(5)}${".".repeat(15)}  3/12  2.00 s/it  eta 0:18`,
    );
    assert.equal(liveText(progress, 47, false), `epoch 1  ##........  3/12  2.00 s/it  eta 0:18`);
    assert.equal(liveText(progress, 40, false), "epoch 1  3/12  2.00 s/it  eta 0:18");
    assert.equal(liveText(progress, 10, false), "epoch 1  3");
    assert.equal(
      liveText({ ...progress, done: 99 }, 60, false),
      `epoch 1  ${"#".repeat(20)}  99/12  2.00 s/it  eta 0:00`,
    );
    assert.equal(
      liveText({ ...progress, done: 0, total: 0, counted: 0 }, 60, false).match(/[#.]{20}/)?.[0],
      "#".repeat(20),
    );
  });

  it("counts wide characters twice, and lets no name move the cursor", () => {
    const metrics = shownMetrics({
      "\x1b[2J": 1,
      "a\nb": "c\td",
      "\u7cbe\u5ea6": Number.NaN,
      tensor: torch.tensor([2.5]),
    });
    assert.deepEqual(metrics, [
      ["?[2J", "1"],
      ["a?b", "c?d"],
      ["\u7cbe\u5ea6", "NaN"],
      ["tensor", "2.5000"],
    ]);
    const wide: Progress = { ...progress, label: "\u7cbe".repeat(20), total: null };
    assert.equal(liveText(wide, 11, false), "\u7cbe".repeat(5));
  });
});

const noScript =
  spawnSync("script", ["--version"], { encoding: "utf8" }).stdout?.includes("util-linux") === true
    ? false
    : "needs script of util-linux, for a terminal";

/** Runs the program on a terminal of its own; what the terminal shows in the end. */
async function onTerminal(
  env: Record<string, string>,
  columns = 80,
): Promise<{ code: number | null; text: string; screen: string[] }> {
  const program = fileURLToPath(new URL("../ranks/progress.js", import.meta.url));
  const command = `stty cols ${columns} rows 30 onlcr; exec "${process.execPath}" "${program}"`;
  // With CI set, Node takes no terminal for a coloured one.
  const { NO_COLOR: _, FORCE_COLOR: __, CI: ___, ...clean } = cleanEnvironment();
  const child = spawn("script", ["-qec", command, "/dev/null"], {
    env: { ...clean, TERM: "xterm", COLORTERM: "", POSSIBLE_USER_WARNINGS: "off", ...env },
    stdio: ["ignore", "pipe", "inherit"],
  });
  let text = "";
  child.stdout.setEncoding("utf8").on("data", (more: string) => (text += more));
  const code = await new Promise<number | null>((resolve) => child.on("close", resolve));
  return { code, text, screen: screenAfter(text.replace(/All distributed[^\n]*\n/, ""), columns) };
}

describe("with a real terminal", { skip: noScript, concurrency: 1 }, () => {
  const last = /^epoch 1\/1 {2}#{20} {2}6\/6 {2}.* in 0:0\d {2}loss 0\.5000 {2}acc 5$/;

  it("lines that are printed stand above the live one, whole, in order and each once", async () => {
    const { code, text, screen } = await onTerminal({ RANKS: "1" });
    assert.equal(code, 0, text);
    const live = screen.filter((line) => line.startsWith("epoch"));
    assert.deepEqual(
      screen.filter((line) => !line.startsWith("epoch")),
      ["out 0", "err 0", "half of 0, and the rest", "end"],
    );
    assert.equal(live.length, 1, screen.join("\n"));
    assert.match(live[0] as string, last);
    assert.ok(text.includes("\x1b[32m"));
  });

  it("lines of other ranks as well; NO_COLOR has none, and a narrow window no bar", async () => {
    const { code, text, screen } = await onTerminal({ RANKS: "2", NO_COLOR: "1" }, 40);
    assert.equal(code, 0, text);
    const printed = screen.filter((line) => /^(end|err|out)/.test(line));
    assert.deepEqual(printed.sort(), ["end", "end", "err 0", "err 1", "out 0", "out 1"]);
    const live = screen.filter((line) => line.startsWith("epoch"));
    assert.equal(live.length, 1, screen.join("\n"));
    assert.match(live[0] as string, /^epoch 1\/1 {2}6\/6/);
    assert.ok(!text.includes("\x1b[32m"));
  });

  it("an error ends the line before its text", async () => {
    for (const RANKS of ["1", "2"]) {
      const { code, screen } = await onTerminal({ RANKS, FAULT: "throw" });
      assert.equal(code, 1);
      const error = screen.findIndex((line) => line.includes("Error: out of ideas"));
      assert.ok(error > 0, screen.join("\n"));
      assert.ok(
        screen.every((line) => !/epoch.*(Error|Rank)/.test(line)),
        screen.join("\n"),
      );
    }
  });

  it("with TERM=dumb there are plain lines", async () => {
    const { text } = await onTerminal({ RANKS: "1", TERM: "dumb" });
    assert.ok(!text.includes("\x1b"));
    assert.match(text, /epoch 1\/1 {2}6\/6/);
  });
});

it("a reader that goes away does not end training", () => {
  const program = `
    import { Fabric, ProgressBar } from "@fabric-ts/fabric";
    const fabric = new Fabric({ accelerator: "cpu", callbacks: [new ProgressBar({ plainEverySeconds: 0 })] });
    for (let epoch = 0; epoch < 30; epoch++) {
      await fabric.call("onTrainBatchEnd", { epoch });
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    process.stderr.write("went on");`;
  const command = `"${process.execPath}" --input-type=module -e '${program}' | head -n 1`;
  const { stdout, stderr } = spawnSync("sh", ["-c", command], {
    cwd: new URL("../..", import.meta.url),
    env: { ...cleanEnvironment(), POSSIBLE_USER_WARNINGS: "off" } as NodeJS.ProcessEnv,
    encoding: "utf8",
  });
  assert.match(stdout, /^epoch 1 {2}1/);
  assert.equal(stderr, "went on");
});

it("options that cannot work are refused", () => {
  assert.throws(() => new ProgressBar({ refreshMs: -1 }), /`refreshMs` of ProgressBar is -1.\nGive a number from 0/);
  assert.throws(
    () => new ProgressBar({ stream: "stdout" as never }),
    /Expected `stream` of ProgressBar to be an output, but got "stdout"/,
  );
  assert.throws(() => new ProgressBar({ refresh_rate: 1 } as never), /ProgressBar has no option `refresh_rate`/);
});
