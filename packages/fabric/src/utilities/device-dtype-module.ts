// A module that remembers which device and dtype it was last moved to.
import { cuda, type Device, type Dtype, dtypes, getDefaultDevice, getDefaultDtype, nn, Tensor } from "@fabric-ts/torch";

const remembered: unique symbol = Symbol("deviceAndDtype");

interface Remembered {
  device: Device;
  dtype: Dtype;
}

/**
 * A module with `device` and `dtype`: what it was last moved to with `to()`, `cuda()`, `half()` and the like, or through a module that
 * contains it. Metrics and wrappers extend it. Reading them never looks at parameters.
 */
export abstract class DeviceDtypeModule<A extends unknown[], R> extends nn.Module<A, R> {
  /** internal */
  declare readonly [remembered]: Remembered;

  constructor() {
    super();
    Object.defineProperty(this, remembered, {
      value: { device: getDefaultDevice() ?? "cpu", dtype: getDefaultDtype() } satisfies Remembered,
    });
  }

  /** The device that the module was last moved to. */
  get device(): Device {
    const { device } = this[remembered];
    return device === "cuda" ? `cuda:${cuda.currentDevice()}` : device;
  }

  /** The dtype that the module was last converted to. */
  get dtype(): Dtype {
    return this[remembered].dtype;
  }

  override to(target: Device | Dtype | Tensor | object, more?: Dtype | object): this {
    // biome-ignore lint/suspicious/noExplicitAny: all overloads of the base at once
    super.to(target as any, more as any);
    remember(this, { ...targetOf(target), ...targetOf(more) });
    return this;
  }
}

/** internal: updates what a module and all modules below it remember; `device` and `dtype` may each be left out. */
export function remember(
  module: nn.AnyModule,
  target: { device?: Device | undefined; dtype?: Dtype | undefined },
): void {
  for (const part of module.modules()) {
    if (!(part instanceof DeviceDtypeModule)) continue;
    const state = part[remembered];
    if (target.device !== undefined) state.device = target.device;
    if (target.dtype !== undefined) state.dtype = target.dtype;
  }
}

/** internal: updates the remembered device alone. */
export function rememberDevice(module: nn.AnyModule, device: Device): void {
  remember(module, { device });
}

function targetOf(target: unknown): { device?: Device; dtype?: Dtype } {
  if (typeof target === "string") {
    return (dtypes as readonly string[]).includes(target) ? { dtype: target as Dtype } : { device: target as Device };
  }
  if (target instanceof Tensor) return { device: target.device, dtype: target.dtype };
  if (typeof target !== "object" || target === null) return {};
  const { device, dtype } = target as { device?: Device; dtype?: Dtype };
  return { ...(device === undefined ? {} : { device }), ...(dtype === undefined ? {} : { dtype }) };
}
