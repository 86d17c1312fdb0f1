// What strategies with several processes have in common: ranks from the cluster environment, collectives over the group.
import { type Device, distributed, type Tensor, tensor, UsageError } from "@fabric-ts/torch";
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
  parallelDevices?: Device[];
  /** Where ranks and addresses come from. */
  clusterEnvironment?: ClusterEnvironment;
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
  override get distributedSamplerOptions(): DistributedSamplerOptions {
    return { numReplicas: this.worldSize, rank: this.globalRank };
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
    if (!distributed.isInitialized()) return tensor;
    const { syncGrads = false, ...where } = options;
    const own = tensor.contiguous();
    const call = { ...where, label: "fabric.allGather" };
    return syncGrads ? distributed.allGatherWithGrad(own, call) : distributed.allGatherStacked(own.detach(), call);
  }

  override async allReduce(tensor: Tensor, options: AllReduceOptions = {}): Promise<Tensor> {
    const op = reduceOp(options.reduceOp);
    if (!distributed.isInitialized()) return tensor;
    return distributed.allReduce(tensor, { op, group: options.group, label: "fabric.allReduce" });
  }

  override async gatherAllTensors(tensor: Tensor, options: GatherOptions = {}): Promise<Tensor[]> {
    return await gatherAllTensors(tensor, options);
  }

  override async barrier(name?: string, options: BarrierOptions = {}): Promise<void> {
    const label = name === undefined ? "fabric.barrier" : `fabric.barrier("${name}")`;
    if (distributed.isInitialized()) await distributed.barrier({ label, timeoutMs: options.timeoutMs });
  }

  override async broadcast<T>(value: T, src = 0): Promise<T> {
    if (!distributed.isInitialized()) return value;
    return (await distributed.broadcastObject(value, { src, label: "fabric.broadcast" })) as T;
  }

  override async allGatherObject<T>(value: T, label?: string): Promise<T[]> {
    if (!distributed.isInitialized()) return [value];
    return (await distributed.allGatherObject(value, { label })) as T[];
  }

  override async takeTurn(isFirst: boolean): Promise<AsyncDisposable> {
    if (!distributed.isInitialized()) return super.takeTurn(isFirst);
    // A group of its own, because a download may take longer than any collective should.
    const group = await distributed.newGroup(null, { backend: "gloo", timeoutMs: patientMs });
    if (!isFirst) await distributed.barrier({ group });
    return {
      [Symbol.asyncDispose]: async () => {
        try {
          if (isFirst) await distributed.barrier({ group });
          await distributed.barrier({ group });
        } finally {
          distributed.destroyProcessGroup(group);
        }
      },
    };
  }

  override async reduceBooleanDecision(decision: boolean, options: { all?: boolean } = {}): Promise<boolean> {
    if (!distributed.isInitialized()) return decision;
    const votes = tensor([decision ? 1 : 0], { dtype: "int64", device: this.rootDevice });
    const sum = (await distributed.allReduce(votes, { op: "sum", label: "reduceBooleanDecision" })).item();
    return (options.all ?? true) ? sum === distributed.getWorldSize() : sum > 0;
  }

  override async teardown(): Promise<void> {
    this.clusterEnvironment?.teardown();
    await super.teardown();
  }
}
