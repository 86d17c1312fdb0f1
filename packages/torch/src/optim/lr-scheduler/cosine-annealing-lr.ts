// Rates that follow half a cosine wave, once or again and again (SGDR, https://arxiv.org/abs/1608.03983).
import { typeError } from "../../check.js";
import { checkNumber, checkOptions, checkSize } from "../../nn/arguments.js";
import type { Optimizer } from "../optimizer.js";
import { LRScheduler, type SchedulerOptions, type StateField } from "./lr-scheduler.js";
import { cos, modulo } from "./math.js";

/** Options of `CosineAnnealingLR`. */
export interface CosineAnnealingLROptions extends SchedulerOptions {
  /** The least rate (default 0). */
  etaMin?: number | undefined;
}

const example = "new optim.lrScheduler.CosineAnnealingLR(optimizer, 100, { etaMin: 1e-5 })";

/** Along a cosine from the rates at the start down to `etaMin` in `tMax` epochs, and up again in the next. */
export class CosineAnnealingLR extends LRScheduler {
  tMax: number;
  etaMin: number;

  constructor(optimizer: Optimizer, tMax: number, options: CosineAnnealingLROptions = {}) {
    checkOptions(options, ["etaMin", "lastEpoch"], example);
    super(optimizer, options);
    this.tMax = checkSize("tMax", tMax, 1, example);
    this.etaMin = checkNumber("etaMin", options.etaMin ?? 0);
    this.start();
  }

  protected override getLr(): number[] {
    const { lastEpoch, tMax, etaMin, baseLrs } = this;
    const groups = this.optimizer.paramGroups;
    if (lastEpoch === 0) return groups.map(({ lr }) => lr);
    if (this.stepCount === 1 && lastEpoch > 0) {
      const wave = 1 + cos((lastEpoch * Math.PI) / tMax);
      return baseLrs.map((base) => etaMin + ((base - etaMin) * wave) / 2);
    }
    if (modulo(lastEpoch - 1 - tMax, 2 * tMax) === 0) {
      const wave = 1 - cos(Math.PI / tMax);
      return groups.map(({ lr }, i) => lr + (((baseLrs[i] as number) - etaMin) * wave) / 2);
    }
    const factor = (1 + cos((Math.PI * lastEpoch) / tMax)) / (1 + cos((Math.PI * (lastEpoch - 1)) / tMax));
    return groups.map(({ lr }) => factor * (lr - etaMin) + etaMin);
  }
  protected override getClosedFormLr(): number[] {
    const wave = 1 + cos((Math.PI * this.lastEpoch) / this.tMax);
    return this.baseLrs.map((base) => this.etaMin + ((base - this.etaMin) * wave) / 2);
  }
  protected override get stateFields(): readonly StateField[] {
    return [
      ["tMax", "T_max"],
      ["etaMin", "eta_min"],
    ];
  }
}

/** Options of `CosineAnnealingWarmRestarts`. */
export interface WarmRestartsOptions extends CosineAnnealingLROptions {
  /** How many times longer each wave is than the one before (default 1). */
  tMult?: number | undefined;
}

const restartsExample = "new optim.lrScheduler.CosineAnnealingWarmRestarts(optimizer, 10, { tMult: 2 })";

/** Along a cosine from the rates at the start down to `etaMin` in `t0` epochs, then at once back to the start. */
export class CosineAnnealingWarmRestarts extends LRScheduler {
  t0: number;
  tI: number;
  tMult: number;
  etaMin: number;
  tCur: number;

  constructor(optimizer: Optimizer, t0: number, options: WarmRestartsOptions = {}) {
    checkOptions(options, ["tMult", "etaMin", "lastEpoch"], restartsExample);
    super(optimizer, options);
    this.t0 = checkSize("t0", t0, 1, restartsExample);
    this.tI = this.t0;
    this.tMult = checkSize("tMult", options.tMult ?? 1, 1, restartsExample);
    this.etaMin = checkNumber("etaMin", options.etaMin ?? 0);
    this.tCur = this.lastEpoch;
    this.start();
  }

  protected override getLr(): number[] {
    const wave = 1 + cos((Math.PI * this.tCur) / this.tI);
    return this.baseLrs.map((base) => this.etaMin + ((base - this.etaMin) * wave) / 2);
  }

  /**
   * Sets the rates of the next epoch.
   * @param epoch goes to this epoch, which may be a fraction: `scheduler.step(epoch + batch / batches)` after each batch
   */
  override step(epoch?: number): void {
    if (epoch !== undefined && !(typeof epoch === "number" && epoch >= 0))
      throw typeError("epoch", "a number of at least 0, or left out", epoch, "Type `scheduler.step()`.");
    this.advance(epoch);
  }

  /** internal: `step` without its checks. */
  override advance(epoch?: number): void {
    const wanted = epoch ?? (this.lastEpoch < 0 ? 0 : undefined);
    if (wanted === undefined) {
      this.lastEpoch++;
      this.tCur++;
      if (this.tCur >= this.tI) {
        this.tCur -= this.tI;
        this.tI *= this.tMult;
      }
    } else {
      this.#goTo(wanted);
      this.lastEpoch = Math.floor(wanted);
    }
    this.setRates(this.getLr());
  }

  #goTo(epoch: number): void {
    const { t0, tMult } = this;
    if (epoch < t0) {
      this.tI = t0;
      this.tCur = epoch;
    } else if (tMult === 1) {
      this.tCur = epoch % t0;
    } else {
      const wave = Math.trunc(Math.log((epoch / t0) * (tMult - 1) + 1) / Math.log(tMult));
      this.tCur = epoch - (t0 * (tMult ** wave - 1)) / (tMult - 1);
      this.tI = t0 * tMult ** wave;
    }
  }

  protected override get stateFields(): readonly StateField[] {
    return [
      ["t0", "T_0"],
      ["tI", "T_i"],
      ["tMult", "T_mult"],
      ["etaMin", "eta_min"],
      ["tCur", "T_cur"],
    ];
  }
}
