// A metric that decisions depend on: its value as all ranks agree on it, and which of two values is better.
import { ConfigurationError, UsageError } from "@fabric-ts/torch";
import { agree } from "../collectives/agree.js";
import type { Fabric } from "../fabric.js";
import { convertTensorsToScalars } from "../utilities/convert.js";
import { describe } from "../utilities/describe.js";
import { rankZeroWarn } from "../utilities/rank-zero.js";
import type { Metrics } from "./hooks.js";

/** Whether a smaller or a greater value is better. */
export type MonitorMode = "min" | "max";

/** internal: a metric by name. */
export class MonitoredMetric {
  readonly name: string;
  readonly mode: MonitorMode;
  readonly #owner: string;
  #hasWarned = false;

  /** @throws TypeError, ConfigurationError when the name or the mode is none */
  constructor(owner: string, name: string, mode: MonitorMode) {
    if (typeof name !== "string" || name === "") {
      throw new TypeError(
        `Expected \`monitor\` of ${owner} to be the name of a metric, but got ${describe(name)}.\nType \`new ${owner}({ monitor: "val_loss" })\`.`,
      );
    }
    if (mode !== "min" && mode !== "max") {
      throw new ConfigurationError(`\`mode\` of ${owner} is ${describe(mode)}.`, {
        hint: 'Choose "min" when smaller is better (a loss) or "max" when greater is (an accuracy).',
      });
    }
    this.#owner = owner;
    this.name = name;
    this.mode = mode;
  }

  /** The value that is worse than all others. */
  get worst(): number {
    return this.mode === "min" ? Number.POSITIVE_INFINITY : Number.NEGATIVE_INFINITY;
  }
  /** True when `value` is better than `other`. NaN is better than nothing. */
  isBetter(value: number, other: number): boolean {
    return this.mode === "min" ? value < other : value > other;
  }

  /** True when the metrics have it. */
  isIn(metrics: Metrics | undefined): boolean {
    return metrics?.[this.name] !== undefined && metrics[this.name] !== null;
  }

  /**
   * The value, the same on all ranks; all of them call it. Where the ranks' values differ it is their mean, with a warning. `hook` is the place
   * that the metrics come from, for error texts.
   */
  async read(fabric: Fabric, metrics: Metrics | undefined, hook: string): Promise<number> {
    const { strategy } = fabric;
    const what = `Reading the metric '${this.name}'`;
    const own = await agree(strategy, what, async () => this.#own(metrics, hook));
    const values = await strategy.allGatherObject(own, what);
    if (values.every((value) => Object.is(value, values[0]))) return own;
    if (!this.#hasWarned) {
      this.#hasWarned = true;
      rankZeroWarn(
        `${this.#owner}: the ranks have different values of '${this.name}' (${values.join(", ")}); their mean is used.\nReduce it before, \`await fabric.allReduce(value)\`, where another value is meant.`,
        "PossibleUserWarning",
      );
    }
    return values.reduce((sum, value) => sum + value, 0) / values.length;
  }

  #own(metrics: Metrics | undefined, hook: string): number {
    if (!this.isIn(metrics)) {
      const names = Object.keys(metrics ?? {}).map((name) => `\`${name}\``);
      throw new UsageError(
        `${this.#owner} is conditioned on the metric \`${this.name}\`, which \`${hook}\` was not given. It was given: ${names.join(", ") || "no metrics"}.`,
        { hint: `Type \`await fabric.call("${hook}", { metrics: { ${this.name}: value } })\`, or monitor another.` },
      );
    }
    const value = convertTensorsToScalars(metrics?.[this.name]);
    if (typeof value === "number") return value;
    throw new TypeError(
      `Expected the metric \`${this.name}\` to be a number or a tensor with one element, but got ${describe(value)}.`,
    );
  }
}
