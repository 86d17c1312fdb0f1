// How many floating-point operations a model needs, and how many a device can do.
import {
  autograd,
  cuda,
  type Device,
  type Dtype,
  FlopCounter,
  getFloat32MatmulPrecision,
  nn,
  Tensor,
} from "@fabric-ts/torch";
import { chipOf, flopsOf } from "./chip-flops.js";
import { describe } from "./describe.js";
import { rankZeroWarn } from "./rank-zero.js";

/**
 * The floating-point operations of `forwardFn()` and, with a `lossFn`, of the backward pass from `lossFn(output)`: those of matrix
 * products, convolutions and attention. Their number follows from shapes alone, so model and inputs may be on the `"meta"` device, which
 * has no memory. Gradients are left in the parameters as by any backward pass.
 *
 *     const [model, x] = torch.withDevice("meta", () => [new MyModel(), torch.randn([2, 32])]);
 *     const flops = measureFlops(model, () => model(x), (y) => y.sum());
 */
export function measureFlops<R>(model: nn.AnyModule, forwardFn: () => R, lossFn?: (output: R) => Tensor): number {
  if (!(model instanceof nn.Module)) {
    throw new TypeError(
      `Expected \`model\` to be a Module, but got ${describe(model)}.\nType \`measureFlops(model, () => model(x))\`.`,
    );
  }
  for (const [name, fn] of Object.entries({ forwardFn, lossFn })) {
    if (typeof fn === "function" || (name === "lossFn" && fn === undefined)) continue;
    throw new TypeError(
      `Expected \`${name}\` to be a function, but got ${describe(fn)}.\nType \`measureFlops(model, () => model(x), (y) => y.sum())\`; the loss may be left out.`,
    );
  }
  const counter = new FlopCounter();
  try {
    const output = forwardFn();
    if (lossFn) backward(lossFn(output));
  } finally {
    counter[Symbol.dispose]();
  }
  return counter.total;
}

// Not a training step, so models that are set up let it pass.
function backward(loss: Tensor): void {
  if (!(loss instanceof Tensor)) {
    throw new TypeError(`Expected \`lossFn\` to return a Tensor, but got ${describe(loss)}.`);
  }
  autograd.BackwardGuard.allow(() => loss.backward());
}

/**
 * The floating-point operations a second that a device can do at most with a dtype; null, with a warning, where that is not known, and
 * null for devices other than CUDA. float32 counts as TF32 where `setFloat32MatmulPrecision` allows that.
 */
export function getAvailableFlops(device: Device, dtype: Dtype): number | null {
  if (!device.startsWith("cuda")) return null;
  return availableFlopsOf(cuda.getDeviceName(device), dtype, getFloat32MatmulPrecision() !== "highest");
}

/** internal: the same for a device by the name that its driver gives it. */
export function availableFlopsOf(deviceName: string, dtype: Dtype, allowTf32: boolean): number | null {
  const chip = chipOf(deviceName);
  const flops = chip === null ? undefined : flopsOf(chip);
  if (flops === undefined) {
    rankZeroWarn(`FLOPs not found for '${deviceName}'${chip === null ? "." : `, chip is '${chip}'.`}`);
    return null;
  }
  const found = (dtype === "float32" && allowTf32 ? flops.tfloat32 : undefined) ?? flops[dtype];
  if (found !== undefined) return found;
  rankZeroWarn(`'${deviceName}' does not support ${dtype}.`);
  return null;
}
