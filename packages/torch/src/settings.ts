// Process-wide defaults of the engine: dtype, device, threads; and what the engine is.
import { typeError } from "./check.js";
import { type Context, runContext } from "./context.js";
import type { Device, Dtype } from "./dtype.js";
import { isNativeLoaded, native } from "./native.js";
import { checkDevice, checkDtype } from "./target.js";

/** True once LibTorch is in the process: the first call that needs it loads it. */
export function isEngineLoaded(): boolean {
  return isNativeLoaded();
}

/** The dtype of new floating-point tensors. Default: `"float32"`. */
export function getDefaultDtype(): Dtype {
  return native().getDefaultDtype() as Dtype;
}

/** Sets the dtype of new floating-point tensors. */
export function setDefaultDtype(dtype: Dtype): void {
  checkDtype(dtype);
  native().setDefaultDtype(dtype);
}

let device: Device = "cpu";

/** The device of new tensors that name none. Default: `"cpu"`. */
export function getDefaultDevice(): Device {
  return device;
}

/** Sets the device of new tensors that name none; null means the CPU. */
export function setDefaultDevice(value: Device | null): void {
  if (value !== null) checkDevice(value);
  native().setDefaultDevice(value === "cpu" ? null : value);
  device = value ?? "cpu";
}

/** Tensors made inside land on `value` unless they name a device. */
export function withDevice(value: Device): Context;
export function withDevice<T>(value: Device, body: () => T): T;
export function withDevice<T>(value: Device, body?: () => T): T | Context {
  return runContext(
    "withDevice",
    () => {
      const before = device;
      setDefaultDevice(value);
      return () => setDefaultDevice(before);
    },
    body,
  );
}

/** Floating-point tensors made inside have this dtype unless they name one. */
export function withDtype(value: Dtype): Context;
export function withDtype<T>(value: Dtype, body: () => T): T;
export function withDtype<T>(value: Dtype, body?: () => T): T | Context {
  return runContext(
    "withDtype",
    () => {
      const before = getDefaultDtype();
      setDefaultDtype(value);
      return () => setDefaultDtype(before);
    },
    body,
  );
}

/** How exact float32 matrix products are where the hardware has a faster way: `"high"` and `"medium"` use it. */
export type MatmulPrecision = "highest" | "high" | "medium";

const matmulPrecisions: readonly MatmulPrecision[] = ["highest", "high", "medium"];

/** How exact float32 matrix products are. Default: `"highest"`. */
export function getFloat32MatmulPrecision(): MatmulPrecision {
  return native().getFloat32MatmulPrecision() as MatmulPrecision;
}

/** Lets float32 matrix products be computed with the Tensor Cores of a GPU (`"high"`: TF32, `"medium"`: also bfloat16), or only exactly. */
export function setFloat32MatmulPrecision(precision: MatmulPrecision): void {
  if (!matmulPrecisions.includes(precision)) throw typeError("precision", '"highest", "high" or "medium"', precision);
  native().setFloat32MatmulPrecision(precision);
}

/** Threads that one operator may use. */
export function getNumThreads(): number {
  return native().getNumThreads();
}

/** Sets the threads that one operator may use. */
export function setNumThreads(threads: number): void {
  if (!Number.isSafeInteger(threads) || threads < 1)
    throw typeError("threads", "a whole number of at least 1", threads);
  native().setNumThreads(threads);
}

/** Sets the threads that run independent operators; once, before any ran. */
export function setNumInteropThreads(threads: number): void {
  if (!Number.isSafeInteger(threads) || threads < 1)
    throw typeError("threads", "a whole number of at least 1", threads);
  native().setNumInteropThreads(threads);
}

/** What the engine is: its version, how it was built, and its threads. Loads it. */
export function versions(): ReturnType<ReturnType<typeof native>["versions"]> {
  return native().versions();
}
