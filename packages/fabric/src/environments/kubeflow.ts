// Ranks started by Kubeflow's training operator (PyTorchJob): one process a pod. Never chosen by itself.
import { ConfigurationError, NotSupportedError } from "@fabric-ts/torch/base";
import { checkProduct, ExternalEnvironment } from "./cluster-environment.js";
import { requiredNumber } from "./variables.js";

const launcher = "Kubeflow";

/** Everything comes from `MASTER_ADDR`, `MASTER_PORT`, `WORLD_SIZE` and `RANK`. */
export class KubeflowEnvironment extends ExternalEnvironment {
  /** Always throws: its variables are those of a half-configured shell, too. */
  static override detect(): boolean {
    throw new NotSupportedError("The Kubeflow environment can't be detected automatically.", {
      hint: "Pass `plugins: [new KubeflowEnvironment()]`.",
    });
  }

  get mainAddress(): string {
    const address = process.env.MASTER_ADDR;
    if (address !== undefined) return address;
    throw new ConfigurationError(
      "The environment variable MASTER_ADDR is not set, although Kubeflow should have set it.",
    );
  }

  get mainPort(): number {
    return requiredNumber("MASTER_PORT", launcher);
  }

  worldSize(): number {
    return requiredNumber("WORLD_SIZE", launcher);
  }

  globalRank(): number {
    return requiredNumber("RANK", launcher);
  }

  localRank(): number {
    return 0;
  }

  nodeRank(): number {
    return this.globalRank();
  }

  override validateSettings(numDevices: number, numNodes: number): void {
    const hint = "Each pod is a machine with one process: set `devices: 1` and give `numNodes` the number of pods.";
    checkProduct(numDevices, numNodes, this.worldSize(), hint);
  }
}
