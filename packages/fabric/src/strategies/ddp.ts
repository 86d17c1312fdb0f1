// Distributed data parallel: a copy of the model in each process, gradients averaged while backward runs.
import { ConfigurationError, distributed, nn, UsageError } from "@fabric-ts/torch";
import { reportPhase } from "../environments/rank-channel.js";
import { createStore, createStoreSync, type RendezvousOptions } from "../environments/rendezvous.js";
import { ScriptLauncher } from "../launchers/script.js";
import { SpawnLauncher } from "../launchers/spawn.js";
import { nullContext } from "../utilities/context.js";
import { checkOptions, className, describe } from "../utilities/describe.js";
import { info, rankZeroDebug, rankZeroInfo } from "../utilities/rank-zero.js";
import type { BackwardSyncControl } from "./backward-sync-control.js";
import { ParallelStrategy, type ParallelStrategyOptions } from "./parallel.js";
import { SameInputs } from "./same-inputs.js";
import type { DistributedSamplerOptions } from "./strategy.js";

/** Options of `DDPStrategy`: parts, the process group, and what `DistributedDataParallel` takes. */
export interface DDPStrategyOptions extends ParallelStrategyOptions {
  /** The processes whose copies of a model are averaged, where those are not all; this process is one of them. Make it with `newGroup`. */
  processGroup?: distributed.ProcessGroup;
  /** Default: NCCL for CUDA devices, Gloo for others. */
  processGroupBackend?: "gloo" | "nccl" | undefined;
  /** After how many milliseconds a collective gives up waiting for the other ranks (default 30 minutes). */
  timeoutMs?: number | undefined;
  /** Broadcast buffers from rank 0 at each forward (default true). */
  broadcastBuffers?: boolean | undefined;
  /** Find parameters that the loss does not depend on, at some cost (default false). */
  findUnusedParameters?: boolean | undefined;
  /** Size of a gradient bucket in MiB (default 25). */
  bucketCapMb?: number | undefined;
  /** Gradients are views into the buckets, which saves a copy (default false). */
  gradientAsBucketView?: boolean | undefined;
  /** The same parameters are used in every iteration (default false). */
  staticGraph?: boolean | undefined;
  /** Start from rank 0's parameters and buffers (default true). */
  initSync?: boolean | undefined;
  /**
   * What averages the gradients in place of the reducer: `nn.parallel.fp16CompressHook`, `bf16CompressHook`, `powerSGDHook`, or a function of
   * yours, which runs on the JavaScript thread inside the backward pass.
   */
  // biome-ignore lint/suspicious/noExplicitAny: the state is the hook's own business
  ddpCommHook?: nn.parallel.CommHook<any> | undefined;
  /** What the hook gets as its first argument: a `PowerSGDState`, for example. A function makes one for each model that is set up. */
  ddpCommState?: unknown;
  /** Put around the hook: `nn.parallel.fp16CompressWrapper`, `bf16CompressWrapper`. */
  // biome-ignore lint/suspicious/noExplicitAny: the same
  ddpCommWrapper?: ((hook: nn.parallel.CommHook<any>) => nn.parallel.CommHook<any>) | undefined;
  /**
   * How processes are made: `"popen"` (default) runs the script again, `"spawn"` a function that is given to `fabric.launch`. Python's
   * other ways do not exist in Node.
   */
  startMethod?: "popen" | "spawn" | undefined;
}

const moduleOptions = [
  "processGroup",
  "broadcastBuffers",
  "findUnusedParameters",
  "bucketCapMb",
  "gradientAsBucketView",
  "staticGraph",
  "initSync",
] as const;
const allOptions = [
  "accelerator",
  "checkpointIO",
  "precision",
  "parallelDevices",
  "clusterEnvironment",
  "processGroupBackend",
  "timeoutMs",
  "ddpCommHook",
  "ddpCommState",
  "ddpCommWrapper",
  "startMethod",
  ...moduleOptions,
];

/** Trains a copy of the model in each process; `Fabric({ strategy: "ddp" })`. */
export class DDPStrategy extends ParallelStrategy {
  override readonly backwardSyncControl: BackwardSyncControl = new DDPBackwardSyncControl();
  readonly #options: DDPStrategyOptions;
  #store: distributed.Store | null = null;
  #sameInputs: SameInputs | null = null;

  constructor(options: DDPStrategyOptions = {}) {
    checkOptions("DDPStrategy", options, allOptions);
    super(options);
    checkDDPOptions(options);
    this.#options = options;
  }

  override get distributedSamplerOptions(): DistributedSamplerOptions {
    return { numReplicas: this.numNodes * this.numProcesses, rank: this.globalRank };
  }
  /** The library that moves gradients between processes. */
  get processGroupBackend(): "gloo" | "nccl" {
    return this.#options.processGroupBackend ?? (this.rootDevice.startsWith("cuda") ? "nccl" : "gloo");
  }

  override configureLauncher(): void {
    if (this.clusterEnvironment === null)
      throw new UsageError("DDPStrategy has no cluster environment.", {
        hint: "Give it to `new Fabric({ strategy })`.",
      });
    const Launcher = this.#options.startMethod === "spawn" ? SpawnLauncher : ScriptLauncher;
    this.launcher = new Launcher(this.clusterEnvironment, this.numProcesses, this.numNodes);
  }

  override async setupEnvironment(): Promise<void> {
    await super.setupEnvironment();
    const place = this.#placeToMeet();
    if (place === null) return;
    const store = await createStore(place);
    await distributed.initProcessGroup({ ...place, store });
    this.#joined(store);
  }
  override setupEnvironmentSync(): void {
    super.setupEnvironmentSync();
    const place = this.#placeToMeet();
    if (place === null) return;
    const store = createStoreSync(place);
    distributed.initProcessGroupSync({ ...place, store });
    this.#joined(store);
  }

  #placeToMeet(): (RendezvousOptions & { backend: "gloo" | "nccl" }) | null {
    this.setWorldRanks();
    const environment = this.clusterEnvironment;
    if (environment === null) return null;
    if (distributed.isInitialized()) {
      rankZeroDebug("The process group is initialized already.");
      return null;
    }
    const { globalRank: rank, worldSize, processGroupBackend: backend } = this;
    info(`Initializing distributed: GLOBAL_RANK: ${rank}, MEMBER: ${rank + 1}/${worldSize}`);
    return { environment, rank, worldSize, backend, timeoutMs: this.#options.timeoutMs ?? 30 * 60 * 1000 };
  }

  #joined(store: distributed.Store): void {
    const { globalRank, worldSize, processGroupBackend } = this;
    this.#store = store;
    this.#sameInputs = new SameInputs(store, globalRank, worldSize);
    reportPhase("joined");
    rankZeroInfo(
      `All distributed processes registered. Starting with ${worldSize} processes (distributed_backend=${processGroupBackend}).`,
    );
  }

  override async fromRankZero(key: string, text: () => string): Promise<string> {
    if (this.#store === null) return text();
    if (!this.isGlobalZero) return await this.#store.getText(key);
    const own = text();
    await this.#store.set(key, own);
    return own;
  }

  override setupModule(module: nn.AnyModule): nn.AnyModule {
    const options: Record<string, unknown> = {};
    for (const name of moduleOptions) {
      if (this.#options[name] !== undefined) options[name] = this.#options[name];
    }
    if (this.rootDevice.startsWith("cuda")) options.deviceIds = [Number(this.rootDevice.split(":")[1] ?? 0)];
    const wrapped = new nn.parallel.DistributedDataParallel(module, options);
    const { ddpCommHook, ddpCommState, ddpCommWrapper } = this.#options;
    if (ddpCommHook !== undefined) {
      const state: unknown = typeof ddpCommState === "function" ? (ddpCommState as () => unknown)() : ddpCommState;
      wrapped.registerCommHook(state, ddpCommWrapper ? ddpCommWrapper(ddpCommHook) : ddpCommHook);
    }
    return wrapped;
  }
  override moduleToDevice(module: nn.AnyModule): void {
    module.to(this.rootDevice);
  }

  override noteFirstInputs(args: readonly unknown[]): void {
    this.#sameInputs?.note(args);
  }

  protected override innerModule(module: nn.AnyModule): nn.AnyModule {
    return module instanceof nn.parallel.DistributedDataParallel ? (module.module as nn.AnyModule) : module;
  }

  override async teardown(): Promise<void> {
    try {
      await super.teardown();
    } finally {
      this.#sameInputs = null;
      if (distributed.isInitialized()) distributed.destroyProcessGroup();
    }
  }
}

/** Leaves gradients local through `DistributedDataParallel.noSync`. */
class DDPBackwardSyncControl implements BackwardSyncControl {
  noBackwardSync(module: nn.AnyModule, enabled: boolean): Disposable {
    if (!enabled) return nullContext;
    if (!(module instanceof nn.parallel.DistributedDataParallel)) {
      throw new TypeError(
        `Blocking backward sync is only possible if the module passed to \`DDPStrategy.noBackwardSync\` is wrapped in \`DistributedDataParallel\`. Got: ${className(module)}.`,
      );
    }
    return module.noSync();
  }
}

/** What can be known to be wrong before there are processes. */
function checkDDPOptions(options: DDPStrategyOptions): void {
  const { processGroupBackend: backend, timeoutMs, bucketCapMb, ddpCommHook, ddpCommState, ddpCommWrapper } = options;
  const startMethod: unknown = options.startMethod ?? "popen";
  if (startMethod !== "popen" && startMethod !== "spawn") {
    throw new ConfigurationError(`The start method ${describe(startMethod)} is not available on this platform.`, {
      hint: 'Available are "popen", which runs the script again for each device, and "spawn", for `fabric.launch(fn)`. Node cannot fork.',
    });
  }
  if (backend !== undefined && backend !== "gloo" && backend !== "nccl") {
    throw new ConfigurationError(`\`processGroupBackend\` is ${describe(backend)}.`, {
      hint: 'Choose "gloo" (CPU) or "nccl" (CUDA), or leave it out.',
    });
  }
  if (options.processGroup !== undefined && !(options.processGroup instanceof distributed.ProcessGroup)) {
    throw new TypeError(
      `Expected \`processGroup\` to be a process group, but got ${describe(options.processGroup)}.\nGive what \`newGroup({ ranks })\` of a TorchCollective returned, on the processes that are its members: to the others it gives null.`,
    );
  }
  for (const [name, value] of Object.entries({ timeoutMs, bucketCapMb })) {
    if (value === undefined || (typeof value === "number" && value > 0)) continue;
    throw new ConfigurationError(`\`${name}\` is ${describe(value)}.`, { hint: "Give a number above 0." });
  }
  for (const [name, value] of Object.entries({ ddpCommHook, ddpCommWrapper })) {
    if (value === undefined || typeof value === "function") continue;
    throw new TypeError(
      `Expected \`${name}\` to be a function, but got ${describe(value)}.\nThe hooks are in \`nn.parallel\`, such as \`nn.parallel.fp16CompressHook\`.`,
    );
  }
  if (ddpCommHook === undefined && (ddpCommState !== undefined || ddpCommWrapper !== undefined)) {
    throw new ConfigurationError("`ddpCommState` and `ddpCommWrapper` have no effect without a `ddpCommHook`.", {
      hint: "Give the hook, such as `ddpCommHook: nn.parallel.powerSGDHook`.",
    });
  }
}
