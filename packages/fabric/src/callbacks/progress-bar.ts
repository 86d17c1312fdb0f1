// Shows how training gets on: a live line on a terminal, a plain line now and then elsewhere. Rank 0 alone shows it.
import { ConfigurationError } from "@fabric-ts/torch";
import { checkOptions, describe } from "../utilities/describe.js";
import { currentRank } from "../utilities/rank-zero.js";
import { writeQuietly } from "../utilities/write-quietly.js";
import { factsOf, isCount } from "./facts.js";
import type { BatchFacts, EpochFacts, Metrics, RunFacts } from "./hooks.js";
import { LiveLine, type ProgressStream } from "./live-line.js";
import { liveText, type Progress, plainText, shownMetrics } from "./progress-text.js";

/** Options of `ProgressBar`. */
export interface ProgressBarOptions {
  /** On a terminal: at least this many milliseconds between two drawings (default 100). */
  refreshMs?: number | undefined;
  /** Elsewhere (files, pipes): at least this many seconds between two lines (default 10). */
  plainEverySeconds?: number | undefined;
  /** Where to (default `process.stdout`). */
  stream?: ProgressStream | undefined;
}

/**
 * Shows the epoch, the batch, the speed, the time that is left, the loss and the metrics that the hooks are given. What is printed
 * meanwhile, by any rank, comes above the line. On a terminal the line is live; `NO_COLOR` is respected.
 *
 *     const fabric = new Fabric({ callbacks: [new ProgressBar()] });
 *     await fabric.call("onTrainEpochStart", { epoch, epochs: 10, batches: loader.length });
 *     // ... for each batch
 *     await fabric.call("onTrainBatchEnd", { batchIdx, loss, metrics: { acc } });
 *     // ... at the end
 *     await fabric.call("onTrainEpochEnd", { epoch });
 */
export class ProgressBar {
  readonly #refreshMs: number;
  readonly #plainMs: number;
  readonly #stream: ProgressStream;
  readonly #isLive: boolean;
  readonly #line: LiveLine;
  #epochs: number | undefined;
  /** The passes that are under way: an epoch, and a validation inside of it. */
  readonly #passes: Pass[] = [];
  #shownAt = Number.NEGATIVE_INFINITY;

  /** @throws TypeError for unknown options, ConfigurationError for values that cannot work */
  constructor(options: ProgressBarOptions = {}) {
    checkOptions("ProgressBar", options, ["refreshMs", "plainEverySeconds", "stream"]);
    const { refreshMs = 100, plainEverySeconds = 10, stream = process.stdout } = options;
    for (const [name, value] of Object.entries({ refreshMs, plainEverySeconds })) {
      if (typeof value === "number" && value >= 0) continue;
      throw new ConfigurationError(`\`${name}\` of ProgressBar is ${describe(value)}.`, {
        hint: "Give a number from 0.",
      });
    }
    if (typeof (stream as ProgressStream | null)?.write !== "function") {
      throw new TypeError(
        `Expected \`stream\` of ProgressBar to be an output, but got ${describe(stream)}.\nFor example \`process.stderr\`.`,
      );
    }
    this.#refreshMs = refreshMs;
    this.#plainMs = plainEverySeconds * 1000;
    this.#stream = stream;
    this.#isLive = stream.isTTY === true && process.env.TERM !== "dumb";
    this.#line = new LiveLine(stream);
  }

  onTrainStart({ epochs }: RunFacts = {}): void {
    this.#endAll();
    this.#epochs = isCount(epochs) ? epochs : undefined;
  }
  onTrainEpochStart(facts: EpochFacts = {}): void {
    this.#endAll();
    this.#beginEpoch(facts);
  }
  onTrainBatchEnd(given: BatchFacts): void {
    const facts = factsOf("ProgressBar", "onTrainBatchEnd", given);
    const pass = this.#passes[0];
    if (pass === undefined || (isCount(facts.epoch) && pass.epoch !== facts.epoch)) {
      this.#endAll();
      this.#beginEpoch(facts);
    }
    this.#advance(facts);
  }
  onTrainEpochEnd(facts: EpochFacts = {}): void {
    while (this.#passes.length > 1) this.#end();
    this.#end(facts.metrics);
  }
  onTrainEnd(): void {
    this.#endAll();
  }
  onException(): void {
    this.#endAll();
  }

  onValidationStart(facts: EpochFacts = {}): void {
    this.#begin("validation", facts);
  }
  onValidationBatchEnd(facts: BatchFacts): void {
    this.#advance(factsOf("ProgressBar", "onValidationBatchEnd", facts));
  }
  onValidationEnd(facts: EpochFacts = {}): void {
    if (this.#passes.at(-1)?.label === "validation") this.#end(facts.metrics);
  }
  onTestStart(facts: EpochFacts = {}): void {
    this.#begin("test", facts);
  }
  onTestBatchEnd(facts: BatchFacts): void {
    this.#advance(factsOf("ProgressBar", "onTestBatchEnd", facts));
  }
  onTestEnd(facts: EpochFacts = {}): void {
    if (this.#passes.at(-1)?.label === "test") this.#end(facts.metrics);
  }

  #beginEpoch(facts: EpochFacts): void {
    const { epoch, epochs = this.#epochs } = facts;
    const number = isCount(epoch) ? ` ${epoch + 1}${isCount(epochs) ? `/${epochs}` : ""}` : "";
    this.#begin(isCount(epoch) ? `epoch${number}` : "training", facts);
  }
  #begin(label: string, { epoch, batches }: EpochFacts): void {
    const now = performance.now();
    const total = isCount(batches) ? batches : null;
    this.#passes.push({ label, epoch, total, done: 0, first: undefined, startedAt: now, metrics: [] });
    if (!this.#isLive) this.#shownAt = now;
  }

  #advance(facts: BatchFacts): void {
    const pass = this.#passes.at(-1);
    if (pass === undefined) return;
    const done = isCount(facts.batchIdx) ? facts.batchIdx + 1 : pass.done + 1;
    // A run that was resumed begins in the middle.
    pass.first ??= done - 1;
    pass.done = done;
    if (isCount(facts.batches)) pass.total = facts.batches;
    if (currentRank() !== 0) return;
    const isDue = performance.now() - this.#shownAt >= (this.#isLive ? this.#refreshMs : this.#plainMs);
    const isLast = done === pass.total;
    // Reading a metric waits for the device.
    if (isDue || isLast) {
      pass.metrics = shownMetrics({ ...(facts.loss === undefined ? {} : { loss: facts.loss }), ...facts.metrics });
    }
    if (isDue || (isLast && this.#isLive)) this.#show(pass, false);
  }

  #end(metrics?: Metrics): void {
    const pass = this.#passes.pop();
    if (pass === undefined) return;
    if (currentRank() === 0) {
      pass.metrics = [...new Map([...pass.metrics, ...shownMetrics(metrics ?? {})])];
      this.#show(pass, true);
      this.#line.end();
    }
    // The epoch around a validation is not slower for it.
    const outer = this.#passes.at(-1);
    if (outer) outer.startedAt += performance.now() - pass.startedAt;
  }
  #endAll(): void {
    while (this.#passes.length > 0) this.#end();
  }

  #show(pass: Pass, isOver: boolean): void {
    this.#shownAt = performance.now();
    const progress: Progress = {
      ...pass,
      counted: pass.done - (pass.first ?? 0),
      seconds: (this.#shownAt - pass.startedAt) / 1000,
      isOver,
    };
    const isColoured = this.#stream.hasColors?.() === true;
    if (this.#isLive) this.#line.draw((columns) => liveText(progress, columns, isColoured));
    else writeQuietly(this.#stream, `${plainText(progress)}\n`);
  }
}

interface Pass {
  readonly label: string;
  readonly epoch: number | undefined;
  total: number | null;
  done: number;
  /** How many batches were done before the first that was seen. */
  first: number | undefined;
  startedAt: number;
  metrics: [string, string][];
}
