// The hint that matrix products in float32 leave a GPU's Tensor Cores idle.
import { cuda, type Device, getFloat32MatmulPrecision, type MatmulPrecision } from "@fabric-ts/torch";
import { rankZeroInfo } from "../utilities/rank-zero.js";

/** internal: what the hint depends on. */
export interface MatmulFacts {
  deviceName: string;
  /** Major number of the compute capability; 8 is Ampere. */
  major: number;
  precision: MatmulPrecision;
}

/** internal: says it at most once, where a GPU has Tensor Cores and nobody has chosen a precision of matrix products. */
export class TensorCoresHint {
  #isChecked = false;

  /** Looks at the first device that it is asked about. */
  check(device: Device, factsOf: (device: Device) => MatmulFacts = gpuFacts): void {
    if (this.#isChecked) return;
    this.#isChecked = true;
    const { deviceName, major, precision } = factsOf(device);
    if (major < 8 || precision !== "highest") return;
    rankZeroInfo(
      `You are using a CUDA device ('${deviceName}') that has Tensor Cores. To use them in float32 as well, call \`torch.setFloat32MatmulPrecision("medium")\`, or \`"high"\`: faster, and less precise.`,
    );
  }
}

function gpuFacts(device: Device): MatmulFacts {
  const [major] = cuda.getDeviceCapability(device);
  return { deviceName: cuda.getDeviceName(device), major, precision: getFloat32MatmulPrecision() };
}
