// Dtypes and devices by name, as arguments of `to`: which of the two a name is, and what to say when it is neither.
import { typeError } from "./check.js";
import { type Device, type Dtype, dtypes } from "./dtype.js";
import { NotSupportedError } from "./errors.js";
import { native } from "./native.js";

const devices = /^(?:cpu|cuda|mps|meta)(?::\d+)?$/;
const deviceNames = '"cpu", "cuda", "cuda:N", "mps", "meta"';

/** Other names that people use. */
const aliases: Record<string, Dtype | Device> = {
  float: "float32",
  double: "float64",
  half: "float16",
  long: "int64",
  int: "int32",
  short: "int16",
  char: "int8",
  byte: "uint8",
  boolean: "bool",
  fp64: "float64",
  fp32: "float32",
  fp16: "float16",
  bf16: "bfloat16",
  gpu: "cuda",
};

/** internal: true for the name of a dtype. */
export function isDtype(value: unknown): value is Dtype {
  return typeof value === "string" && (dtypes as readonly string[]).includes(value);
}

/** internal: true for the name of a device, whether it exists on this machine or not. */
export function isDevice(value: unknown): value is Device {
  return typeof value === "string" && devices.test(value);
}

/** internal: the argument `name` is no dtype. */
export function noDtype(name: string, value: unknown): TypeError {
  return typeError(name, "a dtype", value, `${meant(value, isDtype)}Dtypes: ${dtypeNames()}.`);
}

function noDevice(value: unknown): TypeError {
  return typeError("device", "a device", value, `${meant(value, isDevice)}Devices: ${deviceNames}.`);
}

/** internal: the argument `name` is neither. */
export function noDtypeOrDevice(name: string, value: unknown): TypeError {
  const any = (known: unknown): boolean => isDtype(known) || isDevice(known);
  const hint = `${meant(value, any)}Dtypes: ${dtypeNames()}. Devices: ${deviceNames}.`;
  return typeError(name, "a dtype or a device", value, hint);
}

/**
 * internal: refuses names that are no devices, and CUDA devices where there are none, before the engine does it with a list of
 * its backends.
 */
export function checkDevice(device: unknown): asserts device is Device {
  if (!isDevice(device)) throw noDevice(device);
  if (!device.startsWith("cuda")) return;
  const count = native().cudaDeviceCount();
  if (Number(device.slice(5)) < count) return;
  // Throws when that is because LibTorch was built without CUDA.
  if (!native().versions().cuda) native().cudaCurrentDevice();
  throw new NotSupportedError(
    `There is no device "${device}": this process sees ${count === 0 ? "no CUDA devices" : `${count} of CUDA`}.`,
    { hint: 'Use "cpu", or check `nvidia-smi` and the variable CUDA_VISIBLE_DEVICES.' },
  );
}

function dtypeNames(): string {
  return dtypes.map((name) => `"${name}"`).join(", ");
}

function meant(value: unknown, fits: (name: unknown) => boolean): string {
  if (typeof value !== "string") return "";
  const plain = value.toLowerCase().replace(/^torch\./, "");
  const known = Object.hasOwn(aliases, plain) ? aliases[plain] : plain;
  const candidates = [known, ...["cuda", "cpu", "mps", "meta"].filter((name) => plain.startsWith(name))];
  const found = candidates.find(fits);
  return found === undefined ? "" : `Did you mean "${found}"? `;
}
