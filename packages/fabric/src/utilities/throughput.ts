// How fast training goes: batches, samples, items and floating-point operations a second, over a window of the last updates.
import { ConfigurationError, UsageError } from "@fabric-ts/torch";
import type { Fabric } from "../fabric.js";
import { checkOptions, describe } from "./describe.js";
import { getAvailableFlops } from "./flops.js";
import { currentRank } from "./rank-zero.js";

/** Options of `Throughput`. */
export interface ThroughputOptions {
  /** What a device can do at most in operations a second, for the utilization `mfu`; see `getAvailableFlops`. */
  availableFlops?: number | null | undefined;
  /** Number of devices (default 1): with several there are numbers for all together, too. */
  worldSize?: number | undefined;
  /** Over how many updates speeds are computed (default 100). */
  windowSize?: number | undefined;
  /** Stands between `device` and the name of a metric (default `"/"`). */
  separator?: string | undefined;
}

/** What `Throughput.update` is told: running totals of this process, but for `flops`. */
export interface ThroughputUpdate {
  /** Seconds since the beginning: `performance.now() / 1000`. */
  time: number;
  /** Batches so far. */
  batches: number;
  /** Samples so far. */
  samples: number;
  /** Items so far, such as the tokens of all samples: in every update or in none. */
  lengths?: number | undefined;
  /** Floating-point operations since the last update; see `measureFlops`. */
  flops?: number | undefined;
}

const throughputOptions = ["availableFlops", "worldSize", "windowSize", "separator"];

/**
 * Computes speeds from running totals. Metrics that begin with `device` are those of this process; the others are of all together.
 *
 *     const throughput = new Throughput({ windowSize: 10 });
 *     for (let step = 1; step <= steps; step++) {
 *       train();
 *       throughput.update({ time: performance.now() / 1000, batches: step, samples: step * batchSize });
 *       if (step % 10 === 0) fabric.logDict(throughput.compute(), step);
 *     }
 */
export class Throughput {
  /** What a device can do at most in operations a second; null where that is not known. */
  readonly availableFlops: number | null;
  readonly worldSize: number;
  readonly windowSize: number;
  readonly separator: string;
  readonly #time: Totals;
  readonly #batches: Totals;
  readonly #samples: Totals;
  readonly #lengths: Totals;
  readonly #flops: Window;

  constructor(options: ThroughputOptions = {}) {
    checkOptions("Throughput", options, throughputOptions);
    const { availableFlops = null, worldSize = 1, windowSize = 100, separator = "/" } = options;
    checkAtLeast("worldSize", worldSize, 1);
    // Speeds are differences between the last value and the first.
    checkAtLeast("windowSize", windowSize, 2);
    this.availableFlops = availableFlops;
    this.worldSize = worldSize;
    this.windowSize = windowSize;
    this.separator = separator;
    this.#time = new Totals("time", windowSize);
    this.#batches = new Totals("batches", windowSize);
    this.#samples = new Totals("samples", windowSize);
    this.#lengths = new Totals("lengths", windowSize);
    this.#flops = new Window(windowSize);
  }

  /** Takes the totals of now. Every one has to be above that of the update before. */
  update(update: ThroughputUpdate): void {
    checkOptions("update", update, ["time", "batches", "samples", "lengths", "flops"]);
    const { time, batches, samples, lengths, flops } = update;
    this.#time.add(time);
    if (samples < batches) {
      throw new ConfigurationError(`Expected samples (${samples}) to be greater or equal than batches (${batches}).`);
    }
    this.#batches.add(batches);
    this.#samples.add(samples);
    if (lengths !== undefined) this.#addLengths(lengths, samples);
    if (flops !== undefined) this.#flops.add(flops * this.worldSize);
  }

  /** The latest totals, and the speeds once the window is full. */
  compute(): Record<string, number> {
    if (this.#time.count === 0) {
      throw new UsageError("There is nothing yet to compute the throughput from.", {
        hint: "Call `update({ time, batches, samples })` first.",
      });
    }
    const metrics: Record<string, number> = {
      time: this.#time.last,
      batches: this.#batches.last,
      samples: this.#samples.last,
    };
    if (this.#lengths.count > 0) metrics.lengths = this.#lengths.last;
    if (this.#time.isFull) {
      this.#addSpeed(metrics, "batches_per_sec", this.#batches);
      this.#addSpeed(metrics, "samples_per_sec", this.#samples);
      if (this.#lengths.isFull) this.#addSpeed(metrics, "items_per_sec", this.#lengths);
    }
    if (this.#flops.isFull) this.#addFlops(metrics);
    return metrics;
  }

  /** Forgets all updates. */
  reset(): void {
    for (const window of [this.#time, this.#batches, this.#samples, this.#lengths, this.#flops]) window.clear();
  }

  #addLengths(lengths: number, samples: number): void {
    if (lengths < samples) {
      throw new ConfigurationError(`Expected lengths (${lengths}) to be greater or equal than samples (${samples}).`);
    }
    this.#lengths.add(lengths);
    if (this.#lengths.count === this.#samples.count) return;
    throw new UsageError(
      `If lengths are passed (${this.#lengths.count}), there needs to be the same number of samples (${this.#samples.count}).`,
      { hint: "Pass `lengths` in every update, or in none." },
    );
  }

  #addSpeed(metrics: Record<string, number>, name: string, totals: Totals): void {
    const perSecond = totals.elapsed / this.#time.elapsed;
    metrics[this.#ofDevice(name)] = perSecond;
    if (this.worldSize > 1) metrics[name] = perSecond * this.worldSize;
  }

  #addFlops(metrics: Record<string, number>): void {
    // The first value belongs to the time before the window.
    const perSecond = (this.#flops.sum - this.#flops.first) / this.#time.elapsed;
    const ofDevice = perSecond / this.worldSize;
    if (this.worldSize > 1) metrics.flops_per_sec = perSecond;
    metrics[this.#ofDevice("flops_per_sec")] = ofDevice;
    if (this.availableFlops) metrics[this.#ofDevice("mfu")] = ofDevice / this.availableFlops;
  }

  #ofDevice(name: string): string {
    return `device${this.separator}${name}`;
  }
}

/**
 * The throughput of a run with Fabric: of all its processes, beside what the devices can do. It works on rank zero and does nothing on
 * the others.
 *
 *     const monitor = new ThroughputMonitor(fabric, { windowSize: 50 });
 *     monitor.update({ time, batches, samples, flops });
 *     monitor.computeAndLog(step);
 */
export class ThroughputMonitor extends Throughput {
  /** The step of the last `computeAndLog`; -1 before the first. */
  step = -1;
  readonly #fabric: Fabric;

  /** @throws UsageError before `fabric.launch()`, when the number of processes is not settled */
  constructor(fabric: Fabric, options: Omit<ThroughputOptions, "availableFlops" | "worldSize"> = {}) {
    fabric.requireLaunch();
    checkOptions("ThroughputMonitor", options, ["windowSize", "separator"]);
    const dtype: unknown = fabric.strategy.precision?.computeDtype;
    if (typeof dtype !== "string") {
      throw new UsageError(`Expected a precision plugin, got ${describe(fabric.strategy.precision)}.`);
    }
    const availableFlops = getAvailableFlops(fabric.device, fabric.strategy.precision.computeDtype);
    super({ ...options, availableFlops, worldSize: fabric.worldSize });
    this.#fabric = fabric;
  }

  override update(update: ThroughputUpdate): void {
    if (currentRank() === 0) super.update(update);
  }
  override compute(): Record<string, number> {
    return currentRank() === 0 ? super.compute() : {};
  }
  /** Computes the metrics and hands them to `fabric.logDict`, as those of `step` or of the step after the last. Returns them. */
  computeAndLog(step?: number): Record<string, number> {
    if (currentRank() !== 0) return {};
    this.step = step ?? this.step + 1;
    const metrics = this.compute();
    this.#fabric.logDict(metrics, this.step);
    return metrics;
  }
  override reset(): void {
    if (currentRank() === 0) super.reset();
  }
}

/** The last values of something. */
class Window {
  readonly #size: number;
  readonly #values: number[] = [];

  constructor(size: number) {
    this.#size = size;
  }

  get count(): number {
    return this.#values.length;
  }
  get isFull(): boolean {
    return this.#values.length === this.#size;
  }
  get first(): number {
    return this.#values[0] as number;
  }
  get last(): number {
    return this.#values.at(-1) as number;
  }
  get sum(): number {
    return this.#values.reduce((sum, value) => sum + value, 0);
  }
  add(value: number): void {
    this.#values.push(value);
    if (this.#values.length > this.#size) this.#values.shift();
  }
  clear(): void {
    this.#values.length = 0;
  }
}

/** The last values of a running total. */
class Totals extends Window {
  readonly #name: string;

  constructor(name: string, size: number) {
    super(size);
    this.#name = name;
  }

  get elapsed(): number {
    return this.last - this.first;
  }
  override add(value: number): void {
    if (typeof value !== "number" || Number.isNaN(value)) {
      throw new TypeError(`Expected \`${this.#name}\` to be a number, but got ${describe(value)}.`);
    }
    if (this.count > 0 && value <= this.last) {
      throw new ConfigurationError(
        `Expected the value to increase, last: ${this.last}, current: ${value} (of \`${this.#name}\`).`,
        { hint: "Totals count from the beginning of the run, not from the last update." },
      );
    }
    super.add(value);
  }
}

function checkAtLeast(name: string, value: unknown, least: number): void {
  if (typeof value === "number" && Number.isInteger(value) && value >= least) return;
  throw new ConfigurationError(`\`${name}\` of Throughput is ${describe(value)}.`, {
    hint: `Give a whole number of at least ${least}.`,
  });
}
