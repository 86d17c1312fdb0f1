// Ranks started by torchrun (torch.distributed.run).
import { rankZeroWarn } from "../utilities/rank-zero.js";
import { checkProduct, ExternalEnvironment } from "./cluster-environment.js";
import { recordErrors } from "./torchelastic-errors.js";
import { optionalNumber, optionalPort, requiredNumber } from "./variables.js";

const launcher = "torchrun";

/** Everything comes from the variables that torchrun sets; uncaught errors go to the file in which torchrun looks for them. */
export class TorchElasticEnvironment extends ExternalEnvironment {
  constructor() {
    super();
    recordErrors(process.env.TORCHELASTIC_ERROR_FILE);
  }

  static override detect(): boolean {
    return process.env.TORCHELASTIC_RUN_ID !== undefined;
  }

  get mainAddress(): string {
    if (process.env.MASTER_ADDR === undefined) {
      rankZeroWarn("MASTER_ADDR environment variable is not defined. Set as localhost");
      process.env.MASTER_ADDR = "127.0.0.1";
    }
    return process.env.MASTER_ADDR;
  }

  get mainPort(): number {
    const port = optionalPort("MASTER_PORT");
    if (port !== undefined) return port;
    rankZeroWarn("MASTER_PORT environment variable is not defined. Set as 12910");
    process.env.MASTER_PORT = "12910";
    return 12910;
  }

  worldSize(): number {
    return requiredNumber("WORLD_SIZE", launcher);
  }

  globalRank(): number {
    return requiredNumber("RANK", launcher);
  }

  localRank(): number {
    return requiredNumber("LOCAL_RANK", launcher);
  }

  nodeRank(): number {
    return optionalNumber("GROUP_RANK") ?? 0;
  }

  /** With the static rendezvous the agent owns the port; rank 0 must not listen on it as well. */
  override get isStoreHosted(): boolean {
    return process.env.TORCHELASTIC_USE_AGENT_STORE?.toLowerCase() === "true";
  }

  override get attempt(): string {
    return process.env.TORCHELASTIC_RESTART_COUNT ?? "0";
  }

  override validateSettings(numDevices: number, numNodes: number): void {
    const hint = "Give `devices` and `numNodes` the values of torchrun's `--nproc_per_node` and `--nnodes`.";
    checkProduct(numDevices, numNodes, this.worldSize(), hint);
  }
}
