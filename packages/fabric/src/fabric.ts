// The user's whole API, read from top to bottom. What is behind each method is in the folder of its subject.
import { autograd, ConfigurationError, type Device, nn, type optim, Tensor, UsageError } from "@fabric-ts/torch";
import type { Accelerator } from "./accelerators/accelerator.js";
import { callbacksFromFactories } from "./callbacks/factories.js";
import { checkCallback, HookCaller } from "./callbacks/hook-caller.js";
import type { HookArguments, HookName } from "./callbacks/hooks.js";
import type { CheckpointPath } from "./checkpoint/checkpoint-io.js";
import { checkReplaceable } from "./checkpoint/restore.js";
import { type CheckpointFilter, checkFilter, checkState, isStateful } from "./checkpoint/state.js";
import { type Collected, type CollectedParts, collect } from "./collectives/collect.js";
import { reduceOp } from "./collectives/reduce-op.js";
import { Connector, type ConnectorOptions, connectorOptionNames, isCliUsed } from "./connector.js";
import { Requeue } from "./environments/requeue.js";
import { type FunctionReference, importFunction, isFunctionReference } from "./launchers/function-reference.js";
import { checkLaunched } from "./launchers/launched-function.js";
import { SpawnLauncher } from "./launchers/spawn.js";
import { type LogOptions, logOptions } from "./loggers/log-options.js";
import type { Logger } from "./loggers/logger.js";
import { metricsOf } from "./loggers/metrics.js";
import { Throttle } from "./loggers/throttle.js";
import { saveAtExit } from "./loggers/unsaved.js";
import { agreeOnVersions, chooseVersions } from "./loggers/versions.js";
import type { BackwardOptions } from "./precision/precision.js";
import { DataParallelStrategy } from "./strategies/data-parallel.js";
import { SingleDeviceStrategy } from "./strategies/single-device.js";
import type { AllReduceOptions, BarrierOptions, GatherOptions, LoadOptions, Strategy } from "./strategies/strategy.js";
import { during, duringCall } from "./utilities/activity.js";
import { nullContext, optionsAndBody, within } from "./utilities/context.js";
import { convertTensorsToScalars } from "./utilities/convert.js";
import { checkOptions, className, describe } from "./utilities/describe.js";
import { rememberDevice } from "./utilities/device-dtype-module.js";
import { distributedSampler, needsDistributedSampler } from "./utilities/distributed-sampler.js";
import { moveDataToDevice } from "./utilities/move-data-to-device.js";
import { rankZeroDeprecation, rankZeroWarn } from "./utilities/rank-zero.js";
import { type SeedOptions, seedEverything } from "./utilities/seed.js";
import { Turns } from "./utilities/turns.js";
import { recompiled, unwrapCompiled, withoutCompiled } from "./wrappers/compiled.js";
import { type AnyDataLoader, FabricDataLoader, seedWorkers } from "./wrappers/dataloader.js";
import { FabricModule, partsOf } from "./wrappers/module.js";
import { type FabricOptimizer, wrapOptimizer } from "./wrappers/optimizer.js";
import {
  type ClipOptions,
  checkClipped,
  checkDataLoaders,
  checkLimits,
  checkModule,
  checkNoOptimizer,
  checkNotMeta,
  checkOptimizers,
  splitOptions,
  warnOfSecondSetup,
  warnOfSeveralDevices,
} from "./wrappers/setup-arguments.js";
import type {
  DataLoaders,
  Optimizers,
  SetupDataLoadersOptions,
  SetupOptions,
  SetupOptionsWithScheduler,
  SetupResult,
  WrappedDataLoaders,
  WrappedOptimizers,
} from "./wrappers/setup-types.js";
import { unwrapObjects, unwrapState } from "./wrappers/wrap.js";

/** Options of `Fabric`. */
export interface FabricOptions extends ConnectorOptions {
  /** Objects whose methods `fabric.call` calls; see `Callback`. */
  callbacks?: object | readonly object[] | null | undefined;
  /** Receivers of `fabric.log`. */
  loggers?: Logger | readonly Logger[] | null | undefined;
}

/**
 * Takes care of devices, precision and processes, so that a training loop written for one CPU runs anywhere.
 *
 *     const fabric = new Fabric({ accelerator: "cpu", devices: 2 });
 *     await fabric.launch();
 *     const [model, optimizer] = fabric.setup(rawModel, rawOptimizer);
 *     const loader = fabric.setupDataLoaders(rawLoader);
 *     for (const [x, y] of loader) {
 *       optimizer.zeroGrad();
 *       const loss = nn.functional.crossEntropy(model(x), y);
 *       fabric.backward(loss);
 *       optimizer.step();
 *     }
 */
export class Fabric {
  readonly #strategy: Strategy;
  readonly #accelerator: Accelerator;
  readonly #options: FabricOptions;
  readonly #callbacks: object[];
  readonly #hooks: HookCaller;
  readonly #loggers: Logger[];
  readonly #requeue: Requeue | null;
  readonly #throttle = new Throttle();
  #launched: "no" | "launching" | "yes" = "no";
  readonly #files = new Turns();

  /** @throws TypeError for unknown options, ConfigurationError for values that cannot work */
  constructor(options: FabricOptions = {}) {
    checkOptions("Fabric", options, [...connectorOptionNames, "callbacks", "loggers"]);
    const { callbacks = [], loggers, ...connectorOptions } = options;
    const connector = new Connector(connectorOptions);
    this.#strategy = connector.strategy;
    this.#accelerator = connector.accelerator;
    this.#options = options;
    this.#callbacks = [...listOf(callbacks).map(checkCallback), ...callbacksFromFactories()];
    this.#hooks = new HookCaller(this.#callbacks);
    this.#loggers = checkLoggers(listOf(loggers ?? []));
    this.#requeue = Requeue.of(connector.environment);
    this.#prepareRun();
    if (isCliUsed() && canSetupSync(this.strategy)) {
      this.strategy.setupEnvironmentSync();
      this.#launched = "yes";
    }
  }

  // Where this process is

  /** How the model runs on the devices. */
  get strategy(): Strategy {
    return this.#strategy;
  }
  /** The hardware. */
  get accelerator(): Accelerator {
    return this.#accelerator;
  }
  /** The device of this process. */
  get device(): Device {
    return this.strategy.rootDevice;
  }
  /** Rank of this process among all. */
  get globalRank(): number {
    return this.strategy.globalRank;
  }
  /** Rank of this process among those of its machine. */
  get localRank(): number {
    return this.strategy.localRank;
  }
  /** Number of this machine. */
  get nodeRank(): number {
    return this.strategy.nodeRank;
  }
  /** Number of processes. */
  get worldSize(): number {
    return this.strategy.worldSize;
  }
  /** True on the process with global rank 0. */
  get isGlobalZero(): boolean {
    return this.strategy.isGlobalZero;
  }
  /** True once processes are connected: after `launch`, or under `fabric run`. With one device everything works before, too. */
  get isLaunched(): boolean {
    return this.#launched === "yes";
  }
  /** All loggers. */
  get loggers(): readonly Logger[] {
    return this.#loggers;
  }
  /** The first logger. */
  get logger(): Logger {
    const [first] = this.#loggers;
    if (first) return first;
    throw new UsageError("Fabric has no loggers.", { hint: "Give some: `new Fabric({ loggers: [...] })`." });
  }
  /** All callbacks. */
  get callbacks(): readonly object[] {
    return this.#callbacks;
  }

  // Starting

  /**
   * Creates the processes, connects them, and runs `fn` in each, where one is given. The process that you started only
   * supervises: its `launch()` does not return. With one device everything stays in this process.
   *
   * With `strategy: "ddp_spawn"` the processes exist for `fn` only, and this one goes on with rank 0's result. There `fn` may also be named:
   * `fabric.launch({ module: new URL("./train.js", import.meta.url), export: "train" }, ...args)`.
   */
  launch(): Promise<void>;
  launch<A extends unknown[], R>(fn: (fabric: this, ...args: A) => R, ...args: A): Promise<Awaited<R>>;
  launch<R = unknown>(fn: FunctionReference, ...args: unknown[]): Promise<R>;
  async launch(fn?: ((fabric: this, ...args: unknown[]) => unknown) | FunctionReference, ...args: unknown[]) {
    const { launcher } = this.strategy;
    if (fn === undefined) {
      if (launcher?.requiresFunction) {
        throw new TypeError(
          `To use the \`${className(this.strategy)}\` strategy, \`.launch()\` needs to be called with a function that contains the code to launch in processes.\nType \`await fabric.launch(train)\`, or use \`strategy: "ddp"\`.`,
        );
      }
      return this.#launchAndRun(() => undefined, []);
    }
    if (!isFunctionReference(fn)) {
      checkLaunched(fn);
      return this.#launchAndRun((...given) => fn(this, ...given), args);
    }
    const here = (found: (...args: unknown[]) => unknown): unknown =>
      this.#launchAndRun((...given) => found(this, ...given), args);
    if (launcher instanceof SpawnLauncher) {
      return launcher.launchReference(fn, () => this.#plainOptions(), args, here);
    }
    return here(await importFunction(fn));
  }

  /**
   * The body of a subclass: `class MyFabric extends Fabric { async run(epochs: number) { ... } }`. Calling `run` launches first, here too,
   * where nothing follows.
   */
  // biome-ignore lint/suspicious/noExplicitAny: subclasses choose their arguments and results
  run(..._args: any[]): any {}

  // Setting up

  /**
   * Makes a model, and the optimizers of its parameters, ready for the device, the precision and the strategy. Returns the wrapped
   * model, or a tuple of it, the wrapped optimizers, and the scheduler where one is given.
   */
  setup<M extends nn.AnyModule>(module: M, options?: SetupOptions): FabricModule<M>;
  setup<M extends nn.AnyModule, O extends Optimizers>(module: M, ...optimizers: O): SetupResult<M, O>;
  setup<M extends nn.AnyModule, O extends Optimizers, S>(
    module: M,
    ...args: [...O, SetupOptionsWithScheduler<S>]
  ): [...SetupResult<M, O>, S];
  setup<M extends nn.AnyModule, O extends Optimizers>(module: M, ...args: [...O, SetupOptions]): SetupResult<M, O>;
  setup<M extends nn.AnyModule, O extends optim.Optimizer>(
    module: M,
    ...optimizers: O[]
  ): FabricModule<M> | [FabricModule<M>, ...FabricOptimizer<O>[]];
  setup(given: nn.AnyModule, ...args: unknown[]): unknown {
    this.#validateLaunched();
    const { items, options } = splitOptions("setup", args, ["scheduler", "moveToDevice", "reapplyCompile"]);
    const {
      scheduler,
      moveToDevice = true,
      reapplyCompile = true,
    } = options as Partial<SetupOptionsWithScheduler<unknown>>;
    checkModule("setup", given);
    const { module, options: compileOptions } = reapplyCompile
      ? unwrapCompiled(given)
      : { module: given, options: null };
    const optimizers = checkOptimizers("setup", items);
    if (scheduler !== undefined && scheduler !== null && optimizers.length === 0) {
      throw new TypeError(
        "`setup` got a scheduler without an optimizer.\nType `fabric.setup(model, optimizer, { scheduler })`.",
      );
    }
    return during("setup", () => {
      this.#prepareModule(module, moveToDevice);
      const ready =
        optimizers.length > 0
          ? this.strategy.setupModuleAndOptimizers(module, optimizers, scheduler)
          : { module: this.strategy.setupModule(module), optimizers: [], scheduler: undefined };
      const wrapped = this.#wrapModule(module, recompiled(ready.module, compileOptions), moveToDevice);
      const wrappedOptimizers = ready.optimizers.map((optimizer) =>
        wrapOptimizer(optimizer, this.strategy, this.#callbacks),
      );
      this.#adopt(module, wrappedOptimizers);
      this.#hooks.callNow("fabric.setup", "onAfterSetup", { fabric: this, module: wrapped });
      if (optimizers.length === 0) return wrapped;
      const all = [wrapped, ...wrappedOptimizers];
      return scheduler === undefined ? all : [...all, ready.scheduler];
    });
  }

  /** Sets up a model whose optimizer is made afterwards, over the parameters of what this returns. */
  setupModule<M extends nn.AnyModule>(module: M, options: SetupOptions = {}): FabricModule<M> {
    this.#validateLaunched();
    checkModule("setupModule", module);
    checkNoOptimizer(options);
    checkOptions("setupModule", options, ["moveToDevice", "reapplyCompile"]);
    const { moveToDevice = true, reapplyCompile = true } = options;
    const inner = reapplyCompile ? unwrapCompiled(module) : { module, options: null };
    return during("setup", () => {
      this.#prepareModule(inner.module, moveToDevice);
      const ready = recompiled(this.strategy.setupModule(inner.module), inner.options);
      const wrapped = this.#wrapModule(inner.module as M, ready, moveToDevice);
      this.#adopt(inner.module);
      this.#hooks.callNow("fabric.setupModule", "onAfterSetup", { fabric: this, module: wrapped });
      return wrapped;
    });
  }

  /** Sets up optimizers of a model that was set up with `setupModule`. Returns one wrapper, or a tuple for several. */
  setupOptimizers<O extends optim.Optimizer>(optimizer: O): FabricOptimizer<O>;
  setupOptimizers<O extends Optimizers>(...optimizers: O): WrappedOptimizers<O>;
  setupOptimizers<O extends optim.Optimizer>(...optimizers: O[]): FabricOptimizer<O> | FabricOptimizer<O>[];
  setupOptimizers(...args: unknown[]): unknown {
    this.#validateLaunched();
    if (args.length === 0) throw new ConfigurationError("`setupOptimizers` requires at least one optimizer as input.");
    const given = checkOptimizers("setupOptimizers", args);
    checkNotMeta(given);
    const optimizers = given.map((optimizer) =>
      wrapOptimizer(this.strategy.setupOptimizer(optimizer), this.strategy, this.#callbacks),
    );
    return optimizers.length === 1 ? optimizers[0] : optimizers;
  }

  /**
   * Makes data loaders give each process its share and put batches on the device. Returns one wrapper, or a tuple for several.
   */
  setupDataLoaders<L extends AnyDataLoader>(loader: L, options?: SetupDataLoadersOptions): FabricDataLoader<L>;
  setupDataLoaders<L extends DataLoaders>(...loaders: L): WrappedDataLoaders<L>;
  setupDataLoaders<L extends DataLoaders>(...args: [...L, SetupDataLoadersOptions]): WrappedDataLoaders<L>;
  setupDataLoaders<L extends AnyDataLoader>(...loaders: L[]): FabricDataLoader<L> | FabricDataLoader<L>[];
  setupDataLoaders(...args: unknown[]): unknown {
    this.#validateLaunched();
    const { items, options } = splitOptions("setupDataLoaders", args, ["useDistributedSampler", "moveToDevice"]);
    const { useDistributedSampler = true, moveToDevice = true } = options as SetupDataLoadersOptions;
    const wrapped = checkDataLoaders(items).map((loader) =>
      this.#setupDataLoader(loader, useDistributedSampler, moveToDevice),
    );
    return wrapped.length === 1 ? wrapped[0] : wrapped;
  }

  // Training

  /** Runs the backward pass of a loss: use it in place of `loss.backward()`. `model` names the model where a strategy needs it. */
  backward(loss: Tensor, options: BackwardOptions & { model?: FabricModule | undefined } = {}): void {
    if (!(loss instanceof Tensor)) {
      throw new TypeError(
        `Expected the loss to be a Tensor, but got ${describe(loss)}.\nPass the tensor itself, \`fabric.backward(loss)\`, rather than \`loss.item()\`.`,
      );
    }
    checkOptions("backward", options, ["gradient", "retainGraph", "createGraph", "inputs", "model"]);
    const { model, ...rest } = options;
    const module = model === undefined ? null : unwrapObjects<nn.AnyModule>(model);
    this.strategy.refuseDuringSave("fabric.backward(loss)");
    during("backward", () => autograd.BackwardGuard.allow(() => this.strategy.backward(loss, module, rest)));
  }

  /** Limits the norm of all gradients together, and returns the norm that they had; or limits each of their elements. */
  clipGradients(
    module: nn.AnyModule,
    optimizer: optim.Optimizer,
    options: { maxNorm: number; normType?: number | undefined; errorIfNonfinite?: boolean | undefined },
  ): Tensor;
  clipGradients(module: nn.AnyModule, optimizer: optim.Optimizer, options: { clipVal: number }): undefined;
  clipGradients(module: nn.AnyModule, optimizer: optim.Optimizer, options: ClipOptions): Tensor | undefined;
  clipGradients(module: nn.AnyModule, optimizer: optim.Optimizer, options: ClipOptions): Tensor | undefined {
    checkClipped(optimizer);
    checkOptions("clipGradients", options, ["clipVal", "maxNorm", "normType", "errorIfNonfinite"]);
    checkLimits(options);
    const { clipVal, maxNorm, ...normOptions } = options;
    if (clipVal !== undefined && maxNorm !== undefined) {
      throw new ConfigurationError(
        "Only one of `clipVal` or `maxNorm` can be set as this specifies the underlying clipping algorithm!",
      );
    }
    if (maxNorm !== undefined) {
      return this.strategy.clipGradientsNorm(unwrapObjects(module), unwrapObjects(optimizer), maxNorm, normOptions);
    }
    if (clipVal === undefined) {
      throw new ConfigurationError("You have to specify either `clipVal` or `maxNorm` to do gradient clipping!");
    }
    this.strategy.clipGradientsValue(unwrapObjects(module), unwrapObjects(optimizer), clipVal);
    return undefined;
  }

  /** The precision's context for code outside of a wrapped model: `using _ = fabric.autocast()` or `fabric.autocast(() => ...)`. */
  autocast(): Disposable;
  autocast<T>(body: () => T): T;
  autocast<T>(body?: () => T): T | Disposable {
    return within(this.strategy.precision.forwardContext(), "fabric.autocast", body);
  }

  /**
   * Forward and backward passes inside leave their gradients local, to be added up and averaged over the processes by the
   * first backward pass outside: for gradient accumulation. Does nothing where there is one process, or with `enabled: false`.
   */
  noBackwardSync(module: FabricModule, options?: { enabled?: boolean | undefined }): Disposable;
  noBackwardSync<T>(module: FabricModule, body: () => T): T;
  noBackwardSync<T>(module: FabricModule, options: { enabled?: boolean | undefined }, body: () => T): T;
  noBackwardSync<T>(module: FabricModule, body: () => T, options: { enabled?: boolean | undefined }): T;
  noBackwardSync<T>(given: FabricModule, ...args: unknown[]): T | Disposable {
    const module = withoutCompiled(given);
    const { options, body } = optionsAndBody<{ enabled?: boolean | undefined }, T>("noBackwardSync", args);
    checkOptions("noBackwardSync", options, ["enabled"]);
    if (!(module instanceof FabricModule)) {
      throw new TypeError(
        "You need to set up the model first before you can call `fabric.noBackwardSync()`: `const [model, optimizer] = fabric.setup(rawModel, rawOptimizer)`.",
      );
    }
    return within(
      this.#noSyncContext(withoutCompiled(partsOf(module).forwardModule), options.enabled ?? true),
      "fabric.noBackwardSync",
      body,
    );
  }

  // Devices and new tensors

  /** Moves a model in place, or a tensor or nested collection of them as a new one, to the device of this process. */
  toDevice<T>(value: T): T {
    if (!(value instanceof nn.Module)) return moveDataToDevice(value, this.device);
    this.accelerator.setupDevice(this.device);
    this.strategy.moduleToDevice(value as nn.AnyModule);
    return value;
  }

  /** Tensors made inside are on the device in the precision's dtype, unless they say otherwise. */
  initTensor(): Disposable;
  initTensor<T>(body: () => T): T;
  initTensor<T>(body?: () => T): T | Disposable {
    return within(this.strategy.tensorInitContext(), "fabric.initTensor", body);
  }

  /**
   * Modules made inside have their parameters on the device in the precision's dtype. `emptyInit: true` leaves them uninitialized, for a
   * checkpoint that is loaded next. `const model = fabric.initModule(() => new MyModel())`.
   */
  initModule(options?: { emptyInit?: boolean | undefined }): Disposable;
  initModule<T>(body: () => T): T;
  initModule<T>(options: { emptyInit?: boolean | undefined }, body: () => T): T;
  initModule<T>(body: () => T, options: { emptyInit?: boolean | undefined }): T;
  initModule<T>(...args: unknown[]): T | Disposable {
    this.#validateLaunched();
    const { options, body } = optionsAndBody<{ emptyInit?: boolean | undefined }, T>("initModule", args);
    checkOptions("initModule", options, ["emptyInit"]);
    return within(this.strategy.moduleInitContext(options.emptyInit ?? false), "fabric.initModule", body);
  }

  /** Modules made inside are made to be sharded. @deprecated Use `initModule`, which does the same. */
  shardedModel(): Disposable;
  shardedModel<T>(body: () => T): T;
  shardedModel<T>(body?: () => T): T | Disposable {
    rankZeroDeprecation("`fabric.shardedModel()` is deprecated in favor of `fabric.initModule()`.");
    this.#validateLaunched();
    return within(this.strategy.moduleShardedContext(), "fabric.shardedModel", body);
  }

  // All processes together

  /** Prints once on each machine. */
  print(...args: unknown[]): void {
    if (this.localRank === 0) console.log(...args);
  }

  /**
   * Waits until all processes have come here. `fabric.barrier("download", { timeoutMs: 60_000 })` ends with an error on all of them that
   * names the ranks that did not come.
   */
  barrier(name?: string, options?: BarrierOptions): Promise<void>;
  barrier(options: BarrierOptions): Promise<void>;
  async barrier(...args: unknown[]): Promise<void> {
    this.#validateLaunched();
    const { name, options } = barrierArguments(args);
    const call = name === undefined ? "fabric.barrier" : `fabric.barrier("${name}")`;
    await duringCall(call, () => this.strategy.barrier(name, options));
  }

  /** The value of process `src` on every process. Any plain value with tensors in it. */
  async broadcast<T>(value: T, src = 0): Promise<T> {
    this.#validateLaunched();
    if (typeof src !== "number") {
      throw new TypeError(
        `Expected \`src\` to be a rank, but got ${describe(src)}.\nType \`await fabric.broadcast(value, 1)\`.`,
      );
    }
    return await duringCall("fabric.broadcast", () => this.strategy.broadcast(value, src));
  }

  /**
   * The tensors of all processes, stacked along a new first dimension; alone, the tensors as they are. Takes tensors, numbers
   * (float32), booleans (uint8), bigints (int64), typed arrays, and nested collections of them. Shapes have to be equal everywhere;
   * `uneven: true` allows any, and puts an array of the tensors of all processes in the place of each.
   */
  allGather<T>(data: T, options?: GatherOptions & { uneven?: false }): Promise<Collected<T>>;
  allGather<T>(data: T, options: GatherOptions & { uneven: true }): Promise<CollectedParts<T>>;
  async allGather<T>(data: T, options: GatherOptions & { uneven?: boolean } = {}): Promise<unknown> {
    this.#validateLaunched();
    checkOptions("allGather", options, ["group", "syncGrads", "uneven"]);
    const { uneven = false, ...rest } = options;
    return await duringCall<unknown>("fabric.allGather", () =>
      uneven
        ? collect(data, this.device, (tensor) => this.strategy.gatherAllTensors(tensor, rest))
        : collect(data, this.device, (tensor) => this.strategy.allGather(tensor, rest)),
    );
  }

  /** Reduces the tensors of all processes, in place where they are on the device already. Takes what `allGather` takes. */
  async allReduce<T>(data: T, options: AllReduceOptions = {}): Promise<Collected<T>> {
    this.#validateLaunched();
    checkOptions("allReduce", options, ["group", "reduceOp"]);
    const checked = { ...options, reduceOp: reduceOp(options.reduceOp) };
    return await duringCall("fabric.allReduce", () =>
      collect(data, this.device, (tensor) => this.strategy.allReduce(tensor, checked)),
    );
  }

  /**
   * Runs `body` on rank 0 first, then on all others at once; for downloads and caches. `local: true`: on the first rank of each machine.
   * Also as `await using _ = await fabric.rankZeroFirst()`.
   */
  rankZeroFirst(options?: { local?: boolean | undefined }): Promise<AsyncDisposable>;
  rankZeroFirst<T>(body: () => T | Promise<T>, options?: { local?: boolean | undefined }): Promise<T>;
  rankZeroFirst<T>(options: { local?: boolean | undefined }, body: () => T | Promise<T>): Promise<T>;
  async rankZeroFirst<T>(...args: unknown[]): Promise<T | AsyncDisposable> {
    const { options, body } = optionsAndBody<{ local?: boolean | undefined }, T | Promise<T>>("rankZeroFirst", args);
    checkOptions("rankZeroFirst", options, ["local"]);
    const turn = await this.strategy.takeTurn((options.local ? this.localRank : this.globalRank) === 0);
    if (body === undefined) return turn;
    let result: T;
    try {
      result = await body();
    } catch (error) {
      // The others wait: they are released, and the body's error is the one to see.
      await Promise.resolve(turn[Symbol.asyncDispose]()).catch(() => {});
      throw error;
    }
    await turn[Symbol.asyncDispose]();
    return result;
  }

  // Files

  /**
   * Writes the models, optimizers, other stateful objects and plain values of `state` to one file. Call it on **all** processes; when it
   * fails, it fails on all. `filter` chooses the entries to keep for keys whose value is a dictionary.
   */
  async save(
    path: CheckpointPath,
    state: object,
    options: { filter?: CheckpointFilter | undefined } = {},
  ): Promise<void> {
    checkOptions("save", options, ["filter"]);
    const { filter } = options;
    checkState("save", state);
    if (filter !== undefined) checkFilter(filter, state);
    this.#validateLaunched();
    await this.#inTurn(() =>
      duringCall(`fabric.save("${String(path)}")`, async () => {
        await this.strategy.saveCheckpoint(path, unwrapState(state), filter);
        await this.strategy.barrier();
      }),
    );
  }

  /**
   * Reads a file into the objects and values of `state` and returns the entries that were not asked for; without `state` all of
   * them. Call it on **all** processes. `strict: false` allows missing keys.
   */
  async load(path: CheckpointPath, state?: object, options: LoadOptions = {}): Promise<Record<string, unknown>> {
    checkOptions("load", options, ["strict", "weightsOnly"]);
    if (state !== undefined && state !== null && !isStateful(state)) checkState("load", state);
    this.#validateLaunched();
    const unwrapped = unwrapState(state);
    const copied = unwrapped && state && unwrapped !== state && !isStateful(state) ? state : null;
    if (copied) checkReplaceable(copied, unwrapped as object);
    const before = { ...unwrapped };
    const remainder = await this.#inTurn(() =>
      duringCall(`fabric.load("${String(path)}")`, async () => {
        const rest = await this.strategy.loadCheckpoint(path, unwrapped, options);
        await this.strategy.barrier();
        return rest;
      }),
    );
    if (copied) copyReplaced(before, unwrapped as object, copied);
    return remainder;
  }

  /**
   * Reads a file that holds the bare state of one model or optimizer. Each process reads for itself: it may be called on some of them, and
   * before `launch`.
   */
  async loadRaw(
    path: CheckpointPath,
    target: nn.AnyModule | optim.Optimizer,
    options: LoadOptions = {},
  ): Promise<void> {
    checkOptions("loadRaw", options, ["strict", "weightsOnly"]);
    const object = unwrapObjects(target);
    if (!(object instanceof nn.Module) && !isStateful(object)) {
      throw new TypeError(
        `Expected \`loadRaw\` to be given a model or an optimizer, but got ${describe(target)}.\nType \`await fabric.loadRaw(path, model)\`, or \`await fabric.load(path, { model, optimizer })\` for a file of several.`,
      );
    }
    await duringCall(`fabric.loadRaw("${String(path)}")`, () =>
      this.strategy.loadCheckpoint(path, object, { ...options, alone: true }),
    );
  }

  /**
   * Between two steps, on **all** processes: when SLURM has announced that it will end the job (`sbatch --signal=USR1@120`), runs `save` on
   * all of them, puts the job back into the queue and ends. Otherwise, and elsewhere, it does nothing. See docs/clusters.md.
   *
   *     await fabric.requeueOnSignal(() => fabric.save("last.pt", { model, optimizer, step }));
   */
  async requeueOnSignal(save: () => unknown): Promise<void> {
    if (typeof save !== "function") {
      throw new TypeError(
        `Expected \`requeueOnSignal\` to get a function that saves, but got ${describe(save)}.\nType \`await fabric.requeueOnSignal(() => fabric.save(path, state))\`.`,
      );
    }
    this.#validateLaunched();
    await this.#requeue?.run(this.strategy, save);
  }

  // Callbacks, logging, seeds

  /**
   * Calls the method `hook` of every callback that has it, in order, with the same arguments: `fabric.call("onTrainEpochEnd", { epoch })`.
   * Where a method returns a promise, those after it wait for it, and so should you: `await fabric.call(...)`. Any name will do; `Callback`
   * lists the conventional ones.
   */
  call<H extends HookName>(hook: H, ...args: HookArguments<H>): void | Promise<void>;
  call(hook: string, ...args: unknown[]): void | Promise<void>;
  call(hook: string, ...args: unknown[]): void | Promise<void> {
    return this.#hooks.call(hook, args);
  }

  /** Hands one number to all loggers: `fabric.log("loss", loss, step)`. Options as for `logDict`. */
  log(name: string, value: unknown, step?: number, options?: LogOptions): void;
  log(name: string, value: unknown, options: LogOptions): void;
  log(name: string, value: unknown, step?: number | LogOptions, options?: LogOptions): void {
    if (typeof name !== "string") {
      throw new TypeError(
        `Expected the name of the metric to be a string, but got ${describe(name)}.\nType \`fabric.log("loss", loss, step)\`.`,
      );
    }
    this.logDict({ [name]: value }, step as number, options);
  }

  /**
   * Hands numbers, also as tensors with one element, to all loggers. `{ every: 50 }` records the first call in each block of 50 steps and
   * does nothing, at no cost, in between. Call it on all processes: loggers write on rank zero.
   */
  logDict(metrics: Record<string, unknown>, step?: number, options?: LogOptions): void;
  logDict(metrics: Record<string, unknown>, options: LogOptions): void;
  logDict(metrics: Record<string, unknown>, stepOrOptions?: number | LogOptions, options?: LogOptions): void {
    const { step, every = 1 } = logOptions("logDict", stepOrOptions, options);
    const named = metricsOf(metrics);
    if (!this.#throttle.isDue(named, step, every)) return;
    const numbers = convertTensorsToScalars(named) as Record<string, unknown>;
    chooseVersions(this.#loggers);
    for (const logger of this.#loggers) {
      saveAtExit(logger);
      logger.logMetrics(numbers, step);
    }
  }

  /** Seeds all sources of randomness, the same on every process. See `seedEverything`. */
  static seedEverything(seed?: number | null, options: SeedOptions = {}): number {
    return seedEverything(seed, { ...options, workers: options.workers ?? true });
  }
  /** The same as the static method. */
  seedEverything(seed?: number | null, options: SeedOptions = {}): number {
    return Fabric.seedEverything(seed, options);
  }

  /** internal: throws when there are several processes and they have not been launched. */
  requireLaunch(): void {
    this.#validateLaunched();
  }

  // Private parts

  async #launchAndRun<T>(body: (...args: unknown[]) => T | Promise<T>, args: unknown[]): Promise<T> {
    const ready = async (...given: unknown[]): Promise<T> => {
      await this.strategy.setupEnvironment();
      await agreeOnVersions(this.#loggers, this.strategy);
      this.#launched = "yes";
      return await body(...given);
    };
    const before = this.#launched;
    if (before === "no") this.#launched = "launching";
    try {
      const { launcher } = this.strategy;
      return await (launcher ? launcher.launch(ready, ...args) : ready(...args));
    } finally {
      if ((this.#launched as string) === "launching") this.#launched = before;
    }
  }

  /** The options with which another process can make the same object. */
  #plainOptions(): Record<string, unknown> {
    const object = Object.keys(this.#options).find(
      (name) => name !== "devices" && typeof this.#options[name as keyof FabricOptions] === "object",
    );
    if (object === undefined && Object.getPrototypeOf(this) === Fabric.prototype) {
      // In a REPL this strategy is the automatic choice, in the ranks it would not be.
      return { strategy: "ddp_spawn", ...this.#options };
    }
    const what = object === undefined ? `\`${className(this)}\`` : `a Fabric whose \`${object}\` are objects`;
    throw new UsageError(
      `${what} cannot launch a function by its module's name: other processes cannot make the same Fabric.`,
      {
        hint: "Pass the function itself, `fabric.launch(train)`, which runs the script again; or give `new Fabric(...)` names and numbers only.",
      },
    );
  }

  /** Makes `run` of a subclass launch first. */
  #prepareRun(): void {
    const body = this.run as (...args: unknown[]) => unknown;
    if (body !== Fabric.prototype.run && isCliUsed()) {
      throw new TypeError(
        "Overriding `Fabric.run()` and launching from the CLI is not allowed.\nRun the script itself, without `LT_CLI_USED` in the environment, or call `await fabric.launch()` right after `new Fabric(...)` instead of overriding `run`.",
      );
    }
    const value = (...args: unknown[]) => this.#launchAndRun((...given) => body.apply(this, given), args);
    Object.defineProperty(this, "run", { value, writable: true, configurable: true });
  }

  #validateLaunched(): void {
    const { strategy } = this;
    if (this.#launched === "yes" || strategy instanceof SingleDeviceStrategy) return;
    if (strategy instanceof DataParallelStrategy) return;
    if (this.#launched === "launching") {
      throw new UsageError("`fabric.launch()` has not finished yet.", { hint: "Await it: `await fabric.launch();`." });
    }
    const isForFunction = strategy.launcher?.requiresFunction === true;
    throw new UsageError("To use Fabric with more than one device, you must call `.launch()` first.", {
      code: "ERR_NOT_LAUNCHED",
      hint: isForFunction
        ? "This strategy's processes exist for a function only: do this inside of it, `await fabric.launch(train)`."
        : "Add `await fabric.launch();` right after `new Fabric(...)`. On the command line `fabric run --help` shows another way.",
    });
  }

  /** Saves and loads of several processes take turns. */
  #inTurn<T>(task: () => Promise<T>): Promise<T> {
    return this.worldSize === 1 ? task() : this.#files.take(task);
  }

  #prepareModule(module: nn.AnyModule, moveToDevice: boolean): void {
    this.strategy.precision.convertModule(module);
    if (!moveToDevice) return;
    warnOfSeveralDevices(module);
    this.toDevice(module);
  }

  #wrapModule<M extends nn.AnyModule>(
    original: M,
    forwardModule: nn.AnyModule,
    moveToDevice: boolean,
  ): FabricModule<M> {
    const wrapped = new FabricModule(forwardModule, this.strategy, original);
    if (withoutCompiled(forwardModule) !== withoutCompiled(original)) warnOfSecondSetup(original);
    rememberDevice(wrapped, moveToDevice ? this.device : (original.parameters()[0]?.device ?? "cpu"));
    return wrapped;
  }

  /** A model that has a place for Fabric gets it, and becomes a callback. */
  #adopt(module: nn.AnyModule, optimizers?: FabricOptimizer[]): void {
    if (!("_fabric" in module)) return;
    const model = module as { _fabric?: unknown; _fabricOptimizers?: unknown };
    model._fabric = this;
    if (optimizers) model._fabricOptimizers = optimizers;
    if (!this.#callbacks.includes(module)) this.#callbacks.push(module);
  }

  #setupDataLoader(loader: AnyDataLoader, useDistributedSampler: boolean, moveToDevice: boolean): FabricDataLoader {
    const share = this.strategy.distributedSamplerOptions;
    const mine =
      useDistributedSampler && share !== null && needsDistributedSampler(loader)
        ? (loader.withSampler(distributedSampler(loader, share)) as AnyDataLoader)
        : loader;
    seedWorkers(mine, this.globalRank);
    return new FabricDataLoader(this.strategy.processDataLoader(mine), moveToDevice ? this.device : null);
  }

  #noSyncContext(forwardModule: nn.AnyModule, enabled: boolean): Disposable {
    if (this.strategy instanceof SingleDeviceStrategy) return nullContext;
    const control = this.strategy.backwardSyncControl;
    if (control !== null) return control.noBackwardSync(forwardModule, enabled);
    rankZeroWarn(
      `The \`${className(this.strategy)}\` does not support skipping the gradient synchronization. Remove \`.noBackwardSync()\` from your code or choose a different strategy.`,
      "PossibleUserWarning",
    );
    return nullContext;
  }
}

/** False when only the asynchronous way to set up is the strategy's own. */
function canSetupSync(strategy: Strategy): boolean {
  for (let proto: unknown = strategy; proto; proto = Object.getPrototypeOf(proto)) {
    if (Object.hasOwn(proto, "setupEnvironmentSync")) return true;
    if (Object.hasOwn(proto, "setupEnvironment")) return false;
  }
  return false;
}

function listOf<T extends object>(given: T | readonly T[] | null): T[] {
  if (given === null) return [];
  return Array.isArray(given) ? [...(given as readonly T[])] : [given as T];
}

/** `barrier(name, options)`, `barrier(options)`. */
function barrierArguments(args: unknown[]): { name: string | undefined; options: BarrierOptions } {
  const name = typeof args[0] === "object" && args[0] !== null ? undefined : args.shift();
  if (name !== undefined && name !== null && typeof name !== "string") {
    throw new TypeError(
      `Expected the name of the barrier to be a string, but got ${describe(name)}.\nType \`await fabric.barrier("name")\`.`,
    );
  }
  const options = (args[0] ?? {}) as BarrierOptions;
  checkOptions("barrier", options, ["timeoutMs"]);
  return { name: name ?? undefined, options };
}

function checkLoggers(loggers: Logger[]): Logger[] {
  for (const logger of loggers) {
    if (typeof (logger as Partial<Logger> | null)?.logMetrics === "function") continue;
    throw new TypeError(
      `Expected \`loggers\` to be Logger objects, but got ${describe(logger)}.\nMake them first: \`loggers: [new CSVLogger("logs")]\`.`,
    );
  }
  return loggers;
}

/**
 * Copies what loading has replaced (numbers, dictionaries) to the user's state. Everything else stays in its place: wrapped objects, and what
 * the file does not have.
 */
function copyReplaced(before: Record<string, unknown>, after: object, target: object): void {
  for (const [key, value] of Object.entries(after)) {
    if (value !== before[key]) (target as Record<string, unknown>)[key] = value;
  }
}
