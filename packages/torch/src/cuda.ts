// CUDA devices, in a build for a CUDA LibTorch; elsewhere there are none.
import { typeError } from "./check.js";
import { isNativeLoaded, native } from "./native.js";
import { currentBuild } from "./native-locate.js";

function indexOf(device: number | string | undefined): number {
  if (device === undefined || device === "cuda") return native().cudaCurrentDevice();
  if (typeof device === "number" && Number.isInteger(device)) return device;
  const match = typeof device === "string" ? /^cuda:(\d+)$/.exec(device) : null;
  if (!match) throw typeError("device", 'a device number or "cuda:N"', device);
  return Number(match[1]);
}

/** True when the engine has CUDA and the machine has a device. */
export function isAvailable(): boolean {
  return deviceCount() > 0;
}
/** Number of visible devices; 0 without CUDA. */
export function deviceCount(): number {
  // Without CUDA there is nothing to count: a process that only starts others does not load LibTorch for the answer.
  if (!isNativeLoaded() && currentBuild().cuda === false) return 0;
  return native().cudaDeviceCount();
}
/** Number of the current device. */
export function currentDevice(): number {
  return native().cudaCurrentDevice();
}
/** Makes a device current. */
export function setDevice(device: number | string): void {
  native().cudaSetDevice(indexOf(device));
}
/** Waits until the device has done all that was asked of it. Default: the current device. */
export function synchronize(device?: number | string): void {
  native().cudaSynchronize(indexOf(device));
}
/** Gives unused cached memory back to the device. */
export function emptyCache(): void {
  native().cudaEmptyCache();
}
/** Gives back the memory that cuBLAS keeps for matrix products. Does nothing before LibTorch 2.1. */
export function clearCublasWorkspaces(): void {
  native().cudaClearCublasWorkspaces();
}
/** Bytes in use, reserved by the caching allocator, and the most that were in use. Default: the current device. */
export function memoryStats(device?: number | string): { allocated: number; reserved: number; peakAllocated: number } {
  return native().cudaMemoryStats(indexOf(device));
}
/** Restarts the count of `peakAllocated`. */
export function resetPeakMemoryStats(device?: number | string): void {
  native().cudaResetPeakMemoryStats(indexOf(device));
}
/** The device's marketing name. */
export function getDeviceName(device?: number | string): string {
  return native().cudaDeviceName(indexOf(device));
}
/** Major and minor number of the device's compute capability. */
export function getDeviceCapability(device?: number | string): [major: number, minor: number] {
  return native().cudaCapability(indexOf(device));
}
