// The one place that knows which names are dtypes and devices, and says what to do about one that is neither, or that this
// machine or engine lacks.
import { typeError } from "./check.js";
import { closestName } from "./close-names.js";
import { type Device, type Dtype, dtypes } from "./dtype.js";
import { NotSupportedError, UsageError } from "./errors.js";
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

/** internal: the argument is no device. */
export function noDevice(value: unknown): TypeError {
  return typeError("device", "a device", value, `${meant(value, isDevice)}Devices: ${deviceNames}.`);
}

/** internal: the argument `name` is neither. */
export function noDtypeOrDevice(name: string, value: unknown): TypeError {
  const any = (known: unknown): boolean => isDtype(known) || isDevice(known);
  const hint = `${meant(value, any)}Dtypes: ${dtypeNames()}. Devices: ${deviceNames}.`;
  return typeError(name, "a dtype or a device", value, hint);
}

/** Element types of the engine that tensors are converted from and to by operators of their own, such as `quantizePerTensor`. */
const specialDtypes: ReadonlySet<unknown> = new Set(["complex32", "qint8", "quint8", "qint32"]);

/** internal: true for an element type whose tensors hold numbers only together with a scale. */
export function isQuantizedDtype(dtype: string): boolean {
  return dtype === "qint8" || dtype === "quint8" || dtype === "qint32";
}

/** internal: refuses names that are no dtypes. */
export function checkDtype(dtype: unknown, name = "dtype"): asserts dtype is Dtype {
  if (!isDtype(dtype)) throw noDtype(name, dtype);
}

/** internal: refuses names that are no dtypes; for operators, which take the engine's special ones too. */
export function checkOperatorDtype(dtype: unknown): void {
  if (!isDtype(dtype) && !specialDtypes.has(dtype)) throw noDtype("dtype", dtype);
}

// Devices that passed the check: they do not vanish while the process lives.
const usable = new Set<unknown>(["cpu", "meta"]);

/**
 * internal: refuses names that are no devices, and devices that this machine or this build of the engine lacks, before the
 * engine does it with a list of its backends.
 */
export function checkDevice(device: unknown): asserts device is Device {
  if (usable.has(device)) return;
  if (!isDevice(device)) throw noDevice(device);
  if (device.startsWith("cuda")) checkCuda(device);
  else if (device.startsWith("mps")) checkMps(device);
  usable.add(device);
}

function checkCuda(device: Device): void {
  const count = native().cudaDeviceCount();
  if (Number(device.slice(5)) < count) return;
  if (!native().versions().cuda) {
    throw new NotSupportedError(
      `There is no device "${device}": the LibTorch in use (${native().versions().torch}) was built without CUDA.`,
      { hint: 'Use "cpu", or point FABRIC_LIBTORCH at a CUDA build of LibTorch and run `npm run setup`.' },
    );
  }
  throw new NotSupportedError(
    `There is no device "${device}": this process sees ${count === 0 ? "no CUDA devices" : `${count} of CUDA`}.`,
    { hint: 'Use "cpu", or check `nvidia-smi` and the variable CUDA_VISIBLE_DEVICES.' },
  );
}

// The engine has no question for it but the attempt.
function checkMps(device: Device): void {
  const binding = native();
  try {
    const empty = binding.resolve("aten", "empty");
    binding.callNamed(binding.callSite(empty, ["device"]), [0], device);
  } catch (cause) {
    throw new NotSupportedError(
      `There is no device "${device}": the LibTorch in use (${binding.versions().torch}) was built without it.`,
      { hint: 'Use "cpu". Apple GPUs need macOS and a LibTorch for them.', cause },
    );
  }
}

/** internal: what to say when values are asked of a tensor that has a shape only. */
export function noValues(what: string): UsageError {
  return new UsageError(`${what} is on the device "meta": it has a shape and a dtype, but no values.`, {
    hint: "Make it on another device. A module gets memory there with `module.toEmpty({ device })`, and values by `loadStateDict` or an initialization.",
  });
}

function dtypeNames(): string {
  return dtypes.map((name) => `"${name}"`).join(", ");
}

function meant(value: unknown, fits: (name: unknown) => boolean): string {
  if (typeof value !== "string") return "";
  const plain = value.toLowerCase().replace(/^torch\./, "");
  const known = Object.hasOwn(aliases, plain) ? aliases[plain] : plain;
  const prefixed = ["cuda", "cpu", "mps", "meta"].filter((name) => plain.startsWith(name));
  const near = closestName(plain, [...dtypes, "cpu", "cuda", "mps", "meta"].filter(fits));
  const found = [known, ...prefixed, near].find(fits);
  return found === undefined ? "" : `Did you mean "${found}"? `;
}
