// The conventional names of hooks, when a training loop calls them, and what it passes. All of it is optional: `fabric.call` takes any name and
// any arguments, and a callback is any object with methods of these or other names.
import type { nn, optim, Tensor } from "@fabric-ts/torch";
import type { Fabric } from "../fabric.js";
import type { Strategy } from "../strategies/strategy.js";
import type { FabricModule } from "../wrappers/module.js";

/** Numbers by name, also as tensors with one element. */
export type Metrics = Record<string, unknown>;

/** The one argument of the conventional hooks: an object with what the loop knows at that place, and anything else that callbacks may want. */
export interface HookFacts {
  /** The Fabric of the run. Callbacks of this package know it from `fabric.setup` as well. */
  fabric?: Fabric | undefined;
  /** The model, as `fabric.setup` returned it. */
  model?: nn.AnyModule | undefined;
  /** The optimizer in question. */
  optimizer?: optim.Optimizer | undefined;
  /** All optimizers. */
  optimizers?: readonly optim.Optimizer[] | undefined;
  /** The epoch, counted from 0. */
  epoch?: number | undefined;
  /** How many optimizer steps have been made so far, in all epochs. */
  step?: number | undefined;
  /** What was measured. */
  metrics?: Metrics | undefined;
  /** What a checkpoint is to hold: the object that `fabric.save` takes. */
  state?: object | undefined;
  [more: string]: unknown;
}

/** What hooks around a whole run are told. */
export interface RunFacts extends HookFacts {
  /** How many epochs there will be. */
  epochs?: number | undefined;
}

/** What hooks around a pass over a loader are told. */
export interface EpochFacts extends HookFacts {
  /** How many batches the pass has, where that is known. */
  batches?: number | undefined;
}

/** What hooks around a batch are told. */
export interface BatchFacts extends EpochFacts {
  batch?: unknown;
  /** The batch's number in its epoch, counted from 0. */
  batchIdx?: number | undefined;
  loss?: Tensor | number | undefined;
  /** What the training or validation step returned. */
  outputs?: unknown;
}

/** What `onException` is told. */
export interface ExceptionFacts extends HookFacts {
  error: unknown;
}

/** What `onAfterSetup` is told. */
export interface SetupFacts {
  fabric: Fabric;
  module: FabricModule;
}

/** What `onAfterOptimizerStep` is told: `optimizer` is the one that was given to `setup`, not the wrapper. */
export interface OptimizerStepFacts {
  strategy: Strategy;
  optimizer: optim.Optimizer;
}

/**
 * A callback with the conventional hooks, for `implements Callback`; every hook may be missing, and there may be others. The loop calls them
 * (`await fabric.call("onTrainEpochEnd", { fabric, epoch })`), but for `onAfterSetup` and `onAfterOptimizerStep`, which Fabric
 * calls itself and which cannot be async. What a hook returns is ignored, but for a promise, which `fabric.call` waits for.
 */
export interface Callback {
  /** At the end of `fabric.setup` and `fabric.setupModule`. Called by Fabric. */
  onAfterSetup?(facts: SetupFacts): unknown;
  /** After each step of an optimizer that was set up. Called by Fabric. */
  onAfterOptimizerStep?(facts: OptimizerStepFacts): unknown;

  /** Before the first epoch. */
  onTrainStart?(facts: RunFacts): unknown;
  /** After the last epoch, also when training stopped early. */
  onTrainEnd?(facts: RunFacts): unknown;
  /** Before an epoch of training. */
  onTrainEpochStart?(facts: EpochFacts): unknown;
  /** After an epoch of training. */
  onTrainEpochEnd?(facts: EpochFacts): unknown;
  /** Before a batch is trained on. */
  onTrainBatchStart?(facts: BatchFacts): unknown;
  /** After a batch was trained on: `step` counts its optimizer step, if it had one. */
  onTrainBatchEnd?(facts: BatchFacts): unknown;
  /** Before `fabric.backward(loss)`. */
  onBeforeBackward?(facts: BatchFacts): unknown;
  /** After `fabric.backward(loss)`. */
  onAfterBackward?(facts: BatchFacts): unknown;
  /** Before gradients are clipped and `optimizer.step()`, when they are complete. */
  onBeforeOptimizerStep?(facts: BatchFacts): unknown;
  /** Before `optimizer.zeroGrad()`. */
  onBeforeZeroGrad?(facts: BatchFacts): unknown;

  /** Before a pass over the validation data. */
  onValidationStart?(facts: EpochFacts): unknown;
  /** After it, with the metrics of the whole pass. */
  onValidationEnd?(facts: EpochFacts): unknown;
  /** Before a batch of validation data. */
  onValidationBatchStart?(facts: BatchFacts): unknown;
  /** After it. */
  onValidationBatchEnd?(facts: BatchFacts): unknown;

  /** The same for a pass over test data. */
  onTestStart?(facts: EpochFacts): unknown;
  onTestEnd?(facts: EpochFacts): unknown;
  onTestBatchStart?(facts: BatchFacts): unknown;
  onTestBatchEnd?(facts: BatchFacts): unknown;

  /** When the loop fails, before the error goes on. It may be one rank alone that fails: do not wait for the others here. */
  onException?(facts: ExceptionFacts): unknown;
}

/** The conventional names. */
export type HookName = keyof Callback;
/** The arguments of a conventional hook. */
export type HookArguments<H extends HookName> = Parameters<NonNullable<Callback[H]>>;
