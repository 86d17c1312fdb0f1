// Distributed data parallel: a copy of the model in each process, gradients averaged while backward runs.
import { type Device, distributed, nn, UsageError } from "@fabric-ts/torch";
import { reportPhase } from "../environments/rank-channel.js";
import { createStore } from "../environments/rendezvous.js";
import { ScriptLauncher } from "../launchers/script.js";
import { nullContext } from "../utilities/context.js";
import { checkOptions, className } from "../utilities/describe.js";
import { rankZeroInfo, setCurrentRank } from "../utilities/rank-zero.js";
import type { BackwardSyncControl } from "./backward-sync-control.js";
import { ParallelStrategy, type ParallelStrategyOptions } from "./parallel.js";
import type { DistributedSamplerOptions } from "./strategy.js";

/** Options of `DDPStrategy`: parts, the process group, and what `DistributedDataParallel` takes. */
export interface DDPStrategyOptions extends ParallelStrategyOptions {
  /** Default: NCCL for CUDA devices, Gloo for others. */
  processGroupBackend?: "gloo" | "nccl";
  /** After how many milliseconds a collective gives up waiting for the other ranks (default 30 minutes). */
  timeoutMs?: number;
  /** Broadcast buffers from rank 0 at each forward (default true). */
  broadcastBuffers?: boolean;
  /** Find parameters that the loss does not depend on, at some cost (default false). */
  findUnusedParameters?: boolean;
  /** Size of a gradient bucket in MiB (default 25). */
  bucketCapMb?: number;
  /** Gradients are views into the buckets, which saves a copy (default false). */
  gradientAsBucketView?: boolean;
  /** The same parameters are used in every iteration (default false). */
  staticGraph?: boolean;
}

const moduleOptions = [
  "broadcastBuffers",
  "findUnusedParameters",
  "bucketCapMb",
  "gradientAsBucketView",
  "staticGraph",
] as const;
const allOptions = [
  "accelerator",
  "checkpointIO",
  "precision",
  "parallelDevices",
  "clusterEnvironment",
  "processGroupBackend",
  "timeoutMs",
  ...moduleOptions,
];

/** Trains a copy of the model in each process; `Fabric({ strategy: "ddp" })`. */
export class DDPStrategy extends ParallelStrategy {
  override readonly backwardSyncControl: BackwardSyncControl = new DDPBackwardSyncControl();
  /** Number of machines. */
  numNodes = 1;
  readonly #options: DDPStrategyOptions;

  constructor(options: DDPStrategyOptions = {}) {
    checkOptions("DDPStrategy", options, allOptions);
    super(options);
    this.#options = options;
  }

  /** Number of processes on this machine. */
  get numProcesses(): number {
    return this.parallelDevices?.length ?? 0;
  }
  override get rootDevice(): Device {
    const device = this.parallelDevices?.[this.localRank];
    if (device !== undefined) return device;
    throw new UsageError(
      `There is no device for local rank ${this.localRank}: the strategy has ${this.numProcesses}.`,
      {
        hint: "Start as many processes on each machine as `devices` says.",
      },
    );
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
    this.launcher = new ScriptLauncher(this.clusterEnvironment, this.numProcesses, this.numNodes);
  }

  /** internal: tells the environment the ranks that follow from the numbers of devices and machines. */
  setWorldRanks(): void {
    const environment = this.clusterEnvironment;
    if (environment === null) return;
    environment.setGlobalRank(this.nodeRank * this.numProcesses + this.localRank);
    environment.setWorldSize(this.numNodes * this.numProcesses);
    setCurrentRank(environment.globalRank());
  }

  override async setupEnvironment(): Promise<void> {
    await super.setupEnvironment();
    this.setWorldRanks();
    await this.#connect();
  }

  async #connect(): Promise<void> {
    const environment = this.clusterEnvironment;
    if (environment === null || distributed.isInitialized()) return;
    const rank = this.globalRank;
    const worldSize = this.worldSize;
    const timeoutMs = this.#options.timeoutMs ?? 30 * 60 * 1000;
    const backend = this.processGroupBackend;
    const store = await createStore({ environment, worldSize, rank, timeoutMs });
    await distributed.initProcessGroup({ backend, rank, worldSize, store, timeoutMs });
    reportPhase("joined");
    rankZeroInfo(
      `All distributed processes registered. Starting with ${worldSize} processes (distributed_backend=${backend}).`,
    );
  }

  override setupModule(module: nn.AnyModule): nn.AnyModule {
    const options: Record<string, unknown> = {};
    for (const name of moduleOptions) {
      if (this.#options[name] !== undefined) options[name] = this.#options[name];
    }
    if (this.rootDevice !== "cpu") options.deviceIds = [Number(this.rootDevice.split(":")[1] ?? 0)];
    return new nn.parallel.DistributedDataParallel(module, options);
  }
  override moduleToDevice(module: nn.AnyModule): void {
    module.to(this.rootDevice);
  }

  override getModuleStateDict(module: nn.AnyModule): Record<string, unknown> {
    return super.getModuleStateDict(withoutDDP(module));
  }
  override loadModuleStateDict(module: nn.AnyModule, state: Record<string, unknown>, strict = true): void {
    super.loadModuleStateDict(withoutDDP(module), state, strict);
  }

  override async teardown(): Promise<void> {
    await super.teardown();
    if (distributed.isInitialized()) distributed.destroyProcessGroup();
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

function withoutDDP(module: nn.AnyModule): nn.AnyModule {
  return module instanceof nn.parallel.DistributedDataParallel ? (module.module as nn.AnyModule) : module;
}
