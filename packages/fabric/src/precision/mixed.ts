// Float32 weights, 16-bit computation where it is safe (autocast), and a loss scaler for float16.
import {
  autocast,
  ConfigurationError,
  type Dtype,
  getDefaultDtype,
  NotSupportedError,
  type nn,
  type optim,
  type Tensor,
} from "@fabric-ts/torch";
import { className, describe } from "../utilities/describe.js";
import { convertFloating } from "./convert.js";
import { GradScaler, type GradScalerState } from "./grad-scaler.js";
import { type BackwardOptions, Precision } from "./precision.js";

/**
 * `16-mixed` and `bf16-mixed`. With `16-mixed` the loss is scaled so that small gradients survive, and steps with non-finite
 * gradients are skipped; `stateDict()` is the scaler's, put `fabric.strategy.precision` into the state that you save.
 */
export class MixedPrecision extends Precision {
  override readonly precision: "16-mixed" | "bf16-mixed";
  /** The kind of device that autocast works for. */
  readonly device: "cpu" | "cuda";
  /** Scales the loss; null for `bf16-mixed`, which needs none. */
  readonly scaler: GradScaler | null;
  readonly #dtype: "float16" | "bfloat16";

  constructor(precision: "16-mixed" | "bf16-mixed", device: "cpu" | "cuda", scaler: GradScaler | null = null) {
    super();
    if (precision !== "16-mixed" && precision !== "bf16-mixed") {
      throw new ConfigurationError(`Precision must be '16-mixed' or 'bf16-mixed', got ${describe(precision)}.`);
    }
    if (precision === "bf16-mixed" && scaler !== null) {
      throw new ConfigurationError("`precision: 'bf16-mixed'` does not use a scaler.", {
        hint: "bfloat16 has the range of float32: leave the scaler out.",
      });
    }
    this.precision = precision;
    this.device = device;
    this.scaler = precision === "16-mixed" ? (scaler ?? new GradScaler(device)) : null;
    this.#dtype = precision === "16-mixed" ? "float16" : "bfloat16";
  }

  override get computeDtype(): Dtype {
    return this.#dtype;
  }
  override forwardContext(): Disposable {
    return autocast(this.device, { dtype: this.#dtype });
  }
  override convertInput<T>(data: T): T {
    return convertFloating(data, this.#dtype);
  }
  override convertOutput<T>(data: T): T {
    return convertFloating(data, getDefaultDtype());
  }

  override backward(tensor: Tensor, module: nn.AnyModule | null, options: BackwardOptions = {}): void {
    super.backward(this.scaler === null ? tensor : this.scaler.scale(tensor), module, options);
  }
  override optimizerStep(optimizer: optim.Optimizer, closure?: () => Tensor): unknown {
    if (this.scaler === null) return super.optimizerStep(optimizer, closure);
    if (className(optimizer) === "LBFGS") {
      throw new TypeError(
        'AMP and the LBFGS optimizer are not compatible.\nUse another optimizer, or `precision: "bf16-mixed"`.',
      );
    }
    const result = this.scaler.step(optimizer, closure);
    this.scaler.update(optimizer);
    return result;
  }
  override unscaleGradients(optimizer: optim.Optimizer): void {
    if (this.scaler === null) return;
    if ((optimizer as { stepSupportsAmpScaling?: boolean }).stepSupportsAmpScaling === true) {
      throw new NotSupportedError("Gradient clipping is not implemented for optimizers handling the unscaling.", {
        hint: "Make the optimizer without `fused`.",
      });
    }
    this.scaler.unscale_(optimizer);
  }

  override stateDict(): Record<string, unknown> {
    return this.scaler === null ? {} : { ...this.scaler.stateDict() };
  }
  override loadStateDict(state: Record<string, unknown>): void {
    if (this.scaler !== null) this.scaler.loadStateDict(state as unknown as GradScalerState);
  }
}
