// Rates that go up and down between two bounds (https://arxiv.org/abs/1506.01186).
import { typeError } from "../../check.js";
import { ConfigurationError } from "../../errors.js";
import { checkBoolean, checkNumber, checkOptions, checkSize, checkWord } from "../../nn/arguments.js";
import type { Optimizer } from "../optimizer.js";
import { LRScheduler, perGroup, type SchedulerOptions, type StateField } from "./lr-scheduler.js";
import { pow } from "./math.js";

/** Options of `CyclicLR`. */
export interface CyclicLROptions extends SchedulerOptions {
  /** Batches from the lower to the upper bound (default 2000). */
  stepSizeUp?: number | undefined;
  /** Batches back (default: `stepSizeUp`). */
  stepSizeDown?: number | undefined;
  /** The same height always (default), half of it each cycle, or times `gamma` each batch. */
  mode?: "triangular" | "triangular2" | "exp_range" | undefined;
  /** For `"exp_range"` (default 1). */
  gamma?: number | undefined;
  /** The height as a function of the cycle or the batch, in the place of `mode`. Not part of the state. */
  scaleFn?: ((x: number) => number) | undefined;
  /** What `scaleFn` is given (default `"cycle"`). */
  scaleMode?: "cycle" | "iterations" | undefined;
  /** Lower the momentum while the rate rises (default true). */
  cycleMomentum?: boolean | undefined;
  /** The lower bound of the momentum (default 0.8). */
  baseMomentum?: number | readonly number[] | undefined;
  /** The upper bound of the momentum (default 0.9). */
  maxMomentum?: number | readonly number[] | undefined;
}

const names = [
  "stepSizeUp",
  "stepSizeDown",
  "mode",
  "gamma",
  "scaleFn",
  "scaleMode",
  "cycleMomentum",
  "baseMomentum",
  "maxMomentum",
  "lastEpoch",
];
const example = "new optim.lrScheduler.CyclicLR(optimizer, 0.001, 0.1, { stepSizeUp: 500 })";

/** Rates between `baseLr` and `maxLr`, up and down again. Call `step` after each batch. */
export class CyclicLR extends LRScheduler {
  maxLrs: number[];
  totalSize: number;
  stepRatio: number;
  mode: string;
  gamma: number;
  scaleMode: string;
  cycleMomentum: boolean;
  baseMomentums: number[] = [];
  maxMomentums: number[] = [];
  readonly #scaleFn: ((x: number) => number) | null;

  constructor(
    optimizer: Optimizer,
    baseLr: number | readonly number[],
    maxLr: number | readonly number[],
    options: CyclicLROptions = {},
  ) {
    checkOptions(options, names, example);
    super(optimizer, options);
    const baseLrs = rates("baseLr", baseLr, optimizer);
    this.maxLrs = rates("maxLr", maxLr, optimizer);
    const up = checkSize("stepSizeUp", options.stepSizeUp ?? 2000, 1, example);
    const down = checkSize("stepSizeDown", options.stepSizeDown ?? up, 1, example);
    this.totalSize = up + down;
    this.stepRatio = up / this.totalSize;
    this.mode = checkWord("mode", options.mode ?? "triangular", ["triangular", "triangular2", "exp_range"]);
    this.gamma = checkNumber("gamma", options.gamma ?? 1);
    this.#scaleFn = options.scaleFn ?? null;
    if (this.#scaleFn === null) this.scaleMode = this.mode === "exp_range" ? "iterations" : "cycle";
    else {
      if (typeof this.#scaleFn !== "function") throw typeError("scaleFn", "a function", this.#scaleFn);
      this.scaleMode = checkWord("scaleMode", options.scaleMode ?? "cycle", ["cycle", "iterations"]);
    }
    this.cycleMomentum = checkBoolean("cycleMomentum", options.cycleMomentum ?? true);
    if (this.cycleMomentum) this.#setUpMomentum(options);
    if (this.lastEpoch === -1) {
      for (const [i, group] of optimizer.paramGroups.entries()) group.lr = baseLrs[i] as number;
    }
    this.start();
    this.baseLrs = baseLrs;
  }

  #setUpMomentum(options: CyclicLROptions): void {
    const { optimizer } = this;
    if (!("momentum" in optimizer.defaults)) throw noMomentum(optimizer, "`momentum`");
    const bases = rates("baseMomentum", options.baseMomentum ?? 0.8, optimizer);
    if (this.lastEpoch === -1) {
      for (const [i, group] of optimizer.paramGroups.entries()) group.momentum = bases[i];
    }
    this.baseMomentums = optimizer.paramGroups.map((group) => group.momentum as number);
    this.maxMomentums = rates("maxMomentum", options.maxMomentum ?? 0.9, optimizer);
  }

  #scale(x: number): number {
    if (this.#scaleFn !== null) return this.#scaleFn(x);
    if (this.mode === "triangular2") return 1 / pow(2, x - 1);
    return this.mode === "exp_range" ? pow(this.gamma, x) : 1;
  }

  /** Sets the momentum as well. */
  protected override getLr(): number[] {
    const cycle = Math.floor(1 + this.lastEpoch / this.totalSize);
    const x = 1 + this.lastEpoch / this.totalSize - cycle;
    const height = x <= this.stepRatio ? x / this.stepRatio : (x - 1) / (this.stepRatio - 1);
    const scale = this.#scale(this.scaleMode === "cycle" ? cycle : this.lastEpoch);
    const lrs = this.baseLrs.map((base, i) => base + ((this.maxLrs[i] as number) - base) * height * scale);
    if (this.cycleMomentum) {
      this.optimizer.paramGroups.forEach((group, i) => {
        const most = this.maxMomentums[i] as number;
        group.momentum = most - (most - (this.baseMomentums[i] as number)) * height * scale;
      });
    }
    return lrs;
  }

  protected override get stateFields(): readonly StateField[] {
    const momentum: StateField[] = [
      ["baseMomentums", "base_momentums"],
      ["maxMomentums", "max_momentums"],
    ];
    return [
      ["maxLrs", "max_lrs"],
      ["totalSize", "total_size"],
      ["stepRatio", "step_ratio"],
      ["mode", "mode"],
      ["gamma", "gamma"],
      ["savedScaleFn", "_scale_fn_custom"],
      ["scaleMode", "scale_mode"],
      ["cycleMomentum", "cycle_momentum"],
      ...(this.cycleMomentum ? momentum : []),
    ];
  }
  // Functions are not saved, as in PyTorch; the key is there for it.
  protected get savedScaleFn(): null {
    return null;
  }
  protected set savedScaleFn(_value: unknown) {}
}

/** internal: a number for each group. */
export function rates(name: string, value: number | readonly number[], optimizer: Optimizer): number[] {
  const list = perGroup(name, value, optimizer);
  for (const item of list)
    if (typeof item !== "number") throw typeError(name, "a number, or one for each parameter group", item);
  return list;
}

/** internal: the optimizer has nothing to cycle. */
export function noMomentum(optimizer: Optimizer, option: string): ConfigurationError {
  return new ConfigurationError(`${optimizer.constructor.name} has no ${option} to cycle.`, {
    hint: "Pass `{ cycleMomentum: false }`.",
  });
}
