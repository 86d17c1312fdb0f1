// What strategies with several processes have in common: ranks from the cluster environment, collectives over the group.
import { type Device, distributed, noGrad, stack, type Tensor } from "@fabric-ts/torch";
import { type ReduceOp, reduceOp } from "../collectives/reduce-op.js";
import type { ClusterEnvironment } from "../environments/cluster-environment.js";
import { type DistributedSamplerOptions, Strategy, type StrategyOptions } from "./strategy.js";

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

  constructor(options: ParallelStrategyOptions = {}) {
    super(options);
    this.parallelDevices = options.parallelDevices ?? null;
    this.clusterEnvironment = options.clusterEnvironment ?? null;
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

  override async allGather(tensor: Tensor, options: { syncGrads?: boolean } = {}): Promise<Tensor> {
    if (!distributed.isInitialized()) return tensor;
    const own = tensor.contiguous();
    const gathered = await distributed.allGather(own.detach());
    if (!options.syncGrads) return noGrad(() => stack(gathered));
    return distributed.stackWithGradients(own, gathered);
  }

  override async allReduce(tensor: Tensor, op: ReduceOp = "mean"): Promise<Tensor> {
    const name = reduceOp(op);
    if (!distributed.isInitialized()) return tensor;
    await distributed.allReduce(tensor, { op: name === "mean" ? "sum" : name });
    // The quotient is computed in floating point; copying it into an integer tensor truncates.
    if (name === "mean") noGrad(() => tensor.copy_(tensor.div(distributed.getWorldSize())));
    return tensor;
  }

  override async barrier(_name?: string): Promise<void> {
    if (distributed.isInitialized()) await distributed.barrier();
  }

  override async broadcast<T>(value: T, src = 0): Promise<T> {
    if (!distributed.isInitialized()) return value;
    return (await distributed.broadcastObject(value, { src })) as T;
  }

  override async allGatherObject<T>(value: T): Promise<T[]> {
    if (!distributed.isInitialized()) return [value];
    return (await distributed.allGatherObject(value)) as T[];
  }

  override async reduceBooleanDecision(decision: boolean, options: { all?: boolean } = {}): Promise<boolean> {
    const decisions = await this.allGatherObject(decision);
    return (options.all ?? true) ? decisions.every(Boolean) : decisions.some(Boolean);
  }

  override async teardown(): Promise<void> {
    this.clusterEnvironment?.teardown();
    await super.teardown();
  }
}
