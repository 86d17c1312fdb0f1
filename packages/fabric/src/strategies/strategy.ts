// The base of all strategies: where the model is, who takes part, and how forward, backward, step and files go.
import {
  cuda,
  type Device,
  type distributed,
  nn,
  type optim,
  type Tensor,
  UsageError,
  withDevice,
} from "@fabric-ts/torch";
import type { Accelerator } from "../accelerators/accelerator.js";
import type { CheckpointIO, CheckpointPath } from "../checkpoint/checkpoint-io.js";
import { joinShares, sharesOf } from "../checkpoint/per-rank.js";
import { precisionToRestore, withPrecision } from "../checkpoint/precision-state.js";
import { Restoration } from "../checkpoint/restore.js";
import { type CheckpointFilter, convertState } from "../checkpoint/state.js";
import { TorchCheckpointIO } from "../checkpoint/torch-checkpoint-io.js";
import { agree } from "../collectives/agree.js";
import type { ReduceOp } from "../collectives/reduce-op.js";
import type { Launcher } from "../launchers/launcher.js";
import { type BackwardOptions, Precision } from "../precision/precision.js";
import { setOwn } from "../utilities/apply-to-collection.js";
import { nested, nullContext } from "../utilities/context.js";
import { moveDataToDevice } from "../utilities/move-data-to-device.js";
import type { BackwardSyncControl } from "./backward-sync-control.js";

/** Parts that a strategy may be made with; otherwise Fabric gives them. */
export interface StrategyOptions {
  accelerator?: Accelerator | undefined;
  checkpointIO?: CheckpointIO | undefined;
  precision?: Precision | undefined;
}

/** What a distributed sampler needs to know. */
export interface DistributedSamplerOptions {
  numReplicas: number;
  rank: number;
}

/** Options of `allGather`. */
export interface GatherOptions {
  /** The processes that take part (default: all). */
  group?: distributed.ProcessGroup | undefined;
  /** Gradients flow back to the process that a tensor came from (default false). */
  syncGrads?: boolean | undefined;
}

/** Options of `barrier`. */
export interface BarrierOptions {
  /**
   * When a process has waited for so long, it ends with an error on all of them that names the ranks that did not come. Default: a barrier
   * ends with the process group's timeout, and without names.
   */
  timeoutMs?: number | undefined;
}

/** Options of `allReduce`. */
export interface AllReduceOptions {
  /** The processes that take part (default: all). */
  group?: distributed.ProcessGroup | undefined;
  /** How values become one (default `"mean"`). */
  reduceOp?: ReduceOp | undefined;
}

/** Options of `save` and `load` as strategies receive them. */
export interface LoadOptions {
  /** Missing and unknown keys are errors (default true). */
  strict?: boolean | undefined;
  /** Handed to the `CheckpointIO`. Whatever it is, only data is loaded and no code ever runs. */
  weightsOnly?: boolean | null | undefined;
}

/** How a model is run on one or several devices. */
export abstract class Strategy {
  /** Creates the processes; null when there is nothing to create. */
  launcher: Launcher | null = null;
  /** Skips the synchronization of gradients; null when the strategy cannot. */
  readonly backwardSyncControl: BackwardSyncControl | null = null;
  #accelerator: Accelerator | null;
  #checkpointIO: CheckpointIO | null;
  #precision: Precision | null;
  readonly #unfinishedSaves = new Set<{ path: CheckpointPath }>();

  constructor(options: StrategyOptions = {}) {
    this.#accelerator = options.accelerator ?? null;
    this.#checkpointIO = options.checkpointIO ?? null;
    this.#precision = options.precision ?? null;
  }

  /** The device of this process. */
  abstract get rootDevice(): Device;
  /** True on the rank that writes files. */
  abstract get isGlobalZero(): boolean;
  /** Rank among all processes. */
  get globalRank(): number {
    return 0;
  }
  /** Rank among the processes of this machine. */
  get localRank(): number {
    return 0;
  }
  /** Number of this machine. */
  get nodeRank(): number {
    return 0;
  }
  /** Number of processes. */
  get worldSize(): number {
    return 1;
  }
  /** How data loaders are sharded; null when every process sees all data. */
  get distributedSamplerOptions(): DistributedSamplerOptions | null {
    return null;
  }

  /** The kind of hardware; null until Fabric has set it. */
  get accelerator(): Accelerator | null {
    return this.#accelerator;
  }
  set accelerator(accelerator: Accelerator | null) {
    this.#accelerator = accelerator;
  }
  /** How files are written. Default: `TorchCheckpointIO`. */
  get checkpointIO(): CheckpointIO {
    this.#checkpointIO ??= new TorchCheckpointIO();
    return this.#checkpointIO;
  }
  set checkpointIO(checkpointIO: CheckpointIO) {
    this.#checkpointIO = checkpointIO;
  }
  /** How numbers are represented. Default: float32, a new object each time. */
  get precision(): Precision {
    return this.#precision ?? new Precision();
  }
  set precision(precision: Precision) {
    this.#precision = precision;
  }
  /** internal: what the strategy was made with, so that the connector sees conflicts. */
  get ownParts(): { accelerator: Accelerator | null; checkpointIO: CheckpointIO | null; precision: Precision | null } {
    return { accelerator: this.#accelerator, checkpointIO: this.#checkpointIO, precision: this.#precision };
  }

  /** Sets `launcher`. Called once, when everything else is known. */
  configureLauncher(): void {}
  /** Makes this process ready: its device, and the connection to the others. */
  async setupEnvironment(): Promise<void> {
    this.accelerator?.setupDevice(this.rootDevice);
  }
  /**
   * The same with a blocked JavaScript thread: under `fabric run` the constructor of `Fabric` does it. Where a strategy overrides only
   * `setupEnvironment`, scripts have to `await fabric.launch()` there as well.
   */
  setupEnvironmentSync(): void {
    this.accelerator?.setupDevice(this.rootDevice);
  }
  /**
   * internal: what `text` returns on rank zero, for any rank that asks; its own where the ranks have not met. Not a collective: rank zero
   * waits for nobody.
   */
  async fromRankZero(_key: string, text: () => string): Promise<string> {
    return text();
  }
  /** May replace a data loader. */
  processDataLoader<L>(loader: L): L {
    return loader;
  }

  /** Tensors made inside are on the strategy's device in the precision's dtype. */
  tensorInitContext(): Disposable {
    return nested(
      () => withDevice(this.rootDevice),
      () => this.precision.tensorInitContext(),
    );
  }
  /** Modules made inside have their parameters on the strategy's device in the precision's dtype, uninitialized with `emptyInit`. */
  moduleInitContext(emptyInit = false): Disposable {
    return nested(
      () => withDevice(this.rootDevice),
      () => (emptyInit ? nn.init.skipInit() : nullContext),
      () => this.precision.moduleInitContext(),
    );
  }

  /** Entered by `fabric.shardedModel`; strategies that shard models override it. */
  moduleShardedContext(): Disposable {
    return nullContext;
  }

  /** Sets up a model and its optimizers together. */
  setupModuleAndOptimizers(
    module: nn.AnyModule,
    optimizers: optim.Optimizer[],
    scheduler?: unknown,
  ): { module: nn.AnyModule; optimizers: optim.Optimizer[]; scheduler: unknown } {
    return {
      module: this.setupModule(module),
      optimizers: optimizers.map((optimizer) => this.setupOptimizer(optimizer)),
      scheduler,
    };
  }
  /** Returns the module that is called in place of the user's. */
  setupModule(module: nn.AnyModule): nn.AnyModule {
    return module;
  }
  /** Returns the optimizer that steps in place of the user's. */
  setupOptimizer(optimizer: optim.Optimizer): optim.Optimizer {
    return optimizer;
  }
  /** Moves a module to the strategy's device. */
  abstract moduleToDevice(module: nn.AnyModule): void;
  /** Moves a batch to a device, the strategy's unless told. */
  batchToDevice<T>(batch: T, device: Device = this.rootDevice): T {
    return moveDataToDevice(batch, device);
  }

  /** internal: hears the arguments of the first call in training of each model that was set up. */
  noteFirstInputs(_args: readonly unknown[]): void {}

  /** Runs the backward pass of a loss. */
  backward(tensor: Tensor, module: nn.AnyModule | null, options: BackwardOptions = {}): void {
    this.precision.preBackward(tensor, module);
    this.precision.backward(tensor, module, options);
    this.precision.postBackward(tensor, module);
  }
  /** Runs an optimizer step and returns what it returned. */
  optimizerStep(optimizer: optim.Optimizer, closure?: () => Tensor): unknown {
    return this.precision.optimizerStep(optimizer, closure);
  }
  /** Limits each gradient element to `[-clipValue, clipValue]`. */
  clipGradientsValue(_module: nn.AnyModule, optimizer: optim.Optimizer, clipValue: number): void {
    this.precision.unscaleGradients(optimizer);
    nn.utils.clipGradValue_(this.precision.mainParams(optimizer), clipValue);
  }
  /** Limits the norm of all gradients together; returns the norm that they had. */
  clipGradientsNorm(
    _module: nn.AnyModule,
    optimizer: optim.Optimizer,
    maxNorm: number,
    options: { normType?: number; errorIfNonfinite?: boolean } = {},
  ): Tensor {
    this.precision.unscaleGradients(optimizer);
    const { normType = 2, errorIfNonfinite = true } = options;
    return nn.utils.clipGradNorm_(this.precision.mainParams(optimizer), maxNorm, { normType, errorIfNonfinite });
  }

  /** The tensor of every rank, stacked along a new first dimension; the tensor itself where there are no other ranks. */
  abstract allGather(tensor: Tensor, options?: GatherOptions): Promise<Tensor>;
  /** The tensor of every rank, by rank, of any shapes. */
  async gatherAllTensors(tensor: Tensor, _options: GatherOptions = {}): Promise<Tensor[]> {
    return [tensor];
  }
  /** Reduces a tensor over all ranks, in place. */
  abstract allReduce(tensor: Tensor, options?: AllReduceOptions): Promise<Tensor>;
  /** Waits for all ranks. */
  abstract barrier(name?: string, options?: BarrierOptions): Promise<void>;
  /** The value of rank `src` on every rank. */
  abstract broadcast<T>(value: T, src?: number): Promise<T>;
  /** internal: the value of every rank, by rank. `label` is what the user called, for error texts. */
  async allGatherObject<T>(value: T, _label?: string): Promise<T[]> {
    return [value];
  }
  /** internal: waits for this process' turn. What it returns gives the turn to the others and meets them at the end. */
  async takeTurn(_isFirst: boolean): Promise<AsyncDisposable> {
    return { [Symbol.asyncDispose]: async () => {} };
  }
  /** True when `decision` is true on all ranks, or, with `all: false`, on any. */
  async reduceBooleanDecision(decision: boolean, _options: { all?: boolean } = {}): Promise<boolean> {
    return decision;
  }

  /** Writes a checkpoint. All ranks call it, rank zero writes, and a failure is an error on all of them. */
  async saveCheckpoint(path: CheckpointPath, state: object, filter?: CheckpointFilter): Promise<void> {
    const convert = (): Record<string, unknown> => convertState(this, withPrecision(state, this.precision), filter);
    const write = (converted: Record<string, unknown>, shares: Record<string, unknown>[]): Promise<void> => {
      for (const key of Object.keys(shares[0] as object)) {
        setOwn(converted, key, joinShares(shares.map((share) => share[key])));
      }
      return this.checkpointIO.saveCheckpoint(converted, path);
    };
    if (this.worldSize === 1) {
      if (!this.isGlobalZero) return;
      // Everything is read before anything is waited for: also without `await` the file has the state of the call.
      const converted = convert();
      await write(converted, [sharesOf(state, converted)]);
      return;
    }
    const what = "Saving the checkpoint";
    const save = { path };
    this.#unfinishedSaves.add(save);
    try {
      const converted = await agree(this, what, async () => convert());
      const shares = await this.allGatherObject(sharesOf(state, converted));
      await agree(this, what, async () => {
        if (this.isGlobalZero) await write(converted, shares);
      });
    } finally {
      this.#unfinishedSaves.delete(save);
    }
  }
  /** internal: throws while ranks are in the middle of a save, which would store some values from before this call and some from after. */
  refuseDuringSave(call: string): void {
    const [save] = this.#unfinishedSaves;
    if (save === undefined) return;
    throw new UsageError(
      `\`${call}\` came before the save of ${JSON.stringify(String(save.path))} had ended: the file would be a mixture of two states.`,
      { hint: "Type `await fabric.save(path, state)`.", code: "ERR_SAVE_NOT_AWAITED" },
    );
  }
  /**
   * Reads a checkpoint into `state` and returns what was not asked for. Everything is checked before anything is changed. All ranks call it,
   * and when one fails all of them keep what they had; with `alone` this process loads for itself.
   */
  async loadCheckpoint(
    path: CheckpointPath,
    state?: unknown,
    options: LoadOptions & { alone?: boolean } = {},
  ): Promise<Record<string, unknown>> {
    const { strict = true, weightsOnly, alone = false } = options;
    const together = <T>(what: string, task: () => Promise<T>): Promise<T> =>
      alone ? task() : agree(this, what, task);
    if (this.rootDevice.startsWith("cuda")) cuda.emptyCache();
    const checkpoint = await together("Reading the checkpoint", async () =>
      this.checkpointIO.loadCheckpoint(path, weightsOnly === undefined ? undefined : { weightsOnly }),
    );
    const what = "Loading the checkpoint";
    const restoration = await together(what, async () => {
      return new Restoration(this, checkpoint, state, { strict, extras: precisionToRestore(state, this.precision) });
    });
    try {
      await together(what, async () => restoration.applyObjects());
      await together(what, async () => restoration.applyModules());
    } catch (error) {
      restoration.undo();
      throw error;
    }
    return restoration.remainder;
  }
  /** A module's state as it is saved. */
  getModuleStateDict(module: nn.AnyModule): Record<string, unknown> {
    return module.stateDict();
  }
  /** Puts a saved state into a module. */
  loadModuleStateDict(module: nn.AnyModule, state: Record<string, unknown>, strict = true): void {
    module.loadStateDict(state, { strict });
  }
  /** internal: throws what `loadModuleStateDict` would throw, and changes nothing. */
  checkModuleStateDict(module: nn.AnyModule, state: Record<string, unknown>, strict = true): void {
    module.loadStateDict(state, { strict, dryRun: true });
  }
  /**
   * An optimizer's state as it is saved. An optimizer that is spread over the ranks has `consolidateStateDict()`, which gathers its state on
   * rank zero; the other ranks have nothing to save then.
   */
  getOptimizerState(optimizer: optim.Optimizer): unknown {
    const { consolidateStateDict } = optimizer as { consolidateStateDict?: unknown };
    if (typeof consolidateStateDict !== "function") return optimizer.stateDict();
    consolidateStateDict.call(optimizer);
    return this.isGlobalZero ? optimizer.stateDict() : {};
  }

  /** Undoes what the strategy changed in the process. */
  async teardown(): Promise<void> {
    this.precision.teardown();
    this.accelerator?.teardown();
    await this.checkpointIO.teardown();
  }
}
