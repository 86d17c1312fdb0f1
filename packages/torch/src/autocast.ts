// Automatic mixed precision: inside, the engine chooses the dtype for each operator.
import { checkOptions, typeError } from "./check.js";
import { type Context, optionsAndCallback, runContext } from "./context.js";
import type { Dtype } from "./dtype.js";
import { native } from "./native.js";

/** Options of `autocast`. */
export interface AutocastOptions {
  /** The lower precision. Default: `"bfloat16"` on CPU, `"float16"` on CUDA. */
  dtype?: "bfloat16" | "float16" | undefined;
  /** False switches autocast off inside. Default: true. */
  enabled?: boolean | undefined;
  /** Keep the casts of parameters until the outermost autocast ends. Default: what is set now. */
  cacheEnabled?: boolean | undefined;
}

/**
 * Runs operators such as `linear` and `conv2d` in lower precision and keeps sensitive ones in float32.
 * @param deviceType `"cpu"` or `"cuda"`
 */
export function autocast(deviceType: "cpu" | "cuda", options?: AutocastOptions): Context;
export function autocast<T>(deviceType: "cpu" | "cuda", options: AutocastOptions, body: () => T): T;
export function autocast<T>(deviceType: "cpu" | "cuda", body: () => T, options?: AutocastOptions): T;
export function autocast<T>(
  deviceType: "cpu" | "cuda",
  first: AutocastOptions | (() => T) = {},
  second?: AutocastOptions | (() => T),
): T | Context {
  const [options, body] = optionsAndCallback<AutocastOptions, T>(first, second);
  const example = 'torch.autocast("cpu", { dtype: "bfloat16" }, () => model(x))';
  if (deviceType !== "cpu" && deviceType !== "cuda")
    throw typeError("deviceType", '"cpu" or "cuda"', deviceType, `Type \`${example}\`.`);
  checkOptions(options, ["dtype", "enabled", "cacheEnabled"], example);
  const dtype = options.dtype ?? (deviceType === "cpu" ? "bfloat16" : "float16");
  if (deviceType === "cpu" && dtype !== "bfloat16") {
    throw typeError("dtype", '"bfloat16" for autocast on CPU', dtype, "float16 autocast needs a CUDA device.");
  }
  if (dtype !== "bfloat16" && dtype !== "float16") throw typeError("dtype", '"bfloat16" or "float16"', dtype);
  return runContext(
    "autocast",
    () => {
      const before = native().autocastState(deviceType);
      native().setAutocast(deviceType, options.enabled ?? true, dtype, options.cacheEnabled ?? before.cacheEnabled);
      native().nestAutocast(1);
      return () => {
        native().nestAutocast(-1);
        native().setAutocast(deviceType, before.enabled, before.dtype, before.cacheEnabled);
      };
    },
    body,
  );
}

/** True inside `autocast` for the device type. */
export function isAutocastEnabled(deviceType: "cpu" | "cuda" = "cuda"): boolean {
  return native().autocastState(deviceType).enabled;
}

/** The lower precision that autocast uses on the device type. */
export function getAutocastDtype(deviceType: "cpu" | "cuda"): Dtype {
  return native().autocastState(deviceType).dtype as Dtype;
}
