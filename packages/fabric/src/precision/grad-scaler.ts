// Loss scaling for float16, with PyTorch's algorithm, defaults and saved state.
import * as torch from "@fabric-ts/torch";
import { ConfigurationError, memory, noGrad, type optim, type Tensor, UsageError } from "@fabric-ts/torch";

/** Options of `GradScaler`. */
export interface GradScalerOptions {
  /** The first scale (default 65536). */
  initScale?: number | undefined;
  /** Factor by which the scale grows after `growthInterval` steps without overflow (default 2). */
  growthFactor?: number | undefined;
  /** Factor by which it shrinks after an overflow (default 0.5). */
  backoffFactor?: number | undefined;
  /** Steps without overflow between two increases (default 2000). */
  growthInterval?: number | undefined;
}

/** What a scaler saves, with PyTorch's keys. */
export interface GradScalerState {
  scale: number;
  growth_factor: number;
  backoff_factor: number;
  growth_interval: number;
  _growth_tracker: number;
}

type Stage = "ready" | "unscaled" | "stepped";
interface OptimizerState {
  stage: Stage;
  foundInf: Tensor | null;
}

/**
 * Multiplies the loss by a large number so that small float16 gradients do not vanish, divides the gradients again before the
 * step, skips steps whose gradients are not finite, and adapts the number.
 */
export class GradScaler {
  /** The kind of device that the scale lives on. */
  readonly device: "cpu" | "cuda";
  #growthFactor: number;
  #backoffFactor: number;
  #growthInterval: number;
  #initScale: number;
  #initTracker = 0;
  #scale: Tensor | null = null;
  #tracker: Tensor | null = null;
  // What updates found that have not changed the scale yet: gradients that wait for their step were made with the scale of now.
  #found: Tensor[] = [];
  #states = new Map<optim.Optimizer, OptimizerState>();

  constructor(device: "cpu" | "cuda" = "cuda", options: GradScalerOptions = {}) {
    this.device = device;
    this.#initScale = options.initScale ?? 2 ** 16;
    this.#growthFactor = options.growthFactor ?? 2;
    this.#backoffFactor = options.backoffFactor ?? 0.5;
    this.#growthInterval = options.growthInterval ?? 2000;
    if (!(this.#growthFactor > 1)) {
      throw new ConfigurationError(`\`growthFactor\` has to be above 1, but is ${this.#growthFactor}.`);
    }
    if (!(this.#backoffFactor < 1)) {
      throw new ConfigurationError(`\`backoffFactor\` has to be below 1, but is ${this.#backoffFactor}.`);
    }
  }

  /** The loss times the scale. */
  scale(loss: Tensor): Tensor {
    this.#settle();
    return loss.mul(this.#scaleOn(loss.device));
  }

  /** Divides the gradients of an optimizer's parameters by the scale, in place; at most once before each step. */
  unscale_(optimizer: optim.Optimizer): void {
    const state = this.#stateOf(optimizer);
    if (state.stage !== "ready") {
      const done =
        state.stage === "unscaled"
          ? "unscale_() has already been called on this optimizer since the last update()."
          : "unscale_() is being called after step().";
      throw new UsageError(done, { hint: "Clip gradients once between `backward` and `step`." });
    }
    noGrad(() => {
      const inverse = this.#requireScale().double().reciprocal().float();
      const foundInf = kept(0, "float32", inverse.device);
      for (const [device, gradients] of gradientsByDevice(optimizer)) {
        const found = device === inverse.device ? foundInf : foundInf.to(device);
        unscale(gradients, found, inverse.to(device));
        if (found !== foundInf) foundInf.copy_(torch.maximum(foundInf, found.to(inverse.device)));
      }
      state.foundInf = foundInf;
    });
    state.stage = "unscaled";
  }

  /** Steps the optimizer unless some gradient is not finite; then the step is skipped and the result is null. */
  step(optimizer: optim.Optimizer, closure?: () => Tensor): unknown {
    if (closure !== undefined) {
      throw new UsageError("A closure cannot be used together with a loss scaler.", {
        hint: "Call `optimizer.step()` without one.",
      });
    }
    const state = this.#stateOf(optimizer);
    if (state.stage === "stepped") {
      throw new UsageError("step() has already been called since the last update().", {
        hint: "Step each optimizer once, then update.",
      });
    }
    if (state.stage === "ready") this.unscale_(optimizer);
    const overflow = state.foundInf !== null && state.foundInf.item() !== 0;
    const result = overflow ? null : optimizer.step();
    state.stage = "stepped";
    return result;
  }

  /**
   * Adapts the scale, for the losses from now on, to what the steps since the last update found. With several optimizers that are stepped one
   * after the other, each gives its own: what the others have unscaled or found stays for their steps.
   */
  update(optimizer?: optim.Optimizer): void {
    const states = optimizer === undefined ? [...this.#states.values()] : [this.#stateOf(optimizer)];
    const found = states.map((state) => state.foundInf).filter((tensor) => tensor !== null);
    if (found.length === 0) {
      throw new UsageError("No inf checks were recorded prior to update.", {
        hint: "Call `step(optimizer)` before `update()`.",
      });
    }
    this.#found.push(memory.unscoped(() => noGrad(() => found.reduce((a, b) => a.add(b.to(a.device))))));
    if (optimizer === undefined) this.#states.clear();
    else this.#states.delete(optimizer);
  }

  /** The scale of now. */
  getScale(): number {
    this.#settle();
    return this.#scale === null ? this.#initScale : this.#scale.item();
  }

  /** The state with PyTorch's keys. */
  stateDict(): GradScalerState {
    return {
      scale: this.getScale(),
      growth_factor: this.#growthFactor,
      backoff_factor: this.#backoffFactor,
      growth_interval: this.#growthInterval,
      _growth_tracker: this.#tracker === null ? this.#initTracker : this.#tracker.item(),
    };
  }

  /** Continues from a saved state. */
  loadStateDict(state: GradScalerState): void {
    const keys = ["scale", "growth_factor", "backoff_factor", "growth_interval", "_growth_tracker"] as const;
    for (const key of keys) {
      if (typeof state?.[key] === "number") continue;
      throw new UsageError(`The scaler's state has no number \`${key}\`.`, {
        hint: "It was probably saved with the loss scaler disabled, or without one.",
      });
    }
    this.#growthFactor = state.growth_factor;
    this.#backoffFactor = state.backoff_factor;
    this.#growthInterval = state.growth_interval;
    this.#initScale = state.scale;
    this.#initTracker = state._growth_tracker;
    this.#found = [];
    if (this.#scale !== null) this.#scale.fill_(state.scale);
    if (this.#tracker !== null) this.#tracker.fill_(state._growth_tracker);
  }

  #settle(): void {
    for (const overflow of this.#found.splice(0)) noGrad(() => this.#adapt(this.#requireScale(), overflow));
  }

  #adapt(scale: Tensor, overflow: Tensor): void {
    const tracker = this.#tracker as Tensor;
    if (!isCuda(scale)) {
      this.#adaptByHand(scale, tracker, overflow.item() !== 0);
      return;
    }
    torch.ops.aten._amp_update_scale_?.(
      scale,
      tracker,
      overflow,
      this.#growthFactor,
      this.#backoffFactor,
      this.#growthInterval,
    );
  }

  #adaptByHand(scale: Tensor, tracker: Tensor, overflow: boolean): void {
    if (overflow) {
      scale.mul_(this.#backoffFactor);
      tracker.fill_(0);
      return;
    }
    const steps = tracker.item() + 1;
    if (steps === this.#growthInterval) {
      if (Number.isFinite(Math.fround(scale.item() * this.#growthFactor))) scale.mul_(this.#growthFactor);
      tracker.fill_(0);
    } else tracker.fill_(steps);
  }

  #scaleOn(device: torch.Device): Tensor {
    if (this.#scale === null) {
      this.#scale = kept(this.#initScale, "float32", device);
      this.#tracker = kept(this.#initTracker, "int32", device);
    }
    const scale = this.#scale.squeeze();
    return scale.device === device ? scale : scale.to(device);
  }

  #requireScale(): Tensor {
    if (this.#scale === null) {
      throw new UsageError("Attempted to step before the loss was scaled.", {
        hint: "Call `fabric.backward(loss)` before `optimizer.step()` and `fabric.clipGradients()`.",
      });
    }
    return this.#scale;
  }

  #stateOf(optimizer: optim.Optimizer): OptimizerState {
    let state = this.#states.get(optimizer);
    if (!state) {
      state = { stage: "ready", foundInf: null };
      this.#states.set(optimizer, state);
    }
    return state;
  }
}

/** A number that outlives the `scope()` of a training step. */
function kept(value: number, dtype: torch.Dtype, device: torch.Device): Tensor {
  return memory.unscoped(() => torch.full([1], value, { dtype, device }));
}

function isCuda(tensor: Tensor): boolean {
  return tensor.device.startsWith("cuda");
}

function gradientsByDevice(optimizer: optim.Optimizer): Map<torch.Device, Tensor[]> {
  const found = new Map<torch.Device, Tensor[]>();
  for (const group of optimizer.paramGroups) {
    for (const parameter of group.params) {
      const { grad } = parameter;
      if (grad === null) continue;
      if (grad.dtype === "float16") {
        throw new UsageError("Attempting to unscale FP16 gradients.", {
          hint: 'Keep the weights in float32 with "16-mixed", or take "16-true", which does not scale.',
        });
      }
      const list = found.get(grad.device) ?? [];
      list.push(grad);
      found.set(grad.device, list);
    }
  }
  return found;
}

/** Multiplies gradients in place and sets `foundInf` to 1 when one of them has an element that is not finite. */
function unscale(gradients: Tensor[], foundInf: Tensor, inverse: Tensor): void {
  if (isCuda(foundInf)) {
    torch.ops.aten._amp_foreach_non_finite_check_and_unscale_?.(gradients, foundInf, inverse);
    return;
  }
  for (const gradient of gradients) {
    if (!gradient.isfinite().all().item()) foundInf.fill_(1);
    gradient.mul_(inverse);
  }
}
