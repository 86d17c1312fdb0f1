// What strategies with several processes have in common: ranks from the cluster environment, collectives over the group.
import { type Device, distributed, type nn, type Tensor, tensor, UsageError } from "@fabric-ts/torch";
import { gatherAllTensors } from "../collectives/gather-all-tensors.js";
import { reduceOp } from "../collectives/reduce-op.js";
import type { ClusterEnvironment } from "../environments/cluster-environment.js";
import { setCurrentRank } from "../utilities/rank-zero.js";
import {
  type AllReduceOptions,
  type BarrierOptions,
  type DistributedSamplerOptions,
  type GatherOptions,
  Strategy,
  type StrategyOptions,
} from "./strategy.js";

/** How long processes wait for the first one's turn to end: 20 days. */
const patientMs = 20 * 24 * 3600 * 1000;

/** Parts that a parallel strategy may be made with; otherwise Fabric gives them. */
export interface ParallelStrategyOptions extends StrategyOptions {
  /** The devices of this machine's processes. */
  parallelDevices?: Device[] | undefined;
  /** Where ranks and addresses come from. */
  clusterEnvironment?: ClusterEnvironment | undefined;
}

/** Runs in several processes, one device each. */
export abstract class ParallelStrategy extends Strategy {
  /** The devices of this machine's processes; null until Fabric has set them. */
  parallelDevices: Device[] | null;
  /** Where ranks and addresses come from; null until Fabric has set it. */
  clusterEnvironment: ClusterEnvironment | null;
  /** Number of machines. */
  numNodes = 1;

  constructor(options: ParallelStrategyOptions = {}) {
    super(options);
    this.parallelDevices = options.parallelDevices ?? null;
    this.clusterEnvironment = options.clusterEnvironment ?? null;
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
  override get globalRank(): number {
    return this.clusterEnvironment?.globalRank() ?? 0;
  }
  override get localRank(): number {
    return this.clusterEnvironment?.localRank() ?? 0;
  }
  override get nodeRank(): number {
    return this.clusterEnvironment?.nodeRank() ?? 0;
  }
  override get worldSize(): number {
    return this.clusterEnvironment?.worldSize() ?? 1;
  }
  override get isGlobalZero(): boolean {
    return this.globalRank === 0;
  }
  override get distributedSamplerOptions(): DistributedSamplerOptions | null {
    return { numReplicas: this.worldSize, rank: this.globalRank };
  }
  /** True when the processes have met, so that they can exchange something. */
  protected get isConnected(): boolean {
    return distributed.isInitialized();
  }

  /** Tells the environment the ranks that follow from the numbers of devices and machines; those that know better ignore it. */
  setWorldRanks(): void {
    const environment = this.clusterEnvironment;
    if (environment === null) return;
    environment.setGlobalRank(this.nodeRank * this.numProcesses + this.localRank);
    environment.setWorldSize(this.numNodes * this.numProcesses);
    setCurrentRank(environment.globalRank());
  }

  override async allGather(tensor: Tensor, options: GatherOptions = {}): Promise<Tensor> {
    if (!this.isConnected) return tensor;
    const { syncGrads = false, ...where } = options;
    const own = tensor.contiguous();
    const call = { ...where, label: "fabric.allGather" };
    return syncGrads ? distributed.allGatherWithGrad(own, call) : distributed.allGatherStacked(own.detach(), call);
  }

  override async allReduce(tensor: Tensor, options: AllReduceOptions = {}): Promise<Tensor> {
    const op = reduceOp(options.reduceOp);
    if (!this.isConnected) return tensor;
    return distributed.allReduce(tensor, { op, group: options.group, label: "fabric.allReduce" });
  }

  override async gatherAllTensors(tensor: Tensor, options: GatherOptions = {}): Promise<Tensor[]> {
    return this.isConnected ? await gatherAllTensors(tensor, options) : [tensor];
  }

  override async barrier(name?: string, options: BarrierOptions = {}): Promise<void> {
    const label = name === undefined ? "fabric.barrier" : `fabric.barrier("${name}")`;
    if (this.isConnected) await distributed.barrier({ label, timeoutMs: options.timeoutMs });
  }

  override async broadcast<T>(value: T, src = 0): Promise<T> {
    if (!this.isConnected) return value;
    return (await distributed.broadcastObject(value, { src, label: "fabric.broadcast" })) as T;
  }

  override async allGatherObject<T>(value: T, label?: string): Promise<T[]> {
    if (!this.isConnected) return [value];
    return (await distributed.allGatherObject(value, { label })) as T[];
  }

  override async takeTurn(isFirst: boolean): Promise<AsyncDisposable> {
    if (!this.isConnected) return super.takeTurn(isFirst);
    // A group of its own, because a download may take longer than any collective should.
    const group = await distributed.newGroup(null, { backend: "gloo", timeoutMs: patientMs });
    const meet = (): Promise<void> => distributed.barrier({ group, label: "fabric.rankZeroFirst" });
    if (!isFirst) await meet();
    return {
      [Symbol.asyncDispose]: async () => {
        try {
          if (isFirst) await meet();
          await meet();
        } finally {
          distributed.destroyProcessGroup(group);
        }
      },
    };
  }

  override async reduceBooleanDecision(decision: boolean, options: { all?: boolean } = {}): Promise<boolean> {
    if (!this.isConnected) return decision;
    const votes = tensor([decision ? 1 : 0], { dtype: "int64", device: this.rootDevice });
    const sum = (await distributed.allReduce(votes, { op: "sum", label: "reduceBooleanDecision" })).item();
    return (options.all ?? true) ? sum === distributed.getWorldSize() : sum > 0;
  }

  /** The user's module inside of what `setupModule` returned: its state has no prefixes of what is around it. */
  protected innerModule(module: nn.AnyModule): nn.AnyModule {
    return module;
  }
  override getModuleStateDict(module: nn.AnyModule): Record<string, unknown> {
    return super.getModuleStateDict(this.innerModule(module));
  }
  override loadModuleStateDict(module: nn.AnyModule, state: Record<string, unknown>, strict = true): void {
    super.loadModuleStateDict(this.innerModule(module), state, strict);
  }
  override checkModuleStateDict(module: nn.AnyModule, state: Record<string, unknown>, strict = true): void {
    super.checkModuleStateDict(this.innerModule(module), state, strict);
  }

  override async teardown(): Promise<void> {
    this.clusterEnvironment?.teardown();
    await super.teardown();
  }
}
