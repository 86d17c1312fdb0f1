// The base precision: float32 everywhere, nothing converted. What the other precisions override is all here.
import type { Dtype, nn, optim, Tensor } from "@fabric-ts/torch";
import { nullContext } from "../utilities/context.js";
import type { PrecisionName } from "./names.js";

/** What may be passed on to `tensor.backward`. */
export interface BackwardOptions {
  /** Gradient of the tensor, needed when it has more than one element. */
  gradient?: Tensor | undefined;
  /** Keep the graph for another backward pass. */
  retainGraph?: boolean | undefined;
  /** Record the backward pass itself. */
  createGraph?: boolean | undefined;
  /** Compute gradients for these tensors only. */
  inputs?: Tensor[] | undefined;
}

/** How numbers are represented in forward, backward and the optimizer step. Custom plugins override any of the methods. */
export class Precision {
  /** The name under which `Fabric({ precision })` selects it. */
  readonly precision: PrecisionName = "32-true";

  /** The dtype in which most is computed: what a device's speed is looked up by. */
  get computeDtype(): Dtype {
    return "float32";
  }

  /** Converts a module's parameters and buffers when it is set up. */
  convertModule<M extends nn.AnyModule>(module: M): M {
    return module;
  }
  /** Entered by `fabric.initTensor`. */
  tensorInitContext(): Disposable {
    return nullContext;
  }
  /** Entered by `fabric.initModule`. */
  moduleInitContext(): Disposable {
    return nullContext;
  }
  /** Entered around every forward of a wrapped model. */
  forwardContext(): Disposable {
    return nullContext;
  }
  /** Converts the arguments of a wrapped model's forward. */
  convertInput<T>(data: T): T {
    return data;
  }
  /** Converts what a wrapped model's forward returned. */
  convertOutput<T>(data: T): T {
    return data;
  }

  /** Called before the backward pass. */
  preBackward(_tensor: Tensor, _module: nn.AnyModule | null): void {}
  /** Runs the backward pass. */
  backward(tensor: Tensor, _module: nn.AnyModule | null, options: BackwardOptions = {}): void {
    const { gradient, ...rest } = options;
    tensor.backward(gradient, rest);
  }
  /** Called after the backward pass. */
  postBackward(_tensor: Tensor, _module: nn.AnyModule | null): void {}

  /** Runs the optimizer step and returns what it returned. */
  optimizerStep(optimizer: optim.Optimizer, closure?: () => Tensor): unknown {
    return closure === undefined ? optimizer.step() : optimizer.step(closure);
  }
  /** The parameters that the optimizer changes. */
  mainParams(optimizer: optim.Optimizer): Tensor[] {
    return optimizer.paramGroups.flatMap((group) => group.params);
  }
  /** Brings gradients to their true size before they are clipped. */
  unscaleGradients(_optimizer: optim.Optimizer): void {}

  /** What has to be saved to continue training. */
  stateDict(): Record<string, unknown> {
    return {};
  }
  /** Restores what `stateDict` returned. */
  loadStateDict(_state: Record<string, unknown>): void {}
  /** Undoes what the plugin changed in the process. */
  teardown(): void {}
}
