// Stops training when the loss jumps, and writes down which batches to leave out the next time.
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { ConfigurationError, FabricError, Tensor } from "@fabric-ts/torch";
import type { Fabric } from "../fabric.js";
import { checkOptions, describe } from "./describe.js";

/** A loss jumped, on this rank or another. Thrown on all of them. */
export class TrainingSpikeException extends FabricError {
  /** The number of the batch. */
  readonly batchIdx: number;

  constructor(batchIdx: number, cause?: unknown) {
    super(`Training spike detected in batch ${batchIdx}!`, { code: "ERR_TRAINING_SPIKE", cause });
    this.batchIdx = batchIdx;
  }
}

/** Options of `SpikeDetection`. */
export interface SpikeDetectionOptions {
  /** Whether smaller or larger losses are better (default `"min"`). */
  mode?: "min" | "max" | undefined;
  /** Over how many losses the mean is taken (default 10). */
  window?: number | undefined;
  /** The number of the first batch that may be a spike (default 1). */
  warmup?: number | undefined;
  /** A spike is at least this far from the mean (default: any distance). */
  atol?: number | null | undefined;
  /** A spike is at least this many means away from the mean (default 2; null: any distance). */
  rtol?: number | null | undefined;
  /** The JSON file, or the folder of `skip_batches.json`, in which the numbers of bad batches are listed (default: the current folder). */
  excludeBatchesPath?: string | undefined;
  /** A loss that is not finite is a spike (default true). */
  finiteOnly?: boolean | undefined;
}

/** What `onTrainBatchEnd` needs to know. */
export interface SpikeFacts {
  fabric: Pick<Fabric, "strategy">;
  /** The loss of the batch: a number, or a tensor with one. */
  loss: Tensor | number;
  batch?: unknown;
  /** The number of the batch in the epoch, from 0. */
  batchIdx: number;
}

const optionNames = ["mode", "window", "warmup", "atol", "rtol", "excludeBatchesPath", "finiteOnly"];

/**
 * A callback that ends training on all ranks when the loss of one of them jumps: not towards better values, and away from the mean of the
 * last losses by `atol` and `rtol`. The batch and the one before are put on a list, for a run that leaves them out.
 *
 *     const fabric = new Fabric({ callbacks: [new SpikeDetection({ excludeBatchesPath: "runs/skip.json" })] });
 *     await fabric.call("onTrainBatchEnd", { fabric, loss, batch, batchIdx });
 */
export class SpikeDetection {
  readonly mode: "min" | "max";
  readonly window: number;
  readonly finiteOnly: boolean;
  warmup: number;
  atol: number | null;
  rtol: number | null;
  /** Numbers of the batches to leave out. */
  badBatches: number[] = [];
  /** The JSON file that lists them. */
  excludeBatchesPath: string;
  /** The last loss that was no spike. */
  lastVal = 0;
  #recent: number[] = [];

  constructor(options: SpikeDetectionOptions = {}) {
    checkOptions("SpikeDetection", options, optionNames);
    const { mode = "min", window = 10, warmup = 1, atol = null, rtol = 2, finiteOnly = true } = options;
    checkMode(mode);
    if (!Number.isInteger(window) || window < 1) {
      throw new ConfigurationError(`\`window\` of SpikeDetection is ${describe(window)}.`, {
        hint: "Give the number of losses whose mean counts, at least 1.",
      });
    }
    this.mode = mode;
    this.window = window;
    this.warmup = warmup;
    this.atol = atol;
    this.rtol = rtol;
    this.finiteOnly = finiteOnly;
    const path = options.excludeBatchesPath ?? process.cwd();
    this.excludeBatchesPath = path.endsWith(".json") ? path : join(path, "skip_batches.json");
  }

  /** Call it on all ranks after each batch. Throws a `TrainingSpikeException` on all of them when one has a spike. */
  async onTrainBatchEnd(facts: SpikeFacts): Promise<void> {
    const { strategy, value, batchIdx } = checkFacts(facts);
    const isSpike = batchIdx >= this.warmup && this.#isSpike(value);
    if (await strategy.reduceBooleanDecision(isSpike, { all: false })) {
      await this.#stop(strategy.isGlobalZero, batchIdx);
    }
    const isUsable = Number.isFinite(value);
    // With `finiteOnly` a loss of another rank that is not finite would have been a spike.
    if (this.finiteOnly ? isUsable : await strategy.reduceBooleanDecision(isUsable)) this.#accept(value);
  }

  /** What has to be saved to continue. */
  stateDict(): Record<string, unknown> {
    return {
      last_val: this.lastVal,
      mode: this.mode,
      warmup: this.warmup,
      atol: this.atol,
      rtol: this.rtol,
      bad_batches: [...this.badBatches],
      bad_batches_path: this.excludeBatchesPath,
      running: [...this.#recent],
      mean: this.#mean(),
    };
  }
  /** Goes on from what `stateDict` gave. */
  loadStateDict(state: Record<string, unknown>): void {
    const { last_val, mode, warmup, atol, rtol, bad_batches, bad_batches_path, running } = state;
    checkMode(mode);
    Object.assign(this, { lastVal: last_val, mode, warmup, atol, rtol, excludeBatchesPath: bad_batches_path });
    this.badBatches = [...(bad_batches as number[])];
    // Python saves no values here.
    this.#recent = Array.isArray(running) ? running.slice(-this.window) : [];
  }

  #isSpike(loss: number): boolean {
    if (this.finiteOnly && !Number.isFinite(loss)) return true;
    const change = loss - this.lastVal;
    if (this.mode === "min" ? change <= 0 : change >= 0) return false;
    const mean = this.#mean();
    const distance = Math.abs(loss - mean);
    return (
      (this.atol === null || distance >= Math.abs(this.atol)) &&
      (this.rtol === null || distance >= Math.abs(this.rtol * mean))
    );
  }

  #mean(): number {
    return this.#recent.reduce((sum, loss) => sum + loss, 0) / this.#recent.length;
  }

  #accept(loss: number): void {
    this.lastVal = loss;
    this.#recent.push(loss);
    if (this.#recent.length > this.window) this.#recent.shift();
  }

  /** The batch may be bad, or the one before, which has changed the weights. */
  async #stop(isGlobalZero: boolean, batchIdx: number): Promise<never> {
    this.badBatches.push(...[batchIdx - 1, batchIdx].filter((batch) => batch >= 0));
    let failure: unknown;
    if (isGlobalZero) {
      try {
        await mkdir(dirname(this.excludeBatchesPath), { recursive: true });
        await writeFile(this.excludeBatchesPath, JSON.stringify(this.badBatches, null, 4));
      } catch (error) {
        failure = error;
      }
    }
    throw new TrainingSpikeException(batchIdx, failure);
  }
}

function checkMode(mode: unknown): asserts mode is "min" | "max" {
  if (mode === "min" || mode === "max") return;
  throw new ConfigurationError(`Invalid mode. Has to be min or max, found ${describe(mode)}.`);
}

const example = 'await fabric.call("onTrainBatchEnd", { fabric, loss, batch, batchIdx })';

function checkFacts(facts: SpikeFacts): { strategy: Fabric["strategy"]; value: number; batchIdx: number } {
  const { fabric, loss, batchIdx } = (facts ?? {}) as Partial<SpikeFacts>;
  if (typeof fabric?.strategy?.reduceBooleanDecision !== "function") throw wrongFact("fabric", "a Fabric", fabric);
  if (!Number.isInteger(batchIdx)) throw wrongFact("batchIdx", "the number of the batch, from 0", batchIdx);
  const value = loss instanceof Tensor && loss.numel() === 1 ? loss.item() : loss;
  if (typeof value !== "number") throw wrongFact("loss", "a number or a Tensor with one", loss);
  return { strategy: fabric.strategy, value, batchIdx: batchIdx as number };
}

function wrongFact(name: string, expected: string, found: unknown): TypeError {
  return new TypeError(
    `Expected \`${name}\` of \`SpikeDetection.onTrainBatchEnd\` to be ${expected}, but got ${describe(found)}.\nType \`${example}\`.`,
  );
}
