// One process that splits each batch over its devices: nothing has to be launched, and each device gets the weights anew in every call.
import { ConfigurationError, type Device, nn, type Tensor } from "@fabric-ts/torch";
import { checkOptions } from "../utilities/describe.js";
import { ParallelStrategy, type ParallelStrategyOptions } from "./parallel.js";
import type { DistributedSamplerOptions } from "./strategy.js";

/** Parts that `DataParallelStrategy` may be made with. */
export type DataParallelStrategyOptions = Omit<ParallelStrategyOptions, "clusterEnvironment">;

/** Splits batches over the devices of one process; `Fabric({ strategy: "dp" })`. DDP is faster. */
export class DataParallelStrategy extends ParallelStrategy {
  constructor(options: DataParallelStrategyOptions = {}) {
    checkOptions("DataParallelStrategy", options, ["accelerator", "checkpointIO", "precision", "parallelDevices"]);
    super(options);
  }

  /** The first of the devices: the model is there, and outputs arrive there. */
  override get rootDevice(): Device {
    return this.parallelDevices?.[0] ?? "cpu";
  }
  // There is one process, whatever the cluster says of others.
  override get globalRank(): number {
    return 0;
  }
  override get localRank(): number {
    return 0;
  }
  override get nodeRank(): number {
    return 0;
  }
  override get worldSize(): number {
    return 1;
  }
  override get distributedSamplerOptions(): DistributedSamplerOptions | null {
    return null;
  }
  protected override get isConnected(): boolean {
    return false;
  }
  override setWorldRanks(): void {}
  override configureLauncher(): void {
    if (this.numNodes === 1) return;
    throw new ConfigurationError(`\`strategy: "dp"\` works on one machine, but \`numNodes\` is ${this.numNodes}.`, {
      hint: 'Use `strategy: "ddp"`.',
    });
  }

  override setupModule(module: nn.AnyModule): nn.AnyModule {
    return new nn.parallel.DataParallel(module, { deviceIds: this.parallelDevices });
  }
  override moduleToDevice(module: nn.AnyModule): void {
    module.to(this.rootDevice);
  }
  /** Nothing: the devices get their parts in each call. */
  override batchToDevice<T>(batch: T): T {
    return batch;
  }

  protected override innerModule(module: nn.AnyModule): nn.AnyModule {
    return module instanceof nn.parallel.DataParallel ? (module.module as nn.AnyModule) : module;
  }

  /** The mean of the tensor's elements: what the devices returned is one tensor already. */
  override async allReduce(tensor: Tensor): Promise<Tensor> {
    return tensor.float().mean().to(tensor.dtype);
  }
}
